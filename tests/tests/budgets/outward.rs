//! What a client may be sent: held back in its queue, whatever happens to those who send too much.

use crate::{client, in_every_way, message, policed, take_numbered, took_seconds};
use sluice_tests::packet::{BOTH, V5, publish};
use sluice_tests::property::Property::User;
use sluice_tests::{at_once, unique};
use std::time::Instant;

pub const BUDGETS: &str = r#"
messages-out = { messages_out_per_second = { per_second = 10, burst = 5 }, over_limit = "disconnect" }
bytes-out = { bytes_out_per_second = { per_second = 20000, burst = 1000 }, over_limit = "disconnect" }
two-messages-out = { messages_out_per_second = { per_second = 0, burst = 2 } }
"#;

#[test]
fn messages_and_bytes_come_as_fast_as_the_rate_allows_and_none_is_lost() {
    in_every_way(|version, qos| {
        std::thread::scope(|scope| {
            // 15 messages beyond the burst at 10 a second; 38,000 bytes, a write of at most 2,500 of them too early.
            for (budget, seconds) in [("messages-out", 1.5), ("bytes-out", 1.7)] {
                scope.spawn(move || {
                    let topic = unique("out/");
                    let mut subscriber = client(version, budget);
                    subscriber.subscribe(&topic, qos);
                    let mut publisher = policed().client(version);
                    let began = Instant::now();
                    for number in 0..20 {
                        publisher.publish(message(&topic, number, qos));
                    }
                    take_numbered(&mut subscriber, 20);
                    took_seconds(began, seconds, &format!("{budget}, {version:?}, QoS {qos}"));
                });
            }
        });
    });
}

#[test]
fn what_counts_outward_are_the_bytes_on_the_wire() {
    at_once(|version| {
        let topic = unique("out/");
        let long = format!("{topic}/{}", "x".repeat(1_900));
        let mut subscriber = client(version, "bytes-out");
        subscriber.subscribe(&format!("{topic}/#"), 1);
        let mut publisher = policed().client(version);
        let began = Instant::now();
        for _ in 0..20 {
            let hollow = match version {
                V5 => publish(&topic, "").property(User("n".into(), "x".repeat(1_900))),
                _ => publish(&long, ""),
            };
            publisher.publish(hollow.qos(1));
        }
        for _ in 0..20 {
            let delivered = subscriber.expect_publish();
            subscriber.acknowledge(&delivered);
        }
        took_seconds(began, 1.6, "messages without payload");
    });
}

#[test]
fn who_is_sent_too_much_is_still_heard_and_answered() {
    for version in BOTH {
        let topic = unique("out/");
        let mut subscriber = client(version, "two-messages-out");
        subscriber.subscribe(&topic, 1);
        let mut publisher = policed().client(version);
        for number in 0..10 {
            publisher.publish(message(&topic, number, 1));
        }
        take_numbered(&mut subscriber, 2);
        // The other eight wait; answers do not.
        subscriber.ping();
        subscriber.subscribe(&unique("other/"), 1);
        let other = unique("heard/");
        publisher.subscribe(&other, 1);
        subscriber.publish(publish(&other, "heard").qos(1));
        publisher.take(&other, "heard", 1);
        subscriber.ping();
    }
}
