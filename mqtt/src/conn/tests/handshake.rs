//! From the first byte to CONNACK.

use super::*;
use crate::packet::{ConnAck, Packet, QoS};
use crate::reason::ReasonCode;
use crate::testing::{
    Pair, Welcome, connack, connect, disconnect, puback, publish, subscribe, text, unsubscribe,
};
use crate::wire::Violation;
use std::num::NonZeroU16;
use std::time::Duration;

#[test]
fn a_connack_tells_nothing_that_goes_without_saying() {
    for version in ALL {
        let mut pair = Pair::new(connect(version));
        pair.send(connect(version));
        pair.expect(connack(ReasonCode::SUCCESS));
        pair.expect_silence();
    }
}

#[test]
fn a_connack_tells_what_differs_from_the_clients_wish_or_the_default() {
    let mut client = connect(Version::V5);
    client.keep_alive_seconds = 60;
    client.session_expiry_seconds = Some(1000);
    let mut pair = Pair::new(client);
    pair.terms.receive_max = NonZeroU16::new(10).unwrap();
    pair.terms.topic_alias_max = 5;
    pair.terms.packet_bytes_max = 5000;
    pair.terms.keep_alive_seconds = 30;
    pair.terms.session_expiry_seconds = 100;
    let mut answer = ConnAck::new(ReasonCode::SUCCESS);
    answer.qos_max = Some(QoS::AtLeastOnce);
    answer.response_information = Some(text("not asked for"));
    answer.auth_data = Some("nobody authenticates".into());
    pair.welcome = Welcome::AcceptWith(Box::new(answer));
    let told = pair.handshake();
    assert_eq!(told.receive_max, NonZeroU16::new(10));
    assert_eq!(told.topic_alias_max, 5);
    assert_eq!(told.packet_bytes_max, Some(5000));
    assert_eq!(told.server_keep_alive_seconds, Some(30));
    assert_eq!(told.session_expiry_seconds, Some(100));
    assert_eq!(told.qos_max, Some(QoS::AtLeastOnce));
    assert_eq!(told.response_information, None); // [MQTT-3.1.2-28]
    assert_eq!(told.auth_data, None); // [MQTT-4.12.0-6]
    assert_eq!(pair.conn.session_expiry_seconds(), 100);
}

#[test]
fn response_information_is_for_those_who_ask() {
    let mut client = connect(Version::V5);
    client.request_response_information = true;
    let mut pair = Pair::new(client);
    let mut answer = ConnAck::new(ReasonCode::SUCCESS);
    answer.response_information = Some(text("answers/c"));
    pair.welcome = Welcome::AcceptWith(Box::new(answer));
    assert_eq!(pair.handshake().response_information, Some(text("answers/c")));
}

#[test]
fn session_present_is_never_said_where_it_cannot_be_true() {
    let mut yes = ConnAck::new(ReasonCode::SUCCESS);
    yes.session_present = true;
    for (version, clean_start, expected) in [
        (Version::V5, true, false), // [MQTT-3.2.2-2]
        (Version::V5, false, true),
        (Version::V311, false, true),
        (Version::V31, false, false), // no such flag yet
    ] {
        let mut client = connect(version);
        client.clean_start = clean_start;
        let mut pair = Pair::new(client.clone());
        pair.welcome = Welcome::Wait;
        pair.send(client);
        assert_eq!(
            pair.conn.accept(pair.terms.clone(), yes.clone(), pair.now),
            Ok(())
        );
        let Some(Packet::ConnAck(connack)) = pair.receive() else {
            panic!("no CONNACK")
        };
        assert_eq!(connack.session_present, expected, "{version:?}");
    }
    for version in ALL {
        let mut pair = Pair::new(connect(version));
        pair.welcome = Welcome::Wait;
        pair.send(connect(version));
        pair.conn.refuse(ConnAck {
            reason: ReasonCode::SERVER_BUSY,
            ..yes.clone()
        });
        let Some(Packet::ConnAck(connack)) = pair.receive() else {
            panic!("no CONNACK")
        };
        assert!(!connack.session_present); // [MQTT-3.2.2-6]
    }
}

