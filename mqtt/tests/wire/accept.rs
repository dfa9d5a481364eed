//! What must be accepted, where a stricter reading is tempting.

use crate::reject::V5_ONLY;
use crate::{ALL, BEFORE_5, V5, V31, V311, block, decoded, field, hex, packet, report};
use sluice_mqtt::packet::{Packet, Version};
use sluice_mqtt::wire::check_from_client;

type Vector = (&'static str, &'static [Version], Vec<u8>);

fn check(vectors: &[Vector]) {
    let mut wrong = Vec::new();
    for (what, versions, bytes) in vectors {
        for version in *versions {
            match decoded(*version, bytes) {
                Ok(Some(_)) => {}
                other => wrong.push(format!("{what}, {version:?}, {}: {other:?}", hex(bytes))),
            }
        }
    }
    report(wrong);
}

/// Lines of `what, versions => bytes;`.
macro_rules! accept {
    ($($what:literal, $versions:expr => $bytes:expr;)*) => {
        check(&[$(($what, $versions, $bytes.to_vec()),)*])
    };
}

#[test]
fn publishes_at_the_edge_are_accepted() {
    let publish = |first: u8, body: &[u8]| packet(first, &[body]);
    accept! {
        "an empty payload", BEFORE_5 => publish(0x30, b"\x00\x01a");
        "an empty payload", V5_ONLY => publish(0x30, b"\x00\x01a\x00");
        "DUP at QoS 1", ALL => publish(0x3A, b"\x00\x01a\x00\x01\x00");
        "the largest packet id", ALL => publish(0x34, b"\x00\x01a\xFF\xFF\x00");
        "a topic of one slash", BEFORE_5 => publish(0x30, b"\x00\x01/");
        "a topic with spaces", BEFORE_5 => publish(0x30, b"\x00\x03 / ");
        "$SYS from a client", BEFORE_5 => publish(0x30, b"\x00\x06$SYS/a");
        "$share as a topic", BEFORE_5 => publish(0x30, b"\x00\x0A$share/g/t");
        "U+FEFF", BEFORE_5 => publish(0x30, b"\x00\x04\xEF\xBB\xBFa");
        "U+10FFFF", BEFORE_5 => publish(0x30, b"\x00\x04\xF4\x8F\xBF\xBF");
        "a control character", BEFORE_5 => publish(0x30, b"\x00\x01\x01");
        "a non-character", BEFORE_5 => publish(0x30, b"\x00\x03\xEF\xBF\xBF");
        "message expiry 0", V5_ONLY => publish(0x30, b"\x00\x01a\x05\x02\x00\x00\x00\x00");
        "message expiry, the largest", V5_ONLY => publish(0x30, b"\x00\x01a\x05\x02\xFF\xFF\xFF\xFF");
        "the largest alias", V5_ONLY => publish(0x30, b"\x00\x00\x03\x23\xFF\xFF");
        "an alias with its topic", V5_ONLY => publish(0x30, b"\x00\x01a\x03\x23\x00\x01");
        "payload format 0", V5_ONLY => publish(0x30, b"\x00\x01a\x02\x01\x00");
        "format 1, payload not UTF-8", V5_ONLY => publish(0x30, b"\x00\x01a\x02\x01\x01\xFF");
        "correlation data of nothing", V5_ONLY => publish(0x30, b"\x00\x01a\x03\x09\x00\x00");
        "an empty content type", V5_ONLY => publish(0x30, b"\x00\x01a\x03\x03\x00\x00");
        "an empty user property", V5_ONLY => publish(0x30, b"\x00\x01a\x05\x26\x00\x00\x00\x00");
        "payload that looks like a packet", BEFORE_5 => publish(0x30, b"\x00\x01a\xC0\x00");
    }
}

#[test]
fn filters_at_the_edge_are_accepted() {
    let filters: &[&[u8]] = &[
        b"#",
        b"+",
        b"/",
        b"/+",
        b"+/",
        b"+/+",
        b"/#",
        b"a/#",
        b"a/+/b",
        b"+/+/#",
        b"a//b",
        b"$SYS/#",
        b"$share",
        b"$sharex/g/t",
        b"$share/g/#",
        b"$share/g/+/a",
        b"$share/g//",
        b"$share/ /t",
        b"\xEF\xBB\xBF",
    ];
    let slashes = vec![b'/'; 65_535];
    let mut vectors: Vec<Vector> = Vec::new();
    for filter in filters.iter().copied().chain([slashes.as_slice()]) {
        let filter = field(filter);
        vectors.extend([
            (
                "SUBSCRIBE",
                BEFORE_5,
                packet(0x82, &[b"\x00\x01", &filter, b"\x02"]),
            ),
            (
                "SUBSCRIBE",
                V5_ONLY,
                packet(0x82, &[b"\x00\x01\x00", &filter, b"\x2A"]),
            ),
            ("UNSUBSCRIBE", BEFORE_5, packet(0xA2, &[b"\x00\x01", &filter])),
            ("UNSUBSCRIBE", V5_ONLY, packet(0xA2, &[b"\x00\x01\x00", &filter])),
        ]);
    }
    check(&vectors);
}

