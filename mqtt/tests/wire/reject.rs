//! What no connection may send, with the exact rule it breaks. CONNECT, PUBLISH, SUBSCRIBE and
//! its answers, and properties have files of their own.

use crate::{ALL, BEFORE_5, V5, V311, block, decoded, hex, packet, report};
use sluice_mqtt::packet::{PacketType, Version};
use sluice_mqtt::wire::{Malformed, Violation, WireError};

pub(crate) const V5_ONLY: &[Version] = &[V5];
const FROM_311: &[Version] = &[V311, V5];

/// What it is, where it holds, the bytes, and the rule broken.
pub(crate) type Vector = (&'static str, &'static [Version], Vec<u8>, WireError);

pub(crate) fn check(vectors: &[Vector]) {
    let mut wrong = Vec::new();
    for (what, versions, bytes, error) in vectors {
        for version in *versions {
            let answer = decoded(*version, bytes);
            if answer.as_ref().err() != Some(error) {
                wrong.push(format!(
                    "{what}, {version:?}, {}: {answer:?} instead of {error:?}",
                    hex(bytes)
                ));
            }
        }
    }
    report(wrong);
}

/// Lines of `what, versions, bytes => rule;`.
macro_rules! reject {
    ($($what:literal, $versions:expr, $bytes:expr => $error:expr;)*) => {
        $crate::reject::check(&[$(($what, $versions, $bytes.to_vec(), WireError::from($error)),)*])
    };
}
pub(crate) use reject;

#[test]
fn fixed_headers_are_strict() {
    use Malformed::{BodyTooLong, PacketType as NoType, RemainingLength, VarintNotShortest};
    reject! {
        "type 0", ALL, b"\x00\x00" => NoType(0);
        "type 0 before its length", ALL, b"\x00" => NoType(0);
        "AUTH before 5.0", BEFORE_5, b"\xF0\x00" => NoType(15);
        "length 0 in two bytes", ALL, b"\xC0\x80\x00" => VarintNotShortest;
        "length 2 in two bytes", ALL, b"\x40\x82\x00\x00\x01" => VarintNotShortest;
        "length 2 in four bytes", ALL, b"\x40\x82\x80\x80\x00\x00\x01" => VarintNotShortest;
        "five-byte length", ALL, b"\x30\x80\x80\x80\x80\x01" => RemainingLength;
        "unending length", ALL, b"\x30\xFF\xFF\xFF\xFF" => RemainingLength;
        "PINGREQ with a body", ALL, b"\xC0\x01\x00" => BodyTooLong(PacketType::PingReq);
        "... refused on its header", ALL, b"\xC0\xFF\x7F" => BodyTooLong(PacketType::PingReq);
        "PINGRESP with a body", ALL, b"\xD0\x01\x00" => BodyTooLong(PacketType::PingResp);
        "DISCONNECT with a body", BEFORE_5, b"\xE0\x01\x00" => BodyTooLong(PacketType::Disconnect);
        "PUBACK with a reason", BEFORE_5, b"\x40\x03\x00\x01\x00" => BodyTooLong(PacketType::PubAck);
        "PUBREC with a reason", BEFORE_5, b"\x50\x03\x00\x01\x00" => BodyTooLong(PacketType::PubRec);
        "PUBREL with a reason", BEFORE_5, b"\x62\x03\x00\x01\x00" => BodyTooLong(PacketType::PubRel);
        "PUBCOMP with a reason", BEFORE_5, b"\x70\x03\x00\x01\x00" => BodyTooLong(PacketType::PubComp);
        "UNSUBACK with a reason", BEFORE_5, b"\xB0\x03\x00\x01\x00" => BodyTooLong(PacketType::UnsubAck);
        "CONNACK with properties", BEFORE_5, b"\x20\x03\x00\x00\x00" => BodyTooLong(PacketType::ConnAck);
    }
}

