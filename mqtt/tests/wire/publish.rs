//! PUBLISH: its rules, what it shares with the buffer, and how it is encoded for a subscriber.

use crate::reject::{V5_ONLY, reject};
use crate::{ALL, BEFORE_5, V5, V311, block, decoded, encoded, field, packet, written};
use bytes::Bytes;
use sluice_mqtt::limits::VECTORED_PAYLOAD_BYTES_MIN;
use sluice_mqtt::packet::{Packet, PacketId, Publish, QoS};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::topic::NameError;
use sluice_mqtt::wire::{
    Malformed, Output, PublishHead, Violation, WireError, encode_publish, encode_publish_copied,
    publish_bytes,
};

#[test]
fn publish_is_strict() {
    let name = |error| WireError::from(Malformed::TopicName(error));
    reject! {
        "QoS 3", ALL, packet(0x36, &[b"\x00\x01a\x00\x01\x00"]) => Malformed::PublishQos3;
        "QoS 3 with DUP", ALL, packet(0x3E, &[b"\x00\x01a\x00\x01\x00"]) => Malformed::PublishQos3;
        "DUP at QoS 0", ALL, packet(0x38, &[b"\x00\x01a\x00"]) => Malformed::DupAtQos0;
        "nothing", ALL, packet(0x30, &[]) => Malformed::Truncated;
        "half a topic length", ALL, packet(0x30, &[b"\x00"]) => Malformed::Truncated;
        "a topic past the end", ALL, packet(0x30, &[b"\x00\x05abc"]) => Malformed::Truncated;
        "no packet id", ALL, packet(0x32, &[b"\x00\x01a"]) => Malformed::Truncated;
        "half a packet id", ALL, packet(0x34, &[b"\x00\x01a\x01"]) => Malformed::Truncated;
        "packet id 0, QoS 1", ALL, packet(0x32, &[b"\x00\x01a\x00\x00\x00"]) => Violation::PacketIdZero;
        "packet id 0, QoS 2", ALL, packet(0x34, &[b"\x00\x01a\x00\x00\x00"]) => Violation::PacketIdZero;
        "no property length", V5_ONLY, packet(0x30, &[b"\x00\x01a"]) => Malformed::Truncated;
        "a property length cut off", V5_ONLY, packet(0x30, &[b"\x00\x01a\x80"]) => Malformed::Truncated;
        "properties past the end", V5_ONLY, packet(0x30, &[b"\x00\x01a\x03\x01\x01"]) => Malformed::Truncated;
        "the largest property length", V5_ONLY, packet(0x30, &[b"\x00\x01a\xFF\xFF\xFF\x7F"]) => Malformed::Truncated;
        "a property length of 5 bytes", V5_ONLY, packet(0x30, &[b"\x00\x01a\x80\x80\x80\x80\x00"]) => Malformed::VarintTooLong;
        "property length 0 in 2 bytes", V5_ONLY, packet(0x30, &[b"\x00\x01a\x80\x00"]) => Malformed::VarintNotShortest;
        "no topic", BEFORE_5, packet(0x30, &[b"\x00\x00"]) => name(NameError::Empty);
        "no topic, no alias", V5_ONLY, packet(0x30, &[b"\x00\x00\x00"]) => Violation::EmptyTopicWithoutAlias;
        "alias 0", V5_ONLY, packet(0x30, &[b"\x00\x00\x03\x23\x00\x00"]) => Violation::ZeroProperty(0x23);
        "U+0000", ALL, packet(0x30, &[b"\x00\x03a\0b\x00"]) => Malformed::NullCharacter;
        "not UTF-8", ALL, packet(0x30, &[b"\x00\x02\xC3\x28\x00"]) => Malformed::NotUtf8;
        "a surrogate", ALL, packet(0x30, &[b"\x00\x03\xED\xBF\xBF\x00"]) => Malformed::NotUtf8;
    }
    for topic in ["#", "+", "a/#", "+/a", "a+b", "a#", "$SYS/+"] {
        reject! {
            "a wildcard", ALL, packet(0x30, &[&field(topic.as_bytes()), b"\x00"]) => name(NameError::Wildcard);
        }
    }
    assert_eq!(name(NameError::Wildcard).reason(), ReasonCode::TOPIC_NAME_INVALID);
    assert_eq!(
        Violation::ZeroProperty(0x23).reason(),
        ReasonCode::TOPIC_ALIAS_INVALID
    );
    assert_eq!(
        Violation::EmptyTopicWithoutAlias.reason(),
        ReasonCode::PROTOCOL_ERROR
    );
}

