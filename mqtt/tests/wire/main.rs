//! The codec seen from outside: bytes in, packets out, and back.

// A test that cannot go on fails by panicking, also in its helpers; what it prints is shown with the failure.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod accept;
mod connect;
mod corpus;
mod examples;
mod hostile;
mod output;
mod properties;
mod publish;
mod reject;
mod round_trip;
mod size;
mod strategy;
mod subscriptions;

use bytes::BytesMut;
use sluice_mqtt::packet::{Packet, Version};
use sluice_mqtt::wire::{DecodeLimits, Output, WireError, decode, encode};
use std::io::IoSlice;

const V31: Version = Version::V31;
const V311: Version = Version::V311;
const V5: Version = Version::V5;
const BEFORE_5: &[Version] = &[V31, V311];
const ALL: &[Version] = &[V31, V311, V5];

/// A packet: its first byte, the right Remaining Length, and the parts of its body.
fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut bytes = vec![first];
    bytes.extend(varint(body.len()));
    bytes.extend(body);
    bytes
}

/// A property block: its length and the properties.
fn block(properties: &[&[u8]]) -> Vec<u8> {
    let properties = properties.concat();
    let mut bytes = varint(properties.len());
    bytes.extend(properties);
    bytes
}

/// A string or binary value behind its length.
fn field(bytes: &[u8]) -> Vec<u8> {
    let mut field = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    field.extend(bytes);
    field
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7F).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Everything queued for writing, in order.
fn written(out: &Output) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = out.chunks_vectored(&mut slices);
    let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
    assert_eq!(bytes.len(), out.len());
    bytes
}

fn encoded(packet: &Packet, version: Version) -> Vec<u8> {
    let mut out = Output::new();
    encode(packet, version, &mut out);
    written(&out)
}

/// Decodes one packet with default limits; it must use all of the input.
fn decoded(version: Version, bytes: &[u8]) -> Result<Option<Packet>, WireError> {
    let mut input = BytesMut::from(bytes);
    let packet = decode(&mut input, version, &DecodeLimits::default())?;
    assert!(
        packet.is_none() || input.is_empty(),
        "{} bytes left over",
        input.len()
    );
    Ok(packet)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Wrong answers to a table of vectors, all at once.
fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
