//! Damaged packets: cut anywhere, flipped anywhere, fed in any portions.

use crate::{ALL, decoded, encoded, examples, hex};
use bytes::BytesMut;
use sluice_mqtt::packet::{Packet, Version};
use sluice_mqtt::wire::{DecodeLimits, WireError, decode, decode_connect};

/// Whatever decodes must encode to something that decodes to the same.
fn check(version: Version, bytes: &[u8]) {
    let mut input = BytesMut::from(bytes);
    // Errors are fine here; that CONNECT takes its own way changes nothing but the answer.
    let _ = decode_connect(&mut input.clone(), &DecodeLimits::default());
    if let Ok(Some(packet)) = decode(&mut input, version, &DecodeLimits::default()) {
        let again = encoded(&packet, version);
        assert_eq!(
            decoded(version, &again),
            Ok(Some(packet)),
            "{version:?} {}",
            hex(bytes)
        );
    }
}

#[test]
fn a_packet_cut_short_is_incomplete_and_nothing_is_taken() {
    for version in ALL {
        for bytes in examples::all(*version) {
            for len in 0..bytes.len() {
                let mut input = BytesMut::from(&bytes[..len]);
                let answer = decode(&mut input, *version, &DecodeLimits::default());
                assert_eq!(answer, Ok(None), "{}", hex(&bytes[..len]));
                assert_eq!(input.len(), len);
            }
        }
    }
}

#[test]
fn a_body_cut_short_under_a_matching_length_never_panics_and_never_waits() {
    for version in ALL {
        for bytes in examples::all(*version) {
            let header = bytes.len() - body_len(&bytes);
            for len in header..bytes.len() {
                let cut = crate::packet(bytes[0], &[&bytes[header..len]]);
                check(*version, &cut);
                assert_ne!(decoded(*version, &cut), Ok(None), "{} waits for more", hex(&cut));
            }
        }
    }
}

fn body_len(bytes: &[u8]) -> usize {
    let len_bytes = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).unwrap();
    bytes.len() - 1 - len_bytes
}

#[test]
fn no_bit_flip_panics_or_makes_a_packet_that_encodes_to_another() {
    for version in ALL {
        for bytes in examples::all(*version) {
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                for version in ALL {
                    check(*version, &flipped);
                }
            }
        }
    }
}

#[test]
fn no_byte_value_anywhere_panics_or_makes_a_packet_that_encodes_to_another() {
    for version in ALL {
        for bytes in examples::all(*version) {
            for at in 0..bytes.len() {
                for value in [0x00, 0x01, 0x7F, 0x80, 0xFF] {
                    let mut changed = bytes.clone();
                    changed[at] = value;
                    check(*version, &changed);
                }
            }
        }
    }
}

/// Decodes a stream that arrives in portions, until it ends or errs.
fn stream(version: Version, bytes: &[u8], portion: usize) -> (Vec<Packet>, Option<WireError>) {
    let mut input = BytesMut::new();
    let mut packets = Vec::new();
    for part in bytes.chunks(portion) {
        input.extend_from_slice(part);
        loop {
            match decode(&mut input, version, &DecodeLimits::default()) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}

#[test]
fn a_stream_gives_the_same_packets_however_it_is_cut() {
    for version in ALL {
        let mut bytes = examples::all(*version).concat();
        let count = examples::all(*version).len();
        for end in [
            b"".as_slice(),
            b"\x36\x05\x00\x01a\x00\x01",
            b"\xC0\x80\x80\x80\x80",
        ] {
            let whole_len = bytes.len();
            bytes.extend_from_slice(end);
            let whole = stream(*version, &bytes, bytes.len());
            assert_eq!((whole.0.len(), whole.1.is_some()), (count, !end.is_empty()));
            for portion in 1..bytes.len() {
                assert_eq!(stream(*version, &bytes, portion), whole, "portions of {portion}");
            }
            bytes.truncate(whole_len);
        }
    }
}

#[test]
fn every_stream_of_two_bytes_is_judged() {
    for version in ALL {
        for first in 0..=255 {
            for second in 0..=255 {
                check(*version, &[first, second]);
                check(*version, &[first, second, 0, 0]);
            }
        }
    }
}

#[test]
fn what_made_other_codecs_panic_is_judged() {
    let cases: &[(Version, &[u8])] = &[
        (
            Version::V5,
            b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x03\x22\x00\x00\x00\x01a",
        ),
        (Version::V5, b"\x32\x07\x00\x03a/b\x00\x00"),
        (Version::V5, b"\x30\x02\x00\x00"),
        (Version::V5, b"\x20\x01\x00"),
        (Version::V311, b"\x20\x00"),
        (Version::V311, b"\x30\x02\x00\x00"),
        (Version::V5, b"\x82\x04\x00\x01\x00\x00"),
        (Version::V311, b"\x82\x05\x00\x01\x00\x01a"),
    ];
    for (version, bytes) in cases {
        check(*version, bytes);
    }
    // The first of them is legal.
    assert!(matches!(
        decoded(cases[0].0, cases[0].1),
        Ok(Some(Packet::Connect(_)))
    ));
}
