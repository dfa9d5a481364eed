//! Messages from the client: QoS 0, 1 and 2, answers and their order, Receive Maximum.

use super::*;
use crate::packet::{Ack, ConnAck, Packet, Publish, QoS};
use crate::reason::ReasonCode;
use crate::testing::{
    Pair, Verdict, Welcome, connect, disconnect, id, puback, pubcomp, publish, pubrec, pubrel, suback,
    subscribe, text, unsubscribe,
};
use std::num::NonZeroU16;

const OK: ReasonCode = ReasonCode::SUCCESS;
const NO: ReasonCode = ReasonCode::NOT_AUTHORIZED;

fn bounded(version: Version, receive_max: u16) -> Pair {
    let mut pair = Pair::new(connect(version));
    pair.terms.receive_max = NonZeroU16::new(receive_max).unwrap();
    pair.handshake();
    pair
}

fn again(mut publish: Publish) -> Publish {
    publish.dup = true;
    publish
}

#[test]
fn each_qos_is_answered_in_its_way() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        pair.send(publish("t", "zero", 0, 0));
        pair.expect_silence();
        pair.send(publish("t", "one", 1, 1));
        pair.expect(puback(1, OK)); // [MQTT-4.3.2-4]
        pair.send(publish("t", "two", 2, 2));
        pair.expect(pubrec(2, OK)); // [MQTT-4.3.3-8]
        pair.send(pubrel(2, OK));
        pair.expect(pubcomp(2, OK)); // [MQTT-4.3.3-11]
        assert_eq!(pair.routed, ["t=zero", "t=one", "t=two"]);
        assert!(pair.session.is_empty());
        assert_eq!(pair.conn.unanswered(), 0);
    }
}

#[test]
fn a_qos_1_identifier_is_free_once_acknowledged_whatever_dup_says() {
    let mut pair = Pair::connected(Version::V311);
    pair.send(publish("t", "a", 1, 1));
    pair.send(again(publish("t", "b", 1, 1))); // [MQTT-4.3.2-5]
    assert_eq!(pair.routed, ["t=a", "t=b"]);
}

#[test]
fn a_repeated_qos_2_message_is_acknowledged_and_not_routed_again() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        for _ in 0..3 {
            pair.send(again(publish("t", "a", 2, 1)));
            pair.expect(pubrec(1, OK)); // [MQTT-4.3.3-10]
        }
        assert_eq!(pair.routed, ["t=a"]);
        pair.send(pubrel(1, OK));
        pair.expect(pubcomp(1, OK));
        pair.send(publish("t", "b", 2, 1)); // [MQTT-4.3.3-12]
        assert_eq!(pair.routed, ["t=a", "t=b"]);
    }
}

#[test]
fn a_qos_2_exchange_survives_its_connection() {
    for version in ALL {
        let mut client = connect(version);
        client.clean_start = false;
        let mut pair = Pair::connected_as(client.clone());
        pair.send(publish("t", "a", 2, 1));
        pair.send(publish("t", "b", 2, 2));
        pair.reconnect(client);
        pair.send(again(publish("t", "b", 2, 2)));
        pair.expect(pubrec(2, OK));
        pair.send(pubrel(1, OK));
        pair.expect(pubcomp(1, OK));
        pair.send(pubrel(2, OK));
        pair.expect(pubcomp(2, OK));
        assert_eq!(pair.routed, ["t=a", "t=b"]);
    }
}

#[test]
fn a_release_of_nothing_is_completed_and_said_so_where_it_can_be() {
    let mut pair = Pair::connected(Version::V5);
    pair.send(pubrel(9, OK));
    pair.expect(pubcomp(9, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND));
    for version in V3 {
        let mut pair = Pair::connected(version);
        pair.send(pubrel(9, OK));
        assert_eq!(pair.unread(), b"\x70\x02\x00\x09");
    }
}

#[test]
fn acknowledgements_keep_the_order_of_their_messages() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        pair.verdict = Verdict::Hold;
        for (qos, packet_id) in [(1, 1), (2, 2), (1, 3), (0, 0), (1, 4)] {
            pair.send(publish("t", "x", qos, packet_id));
        }
        assert_eq!(pair.conn.unacknowledged(), 4);
        pair.acknowledge(2); // of 3
        pair.acknowledge(1); // of 2
        pair.expect_silence();
        pair.acknowledge(0); // of 1
        pair.expect(puback(1, OK)); // [MQTT-4.6.0-2]
        pair.expect(pubrec(2, OK));
        pair.expect(puback(3, OK));
        pair.expect_silence();
        pair.acknowledge(0);
        pair.acknowledge(0);
        pair.expect(puback(4, OK));
        assert_eq!((pair.conn.unacknowledged(), pair.conn.unanswered()), (0, 0));
    }
}

