//! How large packets are and may be.

use super::*;
use crate::packet::{Packet, QoS};
use crate::testing::puback;
use crate::wire::Violation;

/// A client that was told, if its version can be told, to send at most `bytes` at once.
fn bounded(version: Version, bytes: u32) -> Pair {
    let mut pair = Pair::new(connect(version));
    pair.terms.packet_bytes_max = bytes;
    pair.handshake();
    pair
}

/// A QoS 1 PUBLISH of so many bytes; one or two more where its Remaining Length needs them.
fn publish_of(version: Version, bytes: usize) -> Packet {
    let around = if version == Version::V5 { 8 } else { 7 };
    publish("t", &"x".repeat(bytes - around), 1, 1).into()
}

/// What the next PUBLISH is found to be: the packet's bytes, and whether they are too many.
fn judged(pair: &mut Pair, packet: Packet) -> (u32, bool) {
    pair.queue(packet);
    let Some(Event::Publish(received)) = pair.next_event() else {
        panic!("no PUBLISH")
    };
    assert_eq!(received.qos(), QoS::AtLeastOnce);
    let too_large = received.packet_too_large();
    pair.conn.acknowledge(received.discard());
    pair.expect(puback(1, ReasonCode::SUCCESS));
    (pair.conn.packet_bytes(), too_large)
}

#[test]
fn each_event_knows_how_many_bytes_its_packet_had() {
    for version in ALL {
        let mut pair = Pair::new(connect(version));
        assert_eq!(pair.conn.packet_bytes(), 0);
        let hello = pair.queue(connect(version));
        assert!(matches!(pair.next_event(), Some(Event::Connect(_))));
        assert_eq!(pair.conn.packet_bytes() as usize, hello);
        assert!(pair.next_event().is_none());
        assert_eq!(pair.conn.packet_bytes() as usize, hello, "nothing came since");

        for bytes in [10, 129, 130, 500, 20_000] {
            let mut pair = Pair::connected(version);
            let sent = pair.queue(publish_of(version, bytes));
            let Some(Event::Publish(received)) = pair.next_event() else {
                panic!("no PUBLISH")
            };
            pair.conn.acknowledge(received.discard());
            // A PINGREQ has no event.
            pair.queue(Packet::PingReq);
            assert!(pair.next_event().is_none());
            assert_eq!(pair.conn.packet_bytes() as usize, sent);
            pair.queue(Packet::PingReq);
            pair.queue(disconnect(ReasonCode::SUCCESS));
            assert!(matches!(pair.next_event(), Some(Event::Disconnect(_))));
            assert_eq!(pair.conn.packet_bytes(), 2);
        }
    }
}

#[test]
fn an_end_on_the_fixed_header_has_no_packet_and_one_on_its_body_has() {
    for version in ALL {
        let mut pair = bounded(version, 100);
        pair.queue(publish("t", "x", 0, 0));
        pair.serve();
        assert!(pair.conn.packet_bytes() > 0);
        pair.send_bytes(b"\x30\x63");
        assert_eq!(pair.conn.packet_bytes(), 0);

        let mut pair = Pair::connected(version);
        pair.send_bytes(b"\x30\x02\x00\x00");
        assert!(pair.conn.is_closed());
        assert_eq!(pair.conn.packet_bytes(), 4);
    }
}

#[test]
fn a_packet_above_the_maximum_ends_the_connection_on_its_header() {
    for version in ALL {
        let mut pair = bounded(version, 100);
        pair.send_bytes(b"\x30\x63"); // 101 bytes with the header
        if version == Version::V5 {
            pair.expect(disconnect(ReasonCode::PACKET_TOO_LARGE));
        }
        pair.expect_closed(wire(Violation::PacketTooLarge));
    }
}

#[test]
fn before_5_0_another_maximum_holds_at_once() {
    for version in V3 {
        let mut pair = bounded(version, 100);
        pair.conn.set_packet_bytes_max(120);
        assert_eq!(judged(&mut pair, publish_of(version, 120)), (120, false));
        pair.conn.set_packet_bytes_max(99);
        assert_eq!(judged(&mut pair, publish_of(version, 99)), (99, false));
        pair.send(publish_of(version, 100));
        pair.expect_closed(wire(Violation::PacketTooLarge));
    }
}

#[test]
fn what_connack_announced_stays_acceptable_and_a_larger_publish_than_now_wanted_is_marked() {
    let mut pair = bounded(Version::V5, 100);
    let publish = |bytes| publish_of(Version::V5, bytes);
    assert_eq!(judged(&mut pair, publish(100)), (100, false));
    pair.conn.set_packet_bytes_max(50);
    assert_eq!(judged(&mut pair, publish(50)), (50, false));
    assert_eq!(judged(&mut pair, publish(51)), (51, true));
    assert_eq!(judged(&mut pair, publish(100)), (100, true));
    // What is not a PUBLISH cannot be refused, and passes.
    pair.queue(subscribe(2, &"x".repeat(70)));
    assert!(matches!(pair.next_event(), Some(Event::Subscribe(_))));
    // More than announced may be allowed, and taken back.
    pair.conn.set_packet_bytes_max(200);
    assert_eq!(judged(&mut pair, publish(129)), (129, false));
    pair.conn.set_packet_bytes_max(50);
    assert_eq!(judged(&mut pair, publish(100)), (100, true));
    pair.send(publish(101));
    pair.expect(disconnect(ReasonCode::PACKET_TOO_LARGE));
    pair.expect_closed(wire(Violation::PacketTooLarge));
}

#[test]
fn a_client_that_was_told_no_maximum_is_never_cut_off_for_a_lowered_one() {
    let mut pair = Pair::connected(Version::V5);
    pair.conn.set_packet_bytes_max(10);
    assert_eq!(
        judged(&mut pair, publish_of(Version::V5, 100_000)),
        (100_002, true)
    );
}
