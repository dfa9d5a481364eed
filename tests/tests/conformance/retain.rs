//! Retained messages.

use crate::brokers::broker;
use sluice_tests::packet::{
    BOTH, NO_LOCAL, RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER, V5, V31, V311, publish, subscribe,
};
use sluice_tests::unique;

// v311[3.3.1-5 3.3.1-6 3.3.1-8] v5[3.3.1-5 3.3.1-9]
#[test]
fn a_new_subscription_gets_the_retained_message_with_retain_1() {
    for version in [V31, V311, V5] {
        for stored in 0..=2 {
            for granted in 0..=2 {
                let topic = unique("retained/");
                broker()
                    .client(version)
                    .publish(publish(&topic, "x").qos(stored).retain());
                let mut reader = broker().client(version);
                reader.subscribe(&topic, granted);
                let delivered = reader.take(&topic, "x", stored.min(granted));
                reader.assert(delivered.retain && !delivered.dup, "RETAIN 1, DUP 0");
            }
        }
    }
}

// v311[3.3.1-5 3.3.1-6 3.3.1-7] v5[3.3.1-5]
#[test]
fn the_last_retained_message_replaces_the_one_before_whatever_its_qos() {
    for version in BOTH {
        for (first, second) in [(0, 2), (2, 0), (1, 1)] {
            let topic = unique("retained/");
            let mut author = broker().client(version);
            author.publish(publish(&topic, "old").qos(first).retain());
            author.publish(publish(&topic, "new").qos(second).retain());
            let mut reader = broker().client(version);
            reader.subscribe(&topic, 2);
            reader.take(&topic, "new", second);
            reader.expect_silence();
        }
    }
}

// v311[3.3.1-10 3.3.1-11] v5[3.3.1-6 3.3.1-7] traps[15]
#[test]
fn an_empty_retained_message_is_delivered_and_removes_the_stored_one() {
    for version in BOTH {
        for qos in 0..=2 {
            let topic = unique("removed/");
            let mut author = broker().client(version);
            let mut witness = broker().client(version);
            witness.subscribe(&topic, 2);
            author.publish(publish(&topic, "x").qos(1).retain());
            witness.take(&topic, "x", 1);
            author.publish(publish(&topic, "").qos(qos).retain());
            let delivered = witness.take(&topic, "", qos);
            witness.assert(!delivered.retain, "RETAIN 0 to an established subscription");
            let mut reader = broker().client(version);
            reader.subscribe(&topic, 2);
            reader.expect_silence();
        }
    }
}

// v311[3.3.1-11] v5[3.3.1-7] traps[15]
#[test]
fn an_empty_retained_message_is_never_stored() {
    for version in BOTH {
        let topic = unique("empty/");
        broker()
            .client(version)
            .publish(publish(&topic, "").qos(1).retain());
        let mut reader = broker().client(version);
        reader.subscribe(&topic, 2);
        reader.expect_silence();
    }
}

// v311[3.3.1-12] v5[3.3.1-8]
#[test]
fn a_message_without_retain_leaves_the_stored_one_alone() {
    for version in BOTH {
        let topic = unique("kept/");
        let mut author = broker().client(version);
        author.publish(publish(&topic, "stored").qos(1).retain());
        author.publish(publish(&topic, "passing").qos(1));
        author.publish(publish(&topic, "").qos(1));
        let mut reader = broker().client(version);
        reader.subscribe(&topic, 2);
        reader.take(&topic, "stored", 1);
        reader.expect_silence();
    }
}

// v311[3.3.1-9] v5[3.3.1-12] traps[12]
#[test]
fn an_established_subscription_gets_retain_0() {
    for version in BOTH {
        let topic = unique("live/");
        let mut reader = broker().client(version);
        reader.subscribe(&topic, 2);
        broker()
            .client(version)
            .publish(publish(&topic, "x").qos(1).retain());
        let delivered = reader.take(&topic, "x", 1);
        reader.assert(!delivered.retain, "RETAIN 0");
    }
}

// v5[3.3.1-13]
#[test]
fn retain_as_published_passes_the_flag_on() {
    let topic = unique("live/");
    let mut reader = broker().client(V5);
    reader.subscribe(&topic, 1 | RETAIN_AS_PUBLISHED);
    let mut author = broker().client(V5);
    author.publish(publish(&topic, "kept").qos(1).retain());
    author.publish(publish(&topic, "passing").qos(1));
    let kept = reader.take(&topic, "kept", 1);
    reader.assert(kept.retain, "RETAIN 1 as published");
    let passing = reader.take(&topic, "passing", 1);
    reader.assert(!passing.retain, "RETAIN 0 as published");
}

// v5[3.3.1-12]
#[test]
fn a_retained_message_has_retain_1_for_a_new_subscription_without_retain_as_published() {
    let topic = unique("stored/");
    broker().client(V5).publish(publish(&topic, "x").qos(1).retain());
    for options in [1, 1 | RETAIN_AS_PUBLISHED] {
        let mut reader = broker().client(V5);
        reader.subscribe(&topic, options);
        let delivered = reader.take(&topic, "x", 1);
        reader.assert(delivered.retain, "RETAIN 1");
    }
}

