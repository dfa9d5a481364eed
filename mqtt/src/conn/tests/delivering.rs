//! Messages to the client: QoS 0, 1 and 2, windows, sizes, expiry, resumption.

use super::*;
use crate::message::MessageParts;
use crate::packet::{Packet, PublishProperties, QoS};
use crate::reason::ReasonCode;
use crate::session::Outgoing;
use crate::testing::{Pair, connect, puback, pubcomp, publish, pubrec, pubrel};
use bytes::Bytes;
use std::num::NonZeroU16;
use std::time::Duration;

const OK: ReasonCode = ReasonCode::SUCCESS;

fn parts<'a>(topic: &'a str, payload: &'a [u8], qos: QoS) -> MessageParts<'a> {
    MessageParts {
        mountpoint: "",
        topic,
        payload,
        forwarded: &[],
        qos,
        retain: false,
        publisher: 99,
        expires_at: None,
    }
}

#[test]
fn each_qos_is_delivered_in_its_way() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        for (payload, qos) in [("zero", 0), ("one", 1), ("two", 2)] {
            pair.deliver("t", payload, qos);
        }
        pair.expect(publish("t", "zero", 0, 0));
        pair.expect(publish("t", "one", 1, 1));
        pair.expect(publish("t", "two", 2, 2));
        pair.send(puback(1, OK));
        pair.send(pubrec(2, OK));
        pair.expect(pubrel(2, OK)); // [MQTT-4.3.3-4]
        pair.send(pubcomp(2, OK));
        assert!(pair.session.is_empty());
        pair.expect_silence();
    }
}

#[test]
fn a_pubrec_for_nothing_is_answered_where_it_can_be_told() {
    let mut pair = Pair::connected(Version::V5);
    pair.send(pubrec(9, OK));
    pair.expect(pubrel(9, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND));
    for version in V3 {
        let mut pair = Pair::connected(version);
        pair.send(pubrec(9, OK));
        pair.expect(pubrel(9, OK));
    }
}

#[test]
fn the_clients_receive_maximum_bounds_what_is_out_and_nothing_else() {
    let mut client = connect(Version::V5);
    client.receive_max = NonZeroU16::new(2);
    let mut pair = Pair::connected_as(client);
    for payload in ["a", "b", "c", "d"] {
        pair.deliver("t", payload, 1);
    }
    pair.expect(publish("t", "a", 1, 1));
    pair.expect(publish("t", "b", 1, 2));
    pair.expect_silence(); // [MQTT-3.3.4-9]
    pair.send(Packet::PingReq);
    pair.expect(Packet::PingResp); // [MQTT-4.9.0-3]
    pair.send(puback(2, ReasonCode::UNSPECIFIED_ERROR)); // [MQTT-4.4.0-2]
    pair.expect(publish("t", "c", 1, 3));
    pair.expect_silence();
    pair.send(puback(1, OK));
    pair.expect(publish("t", "d", 1, 4));
}

#[test]
fn a_resumed_session_gets_what_it_missed_in_order() {
    for version in ALL {
        let mut client = connect(version);
        client.clean_start = false;
        let mut pair = Pair::connected_as(client.clone());
        for (payload, qos) in [("a", 1), ("b", 2), ("c", 2)] {
            pair.deliver("t", payload, qos);
        }
        while pair.receive().is_some() {}
        pair.send(pubrec(2, OK));
        pair.expect(pubrel(2, OK));
        pair.session.detach();
        pair.deliver("t", "offline", 1);
        pair.deliver("t", "lost", 0);
        let connack = pair.reconnect(client);
        assert_eq!(connack.session_present, version > Version::V31);
        let mut first = publish("t", "a", 1, 1);
        first.dup = true;
        let mut third = publish("t", "c", 2, 3);
        third.dup = true;
        pair.expect(first); // [MQTT-4.4.0-1], [MQTT-4.6.0-1]
        pair.expect(pubrel(2, OK));
        pair.expect(third);
        pair.expect(publish("t", "offline", 1, 4));
        pair.expect_silence();
    }
}

#[test]
fn a_message_above_the_clients_maximum_packet_size_is_skipped_in_silence() {
    // Header 2, topic 3, packet identifier 2, property length 1.
    let overhead = 8;
    for (packet_bytes_max, fits) in [(overhead + 10, true), (overhead + 9, false)] {
        let mut client = connect(Version::V5);
        client.packet_bytes_max = Some(packet_bytes_max);
        let mut pair = Pair::connected_as(client);
        pair.deliver("t", "0123456789", 1);
        pair.deliver("t", "next", 1);
        if fits {
            pair.expect(publish("t", "0123456789", 1, 1));
        }
        pair.expect(publish("t", "next", 1, 2)); // [MQTT-3.1.2-24], [MQTT-3.1.2-25]
        pair.expect_silence();
        assert_eq!(pair.session.inflight_len(), 1 + usize::from(fits));
        assert_eq!(pair.session.counters().oversized, u64::from(!fits));
    }
}