#[test]
fn a_refused_client_is_told_in_the_words_of_its_version_and_cut_off() {
    for (reason, told) in [
        (
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        ),
        (
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        ),
        (ReasonCode::QUOTA_EXCEEDED, ReasonCode::SERVER_UNAVAILABLE),
        (
            ReasonCode::BAD_USER_NAME_OR_PASSWORD,
            ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        ),
        (ReasonCode::BANNED, ReasonCode::NOT_AUTHORIZED),
    ] {
        for version in ALL {
            let mut pair = Pair::new(connect(version));
            pair.welcome = Welcome::Refuse(reason);
            pair.send(connect(version));
            pair.expect(connack(if version == Version::V5 { reason } else { told }));
            assert!(pair.conn.is_closed()); // [MQTT-3.2.2-7]
            assert!(pair.closed.is_none(), "closing was asked for");
        }
    }
}

#[test]
fn what_comes_right_behind_connect_is_processed_once_the_client_is_in() {
    for version in ALL {
        let mut pair = Pair::new(connect(version));
        pair.welcome = Welcome::Wait;
        pair.queue(connect(version));
        pair.queue(publish("t", "early", 1, 7));
        pair.queue(Packet::PingReq);
        pair.serve();
        pair.expect_silence();
        assert!(pair.routed.is_empty());
        assert_eq!(pair.conn.deadline(), None, "it is the server's turn");
        pair.let_in(ConnAck::new(ReasonCode::SUCCESS));
        pair.serve();
        pair.expect(connack(ReasonCode::SUCCESS)); // [MQTT-3.2.0-1]
        pair.expect(puback(7, ReasonCode::SUCCESS));
        pair.expect(Packet::PingResp);
        assert_eq!(pair.routed, ["t=early"]);
    }
}

#[test]
fn what_comes_right_behind_a_refused_connect_is_never_looked_at() {
    for version in ALL {
        let mut pair = Pair::new(connect(version));
        pair.welcome = Welcome::Refuse(ReasonCode::NOT_AUTHORIZED);
        pair.queue(connect(version));
        pair.queue(publish("t", "early", 1, 7));
        pair.serve();
        pair.expect(connack(ReasonCode::NOT_AUTHORIZED));
        assert_eq!(pair.receive(), None);
        assert!(pair.routed.is_empty()); // [MQTT-3.1.4-6]
    }
}

#[test]
fn the_first_packet_is_connect_or_the_connection_ends_in_silence() {
    for packet in [
        Packet::PingReq,
        publish("t", "x", 0, 0).into(),
        disconnect(ReasonCode::SUCCESS),
    ] {
        let mut pair = Pair::new(connect(Version::V5));
        pair.send(packet);
        assert_eq!(pair.receive(), None); // [MQTT-3.14.0-1]
        let Some(CloseCause::Connect(error)) = pair.closed else {
            panic!("{:?}", pair.closed)
        };
        assert_eq!(error.cause, Violation::FirstPacketNotConnect.into());
    }
}

#[test]
fn an_unknown_protocol_level_is_answered_in_its_own_words() {
    let mut connect_6 = b"\x10\x10\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x03abc".to_vec();
    let mut pair = Pair::new(connect(Version::V5));
    pair.send_bytes(&connect_6);
    pair.expect(connack(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION)); // [MQTT-3.1.2-2]
    assert!(pair.conn.is_closed());
    // Below 5 only the return code of 3.1.1 is understood.
    connect_6[8] = 2;
    let mut pair = Pair::new(connect(Version::V311));
    pair.send_bytes(&connect_6);
    assert_eq!(pair.unread(), b"\x20\x02\x00\x01");
    assert!(pair.conn.is_closed());
}

#[test]
fn a_version_that_is_not_spoken_here_is_refused() {
    for version in ALL {
        let mut pair = Pair::new(connect(version));
        pair.conn = {
            let versions = ALL.into_iter().filter(|other| *other != version).collect();
            let config = crate::conn::ConnectionConfig {
                versions,
                connect_bytes_max: 1024,
                connect_timeout: Duration::from_secs(10),
            };
            Connection::new(config, pair.now)
        };
        pair.send(connect(version));
        pair.expect(connack(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION));
        pair.expect_closed(breach(Breach::VersionNotAllowed));
    }
}

