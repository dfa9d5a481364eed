//! What CONNACK announced stays true for the connection, whatever becomes of the budget.

use crate::live::{give, set_budget};
use crate::policed;
use sluice_tests::packet::{Encode, V5, V311, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{MaximumPacketSize, ReceiveMaximum};
use sluice_tests::reply::ConnAck;
use sluice_tests::{eventually, unique};

/// Those that are given later allow no subscription, which shows that they are in force.
pub const BUDGETS: &str = r#"
packet-5000 = { packet_bytes_max = 5000 }
packet-300 = { packet_bytes_max = 300, subscriptions_max = 0 }
packet-9000 = { packet_bytes_max = 9000, subscriptions_max = 0 }
receive-10 = { inflight_max = 10 }
receive-2 = { inflight_max = 2, subscriptions_max = 0 }
"#;

/// A 5.0 client with a budget, its identifier and its CONNACK.
fn join(budget: &str) -> (Peer, String, ConnAck) {
    let id = unique("honest");
    let (peer, connack) = policed().join(&connect(V5, &id).username(budget));
    (peer, id, connack)
}

/// The reason that a message whose packet has so many bytes is answered with.
fn answer(peer: &mut Peer, bytes: usize) -> u8 {
    let of = |payload: usize| publish("honest/size", "x".repeat(payload)).qos(1).id(1_000);
    let rest = of(bytes / 2).bytes(V5).len() - bytes / 2;
    peer.try_publish(of(bytes - rest))
}

#[test]
fn a_packet_of_the_size_that_was_announced_is_refused_and_its_client_is_not() {
    let (mut peer, id, connack) = join("packet-5000");
    peer.assert(
        connack.properties.contains(&MaximumPacketSize(5_000)),
        "what is announced",
    );
    assert!(answer(&mut peer, 5_000) < 0x80);
    give(&mut peer, &id, "packet-300");
    assert_eq!(answer(&mut peer, 301), 0x97);
    assert_eq!(answer(&mut peer, 5_000), 0x97);
    assert!(answer(&mut peer, 300) < 0x80, "what is small enough passes");
    // QoS 0 has no answer; the connection lives on.
    peer.publish(publish("honest/size", "x".repeat(4_900)));
    peer.send(publish("honest/size", "x".repeat(5_000)));
    peer.expect_disconnected(&[0x95]);
}

#[test]
fn a_larger_size_than_was_announced_is_accepted() {
    let (mut peer, id, _) = join("packet-5000");
    give(&mut peer, &id, "packet-9000");
    assert!(answer(&mut peer, 9_000) < 0x80);
    peer.send(publish("honest/size", "x".repeat(9_000)));
    peer.expect_disconnected(&[0x95]);
}

#[test]
fn before_5_nothing_was_announced_and_a_packet_too_large_ends_the_connection() {
    let id = unique("honest");
    let (mut peer, _) = policed().join(&connect(V311, &id).username("packet-5000"));
    peer.publish(publish("honest/size", "x".repeat(400)));
    set_budget(&id, "packet-300");
    eventually("the smaller size is in force", || {
        peer.send(publish("honest/size", "x".repeat(400)));
        peer.is_closed()
    });
}

#[test]
fn the_receive_maximum_that_was_announced_stays_while_fewer_messages_are_sent() {
    let (mut peer, id, connack) = join("receive-10");
    peer.assert(
        connack.properties.contains(&ReceiveMaximum(10)),
        "what is announced",
    );
    let topic = unique("honest/");
    peer.subscribe(&topic, 1);
    give(&mut peer, &id, "receive-2");
    let mut publisher = policed().client(V5);
    for _ in 0..3 {
        publisher.publish(publish(&topic, "x").qos(1));
    }
    let window = [peer.expect_publish(), peer.expect_publish()];
    peer.ping();
    // Ten exchanges of QoS 2 may be open all the same; an eleventh breaks the rule.
    for id in 101..=110 {
        peer.send(publish("honest/open", "x").qos(2).id(id));
        peer.expect_pubrec(id);
    }
    peer.acknowledge(&window[0]);
    peer.expect_publish();
    peer.send(publish("honest/open", "x").qos(2).id(111));
    peer.expect_disconnected(&[0x93]);
}
