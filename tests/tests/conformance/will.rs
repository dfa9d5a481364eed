//! Wills: published for a client that vanishes.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, RETAIN_AS_PUBLISHED, V5, V31, V311, connect, disconnect, publish, will};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::*;
use sluice_tests::unique;

fn watcher(version: sluice_tests::packet::Version, topic: &str) -> Peer {
    let mut watcher = broker().client(version);
    watcher.subscribe(topic, 2);
    watcher
}

// v311[3.1.2-8] v5[3.1.2-7 3.1.2-8]
#[test]
fn the_will_of_a_client_that_vanishes_is_published() {
    for version in [V31, V311, V5] {
        for qos in 0..=2 {
            let topic = unique("will/");
            let mut watcher = watcher(version, &topic);
            let (client, _) =
                broker().join(&connect(version, unique("c")).will(will(&topic, "gone").qos(qos)));
            client.vanish();
            watcher.take(&topic, "gone", qos);
            watcher.expect_silence();
        }
    }
}

// v311[3.1.2-10 3.14.4-3] v5[3.1.2-10 3.14.4-3 3.1.2-8] traps[5]
#[test]
fn a_proper_disconnect_drops_the_will() {
    for version in BOTH {
        let topic = unique("will/");
        let mut watcher = watcher(version, &topic);
        let (client, _) = broker().join(&connect(version, unique("c")).will(will(&topic, "never")));
        client.leave();
        watcher.expect_silence();
    }
}

// v5[3.14.4-3 3.1.2-8 3.14.2-1] traps[5]
#[test]
fn a_disconnect_with_another_reason_keeps_the_will() {
    for reason in [0x04, 0x80, 0x81, 0x83, 0x93, 0x97, 0x99] {
        let topic = unique("will/");
        let mut watcher = watcher(V5, &topic);
        let (mut client, _) = broker().join(&connect(V5, unique("c")).will(will(&topic, "gone")));
        client.send(disconnect(reason));
        client.expect_closed();
        watcher.take(&topic, "gone", 0);
    }
}

// v311[3.1.2-8 4.8.0-1] v5[3.1.2-8 4.13.1-1]
#[test]
fn a_protocol_violation_brings_out_the_will() {
    for version in BOTH {
        let topic = unique("will/");
        let mut watcher = watcher(version, &topic);
        let (mut client, _) = broker().join(&connect(version, unique("c")).will(will(&topic, "gone")));
        client.send([0xC1, 0]);
        client.expect_disconnected(&[0x81]);
        watcher.take(&topic, "gone", 0);
    }
}

// v311[3.1.2-10] v5[3.1.2-10]
#[test]
fn a_will_is_published_once_and_then_gone() {
    for version in BOTH {
        let topic = unique("will/");
        let mut watcher = watcher(version, &topic);
        let id = unique("c");
        let (client, _) = broker().join(&connect(version, &id).lasting().will(will(&topic, "gone")));
        client.vanish();
        watcher.take(&topic, "gone", 0);
        // The same session again, without a will of its own.
        let (client, connack) = broker().join(&connect(version, &id).lasting());
        client.assert(connack.session_present, "the session is resumed");
        client.vanish();
        // A takeover must have dealt with that end; only then is silence meaningful.
        let (client, _) = broker().join(&connect(version, &id));
        client.leave();
        watcher.expect_silence();
    }
}

// v311[3.1.2-12]
#[test]
fn without_a_will_nothing_is_published() {
    for version in BOTH {
        let root = unique("quiet");
        let mut watcher = watcher(version, &format!("{root}/#"));
        let id = unique("c");
        let (client, _) = broker().join(&connect(version, &id));
        client.vanish();
        let (client, _) = broker().join(&connect(version, &id));
        client.leave();
        watcher.expect_silence();
    }
}

