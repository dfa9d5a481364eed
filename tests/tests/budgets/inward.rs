//! What a client may send: bytes and messages, and what happens to those who send more.

use crate::{
    accepted, client, identified, in_every_way, message, numbers, policed, take_numbered, took_seconds,
};
use sluice_tests::packet::{BOTH, Encode, PINGREQ, V5, Version, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::User;
use sluice_tests::unique;
use std::time::Instant;

/// Five messages, or the bytes of five, and then none; and others that are only slow.
pub const BUDGETS: &str = r#"
messages-refuse = { messages_in_per_second = { per_second = 0, burst = 5 }, over_limit = "refuse" }
messages-drop = { messages_in_per_second = { per_second = 0, burst = 5 }, over_limit = "drop" }
messages-disconnect = { messages_in_per_second = { per_second = 0, burst = 5 }, over_limit = "disconnect" }
bytes-refuse = { bytes_in_per_second = { per_second = 0, burst = 10000 }, over_limit = "refuse" }
bytes-drop = { bytes_in_per_second = { per_second = 0, burst = 10000 }, over_limit = "drop" }
bytes-disconnect = { bytes_in_per_second = { per_second = 0, burst = 10000 }, over_limit = "disconnect" }
messages-slow = { messages_in_per_second = { per_second = 10, burst = 5 }, over_limit = "delay" }
bytes-slow = { bytes_in_per_second = { per_second = 20000, burst = 1000 } }
"#;

/// What may be exceeded.
const RATES: [&str; 2] = ["messages", "bytes"];
/// Messages within the limit, as of `BUDGETS`.
const WITHIN: usize = 5;

/// A client that may send five messages, its topic, and a watcher of it.
fn scene(budget: &str, version: Version, qos: u8) -> (Peer, String, Peer) {
    let topic = unique("in/");
    let mut watcher = policed().client(version);
    watcher.subscribe(&topic, qos);
    (client(version, budget), topic, watcher)
}

#[test]
fn refuse_answers_quota_exceeded_and_routes_nothing_more() {
    in_every_way(|version, qos| {
        for rate in RATES {
            let (mut client, topic, mut watcher) = scene(&format!("{rate}-refuse"), version, qos);
            for number in 0..2 * WITHIN {
                let reason = client.try_publish(message(&topic, number, qos));
                // QoS 0 is not answered, and before 5.0 an answer cannot say no.
                let says_no = number >= WITHIN && qos > 0 && version == V5;
                client.assert(
                    reason == if says_no { 0x97 } else { 0 },
                    &format!("{rate}: message {number}"),
                );
            }
            let routed = numbers(&watcher.drain());
            assert_eq!(
                routed,
                Vec::from_iter(0..WITHIN),
                "{rate}, {version:?}, QoS {qos}"
            );
            client.ping();
        }
    });
}

#[test]
fn drop_acknowledges_and_routes_nothing_more() {
    in_every_way(|version, qos| {
        for rate in RATES {
            let (mut client, topic, mut watcher) = scene(&format!("{rate}-drop"), version, qos);
            for number in 0..2 * WITHIN {
                client.publish(message(&topic, number, qos));
            }
            let routed = numbers(&watcher.drain());
            assert_eq!(
                routed,
                Vec::from_iter(0..WITHIN),
                "{rate}, {version:?}, QoS {qos}"
            );
            client.ping();
        }
    });
}

#[test]
fn disconnect_ends_the_connection_at_the_first_message_too_many() {
    in_every_way(|version, qos| {
        for rate in RATES {
            let (mut client, topic, mut watcher) = scene(&format!("{rate}-disconnect"), version, qos);
            for number in 0..WITHIN {
                client.publish(message(&topic, number, qos));
            }
            client.send(identified(message(&topic, WITHIN, qos), 99));
            client.expect_disconnected(&[0x96]);
            let routed = numbers(&watcher.drain());
            assert_eq!(
                routed,
                Vec::from_iter(0..WITHIN),
                "{rate}, {version:?}, QoS {qos}"
            );
        }
    });
}

#[test]
fn delay_leaves_the_client_unread_until_the_rate_is_kept_and_loses_nothing() {
    in_every_way(|version, qos| {
        std::thread::scope(|scope| {
            // 15 messages beyond the burst at 10 a second; 38,000 bytes, a read of at most 2,500 of them too early.
            for (rate, seconds) in [("messages", 1.5), ("bytes", 1.7)] {
                scope.spawn(move || {
                    let (mut client, topic, mut watcher) = scene(&format!("{rate}-slow"), version, qos);
                    let sent: Vec<u8> = (0..20)
                        .map(|number| identified(message(&topic, number, qos), number + 1))
                        .flat_map(|message| message.bytes(version))
                        .collect();
                    let began = Instant::now();
                    client.send(sent);
                    take_numbered(&mut watcher, 20);
                    took_seconds(began, seconds, &format!("{rate}, {version:?}, QoS {qos}"));
                    for id in 1..=20 {
                        match qos {
                            0 => {}
                            1 => drop(client.expect_puback(id)),
                            _ => drop(client.expect_pubrec(id)),
                        }
                    }
                    client.ping();
                });
            }
        });
    });
}

#[test]
fn what_is_counted_is_every_byte_on_the_wire() {
    // Not a byte of payload: the properties and, before 5.0, the topic are what is too much.
    for version in BOTH {
        let (mut client, topic, mut watcher) = scene("bytes-refuse", version, 1);
        let long = format!("{topic}/{}", "x".repeat(1_900));
        watcher.subscribe(&long, 1);
        for _ in 0..2 * WITHIN {
            let hollow = match version {
                V5 => publish(&topic, "").property(User("n".into(), "x".repeat(1_900))),
                _ => publish(&long, ""),
            };
            client.try_publish(hollow.qos(1));
        }
        let routed = watcher.drain().len();
        watcher.assert(routed == WITHIN, &format!("{routed} messages were routed"));
    }
}

#[test]
fn other_packets_are_counted_and_never_refused() {
    let (mut client, topic, mut watcher) = scene("bytes-refuse", V5, 1);
    // The bytes of two messages, in pings.
    for _ in 0..2_000 {
        client.send(PINGREQ);
    }
    for _ in 0..2_000 {
        client.expect_pingresp();
    }
    let reasons: Vec<u8> = (0..WITHIN)
        .map(|number| client.try_publish(message(&topic, number, 1)))
        .collect();
    client.assert(reasons == [0, 0, 0, 0x97, 0x97], "three are left");
    let routed = numbers(&watcher.drain());
    assert_eq!(routed, [0, 1, 2]);
    client.ping();
}

#[test]
fn what_it_took_to_come_in_counts_as_well() {
    let wordy = connect(V5, unique("client"))
        .username("bytes-refuse")
        .property(User("n".into(), "v".repeat(5_000)));
    let (mut client, _) = policed().join(&wordy);
    assert_eq!(accepted(&mut client, WITHIN), 2);
}

#[test]
fn a_repeated_qos_2_message_is_acknowledged_again_over_the_limit_too() {
    for version in BOTH {
        let (mut client, topic, mut watcher) = scene("messages-refuse", version, 2);
        for number in 0..WITHIN {
            let id = client.next_packet_id();
            client.send(message(&topic, number, 2).id(id));
            client.expect_pubrec(id);
        }
        client.send(message(&topic, 0, 2).id(1).dup());
        let reason = client.expect_pubrec(1).reason;
        client.assert(reason == 0, "the first PUBREC may have been lost");
        client.release(1);
        assert_eq!(numbers(&watcher.drain()), Vec::from_iter(0..WITHIN));
    }
}