#[test]
fn no_is_said_in_the_words_of_the_version() {
    let explained = |packet: fn(Ack) -> Packet, packet_id| {
        packet(Ack {
            reason_string: Some(text("no")),
            ..Ack::new(id(packet_id), NO)
        })
    };
    let mut pair = Pair::connected(Version::V5);
    pair.verdict = Verdict::Refuse(NO);
    pair.send(publish("t", "x", 0, 0));
    pair.expect_silence();
    pair.send(publish("t", "x", 1, 1));
    pair.expect(explained(Packet::PubAck, 1));
    pair.send(publish("t", "x", 2, 2));
    pair.expect(explained(Packet::PubRec, 2));
    for version in V3 {
        let mut pair = Pair::connected(version);
        pair.verdict = Verdict::Refuse(NO);
        pair.send(publish("t", "x", 0, 0));
        pair.send(publish("t", "x", 1, 1));
        pair.expect(puback(1, OK)); // [MQTT-3.3.5-2] of 3.1.1
        pair.send(publish("t", "x", 2, 2));
        pair.expect(pubrec(2, OK));
        pair.send(pubrel(2, OK));
        pair.expect(pubcomp(2, OK));
        assert!(pair.routed.is_empty());
    }
}

#[test]
fn a_refusal_uses_a_reason_the_acknowledgement_may_carry() {
    let mut pair = Pair::connected(Version::V5);
    pair.verdict = Verdict::Refuse(ReasonCode::BANNED);
    pair.send(publish("t", "x", 1, 1));
    let Some(Packet::PubAck(ack)) = pair.receive() else {
        panic!("no PUBACK")
    };
    assert_eq!(ack.reason, NO); // [MQTT-3.4.2-1]
}

#[test]
fn a_refused_qos_2_identifier_is_free() {
    let mut pair = bounded(Version::V5, 1);
    for payload in ["a", "b"] {
        pair.verdict = Verdict::Refuse(NO);
        pair.send(publish("t", payload, 2, 1));
        assert!(matches!(pair.receive(), Some(Packet::PubRec(ack)) if ack.reason == NO));
    }
    pair.verdict = Verdict::Accept;
    pair.send(publish("t", "c", 2, 1)); // [MQTT-4.3.3-9]
    pair.expect(pubrec(1, OK));
    assert_eq!(pair.routed, ["t=c"]);
}

#[test]
fn a_discarded_message_looks_delivered() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        pair.verdict = Verdict::Discard;
        pair.send(publish("t", "x", 1, 1));
        pair.expect(puback(1, OK));
        assert!(pair.routed.is_empty());
    }
}

#[test]
fn that_nobody_subscribes_is_told_where_it_can_be() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        pair.verdict = Verdict::Hold;
        pair.send(publish("t", "x", 1, 1));
        let receipt = pair.receipts.remove(0).no_subscribers();
        pair.conn.acknowledge(receipt);
        let told = if version == Version::V5 {
            ReasonCode::NO_MATCHING_SUBSCRIBERS
        } else {
            OK
        };
        pair.expect(puback(1, told));
    }
}

#[test]
fn a_payload_above_the_cap_is_refused_and_the_connection_goes_on() {
    let mut pair = Pair::connected(Version::V5);
    pair.conn.set_payload_bytes_max(3);
    pair.send(publish("t", "four", 1, 1));
    assert!(matches!(pair.receive(), Some(Packet::PubAck(ack)) if ack.reason == ReasonCode::QUOTA_EXCEEDED));
    pair.send(publish("t", "thr", 1, 1));
    pair.expect(puback(1, OK));
    pair.conn.set_payload_bytes_max(4);
    pair.send(publish("t", "four", 1, 1));
    pair.expect(puback(1, OK));
    assert_eq!(pair.routed, ["t=thr", "t=four"]);
}

#[test]
fn one_message_above_receive_maximum_ends_the_connection() {
    let mut pair = bounded(Version::V5, 2);
    pair.verdict = Verdict::Hold;
    pair.send(publish("t", "a", 1, 1));
    pair.send(publish("t", "b", 1, 2));
    pair.send(publish("t", "qos 0 does not count", 0, 0));
    pair.expect_silence();
    pair.send(publish("t", "c", 1, 3));
    pair.expect(disconnect(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED)); // [MQTT-3.3.4-7]
    pair.expect_closed(breach(Breach::ReceiveMaximumExceeded));
}

#[test]
fn a_qos_1_message_counts_until_its_puback() {
    let mut pair = bounded(Version::V5, 1);
    pair.verdict = Verdict::Hold;
    for packet_id in 1..=10 {
        pair.send(publish("t", "a", 1, packet_id));
        pair.acknowledge(0);
        pair.expect(puback(packet_id, OK));
    }
    pair.expect_silence();
}

