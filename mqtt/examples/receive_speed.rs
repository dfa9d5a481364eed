//! Measures what a broker pays to receive a PUBLISH: `cargo run --release -p sluice-mqtt --example receive_speed`.
//!
//! One message after the other goes through [`Connection::next`], is judged and acknowledged, as a driver does; the
//! second figure is with the making and the dropping of the message that is routed. Prints the fastest of many short
//! rounds in nanoseconds per message. With a number of messages, and of a case from 0 on, it runs that and prints
//! nothing: for `valgrind --tool=callgrind` and `perf`.

// Measuring needs the clock that the protocol itself must not read, a place to print to, and no outside input.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic
)]

use bytes::{BufMut, BytesMut};
use sluice_mqtt::conn::{Connection, ConnectionConfig, Event, Received, Terms};
use sluice_mqtt::packet::{ConnAck, Version};
use sluice_mqtt::reason::ReasonCode;
use std::hint::black_box;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

const ROUNDS: usize = 300;
const PACKETS_PER_ROUND: u32 = 10_000;
/// 40 bytes.
const TOPIC: &[u8] = b"site/berlin/hall/07/line/3/machine/temp0";

/// Two user properties.
const USER: &[u8] =
    b"\x26\x00\x08trace-id\x00\x200af7651916cd43dd8448eb211c80319c\x26\x00\x04unit\x00\x07celsius";

struct Case {
    name: &'static str,
    version: Version,
    qos: u8,
    topic: &'static [u8],
    properties: &'static [u8],
    payload: usize,
}

#[rustfmt::skip]
const CASES: [Case; 7] = [
    Case { name: "3.1.1 QoS 0   64 B", version: Version::V311, qos: 0, topic: TOPIC, properties: b"", payload: 64 },
    Case { name: "3.1.1 QoS 1   64 B", version: Version::V311, qos: 1, topic: TOPIC, properties: b"", payload: 64 },
    Case { name: "3.1.1 QoS 0  1 KiB", version: Version::V311, qos: 0, topic: TOPIC, properties: b"", payload: 1024 },
    Case { name: "5.0   QoS 0   64 B", version: Version::V5, qos: 0, topic: TOPIC, properties: b"", payload: 64 },
    Case { name: "5.0   QoS 1   64 B", version: Version::V5, qos: 1, topic: TOPIC, properties: b"", payload: 64 },
    Case { name: "5.0   QoS 1   64 B, 2 user properties", version: Version::V5, qos: 1, topic: TOPIC, properties: USER, payload: 64 },
    Case { name: "5.0   QoS 0   64 B, topic alias", version: Version::V5, qos: 0, topic: b"", properties: b"\x23\x00\x01", payload: 64 },
];

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|text| text.parse().expect("a number"));
    if let Some(count) = numbers.next() {
        let case = numbers
            .next()
            .and_then(|case| CASES.get(usize::try_from(case).ok()?));
        return receive(case.unwrap_or(&CASES[0]), count, |received, _| received.discard());
    }
    println!("{:<40} acknowledged   with its message", "");
    for case in &CASES {
        let judged = fastest(case, |received, _| received.discard());
        let made = fastest(case, |received, now| {
            let (message, receipt) = received.accept().into_message("", 7, now);
            black_box(message);
            receipt
        });
        println!("{:<40} {judged:9.1} ns   {made:13.1} ns", case.name);
    }
}

type Judge = fn(Received, Instant) -> sluice_mqtt::conn::Receipt;

fn fastest(case: &Case, judge: Judge) -> f64 {
    let round = || {
        let start = Instant::now();
        receive(case, PACKETS_PER_ROUND, judge);
        start.elapsed().as_secs_f64() * 1e9 / f64::from(PACKETS_PER_ROUND)
    };
    std::iter::repeat_with(round)
        .take(ROUNDS)
        .fold(f64::INFINITY, f64::min)
}

fn receive(case: &Case, count: u32, judge: Judge) {
    let now = Instant::now();
    let mut conn = connected(case.version, now);
    let mut input = BytesMut::with_capacity(64 * 1024);
    input.put_slice(&encoded(case, TOPIC, b"\x23\x00\x01"));
    let packet = encoded(case, case.topic, case.properties);
    for _ in 0..=count {
        input.put_slice(black_box(&packet));
        match conn.next(&mut input, now) {
            Some(Event::Publish(received)) => conn.acknowledge(judge(received, now)),
            other => panic!("no PUBLISH: {other:?}"),
        }
        if conn.output().len() > 60_000 {
            let written = conn.output().len();
            conn.output().advance(written);
        }
    }
}

fn connected(version: Version, now: Instant) -> Connection {
    let config = ConnectionConfig {
        versions: vec![version],
        connect_bytes_max: 1024,
        connect_timeout: Duration::from_secs(10),
    };
    let mut conn = Connection::new(config, now);
    let connect: &[u8] = match version {
        Version::V5 => b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01c",
        _ => b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c",
    };
    let mut input = BytesMut::from(connect);
    assert!(matches!(conn.next(&mut input, now), Some(Event::Connect(_))));
    let terms = Terms {
        receive_max: NonZeroU16::MAX,
        topic_alias_max: 10,
        packet_bytes_max: 1 << 20,
        payload_bytes_max: 1 << 20,
        keep_alive_seconds: 60,
        session_expiry_seconds: 0,
    };
    conn.accept(terms, ConnAck::new(ReasonCode::SUCCESS), now)
        .expect("a client without a Maximum Packet Size");
    conn
}

fn encoded(case: &Case, topic: &[u8], properties: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u16(u16::try_from(topic.len()).expect("short"));
    body.put_slice(topic);
    if case.qos > 0 {
        body.put_u16(7);
    }
    if case.version == Version::V5 {
        body.put_u8(u8::try_from(properties.len()).expect("short"));
        body.put_slice(properties);
    }
    body.resize(body.len() + case.payload, b'p');
    let mut packet = vec![0x30 | case.qos << 1];
    let mut rest = body.len();
    while rest > 0x7F {
        packet.put_u8(u8::try_from(rest & 0x7F).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    packet.put_u8(u8::try_from(rest).expect("seven bits"));
    packet.put_slice(&body);
    packet
}
