//! Budgets through the real binary: each limit with each action, from whoever has a say, and changed while clients
//! stay connected.
//!
//! No test asserts how fast something is. Where a rate must be seen to hold, either it is so low that nothing comes
//! back during a test (`per_second = 0`, which a policy may say, or a byte a second), so that counts are exact; or the
//! time that what came must have taken at least is asserted, which a busy machine only lengthens.

mod connections;
mod fairness;
mod honest;
mod inward;
mod live;
mod outward;
mod overload;
mod patience;
mod queues;
mod reload;
mod sizes;
mod sources;
mod subscribes;
mod totals;

use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::{BOTH, Publish, Version, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::reply::Delivered;
use sluice_tests::{PATIENCE, eventually, guests, unique};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static POLICED: LazyLock<Broker> = LazyLock::new(|| {
    let budgets = [
        connections::BUDGETS,
        honest::BUDGETS,
        inward::BUDGETS,
        live::BUDGETS,
        outward::BUDGETS,
        patience::BUDGETS,
        queues::BUDGETS,
        sizes::BUDGETS,
        subscribes::BUDGETS,
    ];
    gated(&budgets.concat(), DEFAULT_LISTENER)
});

/// A listener on a port of the system's choice.
pub const DEFAULT_LISTENER: &str = "[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n";

/// What a clock of the system and one of the test may differ by.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(50);

/// The broker that most tests share: its policy gives each client the budget that its user name names.
pub fn policed() -> &'static Broker {
    &POLICED
}

/// A broker whose policy `gate`, in `tests/guests/budget`, knows these budgets.
pub fn gated(budgets: &str, rest: &str) -> Broker {
    Broker::with_files(
        &gated_config(budgets, rest),
        &[("gate.wasm", &guests::wasm("budget"))],
    )
}

/// Its configuration; `rest` has the listeners and what else it needs.
pub fn gated_config(budgets: &str, rest: &str) -> String {
    format!(
        r#"
policies = ["gate"]
{rest}
[policy.gate]
file = "gate.wasm"
capabilities = ["kv", "sessions"]
[policy.gate.settings.budgets]
{budgets}
"#
    )
}

/// Puts another configuration in force.
pub fn reconfigure(broker: &Broker, config: &str) {
    // By then it also listens to signals.
    broker.wait_for_log("the admin socket", |line| line.is("admin_listening"));
    let reloads = || {
        let lines = broker.log_lines();
        lines.iter().filter(|line| line.is("config_reloaded")).count()
    };
    let before = reloads();
    std::fs::write(broker.dir().join("sluice.toml"), config).expect("the configuration is written");
    broker.signal(Signal::HUP);
    eventually("the configuration is reloaded", || reloads() > before);
}

/// A client of the shared broker with a budget.
pub fn client(version: Version, budget: &str) -> Peer {
    policed()
        .join(&connect(version, unique("client")).username(budget))
        .0
}

/// Message number so many: between 1,900 and 2,000 bytes on the wire, in every version and with every QoS.
pub fn message(topic: &str, number: usize, qos: u8) -> Publish {
    publish(topic, format!("{number:04}{}", "x".repeat(1_900))).qos(qos)
}

/// The message with a packet identifier, if its QoS needs one.
pub fn identified(message: Publish, id: usize) -> Publish {
    match message.qos {
        0 => message,
        _ => message.id(u16::try_from(id).expect("an identifier")),
    }
}

/// The numbers of such messages.
pub fn numbers(messages: &[Delivered]) -> Vec<usize> {
    let number = |message: &Delivered| {
        let digits = message.payload.get(..4)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    messages.iter().filter_map(number).collect()
}

/// How many messages with QoS 1 are accepted, of so many in a row; MQTT 5.0 tells.
pub fn accepted(peer: &mut Peer, messages: usize) -> usize {
    let topic = unique("accepted/");
    let reasons = (0..messages).map(|number| peer.try_publish(message(&topic, number, 1)));
    let reasons: Vec<u8> = reasons.collect();
    let known = |reason: &u8| [0x00, 0x10, 0x97].contains(reason);
    peer.assert(reasons.iter().all(known), "accepted, or refused with 0x97");
    reasons.iter().filter(|reason| **reason < 0x80).count()
}

/// Acknowledges numbered messages that arrive until so many have come; they must be in order.
pub fn take_numbered(peer: &mut Peer, messages: usize) {
    for number in 0..messages {
        let delivered = peer.expect_publish();
        peer.assert(
            numbers(std::slice::from_ref(&delivered)) == [number],
            &format!("message {number} comes next"),
        );
        peer.acknowledge(&delivered);
    }
}

/// It must have taken at least so many seconds since then: no more was let through than the rate allows.
pub fn took_seconds(began: Instant, seconds: f64, what: &str) {
    let took = began.elapsed() + CLOCK_TOLERANCE;
    assert!(
        took >= Duration::from_secs_f64(seconds),
        "{what}: all of it came after {took:?}, less than {seconds} s"
    );
    assert!(
        seconds < PATIENCE.as_secs_f64(),
        "{what}: nobody waits for {seconds} s"
    );
}

/// Runs a check with every QoS and in both versions, all at the same time: for those that have to wait.
pub fn in_every_way(check: impl Fn(Version, u8) + Sync) {
    std::thread::scope(|scope| {
        for version in BOTH {
            for qos in 0..=2 {
                let check = &check;
                scope.spawn(move || check(version, qos));
            }
        }
    });
}