fn publish(properties: &[&[u8]]) -> Publish {
    let bytes = packet(0x30, &[b"\x00\x03a/b", &block(properties), b"payload"]);
    let Some(Packet::Publish(publish)) = decoded(V5, &bytes).unwrap() else {
        panic!("not a PUBLISH")
    };
    publish
}

const EXPIRY: &[u8] = b"\x02\x00\x00\x00\x09";
const ALIAS: &[u8] = b"\x23\x00\x07";
const IDS: &[u8] = b"\x0B\x01\x0B\x80\x01";
const FORMAT: &[u8] = b"\x01\x01";
const USER: &[u8] = b"\x26\x00\x01k\x00\x01v";

#[test]
fn what_is_passed_on_leaves_out_what_is_for_the_server() {
    let both = [FORMAT, USER].concat();
    let cases: &[(&[&[u8]], &[u8])] = &[
        (&[], b""),
        (&[EXPIRY, ALIAS, IDS], b""),
        (&[FORMAT, USER], &both),
        (&[EXPIRY, FORMAT, USER], &both),
        (&[FORMAT, USER, IDS, ALIAS], &both),
        (&[ALIAS, FORMAT, USER, EXPIRY], &both),
        (&[FORMAT, ALIAS, USER], &both),
        (&[EXPIRY, FORMAT, IDS, USER, ALIAS], &both),
    ];
    for (properties, forwarded) in cases {
        let publish = publish(properties);
        assert_eq!(publish.properties.forwarded, *forwarded, "{properties:?}");
        let has = |what: &[u8]| properties.contains(&what);
        assert_eq!(
            publish.properties.message_expiry_seconds,
            has(EXPIRY).then_some(9)
        );
        assert_eq!(publish.properties.topic_alias, has(ALIAS).then_some(7));
        let ids: &[u32] = if has(IDS) { &[1, 128] } else { &[] };
        assert_eq!(publish.properties.subscription_ids, ids);
        assert_eq!(publish.payload, b"payload".as_slice());
    }
}

#[test]
fn what_is_passed_on_is_a_slice_of_the_packet_unless_something_stands_between() {
    // Both ends of the packet are slices of its buffer for certain.
    let shared = |publish: &Publish| {
        let topic = publish.topic.as_ref().unwrap().text().as_bytes().as_ptr();
        (topic..publish.payload.as_ptr()).contains(&publish.properties.forwarded.as_ptr())
    };
    assert!(shared(&publish(&[FORMAT, USER])));
    assert!(shared(&publish(&[ALIAS, EXPIRY, FORMAT, USER])));
    assert!(shared(&publish(&[ALIAS, FORMAT, USER, EXPIRY])));
    assert!(!shared(&publish(&[FORMAT, ALIAS, USER])));
}

fn head(forwarded: &[u8]) -> PublishHead<'_> {
    PublishHead {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        packet_id: PacketId::new(0x1234),
        topic: b"a/b",
        alias: Some(7),
        expiry_seconds: Some(9),
        subscription_ids: &[1, 128],
        forwarded,
    }
}

