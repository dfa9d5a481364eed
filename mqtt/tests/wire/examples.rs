//! Valid packets, rich ones and bare ones, for the tests that damage or cut them. Their encoding is canonical.

use crate::{V5, V31, V311, block, encoded, field, packet};
use sluice_mqtt::packet::Version;

const USER: &[u8] = b"\x26\x00\x01k\x00\x02\xC3\xA9";

/// At least one packet of each type that the version has.
pub(crate) fn all(version: Version) -> Vec<Vec<u8>> {
    if version == V5 { of_5() } else { before_5(version) }
}

fn before_5(version: Version) -> Vec<Vec<u8>> {
    let name: &[u8] = if version == V31 {
        b"\x00\x06MQIsdp\x03"
    } else {
        b"\x00\x04MQTT\x04"
    };
    let identity: &[u8] = b"\x00\x3c\x00\x02id";
    vec![
        packet(0x10, &[name, b"\x02", identity]),
        packet(
            0x10,
            &[
                name,
                b"\xEE",
                identity,
                b"\x00\x03w/t\x00\x01!\x00\x01u\x00\x02pw",
            ],
        ),
        packet(0x20, &[b"\x00\x00"]),
        packet(0x20, &[b"\x00\x05"]),
        packet(0x30, &[b"\x00\x03a/bpayload"]),
        packet(0x3B, &[b"\x00\x03a/b\x00\x01payload"]),
        packet(0x34, &[b"\x00\x01a\xFF\xFF"]),
        packet(0x40, &[b"\x00\x01"]),
        packet(0x50, &[b"\x00\x02"]),
        packet(0x62, &[b"\x00\x03"]),
        packet(0x70, &[b"\xFF\xFF"]),
        packet(0x82, &[b"\x00\x0A\x00\x03a/+\x00\x00\x01#\x02"]),
        packet(0x90, &[b"\x00\x0A\x00\x01\x02\x80"]),
        packet(0xA2, &[b"\x00\x0B\x00\x03a/+\x00\x01#"]),
        packet(0xB0, &[b"\x00\x0B"]),
        packet(0xC0, &[]),
        packet(0xD0, &[]),
        packet(0xE0, &[]),
    ]
}

/// Properties stand in the order in which we encode them.
fn of_5() -> Vec<Vec<u8>> {
    [greetings_of_5(), exchanges_of_5()].concat()
}

const REASON: &[u8] = b"\x1F\x00\x03why";
const AUTH: &[u8] = b"\x15\x00\x05SCRAM\x16\x00\x02\x00\xFF";

fn greetings_of_5() -> Vec<Vec<u8>> {
    let name: &[u8] = b"\x00\x04MQTT\x05";
    let session: &[u8] = b"\x11\x00\x00\x0E\x10\x21\x00\x14\x27\x00\x01\x00\x00\x22\x00\x0A";
    let connect = block(&[session, b"\x19\x01\x17\x00", AUTH, USER]);
    let will = block(&[b"\x18\x00\x00\x00\x05\x02\x00\x00\x00\x3c", FORWARDED, USER]);
    let will_fields: &[u8] = b"\x00\x03w/t\x00\x01!\x00\x01u\x00\x02pw";
    let none = block(&[]);
    vec![
        packet(0x10, &[name, b"\x02\x00\x3c", &none, b"\x00\x00"]),
        packet(
            0x10,
            &[name, b"\xEE\x00\x3c", &connect, b"\x00\x02id", &will, will_fields],
        ),
        packet(0x10, &[name, b"\x40\x00\x00", &none, b"\x00\x02id\x00\x02pw"]),
        packet(0x20, &[b"\x01\x00", &none]),
        packet(0x20, &[b"\x00\x9D", &connack_properties()]),
    ]
}

