//! Time that passes while there is no broker.

use super::{both_ends, resume, store_everything};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::eventually;
use sluice_tests::packet::{V5, connect, publish};
use sluice_tests::property::Property;
use sluice_tests::receiving::{everything, payloads};
use std::time::{Duration, Instant};

/// Waits until a little more than so many seconds have passed.
fn pass(since: Instant, seconds: u64) {
    let over = Duration::from_millis(seconds * 1_000 + 200);
    eventually("the time has passed", || since.elapsed() > over);
}

#[test]
fn session_expiry_goes_on_counting() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let short = connect(V5, "short").property(Property::SessionExpiry(1));
        let long = connect(V5, "long").property(Property::SessionExpiry(3600));
        for packet in [&short, &long] {
            let (client, _) = broker.join(packet);
            client.leave();
        }
        // That a client has left is written without anybody waiting for it.
        store_everything(&broker);
        let left = Instant::now();
        broker.end(signal);
        pass(left, 1);
        broker.start_again();
        let (client, connack) = broker.join(&short.resuming());
        client.assert(!connack.session_present, "it has expired");
        resume(&broker, &long);
    });
}

#[test]
fn the_session_of_a_client_that_was_connected_expires_from_the_first_start_on() {
    let mut broker = Broker::durable("");
    let packet = connect(V5, "short").property(Property::SessionExpiry(2));
    let (_client, _) = broker.join(&packet);
    broker.restart(Signal::KILL);
    let lost = Instant::now();
    store_everything(&broker);
    // Another end does not give it more time.
    broker.end(Signal::KILL);
    pass(lost, 2);
    broker.start_again();
    let (client, connack) = broker.join(&packet.resuming());
    client.assert(!connack.session_present, "it has expired");
}

#[test]
fn a_session_that_has_expired_is_gone_with_all_that_waited() {
    let mut broker = Broker::durable("");
    let packet = connect(V5, "short").property(Property::SessionExpiry(1));
    let (mut client, _) = broker.join(&packet);
    client.subscribe("t", 1);
    client.leave();
    broker.client(V5).publish(publish("t", "x").qos(1));
    let left = Instant::now();
    broker.end(Signal::TERM);
    pass(left, 1);
    broker.start_again();
    broker.wait_for_log("that it has expired", |line| line.is("session_expired"));
    store_everything(&broker);
    broker.restart(Signal::KILL);
    let (mut client, connack) = broker.join(&packet.resuming());
    client.assert(!connack.session_present, "it is gone");
    assert!(everything(&mut client).is_empty());
}

#[test]
fn message_expiry_goes_on_counting() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let packet = connect(V5, "away").lasting();
        let (mut client, _) = broker.join(&packet);
        client.subscribe("t", 1);
        client.leave();
        let mut publisher = broker.client(V5);
        for (payload, seconds) in [("short", 1), ("long", 3600), ("short", 1)] {
            let expiry = Property::MessageExpiry(seconds);
            publisher.publish(publish("t", payload).qos(1).property(expiry));
        }
        publisher.publish(publish("t", "for ever").qos(1));
        let published = Instant::now();
        broker.end(signal);
        pass(published, 1);
        broker.start_again();
        let came = everything(&mut resume(&broker, &packet));
        assert_eq!(payloads(&came), ["long", "for ever"]);
        let left = came[0].expiry_seconds().unwrap_or_default();
        assert!((1..3600).contains(&left), "{left} seconds are left");
        assert_eq!(came[1].expiry_seconds(), None);
    });
}
