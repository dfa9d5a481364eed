//! What waits for a client: in flight, in its queue, and what gives way when that is full.

use crate::{client, message, numbers, policed, take_numbered};
use sluice_tests::packet::{BOTH, Version, connect, puback};
use sluice_tests::peer::Peer;
use sluice_tests::unique;

/// `-bytes`: a message of 1,900 bytes of payload needs less than 2,100 bytes, so that four fit and five do not.
pub const BUDGETS: &str = r#"
inflight-3 = { inflight_max = 3 }
drop-new-messages = { inflight_max = 1, queue_messages_max = 4, queue_overflow = "drop-new" }
drop-oldest-messages = { inflight_max = 1, queue_messages_max = 4, queue_overflow = "drop-oldest" }
disconnect-messages = { inflight_max = 1, queue_messages_max = 4, queue_overflow = "disconnect" }
drop-new-bytes = { inflight_max = 1, queue_bytes_max = 8500, queue_overflow = "drop-new" }
drop-oldest-bytes = { inflight_max = 1, queue_bytes_max = 8500, queue_overflow = "drop-oldest" }
disconnect-bytes = { inflight_max = 1, queue_bytes_max = 8500, queue_overflow = "disconnect" }
"#;

/// What bounds the queue.
const BOUNDS: [&str; 2] = ["messages", "bytes"];

#[test]
fn no_more_messages_are_in_flight_than_the_budget_allows() {
    for version in BOTH {
        for qos in [1, 2] {
            let topic = unique("queue/");
            let mut subscriber = client(version, "inflight-3");
            subscriber.subscribe(&topic, qos);
            let mut publisher = policed().client(version);
            for number in 0..10 {
                publisher.publish(message(&topic, number, qos));
            }
            let first: Vec<_> = (0..3).map(|_| subscriber.expect_publish()).collect();
            assert_eq!(numbers(&first), [0, 1, 2]);
            // Nothing more comes before the answer to the ping.
            subscriber.ping();
            subscriber.acknowledge(&first[0]);
            let fourth = subscriber.expect_publish();
            assert_eq!(numbers(&[fourth]), [3]);
            subscriber.ping();
        }
    }
}

/// A subscriber with message 0 in flight, which it does not acknowledge, and messages 1 to 4 in its full queue; its
/// topic, and the publisher. Message 0 has packet identifier 1.
fn full(version: Version, budget: &str) -> (Peer, String, Peer) {
    let topic = unique("queue/");
    let mut subscriber = client(version, budget);
    subscriber.subscribe(&topic, 1);
    let mut publisher = policed().client(version);
    publisher.publish(message(&topic, 0, 1));
    let first = subscriber.expect_publish();
    subscriber.assert(first.packet_id == 1, "the first identifier");
    for number in 1..=4 {
        publisher.publish(message(&topic, number, 1));
    }
    subscriber.ping();
    (subscriber, topic, publisher)
}

#[test]
fn when_the_queue_is_full_the_newest_or_the_oldest_give_way() {
    for version in BOTH {
        for bound in BOUNDS {
            for (rule, expected) in [("drop-new", [1, 2, 3, 4]), ("drop-oldest", [3, 4, 5, 6])] {
                let (mut subscriber, topic, mut publisher) = full(version, &format!("{rule}-{bound}"));
                for number in 5..=6 {
                    publisher.publish(message(&topic, number, 1));
                }
                subscriber.send(puback(1));
                let mut came = Vec::new();
                for _ in expected {
                    let delivered = subscriber.expect_publish();
                    subscriber.acknowledge(&delivered);
                    came.push(delivered);
                }
                assert_eq!(numbers(&came), expected, "{rule}, {bound}, {version:?}");
                subscriber.expect_silence();
            }
        }
    }
}

#[test]
fn when_the_queue_is_full_the_client_is_disconnected_if_the_budget_says_so() {
    for version in BOTH {
        for bound in BOUNDS {
            let (mut subscriber, topic, mut publisher) = full(version, &format!("disconnect-{bound}"));
            publisher.publish(message(&topic, 5, 1));
            subscriber.expect_disconnected(&[0x97]);
        }
    }
}

#[test]
fn a_message_of_qos_0_is_dropped_and_disconnects_nobody() {
    for version in BOTH {
        for bound in BOUNDS {
            let (mut subscriber, topic, mut publisher) = full(version, &format!("disconnect-{bound}"));
            publisher.publish(message(&topic, 5, 0));
            subscriber.ping();
            subscriber.send(puback(1));
            let came: Vec<_> = (1..=4)
                .map(|_| {
                    let delivered = subscriber.expect_publish();
                    subscriber.acknowledge(&delivered);
                    delivered
                })
                .collect();
            assert_eq!(numbers(&came), [1, 2, 3, 4]);
            subscriber.expect_silence();
        }
    }
}

#[test]
fn what_waits_for_an_absent_client_is_bounded_too() {
    for version in BOTH {
        for bound in BOUNDS {
            for (rule, expected) in [
                ("drop-new", [0, 1, 2, 3]),
                ("drop-oldest", [2, 3, 4, 5]),
                // There is nobody to disconnect.
                ("disconnect", [0, 1, 2, 3]),
            ] {
                let topic = unique("queue/");
                let lasting = connect(version, unique("absent"))
                    .username(format!("{rule}-{bound}"))
                    .lasting();
                let (mut subscriber, _) = policed().join(&lasting);
                subscriber.subscribe(&topic, 1);
                subscriber.leave();
                let mut publisher = policed().client(version);
                for number in 0..6 {
                    publisher.publish(message(&topic, number, 1));
                }
                let (mut subscriber, connack) = policed().join(&lasting);
                subscriber.assert(connack.session_present, "the session is kept");
                let mut came = Vec::new();
                for _ in expected {
                    let delivered = subscriber.expect_publish();
                    subscriber.acknowledge(&delivered);
                    came.push(delivered);
                }
                assert_eq!(numbers(&came), expected, "{rule}, {bound}, {version:?}");
                subscriber.expect_silence();
            }
        }
    }
}

#[test]
fn a_queue_that_is_not_full_loses_nothing() {
    for version in BOTH {
        let topic = unique("queue/");
        let mut subscriber = client(version, "drop-new-messages");
        subscriber.subscribe(&topic, 2);
        let mut publisher = policed().client(version);
        for _ in 0..3 {
            for number in 0..4 {
                publisher.publish(message(&topic, number, 2));
            }
            take_numbered(&mut subscriber, 4);
        }
    }
}
