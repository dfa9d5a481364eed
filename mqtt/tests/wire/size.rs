//! Size limits: of what comes in, and of what goes out.

use crate::{ALL, V5, V311, block, decoded, field, packet, written};
use bytes::BytesMut;
use sluice_mqtt::limits::{ACK_BYTES_MAX, FILTERS_MAX};
use sluice_mqtt::packet::{Ack, ConnAck, Disconnect, Packet, PacketId, Version};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::text::Text;
use sluice_mqtt::wire::{DecodeLimits, Output, Violation, decode, encode_within};

fn limited(bytes: &[u8], version: Version, packet_bytes_max: u32) -> Option<bool> {
    let limits = DecodeLimits { packet_bytes_max };
    match decode(&mut BytesMut::from(bytes), version, &limits) {
        Ok(packet) => Some(packet.is_some()),
        Err(error) => {
            assert_eq!(error, Violation::PacketTooLarge.into());
            assert_eq!(error.reason(), ReasonCode::PACKET_TOO_LARGE);
            None
        }
    }
}

#[test]
fn the_limit_counts_the_fixed_header_to_the_byte() {
    for version in ALL {
        // The remaining length takes 1, 2 and 3 bytes.
        for payload in [10, 122, 123, 124, 200, 16_376, 16_377, 20_000] {
            let none: &[u8] = if *version == V5 { b"\x00" } else { b"" };
            let bytes = packet(0x30, &[b"\x00\x01a", none, &vec![0; payload]]);
            let exact = u32::try_from(bytes.len()).unwrap();
            assert_eq!(limited(&bytes, *version, exact), Some(true));
            assert_eq!(limited(&bytes, *version, exact - 1), None);
        }
    }
}

#[test]
fn an_oversized_packet_is_refused_before_its_body_arrives() {
    for version in ALL {
        assert_eq!(limited(b"\x30\xFF\xFF\xFF\x7F", *version, 1_000_000), None);
        assert_eq!(
            limited(b"\x30\xFF\xFF\xFF", *version, 1_000_000),
            Some(false),
            "not yet known"
        );
        assert_eq!(
            limited(b"\x30\xFF\xFF\xFF\x7F", *version, 268_435_460),
            Some(false),
            "allowed, not here"
        );
        assert_eq!(
            limited(b"\xC0\x00", *version, 1),
            None,
            "the limit holds for every packet"
        );
    }
}

#[test]
fn a_limit_changes_from_one_packet_to_the_next() {
    let bytes = packet(0x30, &[b"\x00\x01a", &[0; 100]]);
    let mut input = BytesMut::from(&[bytes.clone(), bytes].concat()[..]);
    let mut limits = DecodeLimits::default();
    assert!(decode(&mut input, V311, &limits).unwrap().is_some());
    limits.packet_bytes_max = 50;
    assert_eq!(
        decode(&mut input, V311, &limits),
        Err(Violation::PacketTooLarge.into())
    );
}

#[test]
fn acknowledgements_have_a_limit_of_their_own() {
    let user = |len: usize| [b"\x26\x00\x00".as_slice(), &field(&vec![b'u'; len])].concat();
    for first in [0x40, 0x50, 0x62, 0x70_u8] {
        // Header 4, packet id 2, reason 1, property length 3, property 5 and its text.
        let cap = usize::try_from(ACK_BYTES_MAX).unwrap();
        let of = |len: usize| packet(first, &[b"\x00\x01\x00", &block(&[&user(len)])]);
        assert_eq!(of(cap - 15).len(), cap);
        assert!(decoded(V5, &of(cap - 15)).is_ok());
        assert_eq!(decoded(V5, &of(cap - 14)), Err(Violation::PacketTooLarge.into()));
    }
    assert_eq!(
        decoded(V5, b"\xE0\x80\x80\x04"),
        Err(Violation::PacketTooLarge.into())
    );
    assert_eq!(
        decoded(V5, b"\xF0\x80\x80\x04"),
        Ok(None),
        "AUTH may carry large data"
    );
}

#[test]
fn more_filters_than_the_limit_are_refused() {
    for (first, one) in [(0x82, b"\x00\x01a\x00".as_slice()), (0xA2, b"\x00\x01a")] {
        let of = |count: usize| packet(first, &[b"\x00\x01", &one.repeat(count)]);
        assert!(decoded(V311, &of(FILTERS_MAX)).is_ok());
        assert_eq!(
            decoded(V311, &of(FILTERS_MAX + 1)),
            Err(Violation::TooManyFilters.into())
        );
    }
    assert_eq!(Violation::TooManyFilters.reason(), ReasonCode::QUOTA_EXCEEDED);
    let reasons = packet(0x90, &[b"\x00\x01", &vec![0; FILTERS_MAX + 1]]);
    assert_eq!(decoded(V311, &reasons), Err(Violation::TooManyFilters.into()));
}