// v311[3.1.2-16 3.1.2-17] v5[3.1.2-14 3.1.2-15]
#[test]
fn a_will_is_retained_if_it_says_so() {
    for version in BOTH {
        for retained in [false, true] {
            let topic = unique("will/");
            let mut watcher = watcher(version, &topic);
            let mut testament = will(&topic, "gone").qos(1);
            testament.retain = retained;
            let (client, _) = broker().join(&connect(version, unique("c")).will(testament));
            client.vanish();
            watcher.take(&topic, "gone", 1);
            let mut late = broker().client(version);
            late.subscribe(&topic, 1);
            if retained {
                let delivered = late.take(&topic, "gone", 1);
                late.assert(delivered.retain, "RETAIN 1");
            }
            late.expect_silence();
        }
    }
}

// v5[3.1.2-15 3.3.1-13]
#[test]
fn the_retain_flag_of_a_will_is_passed_on_as_published() {
    let topic = unique("will/");
    let mut watcher = broker().client(V5);
    watcher.subscribe(&topic, 1 | RETAIN_AS_PUBLISHED);
    let (client, _) = broker().join(&connect(V5, unique("c")).will(will(&topic, "gone").retain()));
    client.vanish();
    let delivered = watcher.take(&topic, "gone", 0);
    watcher.assert(delivered.retain, "RETAIN 1");
}

// v311[3.1.2-17] v5[3.1.2-15]
#[test]
fn an_empty_retained_will_removes_the_stored_message() {
    for version in BOTH {
        let topic = unique("will/");
        broker()
            .client(version)
            .publish(publish(&topic, "stored").qos(1).retain());
        let mut watcher = watcher(version, &topic);
        watcher.take(&topic, "stored", 1);
        let (client, _) = broker().join(&connect(version, unique("c")).will(will(&topic, "").retain()));
        client.vanish();
        watcher.take(&topic, "", 0);
        let mut late = broker().client(version);
        late.subscribe(&topic, 1);
        late.expect_silence();
    }
}

// v5[3.1.2-9 3.1.3-10 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20]
#[test]
fn the_properties_of_a_will_are_those_of_its_message() {
    let topic = unique("will/");
    let mut watcher = watcher(V5, &topic);
    let properties = vec![
        PayloadFormat(1),
        ContentType("text/plain".into()),
        ResponseTopic("answers".into()),
        CorrelationData(vec![1, 0, 255]),
        User("z".into(), "1".into()),
        User("a".into(), "2".into()),
        User("z".into(), "3".into()),
    ];
    let mut testament = will(&topic, "gone")
        .property(WillDelay(0))
        .property(MessageExpiry(1000));
    testament.properties.extend(properties.clone());
    let (client, _) = broker().join(&connect(V5, unique("c")).will(testament));
    client.vanish();
    let delivered = watcher.take(&topic, "gone", 0);
    let seconds = delivered.expiry_seconds();
    watcher.assert(
        seconds.is_some_and(|left| (900..=1000).contains(&left)),
        "it expires",
    );
    let others: Vec<_> = delivered
        .properties
        .iter()
        .filter(|p| !matches!(p, MessageExpiry(_)))
        .cloned()
        .collect();
    let mut expected = properties;
    let by_id = |properties: &mut Vec<sluice_tests::property::Property>| properties.sort_by_key(|p| p.id());
    let mut seen = others;
    by_id(&mut seen);
    by_id(&mut expected);
    assert_eq!(seen, expected, "unchanged, user properties in their order");
}

// v5[3.1.2-8]
#[test]
fn the_will_of_a_5_0_client_reaches_a_3_1_1_client_and_back() {
    for (author, reader) in [(V5, V311), (V311, V5)] {
        let topic = unique("will/");
        let mut watcher = watcher(reader, &topic);
        let (client, _) = broker().join(&connect(author, unique("c")).will(will(&topic, "gone").qos(1)));
        client.vanish();
        watcher.take(&topic, "gone", 1);
    }
}

// v311[3.1.2-8]
#[test]
fn a_will_does_not_reach_its_own_session_twice() {
    for version in BOTH {
        let topic = unique("will/");
        let id = unique("c");
        let (mut client, _) =
            broker().join(&connect(version, &id).lasting().will(will(&topic, "gone").qos(1)));
        client.subscribe(&topic, 1);
        client.vanish();
        // Its own session, which lasts, is a subscriber like any other.
        let (mut client, _) = broker().join(&connect(version, &id).lasting());
        client.take(&topic, "gone", 1);
        client.expect_silence();
    }
}
