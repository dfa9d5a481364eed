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
    /// All copied bytes, in order; `shared` says what stands between them.
    copied: BytesMut,
    shared: VecDeque<Shared>,
    /// Bytes in `shared`.
    shared_bytes: usize,
    /// Bytes of `copied` that stand before the last of `shared`.
    copied_before_shared: usize,
    /// Bytes written since the queue was last empty.
    advanced_bytes: usize,
}

/// A piece that is not copied.
#[derive(Debug)]
struct Shared {
    /// Bytes of [`Output::copied`] between the piece before it and this one.
    copied_before: usize,
    /// Not empty.
    bytes: Bytes,
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
        self.copied.len() + self.shared_bytes
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.copied.is_empty() && self.shared.is_empty()
    }

    /// Fills `dst` with what to write next, in order, and returns how many entries were set.
    pub fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        self.chunks_within(usize::MAX, dst)
    }

    /// [`Output::chunks_vectored`] of at most `bytes_max` bytes.
    pub fn chunks_within<'a>(&'a self, bytes_max: usize, dst: &mut [IoSlice<'a>]) -> usize {
        let mut slots = dst.iter_mut();
        let mut filled = 0;
        let mut left = bytes_max;
        let mut fill = |piece: &'a [u8]| {
            let piece = piece.get(..left).unwrap_or(piece);
            if piece.is_empty() {
                return left > 0;
            }
            let Some(slot) = slots.next() else { return false };
            *slot = IoSlice::new(piece);
            left -= piece.len();
            filled += 1;
            left > 0
        };
        let mut copied: &[u8] = &self.copied;
        for piece in &self.shared {
            let (before, rest) = copied
                .split_at_checked(piece.copied_before)
                .unwrap_or((copied, &[]));
            copied = rest;
            if !fill(before) || !fill(&piece.bytes) {
                return filled;
            }
        }
        fill(copied);
        filled
    }

    /// Drops `n` bytes that were written; more than there are drops everything.
    ///
    /// When that empties the queue and little had been in it, a buffer above [`OUTPUT_KEPT_BYTES_MAX`] is returned to
    /// the allocator: a busy connection keeps its large buffer, one that had a burst keeps it until its next ping.
    pub fn advance(&mut self, n: usize) {
        self.advanced_bytes = self.advanced_bytes.saturating_add(n);
        let mut left = n;
        while let Some(first) = self.shared.front_mut() {
            let before = left.min(first.copied_before);
            first.copied_before -= before;
            self.copied_before_shared -= before;
            self.copied.advance(before);
            left -= before;
            let part = left.min(first.bytes.len());
            first.bytes.advance(part);
            self.shared_bytes -= part;
            left -= part;
            if !first.bytes.is_empty() {
                return;
            }
            self.shared.pop_front();
        }
        self.copied.advance(left.min(self.copied.len()));
        if self.is_empty() {
            // Buffers grow by doubling: half the bound never grows one beyond it, so none is dropped and made in turns.
            let quiet = std::mem::take(&mut self.advanced_bytes) <= OUTPUT_KEPT_BYTES_MAX / 2;
            // What was advanced over no longer counts as capacity: ask for the whole buffer before judging it.
            if quiet && self.copied.try_reclaim(OUTPUT_KEPT_BYTES_MAX + 1) {
                *self = Self::default();
            }
        }
    }

    /// Returns the buffers of an empty output to the allocator: for connections that fall silent.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Makes room for `n` more bytes that are copied.
    pub fn reserve(&mut self, n: usize) {
        self.copied.reserve(n);
    }

    /// Appends a copy of `bytes`.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    /// Appends `bytes` without copying them.
    pub fn put_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let copied_before = self.copied.len() - self.copied_before_shared;
        self.copied_before_shared = self.copied.len();
        self.shared_bytes += bytes.len();
        self.shared.push_back(Shared { copied_before, bytes });
    }

    /// The buffer to append to: what is added here is written after everything queued so far.
    ///
    /// Only appending is allowed; what it holds already has its place in the queue.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.copied
    }
}

impl Sink for Output {
    fn put(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_kept_while_it_is_needed_and_returned_after() {
        let mut out = Output::new();
        out.put_slice(&[0; 100]);
        out.advance(100);
        assert!(out.copied.try_reclaim(100), "a small buffer is kept");
        for _ in 0..3 {
            out.put_slice(&[0; OUTPUT_KEPT_BYTES_MAX + 1]);
            out.advance(1);
            out.advance(OUTPUT_KEPT_BYTES_MAX);
            assert!(
                out.copied.try_reclaim(OUTPUT_KEPT_BYTES_MAX),
                "a busy connection keeps its buffer"
            );
        }
        out.put_slice(b"ping");
        out.advance(4);
        assert!(!out.copied.try_reclaim(1), "a quiet one returns it");
    }

    #[test]
    fn an_empty_output_is_released_and_a_waiting_one_is_not() {
        let mut out = Output::new();
        out.put_slice(b"x");
        out.release();
        assert_eq!(out.copied, b"x".as_slice());
        out.advance(1);
        out.release();
        assert!(!out.copied.try_reclaim(1));
    }
}