#[test]
fn a_head_is_written_as_each_version_has_it() {
    let payload = Bytes::from_static(b"payload");
    let mut out = Output::new();
    encode_publish(&head(USER), &payload, V5, &mut out);
    let properties = block(&[ALIAS, EXPIRY, IDS, USER]);
    let expected = packet(0x3D, &[b"\x00\x03a/b\x12\x34", &properties, b"payload"]);
    assert_eq!(written(&out), expected);
    let mut out = Output::new();
    encode_publish(&head(USER), &payload, V311, &mut out);
    assert_eq!(written(&out), packet(0x3D, &[b"\x00\x03a/b\x12\x34payload"]));
}

#[test]
fn an_alias_stands_for_the_topic() {
    let mut head = head(b"");
    head.topic = b"";
    let mut out = Output::new();
    encode_publish_copied(&head, b"x", V5, &mut out);
    let Some(Packet::Publish(publish)) = decoded(V5, &written(&out)).unwrap() else {
        panic!("not a PUBLISH")
    };
    assert_eq!((publish.topic, publish.properties.topic_alias), (None, Some(7)));
}

#[test]
fn the_announced_size_is_the_size_written() {
    // Around every step of the lengths' own sizes, for the remaining length and for the property length.
    for version in [V311, V5] {
        for around in [0, 120, 16_380, 2_097_140_usize] {
            for payload_len in around..around + 16 {
                let payload = Bytes::from(vec![b'p'; payload_len]);
                let mut out = Output::new();
                encode_publish(&head(USER), &payload, version, &mut out);
                assert_eq!(out.len(), publish_bytes(&head(USER), payload_len, version));
            }
        }
    }
    for user_bytes in (100..140).chain(16_350..16_400) {
        let user = [b"\x26\x00\x00".as_slice(), &field(&vec![b'u'; user_bytes])].concat();
        let mut out = Output::new();
        encode_publish_copied(&head(&user), b"", V5, &mut out);
        assert_eq!(out.len(), publish_bytes(&head(&user), 0, V5));
        let Some(Packet::Publish(publish)) = decoded(V5, &written(&out)).unwrap() else {
            panic!()
        };
        assert_eq!(publish.properties.forwarded, user);
    }
}

#[test]
fn a_large_payload_is_shared_and_a_small_one_copied() {
    for len in [VECTORED_PAYLOAD_BYTES_MIN - 1, VECTORED_PAYLOAD_BYTES_MIN] {
        let payload = Bytes::from(vec![b'p'; len]);
        let mut out = Output::new();
        encode_publish(&head(b""), &payload, V5, &mut out);
        encode_publish(&head(b""), &payload, V5, &mut out);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = out.chunks_vectored(&mut slices);
        let shared = slices[..filled]
            .iter()
            .filter(|slice| slice.as_ptr() == payload.as_ptr())
            .count();
        assert_eq!(shared, if len < VECTORED_PAYLOAD_BYTES_MIN { 0 } else { 2 });
        let bytes = written(&out);
        assert_eq!(bytes.len(), 2 * publish_bytes(&head(b""), len, V5));
        let (first, second) = bytes.split_at(bytes.len() / 2);
        assert_eq!(first, second);
        assert!(first.ends_with(&payload));
    }
}

#[test]
fn a_payload_that_no_packet_can_hold_is_not_written() {
    let payload = Bytes::from(vec![0; 268_435_455]);
    let mut out = Output::new();
    encode_publish(&head(b""), &payload, V5, &mut out);
    assert!(out.is_empty());
    let fits = payload.slice(..268_435_455 - 8);
    let mut head = head(b"");
    head.topic = b"abcd";
    encode_publish(&head, &fits, V311, &mut out);
    assert_eq!(out.len(), 268_435_460);
}

#[test]
fn a_publish_survives_with_empty_payload_and_topic_of_any_length() {
    for len in [1, 127, 128, 65_535_usize] {
        let topic = vec![b't'; len];
        for version in ALL {
            let none: &[u8] = if *version == V5 { b"\x00" } else { b"" };
            let bytes = packet(0x31, &[&field(&topic), none]);
            let packet = decoded(*version, &bytes).unwrap().unwrap();
            assert_eq!(encoded(&packet, *version), bytes);
        }
    }
}
