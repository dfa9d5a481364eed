//! Enhanced authentication (section 4.12).

use super::*;
use crate::packet::{Auth, ConnAck, Connect, Disconnect, Packet};
use crate::reason::ReasonCode;
use crate::testing::{Pair, Verdict, Welcome, auth, connack, connect, disconnect, puback, publish, text};
use std::time::Duration;

const CONTINUE: ReasonCode = ReasonCode::CONTINUE_AUTHENTICATION;
const AGAIN: ReasonCode = ReasonCode::RE_AUTHENTICATE;

fn client() -> Connect {
    let mut client = connect(Version::V5);
    client.auth_method = Some(text("SCRAM"));
    client.auth_data = Some("first".into());
    client
}

/// A client that has read its challenge.
fn challenged() -> Pair {
    let mut pair = Pair::new(client());
    pair.welcome = Welcome::Challenge("prove it");
    pair.send(client());
    pair.expect(auth(CONTINUE, "SCRAM", "prove it")); // [MQTT-4.12.0-2], [MQTT-4.12.0-5]
    pair
}

/// A client that was let in after one challenge.
fn authenticated() -> Pair {
    let mut pair = challenged();
    pair.send(auth(CONTINUE, "SCRAM", "proof"));
    let Some(Event::AuthResponse(auth)) = pair.events.pop() else {
        panic!("no answer")
    };
    assert_eq!(auth.data.as_deref(), Some(b"proof".as_slice()));
    let mut answer = ConnAck::new(ReasonCode::SUCCESS);
    answer.auth_data = Some("you too".into());
    pair.let_in(answer);
    let Some(Packet::ConnAck(connack)) = pair.receive() else {
        panic!("no CONNACK")
    };
    assert_eq!(connack.auth_method, Some(text("SCRAM"))); // [MQTT-4.12.0-5]
    assert_eq!(connack.auth_data.as_deref(), Some(b"you too".as_slice()));
    pair
}

#[test]
fn a_challenge_is_answered_and_the_client_let_in() {
    let mut pair = authenticated();
    pair.send(Packet::PingReq);
    pair.expect(Packet::PingResp);
}

#[test]
fn several_challenges_may_be_needed() {
    let mut pair = challenged();
    for _ in 0..3 {
        pair.send(auth(CONTINUE, "SCRAM", "proof"));
        pair.conn.challenge(Some("more".into()));
        pair.expect(auth(CONTINUE, "SCRAM", "more"));
    }
    pair.conn.refuse(ConnAck::new(ReasonCode::NOT_AUTHORIZED)); // [MQTT-4.12.0-4]
    pair.expect(connack(ReasonCode::NOT_AUTHORIZED));
    assert!(pair.conn.is_closed());
}

#[test]
fn before_connack_a_client_sends_only_auth_and_disconnect() {
    let check = |packet: Packet, cause: Breach| {
        let mut pair = challenged();
        pair.send(packet);
        pair.expect(connack(cause.reason()));
        pair.expect_closed(breach(cause));
        assert!(pair.routed.is_empty());
    };
    check(publish("t", "x", 0, 0).into(), Breach::BeforeConnAck); // [MQTT-3.1.2-30]
    check(Packet::PingReq, Breach::BeforeConnAck);
    check(client().into(), Breach::BeforeConnAck);
    check(auth(CONTINUE, "PLAIN", ""), Breach::AuthMethodChanged);
    check(auth(AGAIN, "SCRAM", ""), Breach::UnexpectedAuth); // [MQTT-4.12.0-3]
    assert_eq!(
        Breach::AuthMethodChanged.reason(),
        ReasonCode::BAD_AUTHENTICATION_METHOD
    );
    let mut pair = challenged();
    pair.send(disconnect(ReasonCode::SUCCESS));
    assert!(pair.disconnected.is_some());
    assert!(pair.conn.is_closed());
}

#[test]
fn a_client_has_to_answer_a_challenge_in_time() {
    let mut pair = challenged();
    pair.wait(Duration::from_secs(10));
    pair.expect_closed(CloseCause::ConnectTimeout);
}