// v311[3.8.4-3 3.3.1-6] v5[3.3.1-9 3.8.4-4] traps[13]
#[test]
fn subscribing_again_sends_retained_messages_again() {
    for version in BOTH {
        let topic = unique("again/");
        broker()
            .client(version)
            .publish(publish(&topic, "x").qos(1).retain());
        let mut reader = broker().client(version);
        for _ in 0..3 {
            reader.subscribe(&topic, 1);
            reader.take(&topic, "x", 1);
        }
        reader.expect_silence();
    }
}

// v5[3.3.1-10] traps[13]
#[test]
fn retain_handling_1_sends_them_only_when_the_subscription_is_new() {
    let topic = unique("new/");
    broker().client(V5).publish(publish(&topic, "x").qos(1).retain());
    let mut reader = broker().client(V5);
    reader.subscribe(&topic, 1 | RETAIN_IF_NEW);
    reader.take(&topic, "x", 1);
    reader.subscribe(&topic, 1 | RETAIN_IF_NEW);
    // Other options do not make it a new one.
    reader.subscribe(&topic, RETAIN_IF_NEW | RETAIN_AS_PUBLISHED);
    reader.expect_silence();
    reader.unsubscribe(&topic);
    reader.subscribe(&topic, 1 | RETAIN_IF_NEW);
    reader.take(&topic, "x", 1);
}

// v5[3.3.1-11]
#[test]
fn retain_handling_2_sends_none() {
    let topic = unique("never/");
    let mut author = broker().client(V5);
    author.publish(publish(&topic, "x").qos(1).retain());
    let mut reader = broker().client(V5);
    reader.subscribe(&topic, 1 | RETAIN_NEVER);
    reader.expect_silence();
    author.publish(publish(&topic, "y").qos(1).retain());
    reader.take(&topic, "y", 1);
}

// v311[3.3.1-6] v5[3.3.1-9]
#[test]
fn a_wildcard_subscription_gets_every_matching_retained_message_once() {
    for version in BOTH {
        let root = unique("tree");
        let mut author = broker().client(version);
        for level in ["", "/a", "/b", "/a/c", "/b/c"] {
            author.publish(
                publish(format!("{root}{level}"), format!("at {level}"))
                    .qos(1)
                    .retain(),
            );
        }
        for (filter, expected) in [
            (
                format!("{root}/#"),
                vec!["at ", "at /a", "at /a/c", "at /b", "at /b/c"],
            ),
            (format!("{root}/+"), vec!["at /a", "at /b"]),
            (format!("{root}/+/c"), vec!["at /a/c", "at /b/c"]),
            (format!("{root}/a/c"), vec!["at /a/c"]),
        ] {
            let mut reader = broker().client(version);
            reader.subscribe(&filter, 1);
            let mut seen: Vec<String> = Vec::new();
            for _ in &expected {
                let delivered = reader.expect_publish();
                reader.acknowledge(&delivered);
                seen.push(String::from_utf8_lossy(&delivered.payload).into_owned());
            }
            seen.sort();
            assert_eq!(seen, expected, "{filter}");
            reader.expect_silence();
        }
    }
}

// v5[3.3.1-9 3.3.4-3] traps[13]
#[test]
fn several_filters_of_one_subscribe_send_retained_messages_as_several_subscribes_would() {
    let topic = unique("both/");
    broker().client(V5).publish(publish(&topic, "x").qos(1).retain());
    let mut reader = broker().client(V5);
    let request = subscribe(1)
        .filter(&topic, 1)
        .filter(format!("{topic}/#"), 1 | RETAIN_NEVER)
        .filter("nobody/publishes/this", 1)
        .property(sluice_tests::property::Property::SubscriptionId(5));
    assert_eq!(reader.request_subscription(request), [1, 1, 1]);
    let delivered = reader.take(&topic, "x", 1);
    reader.assert(
        delivered.subscription_ids() == [5],
        "the identifier of the subscription",
    );
    reader.expect_silence();
}

// v5[3.8.3-3]
#[test]
fn no_local_is_about_messages_of_the_same_client() {
    let topic = unique("own/");
    let mut reader = broker().client(V5);
    reader.publish(publish(&topic, "own").qos(1).retain());
    let other = unique("own/");
    broker()
        .client(V5)
        .publish(publish(&other, "another's").qos(1).retain());
    reader.subscribe(&other, 1 | NO_LOCAL);
    reader.take(&other, "another's", 1);
}

// v5[3.3.1-5]
#[test]
fn properties_are_retained_with_the_message() {
    use sluice_tests::property::Property::*;
    let topic = unique("properties/");
    let properties = [
        PayloadFormat(1),
        ContentType("text/plain".into()),
        ResponseTopic("answers".into()),
        CorrelationData(vec![0, 255]),
        User("b".into(), "2".into()),
        User("a".into(), "1".into()),
    ];
    let mut message = publish(&topic, "x").qos(1).retain();
    message.properties = properties.to_vec();
    broker().client(V5).publish(message);
    let mut reader = broker().client(V5);
    reader.subscribe(&topic, 1);
    let delivered = reader.take(&topic, "x", 1);
    for property in &properties {
        reader.assert(
            delivered.properties.contains(property),
            &format!("{property:?} came along"),
        );
    }
}