fn exchanges_of_5() -> Vec<Vec<u8>> {
    let answer = block(&[REASON, USER]);
    let expiring = block(&[b"\x02\x00\x00\x00\x3c", FORWARDED, USER]);
    let delivered = block(&[b"\x23\x00\x01\x0B\x01\x0B\xFF\xFF\xFF\x7F", USER]);
    let alias = block(&[b"\x23\x00\x01"]);
    let numbered = block(&[b"\x0B\x80\x01", USER]);
    let moved = block(&[b"\x11\x00\x00\x00\x00\x1C\x00\x01s", REASON, USER]);
    let none = block(&[]);
    vec![
        packet(0x30, &[b"\x00\x03a/b", &none, b"payload"]),
        packet(0x3D, &[b"\x00\x03a/b\x00\x01", &expiring, b"payload"]),
        packet(0x32, &[b"\x00\x00\x00\x01", &alias]),
        packet(0x30, &[b"\x00\x01a", &delivered]),
        packet(0x40, &[b"\x00\x01"]),
        packet(0x40, &[b"\x00\x01\x10"]),
        packet(0x40, &[b"\x00\x01\x00", &answer]),
        packet(0x50, &[b"\x00\x01\x97", &answer]),
        packet(0x62, &[b"\x00\x01\x92", &answer]),
        packet(0x70, &[b"\x00\x01\x92", &answer]),
        packet(0x82, &[b"\x00\x0A", &none, b"\x00\x01#\x01"]),
        packet(
            0x82,
            &[b"\x00\x0A", &numbered, b"\x00\x0A$share/g/t\x2A\x00\x01t\x1D"],
        ),
        packet(0x90, &[b"\x00\x0A", &answer, b"\x00\x01\x02\x80\xA2"]),
        packet(
            0xA2,
            &[b"\x00\x0B", &block(&[USER]), b"\x00\x03a/+\x00\x0A$share/g/t"],
        ),
        packet(0xB0, &[b"\x00\x0B", &answer, b"\x00\x11\x87"]),
        packet(0xC0, &[]),
        packet(0xD0, &[]),
        packet(0xE0, &[]),
        packet(0xE0, &[b"\x04"]),
        packet(0xE0, &[b"\x9C", &moved]),
        packet(0xF0, &[]),
        packet(0xF0, &[b"\x18", &block(&[AUTH, REASON, USER])]),
    ]
}

/// Every property that is passed on, but a user property.
const FORWARDED: &[u8] = b"\x01\x01\x03\x00\x04text\x08\x00\x05reply\x09\x00\x02\x00\x01";

fn connack_properties() -> Vec<u8> {
    block(&[
        b"\x11\x00\x00\x00\x3c\x21\x00\x0A\x24\x01\x27\x00\x00\x10\x00\x22\x00\x05\x13\x00\x1E",
        b"\x25\x00\x28\x00\x29\x00\x2A\x00",
        b"\x12\x00\x02id\x1A\x00\x02in\x1C\x00\x02sr\x15\x00\x01m\x16\x00\x01d",
        REASON,
        USER,
    ])
}

#[test]
fn every_example_comes_back_as_it_was() {
    for version in [V31, V311, V5] {
        for bytes in all(version) {
            let packet = crate::decoded(version, &bytes)
                .unwrap_or_else(|error| panic!("{version:?} {}: {error}", crate::hex(&bytes)))
                .expect("complete");
            assert_eq!(
                crate::hex(&encoded(&packet, version)),
                crate::hex(&bytes),
                "{version:?} {packet:?}"
            );
        }
    }
}

#[test]
fn every_packet_type_of_a_version_has_an_example() {
    for version in [V31, V311, V5] {
        let mut types: Vec<u8> = all(version).iter().map(|bytes| bytes[0] >> 4).collect();
        types.dedup();
        let last = if version == V5 { 15 } else { 14 };
        assert_eq!(types, (1..=last).collect::<Vec<u8>>());
    }
}

#[test]
fn a_field_is_its_length_and_its_bytes() {
    assert_eq!(field(b"ab"), b"\x00\x02ab");
}
