//! Policies as an operator meets them: loaded into a running broker by the command line, a watched directory or
//! SIGHUP; replaced under live clients; refused when they are broken; contained when they are hostile.

mod asking;
mod bursts;
mod credentials;
mod examples;
mod hostile;
mod limits;
mod load;
mod mutual;
mod quarantine;
mod refused;
mod storm;
mod swap;
mod waiting;
mod watched;

use sluice_tests::broker::Broker;
use sluice_tests::guests;
use sluice_tests::packet::{Connect, Version, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::reply::ConnAck;
use sluice_tests::unique;

/// A broker with two listeners: clients of `gate` are judged by the policy `gate`, the module of this package with
/// these settings; clients of `calm` by the built-in policy, which lets them do everything.
pub fn gated(package: &str, settings: &str) -> Broker {
    Broker::with_files(&gated_config(settings), &[("gate.wasm", &guests::wasm(package))])
}

/// The configuration of such a broker. Its settings are an inline table.
pub fn gated_config(settings: &str) -> String {
    format!(
        r#"
        policies = ["gate"]

        [[listener]]
        name = "gate"
        address = "127.0.0.1:0"

        [[listener]]
        name = "calm"
        address = "127.0.0.1:0"
        policies = ["users"]

        [policy.gate]
        file = "gate.wasm"
        settings = {settings}
        "#
    )
}

/// A client on a listener; whatever the answer is.
pub fn try_join(broker: &Broker, listener: &str, packet: &Connect) -> (Peer, ConnAck) {
    let mut peer = Peer::open(broker.listener(listener), packet.version);
    peer.send(packet);
    let connack = peer.expect_connack();
    (peer, connack)
}

/// A client on a listener, which must let it in.
pub fn join(broker: &Broker, listener: &str, version: Version) -> Peer {
    let (peer, connack) = try_join(broker, listener, &connect(version, unique("client")));
    peer.assert(connack.code == 0, "the connection is accepted");
    peer
}

/// Runs `sluice` in the broker's directory; its output, or what it complained about.
pub fn sluice(broker: &Broker, arguments: &[&str]) -> Result<String, String> {
    broker.sluice(arguments)
}

/// Loads the module of a package as this policy, which must succeed.
pub fn load(broker: &Broker, policy: &str, package: &str) {
    let path = guests::path(package);
    let path = path.to_str().expect("the path is UTF-8");
    if let Err(why) = sluice(broker, &["policy", "load", policy, path]) {
        panic!("{package} was not loaded: {why}");
    }
}

/// Whether a message with QoS 1 is accepted, as MQTT 5.0 tells.
pub fn may_publish(peer: &mut Peer, topic: &str) -> bool {
    peer.try_publish(publish(topic, "x").qos(1)) < 0x80
}

/// How often the broker's set of policies was replaced, as its log says.
pub fn generation(broker: &Broker) -> u64 {
    let activated = broker
        .log_lines()
        .into_iter()
        .filter(|line| line.is("policy_activated"));
    let generations = activated.filter_map(|line| line.text_field("generation")?.parse().ok());
    generations.max().unwrap_or(0)
}
