//! Who gets an encrypted connection, and what becomes of those that do not.

use crate::{broker, failures, join, metric, sum};
use sluice_tests::packet::{V5, connect};
use sluice_tests::peer::Peer;
use sluice_tests::tls::{HandshakeKind, Identity, TLS12, TLS13, VERSIONS};
use sluice_tests::{eventually, unique};

#[test]
fn a_handshake_that_does_not_end_is_cut_off_while_others_are_served() {
    let identity = Identity::new();
    let broker = broker(&identity, "handshake_timeout = \"500 ms\"");
    let mut silent: Vec<Peer> = (0..50)
        .map(|_| Peer::open(broker.listener("secure"), V5))
        .collect();
    // A ClientHello that ends after its header, which promises 200 bytes.
    let mut half = Peer::open(broker.listener("secure"), V5);
    half.send([0x16, 3, 1, 0, 200]);
    let mut client = join(&broker, &identity.client(), V5);
    client.ping();
    let line = broker.wait_for_log("the end of a handshake", |line| line.is("tls_handshake_failed"));
    assert!(line.has("text", "not complete within 500 ms"), "{}", line.text);
    assert!(
        line.has("peer", "127.0.0.1") && line.has("listener", "secure"),
        "{}",
        line.text
    );
    half.expect_closed();
    silent.iter_mut().for_each(Peer::expect_closed);
    client.ping();
    eventually("every failure is counted", || failures(&broker, "timeout") == 51);
}

#[test]
fn a_client_without_tls_is_told_apart_and_turned_away() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let mut plain = Peer::open(broker.listener("secure"), V5);
    plain.send(connect(V5, unique("plain")));
    let line = broker.wait_for_log("the failure", |line| line.is("tls_handshake_failed"));
    assert!(line.has("text", "the client does not speak TLS"), "{}", line.text);
    assert!(line.has("cause", "not_tls"), "{}", line.text);
    join(&broker, &identity.client(), V5).ping();
}

#[test]
fn a_client_that_leaves_without_a_word_is_no_failure() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    Peer::open(broker.listener("secure"), V5).vanish();
    join(&broker, &identity.client(), V5).ping();
    assert_eq!(sum(&broker, "sluice_tls_handshakes_failed_total"), 0);
    eventually("none is under way", || {
        metric(&broker, "sluice_tls_handshakes_under_way") == Some(0)
    });
}

#[test]
fn a_client_that_does_not_trust_the_certificate_says_so_to_the_operator() {
    let broker = broker(&Identity::new(), "");
    let stranger = Identity::new().client();
    assert!(stranger.connect(broker.listener("secure")).is_err());
    let line = broker.wait_for_log("the failure", |line| line.is("tls_handshake_failed"));
    let text = line.text_field("text").expect("a text");
    assert!(text.contains("alert"), "{text}");
    assert!(line.has("cause", "client_refused"), "{}", line.text);
}

#[test]
fn versions_that_the_listener_does_not_speak_are_refused() {
    let identity = Identity::new();
    let broker = broker(&identity, "versions = [\"1.3\"]");
    let old = identity.client_speaking(&[&TLS12], &[]);
    assert!(old.connect(broker.listener("secure")).is_err());
    join(&broker, &identity.client_speaking(&[&TLS13], &[]), V5).ping();
}

#[test]
fn clients_may_ask_for_mqtt_by_alpn_but_for_nothing_else() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let asking = identity.client_speaking(&VERSIONS, &["h2", "mqtt"]);
    let stream = asking
        .connect(broker.listener("secure"))
        .expect("the handshake succeeds");
    assert_eq!(stream.session().alpn_protocol(), Some(&b"mqtt"[..]));
    let lost = identity.client_speaking(&VERSIONS, &["h2"]);
    assert!(lost.connect(broker.listener("secure")).is_err());
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    for tls in VERSIONS {
        let client = identity.client_speaking(&[tls], &[]);
        // Tickets of TLS 1.3 come after the handshake: with CONNACK at the latest.
        join(&broker, &client, V5).leave();
        let again = client.connect(broker.listener("secure"));
        let again = again.expect("the handshake succeeds");
        assert_eq!(again.session().handshake_kind(), Some(HandshakeKind::Resumed));
    }
    eventually("both kinds are counted", || {
        let of = |resumed| {
            metric(
                &broker,
                &format!("sluice_tls_handshakes_total{{resumed=\"{resumed}\"}}"),
            )
        };
        (of(false), of(true)) == (Some(2), Some(2))
    });
}

#[test]
fn of_too_many_handshakes_the_oldest_gives_way() {
    let identity = Identity::new();
    let broker = broker(&identity, "handshakes_max = 3");
    let silent = || Peer::open(broker.listener("secure"), V5);
    let under_way = |count| {
        eventually("so many are under way", || {
            metric(&broker, "sluice_tls_handshakes_under_way") == Some(count)
        });
    };
    let mut first = silent();
    under_way(1);
    let (second, third) = (silent(), silent());
    under_way(3);
    let mut client = join(&broker, &identity.client(), V5);
    first.expect_closed();
    let line = broker.wait_for_log("the one that gave way", |line| line.is("tls_handshake_failed"));
    assert!(line.has("cause", "displaced"), "{}", line.text);
    assert_eq!(failures(&broker, "displaced"), 1);
    client.ping();
    for waiting in [second, third] {
        waiting.vanish();
    }
    under_way(0);
}