#[test]
fn reserved_flags_are_checked_on_every_packet() {
    for kind in (1..=15_u8).filter(|kind| *kind != 3) {
        let right = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
        for flags in (0..16).filter(|flags| *flags != right) {
            let first = kind << 4 | flags;
            let versions = match kind {
                15 => V5_ONLY,
                // 3.1 lets a client set DUP where it sends one of these three again.
                6 | 8 | 10 if flags == 0b1010 => FROM_311,
                _ => ALL,
            };
            reject! {
                "reserved flags", versions, [first, 0] => Malformed::FixedHeaderFlags(first);
                "before the length", versions, [first] => Malformed::FixedHeaderFlags(first);
            }
        }
    }
}

#[test]
fn acknowledgements_are_strict() {
    for first in [0x40, 0x50, 0x62, 0x70_u8] {
        let of = |body: &[u8]| packet(first, &[body]);
        let kind = PacketType::new(first >> 4).unwrap();
        reject! {
            "an ack of nothing", ALL, of(b"") => Malformed::Truncated;
            "half a packet id", ALL, of(b"\x01") => Malformed::Truncated;
            "packet id 0", ALL, of(b"\x00\x00") => Violation::PacketIdZero;
            "an unlisted reason", V5_ONLY, of(b"\x00\x01\x01") => Violation::ReasonCode(kind, 1);
            "a reason that does not exist", V5_ONLY, of(b"\x00\x01\xFF") => Violation::ReasonCode(kind, 255);
            "bytes behind the properties", V5_ONLY, of(b"\x00\x01\x00\x00\x00") => Malformed::TrailingBytes;
            "properties past the end", V5_ONLY, of(b"\x00\x01\x00\x05\x1F") => Malformed::Truncated;
            "a property length cut off", V5_ONLY, of(b"\x00\x01\x00\x80") => Malformed::Truncated;
        }
    }
    reject! {
        "no subscribers in PUBREL", V5_ONLY, packet(0x62, &[b"\x00\x01\x10"]) => Violation::ReasonCode(PacketType::PubRel, 0x10);
        "id not found in PUBACK", V5_ONLY, packet(0x40, &[b"\x00\x01\x92"]) => Violation::ReasonCode(PacketType::PubAck, 0x92);
    }
}

#[test]
fn disconnect_and_auth_are_strict() {
    use Violation::{AuthWithoutMethod, ReasonCode as Reason};
    let disconnect = |code| Reason(PacketType::Disconnect, code);
    let auth = |code| Reason(PacketType::Auth, code);
    reject! {
        "DISCONNECT, code 1", V5_ONLY, packet(0xE0, &[b"\x01"]) => disconnect(1);
        "DISCONNECT, 0x84", V5_ONLY, packet(0xE0, &[b"\x84"]) => disconnect(0x84);
        "DISCONNECT, 0x8C", V5_ONLY, packet(0xE0, &[b"\x8C"]) => disconnect(0x8C);
        "DISCONNECT, 0xA3", V5_ONLY, packet(0xE0, &[b"\xA3"]) => disconnect(0xA3);
        "DISCONNECT, trailing", V5_ONLY, packet(0xE0, &[b"\x00\x00\x00"]) => Malformed::TrailingBytes;
        "AUTH, code 1", V5_ONLY, packet(0xF0, &[b"\x01\x00"]) => auth(1);
        "AUTH, 0x87", V5_ONLY, packet(0xF0, &[b"\x87\x00"]) => auth(0x87);
        "AUTH, reason alone", V5_ONLY, packet(0xF0, &[b"\x18"]) => AuthWithoutMethod;
        "AUTH without method", V5_ONLY, packet(0xF0, &[b"\x18\x00"]) => AuthWithoutMethod;
        "AUTH, success without method", V5_ONLY, packet(0xF0, &[b"\x00\x00"]) => AuthWithoutMethod;
        "AUTH, data alone", V5_ONLY, packet(0xF0, &[b"\x18", &block(&[b"\x16\x00\x00"])]) => AuthWithoutMethod;
        "AUTH, trailing", V5_ONLY, packet(0xF0, &[b"\x18", &block(&[b"\x15\x00\x01m"]), b"\x00"]) => Malformed::TrailingBytes;
    }
}
