//! Keep alive.

use crate::brokers::broker;
use sluice_tests::packet::{PINGREQ, connect, publish, will};
use sluice_tests::{at_once, eventually, unique};
use std::time::{Duration, Instant};

// v311[3.1.2-24 3.1.2-8] v5[3.1.2-22 3.2.2-22 3.1.2-8] traps[56]
#[test]
fn silence_for_one_and_a_half_keep_alive_ends_the_connection_and_brings_out_the_will() {
    at_once(|version| {
        let topic = unique("will/");
        let mut watcher = broker().client(version);
        watcher.subscribe(&topic, 0);
        let started = Instant::now();
        let (mut client, _) = broker().join(
            &connect(version, unique("c"))
                .keep_alive(1)
                .will(will(&topic, "gone")),
        );
        client.expect_disconnected(&[0x8D]);
        client.assert(
            started.elapsed() >= Duration::from_millis(1400),
            "not before 1.5 seconds",
        );
        // Far from what a busy machine makes of 1.5 seconds, and from no time limit at all.
        client.assert(started.elapsed() < Duration::from_secs(15), "not much later");
        watcher.take(&topic, "gone", 0);
    });
}

// v311[3.1.2-24] v5[3.1.2-22] traps[56]
#[test]
fn any_packet_in_time_keeps_the_connection() {
    at_once(|version| {
        let topic = unique("busy/");
        // Both have the same keep alive, and the one that keeps talking was there first.
        let (mut busy, _) = broker().join(&connect(version, unique("busy")).keep_alive(2));
        let (mut quiet, _) = broker().join(&connect(version, unique("quiet")).keep_alive(2));
        let mut number = 0;
        let ended = std::thread::spawn(move || quiet.expect_disconnected(&[0x8D]));
        eventually("the quiet one is disconnected", || {
            number += 1;
            if number % 2 == 0 {
                busy.ping();
            } else {
                busy.publish(publish(&topic, "x").qos(1));
            }
            ended.is_finished()
        });
        ended.join().expect("the quiet one was disconnected");
        busy.ping();
    });
}

// v311[3.1.2-24] v5[3.1.2-22] traps[56]
#[test]
fn an_incomplete_packet_is_no_sign_of_life() {
    at_once(|version| {
        let (mut client, _) = broker().join(&connect(version, unique("c")).keep_alive(1));
        // A PUBLISH of 100,000 bytes, one byte at a time, never whole.
        client.send([0x30, 0xA0, 0x8D, 0x06]);
        eventually("the trickle does not keep the connection open", || {
            client.send([0]);
            client.is_closed()
        });
    });
}

// v311[3.1.2-24] v5[3.2.2-22] traps[56]
#[test]
fn keep_alive_0_never_ends_a_connection() {
    at_once(|version| {
        let (mut forever, connack) = broker().join(&connect(version, unique("forever")).keep_alive(0));
        let changed = connack
            .properties
            .iter()
            .any(|property| matches!(property, sluice_tests::property::Property::ServerKeepAlive(_)));
        forever.assert(
            !changed,
            "the default broker leaves the keep alive to its clients",
        );
        // As long as another needs to be disconnected for its silence.
        let (mut quiet, _) = broker().join(&connect(version, unique("quiet")).keep_alive(1));
        quiet.expect_disconnected(&[0x8D]);
        forever.ping();
    });
}

// v311[3.12.4-1] v5[3.12.4-1]
#[test]
fn a_pingreq_split_in_two_is_a_ping() {
    at_once(|version| {
        let (mut client, _) = broker().join(&connect(version, unique("c")).keep_alive(1));
        client.send([PINGREQ[0]]);
        client.send([PINGREQ[1]]);
        client.expect_pingresp();
    });
}
