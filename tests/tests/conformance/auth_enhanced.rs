//! Enhanced authentication (5.0, section 4.12), with a policy that wants its words back reversed.

use crate::brokers::{broker, guarded};
use sluice_tests::packet::{Connect, PINGREQ, V5, auth, connect, disconnect, publish, will};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{self, AuthData, AuthMethod};
use sluice_tests::reply::Notified;
use sluice_tests::unique;

fn hello(method: &str) -> Connect {
    connect(V5, unique("c")).property(AuthMethod(method.to_owned()))
}

/// Sends a CONNECT and leaves the rest to the test.
fn begin(packet: &Connect) -> Peer {
    let mut peer = guarded().peer(V5);
    peer.send(packet);
    peer
}

fn data(properties: &[Property]) -> Vec<u8> {
    let found = properties.iter().find_map(|property| match property {
        AuthData(data) => Some(data.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}

/// The AUTH that answers a challenge.
fn echo(method: &str, challenge: &Notified) -> sluice_tests::packet::Notice {
    let mut words = data(&challenge.properties);
    words.reverse();
    auth(0x18, method).property(AuthData(words))
}

/// A challenge: AUTH 0x18 with the method of CONNECT.
fn expect_challenge(peer: &mut Peer, method: &str) -> Notified {
    let challenge = peer.expect_auth();
    peer.assert(challenge.reason == 0x18, "Continue authentication");
    peer.assert(
        challenge.properties.contains(&AuthMethod(method.to_owned())),
        "the method of CONNECT",
    );
    challenge
}

/// A client that has authenticated with `echo`.
fn authenticated(packet: &Connect) -> Peer {
    let mut peer = begin(packet);
    let challenge = expect_challenge(&mut peer, "echo");
    peer.send(echo("echo", &challenge));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "admitted");
    peer
}

// v5[4.12.0-2 4.12.0-3 4.12.0-5 3.2.0-1 3.15.2-1]
#[test]
fn a_client_that_answers_the_challenge_is_admitted() {
    for (method, rounds) in [("echo", 1), ("echo-twice", 2)] {
        let mut peer = begin(&hello(method));
        for _ in 0..rounds {
            let challenge = expect_challenge(&mut peer, method);
            peer.send(echo(method, &challenge));
        }
        let connack = peer.expect_connack();
        peer.assert(connack.code == 0, "admitted");
        peer.assert(
            connack.properties.contains(&AuthMethod(method.to_owned())),
            "CONNACK names the method",
        );
        peer.assert(
            data(&connack.properties) == b"well said",
            "CONNACK has the policy's last data",
        );
        peer.ping();
    }
}

// v5[3.1.4-2 4.12.0-4 4.13.2-1]
#[test]
fn a_client_that_does_not_is_refused_without_its_will() {
    let topic = unique("will/");
    let mut watcher = guarded().client(V5);
    watcher.subscribe(&topic, 0);
    let mut peer = begin(&hello("echo").will(will(&topic, "x")));
    expect_challenge(&mut peer, "echo");
    peer.send(auth(0x18, "echo").property(AuthData(b"wrong".to_vec())));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0x87, "Not authorized");
    peer.expect_closed();
    watcher.expect_silence();
}

// v5[4.12.0-1]
#[test]
fn an_unknown_method_is_refused() {
    let mut peer = begin(&hello("unheard-of"));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0x8C, "Bad authentication method");
    peer.expect_closed();
}

// v5[4.12.0-3 4.12.0-5 3.15.2-1] traps[58]
#[test]
fn an_answer_of_another_kind_is_refused() {
    let answers: [&dyn Fn(&Notified) -> sluice_tests::packet::Notice; 4] = [
        &|challenge| echo("another", challenge),
        &|challenge| sluice_tests::packet::Notice {
            reason: 0x19,
            ..echo("echo", challenge)
        },
        &|challenge| sluice_tests::packet::Notice {
            reason: 0x00,
            ..echo("echo", challenge)
        },
        &|_| sluice_tests::packet::Notice {
            properties: vec![],
            ..auth(0x18, "echo")
        },
    ];
    for answer in answers {
        let mut peer = begin(&hello("echo"));
        let challenge = expect_challenge(&mut peer, "echo");
        peer.send(answer(&challenge));
        peer.expect_not_admitted(&[0x81, 0x82, 0x8C]);
    }
}

