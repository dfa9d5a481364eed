//! Will Delay Interval and what a takeover does to wills.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, Connect, V5, connect, disconnect, will};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{SessionExpiry, WillDelay};
use sluice_tests::unique;

fn watch(version: sluice_tests::packet::Version) -> (Peer, String) {
    let topic = unique("will/");
    let mut watcher = broker().client(version);
    watcher.subscribe(&topic, 1);
    (watcher, topic)
}

/// A 5.0 client with a delayed will and a session expiry, in seconds.
fn delayed(topic: &str, delay: u32, expiry: u32) -> Connect {
    connect(V5, unique("delayed"))
        .property(SessionExpiry(expiry))
        .will(will(topic, "gone").qos(1).property(WillDelay(delay)))
}

// v5[3.1.2-8]
#[test]
fn a_delayed_will_is_published_when_its_delay_is_over() {
    let (mut watcher, topic) = watch(V5);
    let packet = delayed(&topic, 1, 3600);
    let (client, _) = broker().join(&packet);
    client.vanish();
    watcher.take(&topic, "gone", 1);
    let (client, connack) = broker().join(&connect(V5, &packet.client_id).resuming());
    client.assert(connack.session_present, "the session outlives its will");
    watcher.expect_silence();
}

// v5[3.1.2-8] traps[4]
#[test]
fn a_will_delayed_beyond_its_session_is_published_once_when_the_session_ends() {
    let (mut watcher, topic) = watch(V5);
    let (client, _) = broker().join(&delayed(&topic, 3600, 1));
    client.vanish();
    watcher.take(&topic, "gone", 1);
    watcher.expect_silence();
}

// v5[3.1.2-8]
#[test]
fn a_delayed_will_of_a_session_without_expiry_is_published_at_once() {
    let (mut watcher, topic) = watch(V5);
    let (client, _) = broker().join(&delayed(&topic, 3600, 0));
    client.vanish();
    watcher.take(&topic, "gone", 1);
}

// v5[3.1.3-9 3.1.2-8]
#[test]
fn coming_back_before_the_delay_is_over_cancels_the_will() {
    let (mut watcher, topic) = watch(V5);
    let packet = delayed(&topic, 2, 3600);
    let (client, _) = broker().join(&packet);
    client.vanish();
    let mut again = packet.clone().resuming();
    again.will = None;
    let (mut client, connack) = broker().join(&again);
    client.assert(connack.session_present, "back before the session ended");
    // Another will with the same delay, due later, tells when this one would have come.
    let (mut clock, due) = watch(V5);
    let (timer, _) = broker().join(&delayed(&due, 2, 3600));
    timer.vanish();
    clock.take(&due, "gone", 1);
    watcher.expect_silence();
    client.ping();
}

// v311[3.1.4-2] v5[3.1.4-3 3.1.2-8] traps[1]
#[test]
fn a_takeover_publishes_an_undelayed_will_of_the_old_connection() {
    for version in BOTH {
        let (mut watcher, topic) = watch(version);
        let packet = connect(version, unique("twin"))
            .lasting()
            .will(will(&topic, "gone").qos(1));
        let (mut old, _) = broker().join(&packet);
        let mut without_will = packet.clone();
        without_will.will = None;
        let (mut new, _) = broker().join(&without_will);
        old.expect_disconnected(&[0x8E]);
        watcher.take(&topic, "gone", 1);
        new.ping();
        watcher.expect_silence();
    }
}

// v5[3.1.2-8 3.1.4-3] traps[2]
#[test]
fn a_takeover_of_a_session_that_ends_publishes_even_a_delayed_will_at_once() {
    let (mut watcher, topic) = watch(V5);
    let packet = delayed(&topic, 3600, 0);
    let (mut old, _) = broker().join(&packet);
    let (new, connack) = broker().join(&connect(V5, &packet.client_id).resuming());
    new.assert(
        !connack.session_present,
        "a session with expiry 0 ends with its connection",
    );
    old.expect_disconnected(&[0x8E]);
    watcher.take(&topic, "gone", 1);
    watcher.expect_silence();
}

// v5[3.1.2-8 3.1.2-4] traps[3]
#[test]
fn a_clean_takeover_publishes_a_delayed_will_at_once() {
    let (mut watcher, topic) = watch(V5);
    let packet = delayed(&topic, 3600, 3600);
    let (mut old, _) = broker().join(&packet);
    let (_new, connack) = broker().join(&connect(V5, &packet.client_id));
    assert!(!connack.session_present);
    old.expect_disconnected(&[0x8E]);
    watcher.take(&topic, "gone", 1);
    watcher.expect_silence();
}

// v5[3.1.2-8 3.1.2-4] traps[3]
#[test]
fn a_clean_start_after_the_client_vanished_publishes_its_delayed_will_at_once() {
    let (mut watcher, topic) = watch(V5);
    let packet = delayed(&topic, 3600, 3600);
    let (client, _) = broker().join(&packet);
    client.vanish();
    let (_new, connack) = broker().join(&connect(V5, &packet.client_id));
    assert!(!connack.session_present);
    watcher.take(&topic, "gone", 1);
    watcher.expect_silence();
}

// v5[3.1.3-9] traps[3]
#[test]
fn a_takeover_that_resumes_the_session_cancels_a_delayed_will() {
    let (mut watcher, topic) = watch(V5);
    let packet = delayed(&topic, 3600, 3600);
    let (mut old, _) = broker().join(&packet);
    let mut without_will = packet.clone().resuming();
    without_will.will = None;
    let (new, connack) = broker().join(&without_will);
    new.assert(connack.session_present, "resumed");
    old.expect_disconnected(&[0x8E]);
    watcher.expect_silence();
    // Ending the session now must not bring it back.
    let mut new = new;
    new.send(disconnect(0).property(SessionExpiry(0)));
    new.expect_closed();
    watcher.expect_silence();
}

// v5[3.1.2-8 3.14.4-3] traps[4]
#[test]
fn a_disconnect_with_will_waits_for_the_delay_and_a_session_that_ends_does_not() {
    let (mut watcher, topic) = watch(V5);
    let packet = delayed(&topic, 3600, 3600);
    let (mut client, _) = broker().join(&packet);
    client.send(disconnect(0x04));
    client.expect_closed();
    watcher.expect_silence();
    let (mut client, connack) = broker().join(&packet.clone().resuming());
    client.assert(connack.session_present, "the session waits with its will");
    client.send(disconnect(0x04).property(SessionExpiry(0)));
    client.expect_closed();
    watcher.take(&topic, "gone", 1);
    watcher.expect_silence();
}

// v5[3.1.2-8 3.1.3-10]
#[test]
fn a_delayed_will_finds_the_subscribers_of_the_time_it_is_published() {
    let topic = unique("will/");
    let mut watcher = broker().client(V5);
    let (client, _) = broker().join(&delayed(&topic, 2, 3600));
    client.vanish();
    // Nobody was subscribed when the client vanished; whoever is when the will is due gets it.
    watcher.subscribe(&topic, 1);
    watcher.take(&topic, "gone", 1);
}
