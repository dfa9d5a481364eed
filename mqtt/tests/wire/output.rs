//! The queue of bytes to write.

use crate::{V311, written};
use bytes::Bytes;
use sluice_mqtt::packet::Packet;
use sluice_mqtt::wire::{Output, encode};
use std::io::IoSlice;

/// Small pieces, shared pieces and empty ones, and all their bytes.
fn filled() -> (Output, Vec<u8>) {
    let mut out = Output::new();
    let mut all = Vec::new();
    for (index, len) in [3, 5, 0, 7, 1, 20, 2].into_iter().enumerate() {
        let piece: Vec<u8> = (0..len).map(|n| u8::try_from(index).unwrap() * 30 + n).collect();
        all.extend_from_slice(&piece);
        if index % 2 == 0 {
            out.put_slice(&piece);
        } else {
            out.put_shared(Bytes::from(piece));
        }
    }
    (out, all)
}

#[test]
fn bytes_leave_in_the_order_they_came_whatever_the_writes() {
    for step in 1..=60 {
        let (mut out, all) = filled();
        let mut sent = Vec::new();
        while !out.is_empty() {
            assert_eq!(out.len(), all.len() - sent.len());
            let bytes = written(&out);
            let part = step.min(bytes.len());
            sent.extend_from_slice(&bytes[..part]);
            out.advance(part);
        }
        assert_eq!(sent, all);
        assert_eq!(out.len(), 0);
    }
}

#[test]
fn no_slice_is_empty_and_few_slots_take_the_first_ones() {
    let (out, all) = filled();
    let mut slices = [IoSlice::new(&[]); 2];
    assert_eq!(out.chunks_vectored(&mut slices), 2);
    assert!(all.starts_with(&slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>()));
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = out.chunks_vectored(&mut slices);
    assert!(slices[..filled].iter().all(|slice| !slice.is_empty()));
    assert_eq!(Output::new().chunks_vectored(&mut slices), 0);
}

#[test]
fn bytes_can_be_added_while_others_are_half_written() {
    let (mut out, mut all) = filled();
    out.advance(4);
    encode(&Packet::PingResp, V311, &mut out);
    all.extend_from_slice(b"\xD0\x00");
    assert_eq!(written(&out), all[4..]);
    out.advance(usize::MAX);
    assert!(out.is_empty());
    encode(&Packet::PingResp, V311, &mut out);
    assert_eq!(written(&out), b"\xD0\x00");
}
