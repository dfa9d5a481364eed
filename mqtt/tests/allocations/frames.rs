//! Decoding a PUBLISH and encoding it for a subscriber allocate nothing.

use super::allocations;
use bytes::{Bytes, BytesMut};
use sluice_mqtt::packet::{Packet, PacketId, Publish, QoS, Version};
use sluice_mqtt::wire::{DecodeLimits, Output, PublishHead, decode, encode_publish, encode_publish_copied};

/// Allocations of 100 runs, after ten that warm buffers up.
fn in_100_runs(mut run: impl FnMut()) -> u64 {
    for _ in 0..10 {
        run();
    }
    allocations(|| {
        for _ in 0..100 {
            run();
        }
    })
}

fn publish(version: Version, properties: &[u8], payload_len: usize) -> Vec<u8> {
    let mut body = b"\x00\x13sensors/hall/7/temp\x00\x01".to_vec();
    if version == Version::V5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    body.resize(body.len() + payload_len, b'p');
    let mut bytes = vec![0x32];
    let mut rest = body.len();
    while rest > 0x7F {
        bytes.push(u8::try_from(rest & 0x7F).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes.extend(body);
    bytes
}

/// Expiry, alias, payload format, content type, response topic, correlation data, user property.
const PROPERTIES: &[u8] = b"\x02\x00\x00\x00\x3c\x23\x00\x01\x01\x01\x03\x00\x04text\x08\x00\x01r\x09\x00\x01c\x26\x00\x01k\x00\x01v";

#[test]
fn the_counter_counts() {
    assert_eq!(in_100_runs(|| drop(std::hint::black_box(vec![0_u8; 10]))), 100);
}

#[test]
fn decoding_a_publish_allocates_nothing() {
    let limits = DecodeLimits::default();
    for (version, properties) in [
        (Version::V31, &b""[..]),
        (Version::V311, b""),
        (Version::V5, b""),
        (Version::V5, PROPERTIES),
    ] {
        for payload_len in [0, 64, 1024, 20_000] {
            let bytes = publish(version, properties, payload_len);
            let mut input = BytesMut::with_capacity(2 * bytes.len());
            let count = in_100_runs(|| {
                input.extend_from_slice(&bytes);
                let packet = decode(&mut input, version, &limits).unwrap().unwrap();
                assert!(
                    matches!(packet, Packet::Publish(Publish { ref payload, .. }) if payload.len() == payload_len)
                );
            });
            assert_eq!(count, 0, "{version:?}, payload of {payload_len}");
        }
    }
}

#[test]
fn encoding_a_publish_for_a_subscriber_allocates_nothing() {
    let mut head = PublishHead {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        packet_id: PacketId::new(7),
        topic: b"sensors/hall/7/temp",
        alias: Some(3),
        expiry_seconds: Some(60),
        subscription_ids: &[1, 300],
        forwarded: b"\x01\x01\x26\x00\x01k\x00\x01v",
    };
    for payload_len in [0, 64, 1024, 20_000] {
        let payload = Bytes::from(vec![b'p'; payload_len]);
        for version in [Version::V311, Version::V5] {
            let mut out = Output::new();
            // A payload that is shared makes the small buffer before it a piece of its own: the buffer is in use until
            // that is written, so several are written at once here, as a connection does.
            let count = in_100_runs(|| {
                for id in 1..=10 {
                    head.packet_id = PacketId::new(id);
                    encode_publish(&head, &payload, version, &mut out);
                }
                out.advance(out.len());
            });
            assert_eq!(count, 0, "{version:?}, payload of {payload_len}");
            let mut out = Output::new();
            let small = payload.get(..64).unwrap_or_default();
            let count = in_100_runs(|| {
                encode_publish_copied(&head, small, version, &mut out);
                out.advance(out.len());
            });
            assert_eq!(count, 0, "{version:?}, copied");
        }
    }
}
