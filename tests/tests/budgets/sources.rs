//! Who has a say: the configuration, the listener and the policy. The strictest wins.

use crate::{accepted, gated, message};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{V5, connect, publish, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{MaximumPacketSize, ReceiveMaximum};
use sluice_tests::reply::ConnAck;
use sluice_tests::unique;

/// Five messages for everybody (see [`message`]), three for those who come by `strict`; `loose` says more and gives
/// nothing.
const LISTENERS: &str = r#"
[[listener]]
name = "plain"
address = "127.0.0.1:0"

[[listener]]
name = "strict"
address = "127.0.0.1:0"
[listener.limits]
bytes_in_per_second = { per_second = "1 B", burst = "6000 B" }
subscriptions_max = 3
packet_bytes_max = "3000 B"
inflight_max = 30

[[listener]]
name = "loose"
address = "127.0.0.1:0"
[listener.limits]
bytes_in_per_second = "1 GiB"
subscriptions_max = 500
packet_bytes_max = "1 MiB"
inflight_max = 500
over_limit = "delay"

[limits]
bytes_in_per_second = { per_second = "1 B", burst = "10000 B" }
subscriptions_max = 5
packet_bytes_max = "5000 B"
inflight_max = 50
over_limit = "refuse"
"#;

const BUDGETS: &str = r#"
tiny = { bytes_in_per_second = { per_second = 0, burst = 2500 }, subscriptions_max = 1, packet_bytes_max = 2500, inflight_max = 10 }
huge = { bytes_in_per_second = { per_second = 1000000, burst = 1000000 }, subscriptions_max = 1000, packet_bytes_max = 1000000, inflight_max = 1000, over_limit = "delay" }
harsh = { over_limit = "disconnect" }
"#;

fn join(broker: &Broker, listener: &str, budget: &str) -> (Peer, ConnAck) {
    let mut peer = Peer::open(broker.listener(listener), V5);
    peer.send(connect(V5, unique("client")).username(budget));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "the connection is accepted");
    (peer, connack)
}

#[test]
fn of_what_the_configuration_the_listener_and_the_policy_say_the_strictest_wins() {
    let broker = gated(BUDGETS, LISTENERS);
    for (listener, budget, bytes, window, messages) in [
        ("plain", "", 5_000, 50, 5),
        ("plain", "tiny", 2_500, 10, 1),
        ("plain", "huge", 5_000, 50, 5),
        ("strict", "", 3_000, 30, 3),
        ("strict", "tiny", 2_500, 10, 1),
        ("strict", "huge", 3_000, 30, 3),
        ("loose", "", 5_000, 50, 5),
        ("loose", "tiny", 2_500, 10, 1),
        ("loose", "huge", 5_000, 50, 5),
    ] {
        let (mut peer, connack) = join(&broker, listener, budget);
        for expected in [MaximumPacketSize(bytes), ReceiveMaximum(window)] {
            peer.assert(
                connack.properties.contains(&expected),
                &format!("{listener}, {budget}: {expected:?}"),
            );
        }
        let came = accepted(&mut peer, 10);
        assert_eq!(came, messages, "{listener}, {budget}");
        // As many subscriptions as messages; subscribing is never refused for its bytes.
        let granted = |peer: &mut Peer| {
            let id = peer.next_packet_id();
            peer.request_subscription(subscribe(id).filter(unique("t/"), 0)) == [0]
        };
        let count = (0..10).filter(|_| granted(&mut peer)).count();
        assert_eq!(count, messages, "{listener}, {budget}");
        let too_large = publish("t", "x".repeat(bytes as usize));
        peer.send(too_large);
        peer.expect_disconnected(&[0x95]);
    }
}

#[test]
fn of_the_actions_the_harshest_is_taken() {
    let broker = gated(BUDGETS, LISTENERS);
    let (mut peer, _) = join(&broker, "loose", "harsh");
    let topic = unique("harsh/");
    for number in 0..5 {
        peer.publish(message(&topic, number, 1));
    }
    peer.send(message(&topic, 5, 1).id(99));
    peer.expect_disconnected(&[0x96]);
    broker.wait_for_log("the limit and the action", |line| {
        line.is("over_limit") && line.has("limit", "bytes_in_per_second") && line.has("action", "disconnect")
    });
}