#[test]
fn a_qos_2_message_counts_until_its_pubcomp_and_its_repetitions_do_not() {
    let mut pair = bounded(Version::V5, 1);
    for _ in 0..3 {
        pair.send(publish("t", "a", 2, 1));
        pair.expect(pubrec(1, OK));
    }
    pair.send(pubrel(1, OK));
    pair.expect(pubcomp(1, OK));
    pair.send(publish("t", "b", 2, 2));
    pair.expect(pubrec(2, OK));
    pair.send(publish("t", "c", 1, 3));
    pair.expect(disconnect(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
}

#[test]
fn an_earlier_connection_does_not_count() {
    let mut client = connect(Version::V5);
    client.clean_start = false;
    let mut pair = Pair::new(client.clone());
    pair.terms.receive_max = NonZeroU16::MIN;
    pair.handshake();
    pair.send(publish("t", "a", 2, 1));
    pair.reconnect(client);
    pair.send(publish("t", "b", 2, 2));
    pair.expect(pubrec(2, OK));
    pair.send(pubrel(1, OK)); // of the earlier connection: frees nothing here
    pair.expect(pubcomp(1, OK));
    pair.send(publish("t", "c", 2, 3));
    pair.expect(disconnect(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
}

#[test]
fn before_5_0_nothing_more_is_read_while_too_many_wait() {
    for version in V3 {
        let mut pair = bounded(version, 2);
        pair.verdict = Verdict::Hold;
        for packet_id in 1..=4 {
            pair.send(publish("t", "x", 1, packet_id));
        }
        assert_eq!(pair.routed.len(), 2);
        pair.expect_silence();
        pair.acknowledge(0);
        assert_eq!(pair.routed.len(), 3);
        pair.acknowledge(0);
        assert_eq!(pair.routed.len(), 4);
        pair.expect(puback(1, OK));
        pair.expect(puback(2, OK));
    }
}

#[test]
fn endless_repetitions_of_a_qos_2_message_are_held_back() {
    let mut pair = bounded(Version::V5, 2);
    pair.verdict = Verdict::Hold;
    for _ in 0..10 {
        pair.send(publish("t", "x", 2, 1));
    }
    assert_eq!(pair.conn.unacknowledged(), 3);
    pair.acknowledge(0);
    for _ in 0..10 {
        pair.expect(pubrec(1, OK));
    }
    pair.expect_silence();
}

#[test]
fn qos_and_retain_beyond_what_was_announced_end_the_connection() {
    let check = |publish: Publish, cause: Breach| {
        for version in ALL {
            let mut announced = ConnAck::new(OK);
            announced.qos_max = Some(QoS::AtLeastOnce);
            announced.retain_available = false;
            let mut pair = Pair::new(connect(version));
            pair.welcome = Welcome::AcceptWith(Box::new(announced));
            pair.handshake();
            pair.send(self::publish("t", "fine", 1, 1));
            pair.expect(puback(1, OK));
            pair.send(publish.clone());
            if version == Version::V5 {
                pair.expect(disconnect(cause.reason()));
            }
            pair.expect_closed(breach(cause));
        }
    };
    check(publish("t", "x", 2, 1), Breach::QosNotSupported);
    let mut retained = publish("t", "x", 0, 0);
    retained.retain = true;
    check(retained, Breach::RetainNotSupported);
}

#[test]
fn subscriptions_are_answered_with_reasons_of_their_own() {
    for version in ALL {
        let mut pair = Pair::connected(version);
        pair.send(subscribe(5, "a/#"));
        pair.expect(suback(5, &[ReasonCode::GRANTED_QOS_2]));
        pair.conn.suback(suback(
            6,
            &[OK, ReasonCode::BANNED, ReasonCode::TOPIC_FILTER_INVALID],
        ));
        let reasons = if version == Version::V5 {
            [OK, NO, ReasonCode::TOPIC_FILTER_INVALID]
        } else {
            [OK, ReasonCode::UNSPECIFIED_ERROR, ReasonCode::UNSPECIFIED_ERROR]
        };
        pair.expect(suback(6, &reasons));
        pair.send(unsubscribe(7, "a/#"));
        assert!(matches!(pair.receive(), Some(Packet::UnsubAck(ack)) if ack.packet_id == id(7)));
    }
}

#[test]
fn a_message_dropped_without_a_verdict_is_noticed_and_never_acknowledged() {
    let mut pair = Pair::connected(Version::V5);
    pair.queue(publish("t", "x", 1, 1));
    let dropped = pair.next_event();
    assert!(matches!(dropped, Some(Event::Publish(_))));
    drop(dropped);
    assert_eq!(pair.conn.unanswered(), 1);
    // Debug builds stop at the assertion, others close the connection.
    if !cfg!(debug_assertions) {
        pair.send(Packet::PingReq);
        pair.expect(disconnect(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR));
        pair.expect_closed(CloseCause::Unjudged);
    }
}

#[test]
fn receipts_after_the_end_are_of_no_use() {
    let mut pair = Pair::connected(Version::V5);
    pair.verdict = Verdict::Hold;
    pair.send(publish("t", "x", 1, 1));
    pair.conn.disconnect(ReasonCode::SERVER_SHUTTING_DOWN, None, None);
    pair.expect(disconnect(ReasonCode::SERVER_SHUTTING_DOWN));
    pair.acknowledge(0);
    assert_eq!(pair.receive(), None);
}