#[test]
fn a_delivered_expiry_is_what_is_left_of_it() {
    let mut pair = Pair::connected(Version::V5);
    let left = |pair: &mut Pair| match pair.receive() {
        Some(Packet::Publish(publish)) => publish.properties.message_expiry_seconds,
        other => panic!("no PUBLISH: {other:?}"),
    };
    for (waited, expected) in [(0, 10), (1, 10), (1_000, 9), (1_001, 9), (9_999, 1)] {
        let expires_at = Some(pair.now + Duration::from_secs(10));
        pair.now += Duration::from_millis(waited);
        pair.deliver_parts(&MessageParts {
            expires_at,
            ..parts("t", b"x", QoS::AtMostOnce)
        });
        assert_eq!(left(&mut pair), Some(expected), "after {waited} ms"); // [MQTT-3.3.2-6]
    }
    pair.deliver("t", "for ever", 0);
    assert_eq!(left(&mut pair), None);
    let expires_at = Some(pair.now);
    pair.deliver_parts(&MessageParts {
        expires_at,
        ..parts("t", b"expired", QoS::AtMostOnce)
    });
    pair.expect_silence(); // [MQTT-3.3.2-5]
}

#[test]
fn a_message_that_was_sent_in_time_is_sent_again_even_when_expired() {
    let mut client = connect(Version::V5);
    client.clean_start = false;
    let mut pair = Pair::connected_as(client.clone());
    let expires_at = Some(pair.now + Duration::from_secs(10));
    pair.deliver_parts(&MessageParts {
        expires_at,
        ..parts("t", b"x", QoS::ExactlyOnce)
    });
    pair.now += Duration::from_secs(60);
    pair.reconnect(client);
    let Some(Packet::Publish(publish)) = pair.receive() else {
        panic!("no PUBLISH")
    };
    assert_eq!(publish.properties.message_expiry_seconds, Some(0)); // [MQTT-4.3.3-7]
    pair.send(pubrec(1, OK));
    pair.expect(pubrel(1, OK)); // [MQTT-4.3.3-13]
}

#[test]
fn properties_are_passed_on_and_unknown_to_older_clients() {
    let forwarded: &[u8] = b"\x03\x00\x01c\x26\x00\x01k\x00\x01v";
    for version in ALL {
        let mut pair = Pair::connected(version);
        let expires_at = Some(pair.now + Duration::from_secs(10));
        pair.deliver_parts(&MessageParts {
            forwarded,
            expires_at,
            ..parts("t", b"x", QoS::AtMostOnce)
        });
        let mut expected = publish("t", "x", 0, 0);
        if version == Version::V5 {
            expected.properties = PublishProperties {
                forwarded: Bytes::from_static(forwarded),
                message_expiry_seconds: Some(10),
                ..PublishProperties::default()
            };
        }
        pair.expect(expected);
    }
}

#[test]
fn large_payloads_arrive_as_they_were() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        let payload = vec![7; 100_000];
        pair.deliver_parts(&parts("t", &payload, QoS::AtLeastOnce));
        pair.deliver("t", "after", 1);
        let mut expected = publish("t", "", 1, 1);
        expected.payload = payload.into();
        pair.expect(expected);
        pair.expect(publish("t", "after", 1, 2));
    }
}

#[test]
fn a_mount_point_is_not_the_clients_to_see() {
    let mut pair = Pair::connected(Version::V5);
    let message = MessageParts {
        mountpoint: "tenant/",
        ..parts("a/b", b"x", QoS::AtMostOnce)
    };
    let delivery = crate::session::Delivery {
        message: crate::message::Message::new(message),
        qos: QoS::AtMostOnce,
        retain: true,
        subscription_ids: vec![5, 3].into(),
        place: None,
    };
    let outgoing = Outgoing::Publish {
        delivery: std::borrow::Cow::Owned(delivery),
        packet_id: None,
        dup: false,
    };
    assert_eq!(
        pair.conn.deliver(&outgoing, 7, pair.now),
        crate::conn::Delivered::Sent
    );
    let mut expected = publish("a/b", "x", 0, 0);
    expected.retain = true;
    expected.properties.subscription_ids = vec![5, 3];
    pair.expect(expected);
}

#[test]
fn nothing_is_delivered_before_connack_or_after_the_end() {
    let mut pair = Pair::new(connect(Version::V5));
    let outgoing = Outgoing::PubRel(crate::testing::id(1));
    let _ = pair.conn.deliver(&outgoing, 0, pair.now);
    pair.conn.pubcomp(crate::testing::id(1), OK);
    assert_eq!(pair.receive(), None);
    let mut pair = Pair::connected(Version::V5);
    pair.conn.disconnect(OK, None, None);
    while pair.receive().is_some() {}
    let _ = pair.conn.deliver(&outgoing, 0, pair.now);
    assert_eq!(pair.receive(), None);
}
