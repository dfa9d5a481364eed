//! Retained messages.

use super::{both_ends, store_everything};
use sluice_tests::broker::Broker;
use sluice_tests::eventually;
use sluice_tests::packet::{V5, publish};
use sluice_tests::property::Property;
use sluice_tests::receiving::payloads;
use sluice_tests::reply::Delivered;
use std::time::{Duration, Instant};

/// What is retained below `kept/`, in the order of topics.
fn retained(broker: &Broker) -> Vec<Delivered> {
    let mut reader = broker.client(V5);
    reader.subscribe("kept/#", 2);
    let mut retained = reader.drain();
    retained.sort_by(|one, other| one.topic.cmp(&other.topic));
    retained
}

#[test]
fn the_last_retained_message_of_each_topic_is_there_and_what_was_cleared_is_not() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mut publisher = broker.client(V5);
        for (topic, payload, qos) in [
            ("kept/1", "old", 1),
            ("kept/1", "new", 2),
            ("kept/2", "gone", 1),
            ("kept/2", "", 1),
            ("kept/3", "gone", 2),
            ("kept/3", "", 2),
            ("kept/4", "there", 1),
        ] {
            publisher.publish(publish(topic, payload).qos(qos).retain());
        }
        for _ in 0..2 {
            broker.restart(signal);
            let found = retained(&broker);
            assert_eq!(payloads(&found), ["new", "there"]);
            assert_eq!((found[0].qos, found[0].retain), (2, true));
        }
        let mut publisher = broker.client(V5);
        publisher.publish(publish("kept/1", "").qos(1).retain());
        publisher.publish(publish("kept/2", "again").qos(1).retain());
        broker.restart(signal);
        assert_eq!(payloads(&retained(&broker)), ["again", "there"]);
    });
}

#[test]
fn what_was_retained_before_a_restart_counts_for_the_limits() {
    both_ends(|signal| {
        for limit in ["retained_messages_max = 2", "retained_bytes_max = \"1100 B\""] {
            let mut broker = Broker::durable(&format!("sys_interval = \"off\"\n[limits]\n{limit}\n"));
            let retain = |broker: &Broker, topic: &str, letter: &str| {
                let message = publish(topic, letter.repeat(300)).qos(1).retain();
                broker.client(V5).publish(message);
            };
            let letters = |broker: &Broker| -> String {
                let found = payloads(&retained(broker));
                found
                    .iter()
                    .filter_map(|payload| payload.chars().next())
                    .collect()
            };
            retain(&broker, "kept/1", "a");
            retain(&broker, "kept/2", "b");
            broker.restart(signal);
            retain(&broker, "kept/3", "c");
            assert_eq!(letters(&broker), "ab", "{limit}");
            retain(&broker, "kept/1", "A");
            assert_eq!(
                letters(&broker),
                "Ab",
                "{limit}: in place of another there is room"
            );
        }
    });
}

#[test]
fn a_retained_message_of_qos_0_is_stored_without_anybody_waiting_for_it() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mut publisher = broker.client(V5);
        publisher.publish(publish("kept/1", "x").retain());
        publisher.publish(publish("kept/2", "x").retain());
        publisher.publish(publish("kept/2", "").retain());
        store_everything(&broker);
        broker.restart(signal);
        let found = retained(&broker);
        assert_eq!(payloads(&found), ["x"]);
        assert_eq!(found[0].qos, 0);
    });
}

#[test]
fn a_retained_message_keeps_its_properties_and_its_expiry_goes_on() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mut publisher = broker.client(V5);
        let kept = publish("kept/1", "x").qos(1).retain();
        let content_type = Property::ContentType("text/plain".to_owned());
        publisher.publish(
            kept.property(Property::MessageExpiry(3600))
                .property(content_type.clone()),
        );
        let short = publish("kept/2", "y").qos(1).retain();
        publisher.publish(short.property(Property::MessageExpiry(1)));
        let published = Instant::now();
        broker.end(signal);
        eventually("more than a second has passed", || {
            published.elapsed() > Duration::from_millis(1_200)
        });
        broker.start_again();
        let found = retained(&broker);
        assert_eq!(payloads(&found), ["x"], "the other one has expired meanwhile");
        assert!(found[0].properties.contains(&content_type));
        let left = found[0].expiry_seconds().unwrap_or_default();
        assert!((1..3600).contains(&left), "{left} seconds are left");
    });
}
