//! Subscriptions of a client, and how long its session and its connection may last.

use crate::{client, policed, took_seconds};
use sluice_tests::packet::{BOTH, V5, connect, disconnect, publish, subscribe, will};
use sluice_tests::property::Property::SessionExpiry;
use sluice_tests::{at_once, eventually, unique};
use std::time::Instant;

pub const BUDGETS: &str = r#"
two-subscriptions = { subscriptions_max = 2 }
no-session = { session_expiry_seconds_max = 0 }
short-session = { session_expiry_seconds_max = 1 }
short-connection = { connection_seconds_max = 1 }
"#;

#[test]
fn one_subscription_too_many_is_refused_and_the_others_stay() {
    for version in BOTH {
        let mut client = client(version, "two-subscriptions");
        let kept = unique("kept/");
        client.subscribe(&kept, 0);
        client.subscribe(&unique("second/"), 0);
        let id = client.next_packet_id();
        let codes = client.request_subscription(subscribe(id).filter(unique("third/"), 0).filter(&kept, 1));
        let refused = if version == V5 { 0x97 } else { 0x80 };
        client.assert(
            codes == [refused, 1],
            "a new one is refused, a replaced one is not",
        );
        client.publish(publish(&kept, "kept").qos(1));
        client.take(&kept, "kept", 1);
    }
}

#[test]
fn a_session_that_may_not_outlive_its_connection_is_gone_with_it() {
    for version in BOTH {
        let lasting = connect(version, unique("lasting"))
            .username("no-session")
            .lasting();
        let (client, connack) = policed().join(&lasting);
        if version == V5 {
            let told = connack.properties.contains(&SessionExpiry(0));
            client.assert(told, "the session expiry is told, for it is not what was asked");
        }
        client.leave();
        let (_, connack) = policed().join(&lasting);
        assert!(!connack.session_present, "{version:?}");
    }
}

#[test]
fn no_disconnect_makes_a_session_last_longer_than_it_may() {
    let id = unique("lasting");
    let topic = unique("lasting/");
    let asked = connect(V5, &id)
        .username("short-session")
        .property(SessionExpiry(1));
    let (mut client, _) = policed().join(&asked);
    client.subscribe(&topic, 1);
    client.send(disconnect(0).property(SessionExpiry(3_600)));
    client.expect_closed();
    let mut publisher = policed().client(V5);
    // No matching subscribers: the session is gone.
    eventually("the session expires", || {
        publisher.publish(publish(&topic, "x").qos(1)) == 0x10
    });
}

#[test]
fn a_session_ends_in_time_also_before_5() {
    at_once(|version| {
        let topic = unique("lasting/");
        let lasting = connect(version, unique("lasting"))
            .username("short-session")
            .lasting();
        let (mut client, _) = policed().join(&lasting);
        client.subscribe(&topic, 1);
        client.leave();
        let mut publisher = policed().client(V5);
        eventually("the session expires", || {
            publisher.publish(publish(&topic, "x").qos(1)) == 0x10
        });
    });
}

#[test]
fn a_connection_ends_with_maximum_connect_time_and_its_will_is_published() {
    at_once(|version| {
        let topic = unique("will/");
        let mut watcher = policed().client(version);
        watcher.subscribe(&topic, 1);
        let began = Instant::now();
        let packet = connect(version, unique("client"))
            .username("short-connection")
            .will(will(&topic, "gone").qos(1));
        let (mut client, _) = policed().join(&packet);
        client.expect_disconnected(&[0xA0]);
        took_seconds(began, 1.0, "the connection");
        watcher.take(&topic, "gone", 1);
    });
}

#[test]
fn a_connection_ends_in_time_whatever_its_client_is_doing() {
    at_once(|version| {
        let mut client = client(version, "short-connection");
        let topic = unique("busy/");
        eventually("the busy client is disconnected", || {
            client.send(publish(&topic, "x"));
            client.is_closed()
        });
    });
}
