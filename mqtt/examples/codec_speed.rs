//! Measures the codec's hot path: `cargo run --profile dist -p sluice-mqtt --example codec_speed`.
//!
//! Prints the fastest of many short rounds in nanoseconds per packet: whatever else the machine does only adds.
//! Decoding includes copying the packet into the read buffer and dropping the result; one packet over and over, so
//! everything is in the cache. It is [`decode`], which gives a packet of its own; a connection takes a PUBLISH in
//! with less: see `receive_speed`.

// Measuring needs the clock that the protocol itself must not read, a place to print to, and no outside input.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::expect_used)]

use bytes::{Bytes, BytesMut};
use sluice_mqtt::packet::{Packet, PacketId, Publish, PublishProperties, QoS, Version};
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::TopicName;
use sluice_mqtt::wire::property::{ForwardedBuilder, ForwardedProperty};
use sluice_mqtt::wire::{DecodeLimits, Output, PublishHead, decode, encode, encode_publish};
use std::hint::black_box;
use std::io::IoSlice;
use std::time::Instant;

const ROUNDS: usize = 300;
const PACKETS_PER_ROUND: u32 = 10_000;
/// 40 bytes.
const TOPIC: &str = "site/berlin/hall/07/line/3/machine/temp0";

fn main() {
    let two = two_user_properties();
    let none = Bytes::new();
    for (name, version, qos, payload_len, forwarded) in [
        ("3.1.1 QoS 0   64 B", Version::V311, QoS::AtMostOnce, 64, &none),
        ("3.1.1 QoS 1   64 B", Version::V311, QoS::AtLeastOnce, 64, &none),
        ("3.1.1 QoS 1  1 KiB", Version::V311, QoS::AtLeastOnce, 1024, &none),
        ("5.0   QoS 0   64 B", Version::V5, QoS::AtMostOnce, 64, &none),
        ("5.0   QoS 1   64 B", Version::V5, QoS::AtLeastOnce, 64, &none),
        (
            "5.0   QoS 1   64 B, 2 user properties",
            Version::V5,
            QoS::AtLeastOnce,
            64,
            &two,
        ),
        (
            "5.0   QoS 1  1 KiB, 2 user properties",
            Version::V5,
            QoS::AtLeastOnce,
            1024,
            &two,
        ),
        (
            "5.0   QoS 1 16 KiB, 2 user properties",
            Version::V5,
            QoS::AtLeastOnce,
            16_384,
            &two,
        ),
    ] {
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic: Some(topic()),
            packet_id: PacketId::new(7).filter(|_| qos > QoS::AtMostOnce),
            properties: PublishProperties {
                forwarded: forwarded.clone(),
                ..PublishProperties::default()
            },
            payload: Bytes::from(vec![b'p'; payload_len]),
        };
        let decoding = decode_ns(&publish, version);
        let encoding = encode_ns(&publish, version, false);
        let addressed = encode_ns(&publish, version, true);
        println!(
            "{name:<40} decode {decoding:6.1} ns   encode {encoding:6.1} ns   with alias, expiry, id {addressed:6.1} ns"
        );
    }
    println!(
        "as_str() of a topic of {} bytes: {:.1} ns",
        TOPIC.len(),
        as_str_ns()
    );
}

fn topic() -> TopicName {
    TopicName::new(Text::try_from(TOPIC).expect("a text")).expect("a topic")
}

fn two_user_properties() -> Bytes {
    let mut builder = ForwardedBuilder::new();
    builder.push(ForwardedProperty::User(
        "trace-id",
        "0af7651916cd43dd8448eb211c80319c",
    ));
    builder.push(ForwardedProperty::User("unit", "celsius"));
    builder.finish().expect("valid properties")
}

/// The fastest round.
fn measure(mut one: impl FnMut()) -> f64 {
    let round = || {
        let start = Instant::now();
        for _ in 0..PACKETS_PER_ROUND {
            one();
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(PACKETS_PER_ROUND)
    };
    std::iter::repeat_with(round)
        .take(ROUNDS)
        .fold(f64::INFINITY, f64::min)
}

fn decode_ns(publish: &Publish, version: Version) -> f64 {
    let mut out = Output::new();
    encode(&Packet::Publish(publish.clone()), version, &mut out);
    let mut slices = [IoSlice::new(&[]); 4];
    let filled = out.chunks_vectored(&mut slices);
    let bytes: Vec<u8> = slices
        .iter()
        .take(filled)
        .flat_map(|slice| slice.to_vec())
        .collect();
    let limits = DecodeLimits::default();
    let mut input = BytesMut::with_capacity(64 * 1024);
    measure(|| {
        input.extend_from_slice(black_box(&bytes));
        black_box(decode(&mut input, version, &limits).expect("valid"));
    })
}

fn encode_ns(publish: &Publish, version: Version, addressed: bool) -> f64 {
    let topic = publish.topic.as_deref().unwrap_or_default().as_bytes();
    let mut head = PublishHead {
        dup: false,
        qos: publish.qos,
        retain: false,
        packet_id: None,
        topic,
        alias: Some(3).filter(|_| addressed),
        expiry_seconds: Some(60).filter(|_| addressed),
        subscription_ids: if addressed { &[300] } else { &[] },
        forwarded: &publish.properties.forwarded,
    };
    let mut out = Output::new();
    let mut id: u16 = 0;
    measure(|| {
        id = id.wrapping_add(1);
        head.packet_id = PacketId::new(id).filter(|_| publish.qos > QoS::AtMostOnce);
        encode_publish(black_box(&head), &publish.payload, version, &mut out);
        if out.len() > 60_000 {
            out.advance(out.len());
        }
    })
}

fn as_str_ns() -> f64 {
    let topic = topic();
    measure(|| {
        black_box(black_box(&topic).text().as_str());
    })
}
