//! What waits to be sent for the first time: a queue bounded in messages and bytes.

use super::stored::{Held, PAGE_BYTES, PAGE_MESSAGES, Place, Stored};
use super::{Delivery, SessionLimits};
use std::collections::VecDeque;

/// Entries the memory of an emptied queue is kept for.
const KEPT_CAPACITY: usize = 32;

/// What came from a store, in the order of its places; `None`: it cannot be read.
pub(super) type Fetched = Vec<(Place, Option<Delivery>)>;

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Held>,
    bytes: u64,
    /// Entries whose message is in a store only.
    stored: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&Held> {
        self.entries.front()
    }

    /// Whether so many bytes fit beside what is there.
    pub(super) fn has_room(&self, bytes: u64, limits: &SessionLimits) -> bool {
        self.entries.len() < limits.queue_messages_max as usize
            && self.bytes.saturating_add(bytes) <= limits.queue_bytes_max
    }

    pub(super) fn push(&mut self, held: Held) {
        self.bytes += held.bytes();
        self.stored += usize::from(held.stored().is_some());
        self.entries.push_back(held);
    }

    /// Whether the next one that a store has is to be left to it: what comes before fills a page.
    pub(super) fn fills_a_page(&self) -> bool {
        self.stored > 0 || self.entries.len() >= PAGE_MESSAGES || self.bytes >= PAGE_BYTES
    }

    /// Leaves to the store all that it has.
    pub(super) fn put_away(&mut self) {
        for held in &mut self.entries {
            held.put_away();
        }
        self.stored = self.entries.iter().filter(|held| held.stored().is_some()).count();
    }

    /// What to fetch from the store: the next half of a page, once less than a quarter of one is here.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Stored> + '_ {
        let first = self.entries.iter().take(PAGE_MESSAGES / 4);
        let is_low = self.stored > 0 && first.clone().any(|held| held.stored().is_some());
        let messages = if is_low { PAGE_MESSAGES / 2 } else { 0 };
        self.entries.iter().take(messages).filter_map(Held::stored)
    }

    /// Puts what was fetched in its places, in their order; what is not wanted any more is left.
    /// What could not be fetched is taken out and returned.
    pub(super) fn arrived(&mut self, fetched: &mut Fetched) -> Vec<Stored> {
        let mut lost = Vec::new();
        let mut next = 0;
        for (index, held) in self.entries.iter_mut().enumerate().take(PAGE_MESSAGES) {
            if next == fetched.len() {
                break;
            }
            let Some(stored) = held.stored() else { continue };
            let Some(found) = fetched
                .iter()
                .skip(next)
                .position(|(place, _)| *place == stored.place)
            else {
                continue;
            };
            next += found;
            match fetched.get_mut(next).and_then(|(_, delivery)| delivery.take()) {
                Some(delivery) => {
                    *held = Held::Here(delivery);
                    self.stored -= 1;
                }
                None => lost.push((index, stored)),
            }
            next += 1;
        }
        for (index, stored) in lost.iter().rev() {
            self.entries.remove(*index);
            self.bytes -= u64::from(stored.bytes);
            self.stored -= 1;
        }
        lost.into_iter().map(|(_, stored)| stored).collect()
    }

    pub(super) fn pop(&mut self) -> Option<Held> {
        let delivery = self.entries.pop_front()?;
        self.bytes -= delivery.bytes();
        self.stored -= usize::from(delivery.stored().is_some());
        if self.entries.is_empty() && self.entries.capacity() > KEPT_CAPACITY {
            self.entries = VecDeque::new();
        }
        Some(delivery)
    }

    /// Keeps what `keep` says; returns how many were dropped.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Held) -> bool) -> u64 {
        let before = self.entries.len();
        let (bytes, stored) = (&mut self.bytes, &mut self.stored);
        self.entries.retain(|held| {
            let kept = keep(held);
            if !kept {
                *bytes -= held.bytes();
                *stored -= usize::from(held.stored().is_some());
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