// v5[3.1.2-30 3.14.0-1]
#[test]
fn until_connack_only_auth_and_disconnect_are_taken() {
    let topic = unique("early/");
    let mut watcher = guarded().client(V5);
    watcher.subscribe(&topic, 0);
    for bytes in [
        sluice_tests::packet::Encode::bytes(&publish(&topic, "x"), V5),
        PINGREQ.to_vec(),
    ] {
        let mut peer = begin(&hello("echo").will(will(&topic, "will")));
        let challenge = expect_challenge(&mut peer, "echo");
        peer.send(
            [
                bytes,
                sluice_tests::packet::Encode::bytes(&echo("echo", &challenge), V5),
            ]
            .concat(),
        );
        peer.expect_not_admitted(&[0x82]);
    }
    let mut peer = begin(&hello("echo").will(will(&topic, "will")));
    expect_challenge(&mut peer, "echo");
    peer.send(disconnect(0x04));
    peer.expect_closed();
    watcher.expect_silence();
}

#[test]
fn who_does_not_answer_the_challenge_is_closed_in_time() {
    let topic = unique("will/");
    let mut watcher = guarded().client(V5);
    watcher.subscribe(&topic, 0);
    let mut peer = Peer::open(guarded().listener("hasty"), V5);
    peer.send(hello("echo").will(will(&topic, "x")));
    expect_challenge(&mut peer, "echo");
    peer.expect_not_admitted(&[0x80, 0x87]);
    watcher.expect_silence();
}

// v5[4.12.0-6 4.12.0-7]
#[test]
fn without_a_method_there_is_no_auth_and_no_method() {
    for broker in [broker(), guarded()] {
        // The next packet after CONNECT is CONNACK, not AUTH.
        let (peer, connack) = broker.join(&connect(V5, unique("c")));
        let named = connack
            .properties
            .iter()
            .any(|property| matches!(property, AuthMethod(_) | AuthData(_)));
        peer.assert(!named, "CONNACK names no method");
    }
}

// v5[4.12.1-1 4.12.0-5] traps[58]
#[test]
fn a_client_may_authenticate_again_and_keeps_its_session() {
    let topic = unique("kept/");
    let mut peer = authenticated(&hello("echo"));
    peer.subscribe(&topic, 1);
    let mut publisher = guarded().client(V5);
    for _ in 0..3 {
        peer.send(auth(0x19, "echo"));
        let challenge = expect_challenge(&mut peer, "echo");
        // Everything else goes on meanwhile.
        publisher.publish(publish(&topic, "meanwhile").qos(1));
        peer.take(&topic, "meanwhile", 1);
        peer.ping();
        peer.send(echo("echo", &challenge));
        let success = peer.expect_auth();
        peer.assert(success.reason == 0, "Success");
        peer.assert(
            success.properties.contains(&AuthMethod("echo".into())),
            "the method",
        );
        publisher.publish(publish(&topic, "after").qos(1));
        peer.take(&topic, "after", 1);
    }
}

// v5[4.12.1-2 4.13.2-1]
#[test]
fn a_failed_authentication_of_a_live_client_ends_its_connection() {
    let topic = unique("will/");
    let mut watcher = guarded().client(V5);
    watcher.subscribe(&topic, 0);
    let mut peer = authenticated(&hello("echo").will(will(&topic, "gone")));
    peer.send(auth(0x19, "echo"));
    expect_challenge(&mut peer, "echo");
    peer.send(auth(0x18, "echo").property(AuthData(b"wrong".to_vec())));
    peer.expect_disconnected(&[0x87]);
    watcher.take(&topic, "gone", 0);
}

// v5[4.12.1-1 3.15.2-1] traps[58]
#[test]
fn auth_that_belongs_to_nothing_is_a_protocol_error() {
    let mut changed = authenticated(&hello("echo"));
    changed.send(auth(0x19, "echo-twice"));
    changed.expect_disconnected(&[0x82, 0x8C]);
    for reason in [0x00, 0x18] {
        let mut peer = authenticated(&hello("echo"));
        peer.send(auth(reason, "echo"));
        peer.expect_disconnected(&[0x82]);
    }
    let mut twice = authenticated(&hello("echo"));
    twice.send(auth(0x19, "echo"));
    expect_challenge(&mut twice, "echo");
    twice.send(auth(0x19, "echo"));
    twice.expect_disconnected(&[0x82]);
}