#[test]
fn what_comes_behind_the_answer_waits_for_the_decision() {
    let mut pair = challenged();
    pair.queue(auth(CONTINUE, "SCRAM", "proof"));
    pair.queue(publish("t", "early", 1, 1));
    pair.serve();
    pair.expect_silence();
    pair.let_in(ConnAck::new(ReasonCode::SUCCESS));
    pair.serve();
    assert!(matches!(pair.receive(), Some(Packet::ConnAck(_))));
    pair.expect(puback(1, ReasonCode::SUCCESS));
}

#[test]
fn a_client_without_a_method_is_not_challenged_and_sends_no_auth() {
    let mut pair = Pair::new(connect(Version::V5));
    pair.welcome = Welcome::Challenge("prove it");
    pair.send(connect(Version::V5));
    pair.expect(connack(ReasonCode::BAD_AUTHENTICATION_METHOD)); // [MQTT-4.12.0-6]
    assert!(pair.conn.is_closed());

    let mut pair = Pair::connected(Version::V5);
    pair.send(auth(AGAIN, "SCRAM", "")); // [MQTT-4.12.0-7]
    pair.expect(disconnect(ReasonCode::PROTOCOL_ERROR));
    pair.expect_closed(breach(Breach::AuthWithoutMethod));
}

#[test]
fn re_authentication_goes_on_beside_everything_else() {
    let mut pair = authenticated();
    pair.send(auth(AGAIN, "SCRAM", "once more"));
    assert!(matches!(pair.events.pop(), Some(Event::Reauthenticate(_))));
    pair.send(publish("t", "meanwhile", 1, 1));
    pair.expect(puback(1, ReasonCode::SUCCESS));
    pair.conn.challenge(Some("prove it".into()));
    pair.expect(auth(CONTINUE, "SCRAM", "prove it"));
    pair.send(auth(CONTINUE, "SCRAM", "proof"));
    assert!(matches!(pair.events.pop(), Some(Event::AuthResponse(_))));
    pair.conn.reauthenticated(None);
    let done = Auth {
        reason: ReasonCode::SUCCESS,
        method: Some(text("SCRAM")),
        data: None,
        reason_string: None,
        user_properties: Vec::new(),
    };
    pair.expect(Packet::Auth(done));
    pair.send(auth(AGAIN, "SCRAM", "and again"));
    assert!(matches!(pair.events.pop(), Some(Event::Reauthenticate(_))));
}

#[test]
fn a_failed_re_authentication_ends_the_connection() {
    let mut pair = authenticated();
    pair.send(auth(AGAIN, "SCRAM", "once more"));
    pair.conn.disconnect(ReasonCode::NOT_AUTHORIZED, None, None);
    pair.expect(disconnect(ReasonCode::NOT_AUTHORIZED)); // [MQTT-4.12.1-2]
    assert!(pair.conn.is_closed());
}

#[test]
fn re_authentication_keeps_to_its_method_and_its_order() {
    let check = |packets: &[Packet], cause: Breach| {
        let mut pair = authenticated();
        for packet in packets {
            pair.send(packet.clone());
        }
        pair.expect(Disconnect::new(ReasonCode::PROTOCOL_ERROR));
        pair.expect_closed(breach(cause));
    };
    check(&[auth(AGAIN, "PLAIN", "")], Breach::ReauthMethodChanged); // [MQTT-4.12.1-1]
    check(&[auth(CONTINUE, "SCRAM", "")], Breach::UnexpectedAuth);
    check(
        &[auth(AGAIN, "SCRAM", ""), auth(AGAIN, "SCRAM", "")],
        Breach::UnexpectedAuth,
    );
    check(
        &[auth(AGAIN, "SCRAM", ""), auth(CONTINUE, "SCRAM", "")],
        Breach::UnexpectedAuth,
    );
}

#[test]
fn messages_that_wait_for_durability_do_not_disturb_re_authentication() {
    let mut pair = authenticated();
    pair.verdict = Verdict::Hold;
    pair.send(publish("t", "x", 1, 1));
    pair.send(auth(AGAIN, "SCRAM", "once more"));
    pair.acknowledge(0);
    pair.expect(puback(1, ReasonCode::SUCCESS));
    pair.conn.reauthenticated(None);
    assert!(matches!(pair.receive(), Some(Packet::Auth(_))));
}
