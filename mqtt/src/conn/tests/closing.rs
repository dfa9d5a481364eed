//! How connections end, and keep alive.

use super::*;
use crate::packet::{Disconnect, Packet};
use crate::reason::ReasonCode;
use crate::testing::{Pair, Verdict, connack, connect, disconnect, puback, publish, suback, text, unsuback};
use crate::wire::{Malformed, Violation, WireError};
use std::num::NonZeroU16;
use std::time::Duration;

/// The client does something; 5.0 clients are told why, others just cut off.
fn check(act: impl Fn(&mut Pair), reason: ReasonCode, cause: &CloseCause) {
    for version in ALL {
        let mut pair = Pair::connected(version);
        act(&mut pair);
        if version == Version::V5 {
            pair.expect(disconnect(reason));
        }
        pair.expect_closed(cause.clone());
        pair.send(publish("t", "after the end", 1, 9));
        assert!(pair.routed.is_empty(), "nothing is processed after the end");
        assert_eq!(pair.receive(), None, "nothing is sent after the end"); // [MQTT-3.14.4-1]
    }
}

#[test]
fn a_second_connect_is_a_protocol_error() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        pair.send(connect(version)); // [MQTT-3.1.0-2]
        if version == Version::V5 {
            pair.expect(disconnect(ReasonCode::PROTOCOL_ERROR));
        }
        pair.expect_closed(breach(Breach::SecondConnect));
    }
}

#[test]
fn packets_of_servers_are_not_for_clients_to_send() {
    let packets: [Packet; 4] = [
        connack(ReasonCode::SUCCESS),
        suback(1, &[ReasonCode::SUCCESS]).into(),
        unsuback(1, &[ReasonCode::SUCCESS]).into(),
        Packet::PingResp,
    ];
    for packet in packets {
        for version in ALL {
            let mut pair = Pair::connected(version);
            pair.send(packet.clone());
            if version == Version::V5 {
                pair.expect(disconnect(ReasonCode::PROTOCOL_ERROR));
            }
            assert_eq!(pair.receive(), None);
            let ended = matches!(
                pair.closed,
                Some(CloseCause::Wire(WireError::Violation(Violation::ServerPacket(_))))
            );
            assert!(ended, "{packet:?}: {:?}", pair.closed);
        }
    }
}

#[test]
fn malformed_bytes_end_the_connection() {
    let cause = wire(Malformed::FixedHeaderFlags(0xC1));
    check(
        |pair| pair.send_bytes(b"\xC1\x00"),
        ReasonCode::MALFORMED_PACKET,
        &cause,
    );
}

#[test]
fn a_server_disconnect_is_for_5_0_and_after_connack_only() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        pair.conn
            .disconnect(ReasonCode::USE_ANOTHER_SERVER, Some("full"), Some("other:1883"));
        if version == Version::V5 {
            let told = Disconnect {
                reason_string: Some(text("full")),
                server_reference: Some(text("other:1883")),
                ..Disconnect::new(ReasonCode::USE_ANOTHER_SERVER)
            };
            pair.expect(told);
        }
        assert_eq!(pair.receive(), None);
        assert!(pair.conn.is_closed());
        pair.conn.disconnect(ReasonCode::SERVER_SHUTTING_DOWN, None, None);
        assert_eq!(pair.receive(), None, "once is enough");

        let mut pair = Pair::new(connect(version));
        pair.conn.disconnect(ReasonCode::SERVER_SHUTTING_DOWN, None, None);
        assert_eq!(pair.receive(), None); // [MQTT-3.14.0-1]
        assert!(pair.conn.is_closed());
    }
}

#[test]
fn a_disconnect_carries_a_reason_code_of_its_own() {
    let mut pair = Pair::connected(Version::V5);
    pair.conn.disconnect(ReasonCode::BANNED, None, None);
    pair.expect(disconnect(ReasonCode::NOT_AUTHORIZED)); // [MQTT-3.14.2-1]
}

#[test]
fn a_client_that_wants_no_explanations_gets_them_where_it_must() {
    let mut client = connect(Version::V5);
    client.request_problem_information = false;
    let mut pair = Pair::connected_as(client);
    pair.verdict = Verdict::Refuse(ReasonCode::NOT_AUTHORIZED);
    pair.send(publish("t", "x", 1, 1));
    pair.expect(puback(1, ReasonCode::NOT_AUTHORIZED)); // [MQTT-3.1.2-29]
    pair.conn
        .disconnect(ReasonCode::NOT_AUTHORIZED, Some("why"), None);
    let told = Disconnect {
        reason_string: Some(text("why")),
        ..Disconnect::new(ReasonCode::NOT_AUTHORIZED)
    };
    pair.expect(told);
}

