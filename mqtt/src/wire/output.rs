//! Encoded packets waiting for the socket.

use super::primitive::Sink;
use crate::limits::OUTPUT_KEPT_BYTES_MAX;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// A queue of bytes to write: small ones are copied into one buffer, large payloads are queued as they are.
///
/// It has no bound of its own: whoever encodes into it looks at [`Output::len`] first and stops filling.
#[derive(Debug, Default)]
pub struct Output {
    /// Complete pieces, written before `tail`. None is empty.
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    chunk_bytes: usize,
    tail: BytesMut,
}

impl Output {
    /// Nothing to write, nothing allocated.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes to write.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len()
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.tail.is_empty()
    }

    /// Fills `dst` with what to write next, in order, and returns how many entries were set.
    pub fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(&*self.tail).filter(|tail| !tail.is_empty());
        let pieces = self.chunks.iter().map(|chunk| &**chunk).chain(tail);
        let mut filled = 0;
        for (slot, piece) in dst.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// Drops `n` bytes that were written; more than there are drops everything.
    pub fn advance(&mut self, n: usize) {
        let mut left = n;
        while left > 0 {
            let Some(first) = self.chunks.front_mut() else {
                break;
            };
            let part = left.min(first.len());
            first.advance(part);
            let empty = first.is_empty();
            if empty {
                self.chunks.pop_front();
            }
            self.chunk_bytes -= part;
            left -= part;
        }
        self.tail.advance(left.min(self.tail.len()));
        // What was advanced over no longer counts as capacity: ask for the whole buffer back before judging it.
        if self.is_empty() && self.tail.try_reclaim(OUTPUT_KEPT_BYTES_MAX + 1) {
            *self = Self::default();
        }
    }

    /// Returns the buffers of an empty output to the allocator: for connections that fall silent.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Appends a copy of `bytes`.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Appends `bytes` without copying them.
    pub fn put_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if !self.tail.is_empty() {
            let head = self.tail.split().freeze();
            self.chunk_bytes += head.len();
            self.chunks.push_back(head);
        }
        self.chunk_bytes += bytes.len();
        self.chunks.push_back(bytes);
    }

    /// The buffer behind everything queued so far; what is appended to it is written last.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }
}

impl Sink for Output {
    fn put(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}
