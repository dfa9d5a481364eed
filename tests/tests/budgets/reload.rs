//! Limits of the configuration, changed with SIGHUP while clients stay connected.

use crate::{DEFAULT_LISTENER, accepted, message, numbers, reconfigure, took_seconds};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, V5, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::unique;
use std::time::Instant;

/// Limits as the rest of a configuration has them.
fn with(limits: &str) -> String {
    format!("{DEFAULT_LISTENER}[limits]\nover_limit = \"refuse\"\n{limits}\n")
}

#[test]
fn rates_sizes_and_numbers_change_for_live_clients() {
    let broker = Broker::with_config(&with(""));
    let mut client = broker.client(V5);
    let limit = |client: &mut Peer, limits: &str| {
        reconfigure(&broker, &with(limits));
        // Between the two answers the client's connection has looked at what is new.
        client.ping();
        client.ping();
    };
    assert_eq!(accepted(&mut client, 10), 10);
    limit(
        &mut client,
        "bytes_in_per_second = { per_second = \"1 B\", burst = \"4200 B\" }",
    );
    assert_eq!(accepted(&mut client, 10), 2);
    limit(&mut client, "bytes_in_per_second = \"unlimited\"");
    assert_eq!(accepted(&mut client, 10), 10);
    limit(&mut client, "payload_bytes_max = \"100 B\"");
    assert_eq!(accepted(&mut client, 10), 0);
    limit(&mut client, "subscriptions_max = 0");
    assert_eq!(accepted(&mut client, 10), 10);
    let codes = client.request_subscription(subscribe(999).filter(unique("t/"), 0));
    assert_eq!(codes, [0x97]);
    // A packet that CONNACK announced as acceptable is refused; see `honest`.
    limit(&mut client, "packet_bytes_max = \"1000 B\"");
    assert_eq!(accepted(&mut client, 10), 0);
    client.ping();
}

#[test]
fn the_limits_of_a_listener_change_for_its_live_clients() {
    let listener =
        |limits: &str| format!("{DEFAULT_LISTENER}limits = {{ over_limit = \"refuse\" {limits} }}\n");
    let broker = Broker::with_config(&listener(""));
    let mut client = broker.client(V5);
    assert_eq!(accepted(&mut client, 5), 5);
    for (limits, messages) in [
        (
            ", bytes_in_per_second = { per_second = \"1 B\", burst = \"4200 B\" }",
            2,
        ),
        (", payload_bytes_max = \"100 B\"", 0),
        ("", 5),
    ] {
        reconfigure(&broker, &listener(limits));
        client.ping();
        client.ping();
        assert_eq!(accepted(&mut client, 5), messages, "{limits}");
    }
}

#[test]
fn the_lifetime_of_live_connections_changes() {
    let broker = Broker::with_config(&with(""));
    let began = Instant::now();
    let mut clients = BOTH.map(|version| broker.client(version));
    reconfigure(&broker, &with("connection_lifetime_max = \"1 s\""));
    for client in &mut clients {
        client.expect_disconnected(&[0xA0]);
    }
    took_seconds(began, 1.0, "the connections");
}

#[test]
fn a_queue_is_bounded_anew_and_what_waits_in_it_stays() {
    let broker = Broker::with_config(&with("inflight_max = 1"));
    for version in BOTH {
        let topic = unique("queue/");
        let mut subscriber = broker.client(version);
        subscriber.subscribe(&topic, 1);
        let mut publisher = broker.client(version);
        for number in 0..6 {
            publisher.publish(message(&topic, number, 1));
        }
        let first = subscriber.expect_publish();
        reconfigure(&broker, &with("inflight_max = 1\nqueue_messages_max = 2"));
        subscriber.ping();
        subscriber.ping();
        // Five wait already.
        publisher.publish(message(&topic, 6, 1));
        subscriber.acknowledge(&first);
        let rest: Vec<_> = (1..6)
            .map(|_| {
                let delivered = subscriber.expect_publish();
                subscriber.acknowledge(&delivered);
                delivered
            })
            .collect();
        assert_eq!(numbers(&rest), [1, 2, 3, 4, 5]);
        subscriber.expect_silence();
        reconfigure(&broker, &with("inflight_max = 1"));
    }
}
