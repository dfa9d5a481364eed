//! Keep alive: who is made to wait is not silent.

use crate::{message, policed, took_seconds};
use sluice_tests::packet::{Encode, PINGREQ, Version, connect, publish, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::reply::Reply;
use sluice_tests::{at_once, unique};
use std::time::{Duration, Instant};

/// So slow that what the tests send takes longer than 1.5 times the keep alive.
pub const BUDGETS: &str = r#"
patient-messages = { messages_in_per_second = { per_second = 5, burst = 1 } }
patient-filters = { subscribes_per_second = { per_second = 8, burst = 1 } }
patient-bytes = { bytes_in_per_second = { per_second = 8000, burst = 1000 } }
patient-messages-out = { messages_out_per_second = { per_second = 5, burst = 1 } }
patient-bytes-out = { bytes_out_per_second = { per_second = 100000, burst = 1000 } }
"#;

/// A client with a keep alive of one second sends this and a ping; its limit makes both take two seconds and more.
fn check(version: Version, budget: &str, much: &dyn Encode) {
    let packet = connect(version, unique("client")).username(budget).keep_alive(1);
    let (mut client, _) = policed().join(&packet);
    let began = Instant::now();
    client.send_all(&[much, &PINGREQ]);
    while client.receive() != Reply::PingResp {}
    took_seconds(began, 2.0, budget);
    client.ping();
}

#[test]
fn a_client_that_is_left_unread_by_its_own_limit_is_not_thrown_out_for_silence() {
    at_once(|version| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // One packet that takes so long, and is no sign of life before it is complete.
                let large = publish(unique("patient/"), "x".repeat(30_000));
                check(version, "patient-bytes", &large);
            });
            scope.spawn(|| {
                // One packet that is answered at once; what comes behind it waits so long.
                let filters = (0..20).map(|_| unique("patient/"));
                let many = filters.fold(subscribe(1), |packet, filter| packet.filter(filter, 0));
                check(version, "patient-filters", &many);
            });
        });
    });
}

#[test]
fn a_client_that_is_silent_afterwards_is_thrown_out_all_the_same() {
    at_once(|version| {
        let packet = connect(version, unique("client"))
            .username("patient-messages")
            .keep_alive(1);
        let (mut client, _) = policed().join(&packet);
        let topic = unique("patient/");
        let sent: Vec<u8> = (1..=5)
            .flat_map(|id| message(&topic, 0, 1).id(id).bytes(version))
            .collect();
        client.send(sent);
        for id in 1..=5 {
            client.expect_puback(id);
        }
        client.expect_disconnected(&[0x8D]);
    });
}

/// Receives so many messages while it pings, and then the answers to its pings.
fn receive_and_ping(subscriber: &mut Peer, messages: usize) {
    const BETWEEN_PINGS: Duration = Duration::from_millis(300);
    let (mut came, mut unanswered) = (0, 0);
    while came < messages {
        subscriber.send(PINGREQ);
        unanswered += 1;
        match subscriber.receive_within(BETWEEN_PINGS) {
            Some(Reply::Publish(_)) => came += 1,
            Some(Reply::PingResp) => unanswered -= 1,
            Some(_) => subscriber.fail("expected messages and answers"),
            None => {}
        }
    }
    for _ in 0..unanswered {
        subscriber.expect_pingresp();
    }
    subscriber.ping();
}

#[test]
fn a_client_that_is_sent_its_messages_slowly_stays_while_it_pings() {
    at_once(|version| {
        std::thread::scope(|scope| {
            // Many messages, or a single one that is longer than what the broker would read beside it.
            for (budget, messages, bytes) in [
                ("patient-messages-out", 20, 100),
                ("patient-bytes-out", 1, 900_000),
            ] {
                scope.spawn(move || {
                    let topic = unique("patient/");
                    let packet = connect(version, unique("client")).username(budget).keep_alive(2);
                    let (mut subscriber, _) = policed().join(&packet);
                    subscriber.subscribe(&topic, 0);
                    let mut publisher = policed().client(version);
                    for _ in 0..messages {
                        publisher.publish(publish(&topic, "x".repeat(bytes)));
                    }
                    receive_and_ping(&mut subscriber, messages);
                });
            }
        });
    });
}
