//! PUBLISH from a client: what answers it, and what counts as the same message.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, Encode, V5, V31, V311, connect, publish, pubrel};
use sluice_tests::peer::Peer;
use sluice_tests::unique;

// v311[3.3.4-1 2.3.1-1 2.3.1-6 4.3.2-2 4.3.3-2] v5[3.3.4-1 2.2.1-5 4.3.2-4 4.3.3-8 4.3.3-11 3.4.2-1 3.5.2-1 3.7.2-1]
#[test]
fn a_publish_is_answered_according_to_its_qos() {
    for version in [V31, V311, V5] {
        let topic = unique("qos/");
        let mut peer = broker().client(version);
        peer.send(publish(&topic, "0"));
        peer.ping();
        peer.send(publish(&topic, "1").qos(1).id(0x1234));
        peer.expect_puback(0x1234);
        peer.send(publish(&topic, "2").qos(2).id(0xFFFF));
        peer.expect_pubrec(0xFFFF);
        peer.send(pubrel(0xFFFF));
        peer.expect_pubcomp(0xFFFF);
        peer.ping();
    }
}

/// A publisher and a client that receives what it sends.
fn pair(version: sluice_tests::packet::Version, name: &str) -> (Peer, Peer, String) {
    let topic = unique(name);
    let mut subscriber = broker().client(version);
    subscriber.subscribe(&topic, 2);
    (broker().client(version), subscriber, topic)
}

// v311[4.3.3-2] v5[4.3.3-10] traps[30]
#[test]
fn a_qos_2_repeat_before_pubrel_is_acknowledged_each_time_and_delivered_once() {
    for version in BOTH {
        let (mut publisher, mut subscriber, topic) = pair(version, "repeat/");
        publisher.send(publish(&topic, "once").qos(2).id(7));
        publisher.expect_pubrec(7);
        for _ in 0..3 {
            publisher.send(publish(&topic, "once").qos(2).id(7).dup());
            let acked = publisher.expect_pubrec(7);
            publisher.assert(acked.reason == 0, "a repeat is no error");
        }
        publisher.release(7);
        subscriber.take(&topic, "once", 2);
        subscriber.expect_silence();
    }
}

// v311[4.3.3-2 4.4.0-1] v5[4.3.3-10 4.3.3-11] traps[30]
#[test]
fn a_qos_2_exchange_survives_a_lost_connection() {
    for version in BOTH {
        let (_, mut subscriber, topic) = pair(version, "lost/");
        let lasting = connect(version, unique("publisher")).lasting();
        let (mut publisher, _) = broker().join(&lasting);
        publisher.send(publish(&topic, "once").qos(2).id(9));
        publisher.expect_pubrec(9);
        publisher.vanish();
        let (mut publisher, connack) = broker().join(&lasting);
        publisher.assert(connack.session_present, "the session is there");
        publisher.send(publish(&topic, "once").qos(2).id(9).dup());
        publisher.expect_pubrec(9);
        publisher.release(9);
        subscriber.take(&topic, "once", 2);
        subscriber.expect_silence();
    }
}

// v311[2.3.1-3 4.3.2-2] v5[4.3.2-5]
#[test]
fn after_puback_the_same_id_is_a_new_message_whatever_dup_says() {
    for version in BOTH {
        let (mut publisher, mut subscriber, topic) = pair(version, "again/");
        publisher.publish(publish(&topic, "a").qos(1).id(3));
        publisher.publish(publish(&topic, "b").qos(1).id(3));
        publisher.publish(publish(&topic, "c").qos(1).id(3).dup());
        for payload in ["a", "b", "c"] {
            subscriber.take(&topic, payload, 1);
        }
    }
}

// v311[2.3.1-3 4.3.3-2] v5[4.3.3-12]
#[test]
fn after_pubcomp_the_same_id_is_a_new_message() {
    for version in BOTH {
        let (mut publisher, mut subscriber, topic) = pair(version, "again/");
        for payload in ["a", "b"] {
            publisher.publish(publish(&topic, payload).qos(2).id(3));
            subscriber.take(&topic, payload, 2);
        }
        publisher.publish(publish(&topic, "c").qos(2).id(3).dup());
        subscriber.take(&topic, "c", 2);
    }
}

