//! A policy that is replaced while clients are connected and messages flow.

use super::{Exchange, Terms, exchange};
use crate::broker::Running;
use crate::clock::{nanos, now, seconds};
use crate::failure::{During, Failure, Result};
use crate::load::{Pace, Shape, arrive};
use crate::measure::{Figures, Measure};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LOAD: Exchange = Exchange {
    shape: Shape::Pairs(100),
    qos: 0,
    payload_bytes: 64,
    pace: Pace::PerSecond(1000.0),
};
/// How often the answer is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// After the answer, sessions are still judged again: that belongs to the swap.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// An empty custom section named `again`: the same policy, and yet another module.
const MARK: [u8; 8] = *b"\x00\x06\x05again";

pub(super) fn run(broker: &Running, terms: &Terms, clients: usize) -> Result<Figures> {
    let mut module = std::fs::read(&broker.policy).during(broker.policy.display())?;
    module.extend(MARK);

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
    let mut order = Order::give(broker, &module)?;
    while !order.is_done()? {
        traffic.flow_until(&mut fleet, now() + nanos(LOOK_EVERY))?;
    }
    let took = seconds(now() - since);
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

/// What `sluice policy load` says to a broker, without a process that would start on the core of the load: that kept it
/// from looking at what arrives for milliseconds.
struct Order {
    socket: UnixStream,
    answer: Vec<u8>,
}

impl Order {
    fn give(broker: &Running, module: &[u8]) -> Result<Self> {
        let path = broker
            .admin
            .as_ref()
            .ok_or_else(|| Failure::new("the broker has no admin socket"))?;
        let mut socket = UnixStream::connect(path).during(path.display())?;
        let bytes = module.len();
        let request =
            format!("{{\"command\":\"policy-load\",\"name\":\"bench\",\"module_bytes\":{bytes}}}\n");
        let mut send = |bytes| socket.write_all(bytes).during("the policy cannot be sent");
        send(request.as_bytes())?;
        send(module)?;
        socket.set_nonblocking(true).during(path.display())?;
        let answer = Vec::new();
        Ok(Self { socket, answer })
    }

    /// Whether the broker has answered.
    ///
    /// # Errors
    /// It said no, or nothing.
    fn is_done(&mut self) -> Result<bool> {
        let mut part = [0; 4096];
        match self.socket.read(&mut part) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            read => {
                let count = read.during("the policy was not loaded")?;
                self.answer.extend(part.iter().take(count));
                if count > 0 && !self.answer.ends_with(b"\n") {
                    return Ok(false);
                }
            }
        }
        if self.answer.starts_with(b"{\"ok\"") {
            return Ok(true);
        }
        let said = String::from_utf8_lossy(&self.answer);
        Err(Failure::new(format!(
            "the policy was not loaded: {}",
            said.trim()
        )))
    }
}
