//! What clients may use together: all of them, or those of one listener. It makes wait, and refuses nothing.

use crate::{message, reconfigure, took_seconds};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{Encode, V5, V311, Version, connect, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::unique;
use std::time::Instant;

/// Two listeners, of which `shared` has a total of its own; those who would be refused for limits of their own are
/// not for one they share.
fn config(total: &str, listener_total: &str) -> String {
    format!(
        r#"
[[listener]]
name = "default"
address = "127.0.0.1:0"
[[listener]]
name = "shared"
address = "127.0.0.1:0"
{listener_total}
{total}
[limits]
over_limit = "disconnect"
"#
    )
}

/// Messages of each of the two clients.
const EACH: usize = 40;

/// Two clients of a listener send all their messages at once; returns when all are acknowledged.
fn send(broker: &Broker, listener: &str) -> Instant {
    let mut clients = [V311, V5].map(|version| join(broker, listener, version));
    let began = Instant::now();
    for client in &mut clients {
        let topic = unique("total/");
        let version = client.version();
        let sent: Vec<u8> = (1..=EACH)
            .flat_map(|id| message(&topic, id, 1).id(id as u16).bytes(version))
            .collect();
        client.send(sent);
    }
    for client in &mut clients {
        for id in 1..=EACH {
            let reason = client.expect_puback(id as u16).reason;
            client.assert(reason < 0x80, "a limit that is shared refuses nothing");
        }
    }
    began
}

/// Two clients of a listener are sent as many messages, by somebody.
fn receive(broker: &Broker, listener: &str) -> Instant {
    let topic = unique("total/");
    let mut clients = [V311, V5].map(|version| join(broker, listener, version));
    for client in &mut clients {
        client.subscribe(&topic, 0);
    }
    let mut publisher = join(broker, "default", V5);
    let began = Instant::now();
    for number in 0..EACH {
        publisher.send(message(&topic, number, 0));
    }
    for client in &mut clients {
        for _ in 0..EACH {
            client.expect_publish();
        }
    }
    began
}

fn join(broker: &Broker, listener: &str, version: Version) -> Peer {
    let mut peer = Peer::open(broker.listener(listener), version);
    peer.send(connect(version, unique("client")));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "the connection is accepted");
    peer
}

/// Two clients of a listener subscribe to as many filters.
fn subscribe_all(broker: &Broker, listener: &str) -> Instant {
    let mut clients = [V311, V5].map(|version| join(broker, listener, version));
    let began = Instant::now();
    for client in &mut clients {
        let version = client.version();
        let requests: Vec<u8> = (1..=EACH)
            .flat_map(|id| subscribe(id as u16).filter(unique("total/"), 0).bytes(version))
            .collect();
        client.send(requests);
    }
    for client in &mut clients {
        for id in 1..=EACH {
            let codes = client.expect_suback(id as u16).codes;
            client.assert(codes == [0], "granted");
        }
    }
    began
}

/// What two clients of a listener do; when they began.
type Exchange = fn(&Broker, &str) -> Instant;

/// 80 messages of 1,900 bytes or more, or 80 filters. What two clients do before they pay is little: a batch of 16
/// messages or one read or write each.
const CASES: [(&str, Exchange); 5] = [
    ("messages_in_per_second = { per_second = 30, burst = 1 }", send),
    (
        "bytes_in_per_second = { per_second = \"64 KiB\", burst = \"1 KiB\" }",
        send,
    ),
    (
        "messages_out_per_second = { per_second = 30, burst = 1 }",
        receive,
    ),
    (
        "bytes_out_per_second = { per_second = \"64 KiB\", burst = \"1 KiB\" }",
        receive,
    ),
    (
        "subscribes_per_second = { per_second = 30, burst = 1 }",
        subscribe_all,
    ),
];
/// What each of them takes at least.
const SECONDS: f64 = 1.5;

#[test]
fn all_clients_together_keep_to_the_total_and_none_is_refused() {
    let broker = Broker::with_config(&config("", ""));
    for (total, all) in CASES {
        reconfigure(&broker, &config(&format!("[total]\n{total}"), ""));
        took_seconds(all(&broker, "default"), SECONDS, total);
    }
    reconfigure(&broker, &config("", ""));
    send(&broker, "default");
}

#[test]
fn the_clients_of_a_listener_keep_to_its_total_and_others_do_not_wait_for_them() {
    let broker = Broker::with_config(&config("", ""));
    for (total, all) in CASES {
        reconfigure(&broker, &config("", &format!("[listener.total]\n{total}")));
        took_seconds(all(&broker, "shared"), SECONDS, total);
    }
    // With this total the clients of the listener are as good as stopped; those of the other are not.
    let stopped = "[listener.total]\nmessages_in_per_second = { per_second = 1, burst = 1 }";
    reconfigure(&broker, &config("", stopped));
    let mut waiting = join(&broker, "shared", V5);
    let topic = unique("waiting/");
    let sent: Vec<u8> = (1..=1_000)
        .flat_map(|id| message(&topic, 0, 1).id(id).bytes(V5))
        .collect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            waiting.send(sent);
            waiting
        });
        send(&broker, "default");
        let mut waiting = writer.join().expect("the messages were written");
        // The limit is lifted while the client waits.
        reconfigure(&broker, &config("", ""));
        for id in 1..=1_000 {
            waiting.expect_puback(id);
        }
    });
}