// v311[4.3.3-2] v5[4.3.3-11 3.7.2-1] traps[31]
#[test]
fn a_pubrel_for_an_unknown_id_is_answered() {
    for version in BOTH {
        let mut peer = broker().client(version);
        peer.send(pubrel(77));
        let acked = peer.expect_pubcomp(77);
        let expected = if version == V5 { 0x92 } else { 0 };
        peer.assert(
            acked.reason == expected,
            "Packet Identifier not found in 5.0, plain before",
        );
        peer.ping();
    }
}

// v311[3.3.1-2 3.3.1-3] v5[3.3.1-2 3.3.1-3] traps[36]
#[test]
fn dup_of_a_publisher_is_not_passed_on() {
    for version in BOTH {
        let (mut publisher, mut subscriber, topic) = pair(version, "dup/");
        for qos in [1, 2] {
            publisher.publish(publish(&topic, "x").qos(qos).dup());
            let delivered = subscriber.take(&topic, "x", qos);
            subscriber.assert(!delivered.dup, "DUP 0 on the first delivery");
        }
    }
}

// v311[4.6.0-2 4.6.0-3] v5[4.6.0-2 4.6.0-3]
#[test]
fn messages_are_acknowledged_in_the_order_they_came() {
    for version in BOTH {
        let topic = unique("order/");
        for qos in [1, 2] {
            let mut peer = broker().client(version);
            let packets: Vec<_> = (1..=10).map(|id| publish(&topic, "x").qos(qos).id(id)).collect();
            let packets: Vec<&dyn Encode> = packets.iter().map(|packet| packet as &dyn Encode).collect();
            peer.send_all(&packets);
            for id in 1..=10 {
                if qos == 1 {
                    peer.expect_puback(id)
                } else {
                    peer.expect_pubrec(id)
                };
            }
        }
    }
}

// v311[4.3.3-2] v5[4.3.3-11]
#[test]
fn interleaved_qos_2_exchanges_complete_each_for_itself() {
    for version in BOTH {
        let (mut publisher, mut subscriber, topic) = pair(version, "mixed/");
        for id in [1, 2, 3] {
            publisher.send(publish(&topic, format!("{id}")).qos(2).id(id));
            publisher.expect_pubrec(id);
        }
        for id in [2, 1, 3] {
            publisher.release(id);
        }
        let mut received: Vec<Vec<u8>> = Vec::new();
        for _ in 0..3 {
            received.push(subscriber.expect_publish().payload);
        }
        received.sort();
        assert_eq!(received, [b"1", b"2", b"3"]);
    }
}

// v5[3.4.2-1 3.5.2-1]
#[test]
fn a_message_that_nobody_wants_is_accepted_all_the_same() {
    let topic = unique("nobody/");
    let mut peer = broker().client(V5);
    for qos in [1, 2] {
        let reason = peer.publish(publish(&topic, "x").qos(qos));
        peer.assert(
            [0x00, 0x10].contains(&reason),
            "Success or No matching subscribers",
        );
    }
}

// v311[4.5.0-1] v5[4.5.0-1]
#[test]
fn every_matching_client_gets_the_message() {
    let topic = unique("all/");
    let mut subscribers: Vec<Peer> = [V31, V311, V5, V5]
        .into_iter()
        .map(|v| broker().client(v))
        .collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe(&topic, 1);
    }
    let mut publisher = broker().client(V311);
    publisher.publish(publish(&topic, "x").qos(1));
    for subscriber in &mut subscribers {
        subscriber.take(&topic, "x", 1);
    }
}

#[test]
fn an_empty_payload_and_a_large_one_arrive_unchanged() {
    for version in BOTH {
        let (mut publisher, mut subscriber, topic) = pair(version, "payload/");
        let large: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for payload in [&[][..], &large, b"\0\xFF"] {
            publisher.publish(publish(&topic, payload).qos(1));
            subscriber.take(&topic, payload, 1);
        }
    }
}
