//! MQTT over TLS is MQTT.

use crate::{broker, join};
use sluice_tests::broker::Signal;
use sluice_tests::packet::{BOTH, V5, connect, publish, will};
use sluice_tests::peer::Peer;
use sluice_tests::tls::{Identity, TLS12, TLS13, VERSIONS};
use sluice_tests::unique;

/// Its beginning differs from its end, so that a record that is lost or out of order is seen.
fn large_payload() -> Vec<u8> {
    (0..1024 * 1024_u32).map(|n| (n / 251) as u8).collect()
}

#[test]
fn messages_of_every_qos_and_size_arrive_as_they_were_sent() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let large = large_payload();
    for tls in VERSIONS {
        let client = identity.client_speaking(&[tls], &[]);
        for version in BOTH {
            let topic = unique("t/");
            let mut subscriber = join(&broker, &client, version);
            subscriber.subscribe(&topic, 2);
            let mut publisher = join(&broker, &client, version);
            for qos in 0..=2 {
                publisher.publish(publish(&topic, "small").qos(qos));
                subscriber.take(&topic, "small", qos);
                publisher.publish(publish(&topic, &large).qos(qos));
                subscriber.take(&topic, &large, qos);
            }
            publisher.leave();
            subscriber.leave();
        }
    }
}

#[test]
fn many_messages_at_once_arrive_in_order() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let mut subscriber = join(&broker, &identity.client(), V5);
    subscriber.subscribe("many/#", 1);
    let mut publisher = Peer::open(broker.listener("plain"), V5);
    publisher.send(connect(V5, unique("plain")));
    publisher.expect_connack();
    // More than the sockets and all buffers on the way hold: the broker has to wait for the subscriber.
    for n in 0..1_000 {
        publisher.send(publish(format!("many/{n}"), vec![n as u8; 8 * 1024]));
    }
    publisher.ping();
    for n in 0..1_000 {
        subscriber.expect_message(&format!("many/{n}"), vec![n as u8; 8 * 1024]);
    }
    subscriber.ping();
}

#[test]
fn policies_see_how_a_connection_is_encrypted() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    for (tls, name, cipher) in [(&TLS12, "TLSv1.2", "TLS_ECDHE_"), (&TLS13, "TLSv1.3", "TLS_AES_")] {
        let stream = identity
            .client_speaking(&[tls], &[])
            .connect(broker.listener("secure"))
            .expect("the handshake succeeds");
        let mut peer = Peer::over(stream, V5);
        let id = unique("seen");
        peer.send(connect(V5, &id).username("seen"));
        peer.expect_connack();
        let line = broker.wait_for_log("the client", |line| {
            line.is("client_connected") && line.has("client_id", &id)
        });
        let principal = line.text_field("principal").expect("a principal");
        assert!(principal.starts_with(&format!("{name} {cipher}")), "{principal}");
        assert!(principal.ends_with(" Some(\"broker.test\")"), "{principal}");
    }
    let mut plain = Peer::open(broker.listener("plain"), V5);
    plain.send(connect(V5, "plain").username("seen"));
    plain.expect_connack();
    broker.wait_for_log("the plain client", |line| {
        line.is("client_connected") && line.has("principal", "plain")
    });
}

#[test]
fn a_client_that_closes_without_the_farewell_of_tls_has_vanished_and_no_more() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let mut watcher = join(&broker, &identity.client(), V5);
    watcher.subscribe("gone", 0);
    let stream = identity.client().connect(broker.listener("secure"));
    let mut peer = Peer::over(stream.expect("the handshake succeeds"), V5);
    peer.send(connect(V5, "vanishing").will(will("gone", "x")));
    peer.expect_connack();
    peer.vanish();
    watcher.expect_message("gone", "x");
    let line = broker.wait_for_log("the end", |line| {
        line.is("client_disconnected") && line.has("client_id", "vanishing")
    });
    assert!(line.has("text", "the connection was closed"), "{}", line.text);
}

#[test]
fn a_stopping_broker_says_so_to_encrypted_clients_too() {
    let identity = Identity::new();
    let mut broker = broker(&identity, "");
    let mut peer = join(&broker, &identity.client(), V5);
    // In the middle of its handshake: not waited for.
    let half = Peer::open(broker.listener("secure"), V5);
    broker.signal(Signal::TERM);
    peer.expect_disconnected(&[0x8B]);
    assert!(broker.wait_for_exit().success());
    half.vanish();
}