#[test]
fn a_clients_disconnect_is_the_last_that_is_heard_of_it() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        pair.queue(disconnect(ReasonCode::SUCCESS));
        pair.queue(publish("t", "x", 1, 1)); // [MQTT-3.14.4-1]
        pair.serve();
        assert_eq!(pair.disconnected, Some(Disconnect::new(ReasonCode::SUCCESS)));
        assert_eq!(pair.receive(), None);
        assert!(pair.conn.is_closed());
        assert!(pair.routed.is_empty());
    }
    let mut pair = Pair::connected(Version::V5);
    pair.send(disconnect(ReasonCode::DISCONNECT_WITH_WILL));
    assert_eq!(
        pair.disconnected,
        Some(Disconnect::new(ReasonCode::DISCONNECT_WITH_WILL))
    );
}

#[test]
fn a_disconnect_cannot_keep_a_session_that_connect_did_not() {
    let check = |at_connect: Option<u32>, at_disconnect: u32, allowed: bool| {
        let mut client = connect(Version::V5);
        client.session_expiry_seconds = at_connect;
        let mut pair = Pair::new(client);
        // What the server made of it does not count.
        pair.terms.session_expiry_seconds = if allowed { 0 } else { 60 };
        pair.handshake();
        let bye = Disconnect {
            session_expiry_seconds: Some(at_disconnect),
            ..Disconnect::new(ReasonCode::SUCCESS)
        };
        pair.send(bye);
        if allowed {
            assert!(pair.disconnected.is_some());
        } else {
            pair.expect(disconnect(ReasonCode::PROTOCOL_ERROR));
            pair.expect_closed(breach(Breach::SessionExpiryAtDisconnect));
        }
    };
    check(None, 1, false);
    check(Some(0), u32::MAX, false);
    check(None, 0, true);
    check(Some(10), 0, true);
    check(Some(10), 20, true);
}

fn with_keep_alive(version: Version, seconds: u16, terms: u16) -> Pair {
    let mut client = connect(version);
    client.keep_alive_seconds = seconds;
    let mut pair = Pair::new(client);
    pair.terms.keep_alive_seconds = terms;
    pair.handshake();
    pair
}

#[test]
fn a_client_is_given_up_after_one_and_a_half_times_its_keep_alive() {
    for version in ALL {
        let mut pair = with_keep_alive(version, 10, 10);
        pair.wait(Duration::from_millis(14_999));
        pair.expect_silence();
        pair.send(Packet::PingReq);
        pair.expect(Packet::PingResp);
        pair.wait(Duration::from_millis(14_999));
        pair.expect_silence();
        pair.wait(Duration::from_millis(1)); // [MQTT-3.1.2-22]
        if version == Version::V5 {
            pair.expect(disconnect(ReasonCode::KEEP_ALIVE_TIMEOUT));
        }
        pair.expect_closed(CloseCause::KeepAliveTimeout);
    }
}

#[test]
fn part_of_a_packet_is_no_sign_of_life() {
    let mut pair = with_keep_alive(Version::V311, 10, 10);
    pair.wait(Duration::from_secs(1));
    pair.send_bytes(b"\x30");
    pair.expect_silence();
    pair.wait(Duration::from_secs(14));
    pair.expect_closed(CloseCause::KeepAliveTimeout);
}

#[test]
fn without_keep_alive_a_client_may_be_silent_for_ever() {
    for version in ALL {
        let mut pair = with_keep_alive(version, 0, 0);
        pair.wait(Duration::from_secs(1_000_000));
        pair.expect_silence();
        assert_eq!(pair.conn.deadline(), None);
    }
}

#[test]
fn the_servers_keep_alive_counts_also_where_it_cannot_be_told() {
    for version in ALL {
        for asked in [0, 20] {
            let mut pair = with_keep_alive(version, asked, 10);
            pair.wait(Duration::from_secs(15));
            if version == Version::V5 {
                pair.expect(disconnect(ReasonCode::KEEP_ALIVE_TIMEOUT));
            }
            pair.expect_closed(CloseCause::KeepAliveTimeout);
        }
    }
}

#[test]
fn silence_that_is_the_servers_fault_is_excused() {
    let mut pair = with_keep_alive(Version::V5, 10, 10);
    pair.wait(Duration::from_secs(14));
    pair.conn.excuse_silence(pair.now);
    pair.wait(Duration::from_secs(14));
    pair.expect_silence();

    // A 3.1.1 client is not read while its messages wait to be stored.
    let mut client = connect(Version::V311);
    client.keep_alive_seconds = 10;
    let mut pair = Pair::new(client);
    pair.terms.keep_alive_seconds = 10;
    pair.terms.receive_max = NonZeroU16::MIN;
    pair.handshake();
    pair.verdict = Verdict::Hold;
    pair.send(publish("t", "x", 1, 1));
    pair.send(Packet::PingReq);
    pair.wait(Duration::from_secs(60));
    pair.expect_silence();
    pair.acknowledge(0);
    pair.expect(puback(1, ReasonCode::SUCCESS));
    pair.expect(Packet::PingResp);
    pair.wait(Duration::from_secs(15));
    pair.expect_closed(CloseCause::KeepAliveTimeout);
}

#[test]
fn a_ping_flood_is_answered_and_changes_nothing() {
    let mut pair = Pair::connected(Version::V311);
    pair.send_bytes(&b"\xC0\x00".repeat(10_000));
    assert_eq!(pair.unread(), b"\xD0\x00".repeat(10_000));
}
