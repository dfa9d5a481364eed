//! How far one session has come.

use super::needs_message;
use crate::change::Change;
use crate::recovered::Awaits;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// One session, as far as messages are concerned.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// What is on disk of it.
    pub(crate) saved: Saved,
    /// Position and seq of what is queued, in the order of positions.
    queued: VecDeque<(u64, u64)>,
}

/// The row on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Every position below has left the queue.
    pub(crate) sent_below: u64,
    /// Positions from there on that left it out of turn, sorted.
    pub(crate) skipped: Vec<u64>,
    /// What was sent and not acknowledged, in the order of positions, which is that of first sending.
    pub(crate) inflight: VecDeque<InFlight>,
    /// QoS 2 messages received from the client and not released, sorted.
    pub(crate) inbound: Vec<u16>,
}

/// A message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InFlight {
    pub(crate) position: u64,
    pub(crate) seq: u64,
    pub(crate) packet_id: u16,
    pub(crate) awaits: Awaits,
    /// Whether the message is there: a subscriber may be quicker than the batch with the message.
    #[serde(skip)]
    pub(crate) arrived: bool,
}

/// Where a recipient is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It waits to be sent for the first time.
    Queued,
    /// It was sent, with this packet identifier.
    InFlight(u16),
}

/// Positions that may have left a queue out of turn at a time. One beyond is forgotten: if the broker ends before the
/// positions below have left the queue too, and other sessions still need the message, it is in the queue again.
const SKIPPED_MAX: usize = 1024;

impl Progress {
    pub(super) fn new(saved: Saved) -> Self {
        Self {
            saved,
            queued: VecDeque::new(),
        }
    }

    /// Takes in a message, or finds it in flight already.
    pub(super) fn take_in(&mut self, position: u64, seq: u64) -> Option<Place> {
        if position < self.saved.sent_below {
            let index = self.saved.find(position).ok()?;
            let sent = self.saved.inflight.get_mut(index)?;
            if sent.seq != seq || !needs_message(sent.awaits) || sent.arrived {
                return None;
            }
            sent.arrived = true;
            return Some(Place::InFlight(sent.packet_id));
        }
        if self.saved.skipped.binary_search(&position).is_ok() {
            return None;
        }
        match self.queued.back() {
            Some((last, _)) if *last >= position => {
                let index = self.queued.binary_search_by_key(&position, |(at, _)| *at).err()?;
                self.queued.insert(index, (position, seq));
            }
            _ => self.queued.push_back((position, seq)),
        }
        Some(Place::Queued)
    }

    /// Takes in what happened; returns the seq of a message that this session does not need any more.
    pub(super) fn advance(&mut self, change: &Change) -> Option<u64> {
        match *change {
            Change::Sent {
                position,
                seq,
                packet_id,
                qos2,
                ..
            } => self.sent(position, seq, packet_id, qos2),
            Change::Skipped { position, .. } => self.skipped(position),
            Change::Acknowledged { packet_id, .. } => self.acknowledged(packet_id),
            Change::Received { packet_id, .. } => {
                let sent = self.saved.exchange(packet_id)?;
                let needed = sent.arrived && needs_message(sent.awaits);
                sent.awaits = Awaits::Comp;
                needed.then_some(sent.seq)
            }
            Change::InboundReceived { packet_id, .. } => {
                if let Err(index) = self.saved.inbound.binary_search(&packet_id) {
                    self.saved.inbound.insert(index, packet_id);
                }
                None
            }
            Change::InboundReleased { packet_id, .. } => {
                if let Ok(index) = self.saved.inbound.binary_search(&packet_id) {
                    self.saved.inbound.remove(index);
                }
                None
            }
            _ => None,
        }
    }

    fn sent(&mut self, position: u64, seq: u64, packet_id: u16, qos2: bool) -> Option<u64> {
        // An identifier is free again only when its exchange is over, whoever forgot to say so.
        let over = self.acknowledged(packet_id);
        let arrived = self.take(position).is_some();
        self.saved.leave_below(position.saturating_add(1));
        let sent = InFlight {
            position,
            seq,
            packet_id,
            awaits: if qos2 { Awaits::Rec } else { Awaits::Ack },
            arrived,
        };
        match self.saved.find(position) {
            // Said twice: the first holds.
            Ok(_) => debug_assert!(!arrived, "a position is queued once"),
            Err(index) => self.saved.inflight.insert(index, sent),
        }
        over
    }

    fn skipped(&mut self, position: u64) -> Option<u64> {
        let taken = self.take(position);
        let first = self.queued.front().map(|(first, _)| *first);
        if taken.is_some() && first.is_none_or(|first| first > position) {
            // All before it had left already.
            self.saved.leave_below(position.saturating_add(1));
        } else if position >= self.saved.sent_below
            && self.saved.skipped.len() < SKIPPED_MAX
            && let Err(index) = self.saved.skipped.binary_search(&position)
        {
            self.saved.skipped.insert(index, position);
        }
        taken
    }

    fn acknowledged(&mut self, packet_id: u16) -> Option<u64> {
        let mut inflight = self.saved.inflight.iter();
        let index = inflight.position(|sent| sent.packet_id == packet_id)?;
        let sent = self.saved.inflight.remove(index)?;
        (sent.arrived && needs_message(sent.awaits)).then_some(sent.seq)
    }

    /// Takes a position out of the queue.
    fn take(&mut self, position: u64) -> Option<u64> {
        if self.queued.front().is_some_and(|(first, _)| *first == position) {
            let (_, seq) = self.queued.pop_front()?;
            if self.queued.is_empty() {
                self.queued = VecDeque::new();
            }
            return Some(seq);
        }
        let index = self.queued.binary_search_by_key(&position, |(at, _)| *at).ok()?;
        self.queued.remove(index).map(|(_, seq)| seq)
    }

    /// All messages it needs.
    pub(super) fn held(self) -> impl Iterator<Item = u64> {
        let inflight = self.saved.inflight.into_iter();
        let inflight = inflight.filter(|sent| sent.arrived && needs_message(sent.awaits));
        let queued = self.queued.into_iter().map(|(_, seq)| seq);
        queued.chain(inflight.map(|sent| sent.seq))
    }

    /// Drops what is in flight without its message; whether there was any.
    pub(super) fn drop_lost(&mut self) -> bool {
        let before = self.saved.inflight.len();
        let is_there = |sent: &InFlight| sent.arrived || !needs_message(sent.awaits);
        self.saved.inflight.retain(is_there);
        self.saved.inflight.len() != before
    }

    /// Above every position that was ever seen.
    pub(crate) fn next_position(&self) -> u64 {
        let queued = self.queued.back().map(|(last, _)| *last);
        let above = queued.max(self.saved.skipped.last().copied());
        self.saved
            .sent_below
            .max(above.map_or(0, |last| last.saturating_add(1)))
    }
}

impl Saved {
    /// Every position below `position` has left the queue.
    fn leave_below(&mut self, position: u64) {
        if position > self.sent_below {
            self.sent_below = position;
            let passed = self.skipped.partition_point(|skipped| *skipped < position);
            self.skipped.drain(..passed);
        }
    }

    fn find(&self, position: u64) -> Result<usize, usize> {
        match self.inflight.back() {
            Some(last) if last.position >= position => self
                .inflight
                .binary_search_by_key(&position, |sent| sent.position),
            _ => Err(self.inflight.len()),
        }
    }

    fn exchange(&mut self, packet_id: u16) -> Option<&mut InFlight> {
        self.inflight.iter_mut().find(|sent| sent.packet_id == packet_id)
    }
}