#[test]
fn short_forms_and_listed_reasons_are_accepted() {
    accept! {
        "PUBACK, reason alone", V5_ONLY => packet(0x40, &[b"\x00\x01\x00"]);
        "PUBACK, no properties", V5_ONLY => packet(0x40, &[b"\x00\x01\x00\x00"]);
        "DISCONNECT, success spelled out", V5_ONLY => packet(0xE0, &[b"\x00"]);
        "DISCONNECT, no properties", V5_ONLY => packet(0xE0, &[b"\x00\x00"]);
        "AUTH of nothing", V5_ONLY => packet(0xF0, &[]);
        "the largest subscription id", V5_ONLY => packet(0x82, &[b"\x00\x01\x05\x0B\xFF\xFF\xFF\x7F\x00\x01a\x00"]);
        "retain handling 2", V5_ONLY => packet(0x82, &[b"\x00\x01\x00\x00\x01a\x20"]);
        "no local", V5_ONLY => packet(0x82, &[b"\x00\x01\x00\x00\x01a\x04"]);
        "PUBREL with DUP", &[V31] => b"\x6A\x02\x00\x01";
        "SUBSCRIBE with DUP", &[V31] => packet(0x8A, &[b"\x00\x01\x00\x01a\x00"]);
        "UNSUBSCRIBE with DUP", &[V31] => packet(0xAA, &[b"\x00\x01\x00\x01a"]);
        "session present", &[V311] => packet(0x20, &[b"\x01\x00"]);
    }
}

/// The reason codes of each packet (sections 3.2 to 3.15), written down a second time on purpose.
const REASONS: &[(u8, &[u8])] = &[
    (
        2,
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
            0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
    ),
    (4, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (5, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (6, &[0x00, 0x92]),
    (7, &[0x00, 0x92]),
    (
        9,
        &[
            0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
        ],
    ),
    (11, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
    (
        14,
        &[
            0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95,
            0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
        ],
    ),
    (15, &[0x00, 0x18, 0x19]),
];

fn with_reason(kind: u8, code: u8) -> Vec<u8> {
    let code = [code];
    match kind {
        2 => packet(0x20, &[b"\x00", &code, b"\x00"]),
        9 | 11 => packet(kind << 4, &[b"\x00\x01\x00", &code]),
        14 => packet(0xE0, &[&code]),
        15 => packet(0xF0, &[&code, &block(&[b"\x15\x00\x01m"])]),
        ack => packet(ack << 4 | u8::from(ack == 6) << 1, &[b"\x00\x01", &code]),
    }
}

#[test]
fn exactly_the_listed_reason_codes_are_accepted() {
    let mut wrong = Vec::new();
    for (kind, listed) in REASONS {
        for code in 0..=255 {
            let accepted = decoded(V5, &with_reason(*kind, code)).is_ok();
            if accepted != listed.contains(&code) {
                wrong.push(format!("packet {kind}, 0x{code:02X}: accepted {accepted}"));
            }
        }
    }
    report(wrong);
}

#[test]
fn what_only_servers_send_is_recognised() {
    let from_client = |bytes: &[u8]| check_from_client(&decoded(V5, bytes).unwrap().unwrap()).is_ok();
    // Section 3.14.2.1, the column that says who sends it.
    let client = [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    ];
    for code in REASONS.iter().find(|(kind, _)| *kind == 14).unwrap().1 {
        assert_eq!(
            from_client(&with_reason(14, *code)),
            client.contains(code),
            "0x{code:02X}"
        );
    }
    assert!(!from_client(&with_reason(15, 0x00)));
    assert!(from_client(&with_reason(15, 0x18)) && from_client(&with_reason(15, 0x19)));
    assert!(!from_client(&with_reason(4, 0x10)) && !from_client(&with_reason(5, 0x10)));
    assert!(!from_client(&packet(
        0xE0,
        &[b"\x00", &block(&[b"\x1C\x00\x00"])]
    )));
    assert!(!from_client(&packet(
        0x30,
        &[b"\x00\x01a", &block(&[b"\x0B\x01"])]
    )));
    for bytes in crate::examples::all(V5) {
        let packet = decoded(V5, &bytes).unwrap().unwrap();
        if matches!(
            packet,
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp
        ) {
            assert!(check_from_client(&packet).is_err());
        }
    }
    for bytes in crate::examples::all(V311) {
        let server = matches!(bytes[0] >> 4, 2 | 9 | 11 | 13);
        assert_eq!(
            check_from_client(&decoded(V311, &bytes).unwrap().unwrap()).is_err(),
            server
        );
    }
}
