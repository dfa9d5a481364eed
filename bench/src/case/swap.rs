//! A policy that is replaced while clients are connected and messages flow.

use super::{Exchange, Terms, exchange};
use crate::broker::Running;
use crate::clock::{nanos, now, seconds};
use crate::failure::{During, Failure, Result};
use crate::load::{Pace, Shape, arrive};
use crate::measure::{Figures, Measure};
use std::process::{Command, Stdio};
use std::time::Duration;

const LOAD: Exchange = Exchange {
    shape: Shape::Pairs(100),
    qos: 0,
    payload_bytes: 64,
    pace: Pace::PerSecond(1000.0),
};
/// How often the command is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// After the command, sessions are still judged again: that belongs to the swap.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// An empty custom section named `again`: the same policy, and yet another module.
const MARK: [u8; 8] = *b"\x00\x06\x05again";

pub(super) fn run(broker: &Running, terms: &Terms, clients: usize) -> Result<Figures> {
    let admin = broker
        .admin
        .as_ref()
        .ok_or_else(|| Failure::new("the broker has no admin socket"))?;
    let file = admin.with_file_name("again.wasm");
    let mut module = std::fs::read(&broker.policy).during(broker.policy.display())?;
    module.extend(MARK);
    std::fs::write(&file, module).during(file.display())?;

    let mut fleet = broker.fleet()?;
    arrive(
        &mut fleet,
        "idle",
        terms.scaled(clients),
        broker.credentials.as_ref(),
    )?;
    let mut traffic = exchange::prepare(broker, &mut fleet, terms, LOAD)?;
    let before = broker.memory()?;
    traffic.start();
    traffic.flow_until(&mut fleet, now() + nanos(terms.warm_up))?;
    traffic.take_latencies();
    traffic.flow_until(&mut fleet, now() + nanos(terms.measured))?;
    let calm = traffic.take_latencies();

    let since = now();
    let mut command = Command::new(&broker.program)
        .args(["policy", "load", "bench"])
        .arg(&file)
        .arg("--socket")
        .arg(admin)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .during("the policy cannot be loaded")?;
    let status = loop {
        traffic.flow_until(&mut fleet, now() + nanos(LOOK_EVERY))?;
        if let Some(status) = command.try_wait().during("the policy cannot be loaded")? {
            break status;
        }
    };
    let took = seconds(now() - since);
    if !status.success() {
        return Err(Failure::new(format!("the policy was not loaded: {status}")));
    }
    traffic.flow_until(&mut fleet, now() + nanos(AFTERWARDS))?;
    let during = traffic.take_latencies();
    traffic.stop();
    traffic.drain(&mut fleet)?;
    Ok(Figures::default()
        .with_count(Measure::Disconnects, traffic.disconnects())
        .with(Measure::SwapSeconds, took)
        .with(Measure::LatencyMaxBeforeSwapMicros, calm.max_micros())
        .with(Measure::LatencyMaxDuringSwapMicros, during.max_micros())
        .with_count(Measure::MessagesLost, traffic.missing())
        .with_memory(before, broker.memory()?))
}