#[test]
fn nothing_is_reserved_for_bytes_that_have_not_arrived() {
    let mut input = BytesMut::with_capacity(64);
    input.extend_from_slice(b"\x30\xFF\xFF\xFF\x7F\x00\x01a");
    let capacity = input.capacity();
    let limits = DecodeLimits {
        packet_bytes_max: 268_435_460,
    };
    assert_eq!(decode(&mut input, V5, &limits), Ok(None));
    assert_eq!((input.capacity(), input.len()), (capacity, 8));
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}

/// PUBACK with reason 0x87, reason string "why" (6 bytes as a property) and a user property (7 bytes).
fn explained() -> Packet {
    let mut ack = Ack::new(PacketId::new(1).unwrap(), ReasonCode::NOT_AUTHORIZED);
    ack.reason_string = Some(text("why"));
    ack.user_properties.push((text("k"), text("v")));
    Packet::PubAck(ack)
}

fn within(packet: &Packet, version: Version, bytes_max: u32, problem_information: bool) -> Option<Vec<u8>> {
    let mut out = Output::new();
    let fits = encode_within(packet.clone(), version, bytes_max, problem_information, &mut out);
    assert_eq!(fits, !out.is_empty());
    assert!(out.len() <= bytes_max as usize);
    fits.then(|| written(&out))
}

#[test]
fn an_answer_sheds_its_reason_string_then_its_user_properties() {
    let full = packet(
        0x40,
        &[
            b"\x00\x01\x87",
            &block(&[b"\x1F\x00\x03why", b"\x26\x00\x01k\x00\x01v"]),
        ],
    );
    let without_text = packet(0x40, &[b"\x00\x01\x87", &block(&[b"\x26\x00\x01k\x00\x01v"])]);
    let bare = packet(0x40, &[b"\x00\x01\x87"]);
    let lengths = [&full, &without_text, &bare].map(|bytes| u32::try_from(bytes.len()).unwrap());
    assert_eq!(lengths, [19, 13, 5]);
    for bytes_max in 0..=30 {
        let expected = match bytes_max {
            19.. => Some(full.clone()),
            13.. => Some(without_text.clone()),
            5.. => Some(bare.clone()),
            _ => None,
        };
        assert_eq!(within(&explained(), V5, bytes_max, true), expected, "{bytes_max}");
    }
}

#[test]
fn without_problem_information_only_connack_and_disconnect_explain_themselves() {
    assert_eq!(
        within(&explained(), V5, 100, false),
        Some(packet(0x40, &[b"\x00\x01\x87"]))
    );
    let mut disconnect = Disconnect::new(ReasonCode::NOT_AUTHORIZED);
    disconnect.reason_string = Some(text("why"));
    let explained = packet(0xE0, &[b"\x87", &block(&[b"\x1F\x00\x03why"])]);
    assert_eq!(
        within(&Packet::Disconnect(disconnect), V5, 100, false),
        Some(explained)
    );
    let mut connack = ConnAck::new(ReasonCode::NOT_AUTHORIZED);
    connack.reason_string = Some(text("why"));
    let explained = packet(0x20, &[b"\x00\x87", &block(&[b"\x1F\x00\x03why"])]);
    assert_eq!(
        within(&Packet::ConnAck(Box::new(connack)), V5, 100, false),
        Some(explained)
    );
}

#[test]
fn what_cannot_be_shed_is_not_written() {
    let mut connack = ConnAck::new(ReasonCode::SUCCESS);
    connack.assigned_client_id = Some(text("assigned"));
    let connack = Packet::ConnAck(Box::new(connack));
    assert_eq!(within(&connack, V5, 15, true), None);
    assert!(within(&connack, V5, 16, true).is_some());
    assert_eq!(
        within(&connack, V311, 4, true),
        Some(b"\x20\x02\x00\x00".to_vec())
    );
    let publish = decoded(V311, &packet(0x30, &[b"\x00\x01apayload"]))
        .unwrap()
        .unwrap();
    assert_eq!(within(&publish, V311, 11, true), None);
    assert!(within(&publish, V311, 12, true).is_some());
}
