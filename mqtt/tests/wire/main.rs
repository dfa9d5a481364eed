//! The codec seen from outside: bytes in, packets out, and back.

// A test that cannot go on fails by panicking, also in its helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod examples;

use bytes::BytesMut;
use sluice_mqtt::packet::{Packet, Version};
use sluice_mqtt::wire::{DecodeLimits, Output, WireError, decode, encode};
use std::io::IoSlice;

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
