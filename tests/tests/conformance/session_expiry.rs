//! Session Expiry Interval (5.0): when a session ends after its connection.

use crate::brokers::broker;
use sluice_tests::packet::{V5, connect, disconnect, publish, will};
use sluice_tests::property::Property::SessionExpiry;
use sluice_tests::{eventually, unique};

// v5[4.1.0-2 3.1.2-23]
#[test]
fn a_session_ends_when_its_expiry_interval_has_passed() {
    let topic = unique("short/");
    let id = unique("short");
    let (mut client, _) = broker().join(&connect(V5, &id).property(SessionExpiry(1)));
    client.subscribe(&topic, 1);
    client.leave();
    let mut publisher = broker().client(V5);
    // No matching subscribers: the subscription is gone, and with it the session.
    eventually("the session expires", || {
        publisher.publish(publish(&topic, "x").qos(1)) == 0x10
    });
    let (mut client, connack) = broker().join(&connect(V5, &id).resuming());
    client.assert(!connack.session_present, "no session is left");
    client.expect_silence();
}

// v5[3.1.2-23]
#[test]
fn coming_back_in_time_stops_the_clock() {
    let topic = unique("kept/");
    let short = connect(V5, unique("kept")).resuming().property(SessionExpiry(2));
    let (mut client, _) = broker().join(&short);
    client.subscribe(&topic, 1);
    let control = unique("control/");
    let (mut other, _) = broker().join(&connect(V5, unique("other")).property(SessionExpiry(2)));
    other.subscribe(&control, 1);
    client.leave();
    let (mut client, connack) = broker().join(&short);
    client.assert(connack.session_present, "back in time");
    // Another session that began to expire later is gone: the time is over.
    other.leave();
    let mut publisher = broker().client(V5);
    eventually("the other session expires", || {
        publisher.publish(publish(&control, "x").qos(1)) == 0x10
    });
    publisher.publish(publish(&topic, "x").qos(1));
    client.take(&topic, "x", 1);
}

// v5[4.1.0-2] traps[21]
#[test]
fn a_disconnect_may_end_the_session_at_once() {
    let id = unique("brief");
    let (mut client, _) = broker().join(&connect(V5, &id).property(SessionExpiry(3600)));
    client.send(disconnect(0).property(SessionExpiry(0)));
    client.expect_closed();
    let (client, connack) = broker().join(&connect(V5, &id).resuming());
    client.assert(!connack.session_present, "the session ended with the DISCONNECT");
}

// v5[3.1.2-23] traps[21]
#[test]
fn a_disconnect_without_an_expiry_keeps_that_of_connect() {
    let id = unique("kept");
    let (client, _) = broker().join(&connect(V5, &id).property(SessionExpiry(3600)));
    client.leave();
    let (mut client, connack) = broker().join(&connect(V5, &id).resuming().property(SessionExpiry(3600)));
    client.assert(connack.session_present, "kept");
    client.send(disconnect(4));
    client.expect_closed();
    let (client, connack) = broker().join(&connect(V5, &id).resuming());
    client.assert(connack.session_present, "kept again");
}

// v5[3.1.2-23]
#[test]
fn a_disconnect_may_prolong_a_session_that_would_expire() {
    let id = unique("longer");
    let topic = unique("longer/");
    let (mut client, _) = broker().join(&connect(V5, &id).property(SessionExpiry(1)));
    client.subscribe(&topic, 1);
    client.send(disconnect(0).property(SessionExpiry(3600)));
    client.expect_closed();
    // A session with 1 second, left later, goes first.
    let control = unique("control/");
    let (mut other, _) = broker().join(&connect(V5, unique("other")).property(SessionExpiry(1)));
    other.subscribe(&control, 1);
    other.leave();
    let mut publisher = broker().client(V5);
    eventually("the other session expires", || {
        publisher.publish(publish(&control, "x").qos(1)) == 0x10
    });
    let (client, connack) = broker().join(&connect(V5, &id).resuming());
    client.assert(connack.session_present, "the session lasts");
}

// v5[3.14.2-2 4.13.1-1] traps[20]
#[test]
fn a_session_without_expiry_cannot_be_given_one_by_disconnect() {
    for packet in [
        connect(V5, unique("zero")),
        connect(V5, unique("zero")).property(SessionExpiry(0)),
    ] {
        let topic = unique("will/");
        let mut watcher = broker().client(V5);
        watcher.subscribe(&topic, 0);
        let (mut client, _) = broker().join(&packet.clone().will(will(&topic, "still sent")));
        client.send(disconnect(0).property(SessionExpiry(60)));
        client.expect_disconnected(&[0x82]);
        watcher.take(&topic, "still sent", 0);
        let (client, connack) = broker().join(&packet.resuming());
        client.assert(!connack.session_present, "no session was kept");
    }
}

// v5[3.1.2-23]
#[test]
fn a_session_may_last_for_ever() {
    let id = unique("ever");
    let (client, _) = broker().join(&connect(V5, &id).property(SessionExpiry(u32::MAX)));
    client.leave();
    let (client, connack) = broker().join(&connect(V5, &id).resuming());
    client.assert(connack.session_present, "the session is there");
}
