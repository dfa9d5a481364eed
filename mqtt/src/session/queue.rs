//! What waits to be sent for the first time: a queue bounded in messages and bytes.

use super::{Delivery, SessionLimits};
use std::collections::VecDeque;

/// Entries the memory of an emptied queue is kept for.
const KEPT_CAPACITY: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Delivery>,
    bytes: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&Delivery> {
        self.entries.front()
    }

    /// Whether so many bytes fit beside what is there.
    pub(super) fn has_room(&self, bytes: u64, limits: &SessionLimits) -> bool {
        self.entries.len() < limits.queue_messages_max as usize
            && self.bytes.saturating_add(bytes) <= limits.queue_bytes_max
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.bytes();
        self.entries.push_back(delivery);
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.entries.pop_front()?;
        self.bytes -= delivery.bytes();
        if self.entries.is_empty() && self.entries.capacity() > KEPT_CAPACITY {
            self.entries = VecDeque::new();
        }
        Some(delivery)
    }

    /// Keeps what `keep` says; returns how many were dropped.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Delivery) -> bool) -> u64 {
        let before = self.entries.len();
        let bytes = &mut self.bytes;
        self.entries.retain(|delivery| {
            let kept = keep(delivery);
            if !kept {
                *bytes -= delivery.bytes();
            }
            kept
        });
        let dropped = before - self.entries.len();
        if dropped > 0 && self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to_fit();
        }
        dropped as u64
    }
}