#[test]
fn a_client_has_its_time_to_connect_and_no_more() {
    let mut pair = Pair::new(connect(Version::V5));
    pair.wait(Duration::from_millis(9_000));
    pair.send_bytes(b"\x10"); // part of a CONNECT
    pair.wait(Duration::from_millis(999));
    pair.expect_silence();
    pair.wait(Duration::from_millis(1));
    pair.expect_closed(CloseCause::ConnectTimeout);
}

#[test]
fn a_slow_decision_is_not_the_clients_fault() {
    let mut pair = Pair::new(connect(Version::V5));
    pair.welcome = Welcome::Wait;
    pair.send(connect(Version::V5));
    pair.wait(Duration::from_secs(60));
    pair.let_in(ConnAck::new(ReasonCode::SUCCESS));
    pair.expect(connack(ReasonCode::SUCCESS));
}

#[test]
fn a_connect_above_the_limit_is_refused_on_its_header() {
    let mut pair = Pair::new(connect(Version::V5));
    pair.send_bytes(b"\x10\xFF\x7F");
    let Some(CloseCause::Connect(error)) = pair.closed else {
        panic!("{:?}", pair.closed)
    };
    assert_eq!(error.cause, Violation::PacketTooLarge.into());
}

#[test]
fn a_connack_gives_up_its_extras_before_it_exceeds_the_clients_maximum() {
    let mut answer = ConnAck::new(ReasonCode::SUCCESS);
    answer.reason_string = Some(text("welcome"));
    answer.user_properties = vec![(text("name"), text("value"))];
    let bare = 5;
    let (reason_string, user_properties) = (10, 14);
    let check = |packet_bytes_max: u32, told: (bool, bool)| {
        let mut client = connect(Version::V5);
        client.packet_bytes_max = Some(packet_bytes_max);
        let mut pair = Pair::new(client);
        pair.welcome = Welcome::AcceptWith(Box::new(answer.clone()));
        let connack = pair.handshake();
        let present = (
            connack.reason_string.is_some(),
            !connack.user_properties.is_empty(),
        );
        assert_eq!(present, told, "{packet_bytes_max} bytes");
    };
    check(bare, (false, false));
    check(bare + user_properties - 1, (false, false)); // [MQTT-3.2.2-20]
    check(bare + user_properties, (false, true)); // [MQTT-3.2.2-19]
    check(bare + user_properties + reason_string - 1, (false, true));
    check(bare + user_properties + reason_string, (true, true));
    let mut client = connect(Version::V5);
    client.packet_bytes_max = Some(bare - 1);
    let mut pair = Pair::new(client.clone());
    pair.send(client);
    assert_eq!(pair.receive(), None);
    assert!(pair.conn.is_closed(), "a client that cannot be answered");
}

// [MQTT-3.1.2-24], [MQTT-3.8.4-1], [MQTT-3.10.4-4]
#[test]
fn a_client_that_may_not_be_sent_its_answer_does_not_wait_for_it() {
    let Packet::Subscribe(mut subscribe) = subscribe(1, "filter") else {
        unreachable!()
    };
    subscribe.filters = vec![subscribe.filters.remove(0); 20];
    let Packet::Unsubscribe(mut unsubscribe) = unsubscribe(1, "filter") else {
        unreachable!()
    };
    unsubscribe.filters = vec![unsubscribe.filters.remove(0); 20];
    let requests = [Packet::Subscribe(subscribe), Packet::Unsubscribe(unsubscribe)];
    for request in requests {
        let mut client = connect(Version::V5);
        client.packet_bytes_max = Some(20);
        let mut pair = Pair::new(client);
        pair.handshake();
        pair.send(request);
        pair.expect(disconnect(ReasonCode::PACKET_TOO_LARGE));
        assert!(pair.conn.is_closed());
    }
}

#[test]
fn a_client_that_may_not_be_sent_a_question_does_not_wait_for_it() {
    let mut client = connect(Version::V5);
    client.auth_method = Some(text("method"));
    client.packet_bytes_max = Some(10);
    let mut pair = Pair::new(client.clone());
    pair.welcome = Welcome::Challenge("more than ten bytes");
    pair.send(client);
    pair.expect(connack(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR));
    assert!(pair.conn.is_closed());
}
