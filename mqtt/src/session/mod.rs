//! A session: what outlives a connection, except its subscriptions.
//!
//! ```text
//!            enqueue                    next                      puback / pubcomp
//!  message ──────────► queue ──────────────────────► in flight ────────────────────► done
//!               │        │ QoS 0: sent and forgotten    │  ▲
//!               ▼        ▼                              │  │ attach: all of it again, same identifiers,
//!            dropped   expired                          └──┘ same order, DUP, PUBREL where PUBREC came
//! ```
//!
//! Towards the client: one queue, strictly first in first out, then a window of at most
//! `min(client's Receive Maximum, inflight_max)` unacknowledged messages. QoS 0 messages wait in the same queue, so
//! that the order of a topic holds whatever QoS its messages have.
//! From the client: the identifiers of QoS 2 messages that it has not released yet.

mod delivery;
mod inflight;
mod queue;
mod stored;
#[cfg(test)]
mod tests;

pub use delivery::{Delivery, Outgoing, SubscriptionIds};
pub use stored::{Awaits, Change, Exchange, Place, Restored, Stored};

use crate::packet::{PacketId, QoS};
use crate::reason::ReasonCode;
use inflight::{Inflight, Known};
use queue::{Fetched, Queue};
use std::borrow::Cow;
use std::num::NonZeroU64;
use std::time::Instant;
use stored::{Held, PAGE_BYTES};

/// Entries the memory of an emptied in-flight table is kept for.
const KEPT_INFLIGHT: usize = 32;

/// Bounds of a session. Memory at worst: `queue_bytes_max` + `inflight_max` x the largest message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Messages waiting to be sent.
    pub queue_messages_max: u32,
    /// Their bytes, see [`crate::message::Message::wire_bytes`].
    pub queue_bytes_max: u64,
    /// What happens to a message that finds the queue full.
    pub overflow: Overflow,
    /// QoS 1 and 2 messages sent and not acknowledged; 0 counts as 1.
    pub inflight_max: u16,
}

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is dropped.
    DropNew,
    /// The oldest messages are dropped to make room.
    DropOldest,
    /// The client is to be disconnected. A QoS 0 message, and any message while there is no connection, is dropped.
    Disconnect,
}

/// What [`Session::enqueue`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Enqueued {
    /// It waits to be sent.
    Queued,
    /// The queue is full, or it is QoS 0 and nobody is connected: dropped.
    DroppedNew,
    /// It waits to be sent; so many older ones were dropped for it.
    DroppedOldest(u32),
    /// The queue is full: dropped, and the client is to be disconnected.
    Overflow,
}

/// What to do about a PUBREC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PubRecOutcome {
    /// Send PUBREL.
    SendPubRel,
    /// The client refused the message: the exchange is over.
    Ended,
    /// No such message: send PUBREL 0x92.
    Unknown,
}

/// Whether a QoS 2 message from the client is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Received2 {
    /// To be judged and routed.
    Fresh,
    /// Already received: only to be acknowledged [MQTT-4.3.3-10].
    Duplicate,
}

/// What became of messages, since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// QoS 0 messages sent, and QoS 1 and 2 messages the client acknowledged.
    pub completed: u64,
    /// QoS 1 and 2 messages the client refused (reason 0x80 and above).
    pub refused: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
    /// Expired before they were sent.
    pub expired: u64,
    /// Larger than the client accepts.
    pub oversized: u64,
    /// QoS 0 messages dropped because nobody is connected.
    pub undeliverable: u64,
    /// Could not be read from the store.
    pub lost: u64,
}

/// The state of one client's session.
#[derive(Debug)]
pub struct Session {
    limits: SessionLimits,
    queue: Queue,
    inflight: Inflight,
    /// The client's Receive Maximum; 0 while nobody is connected.
    receive_max: u16,
    /// QoS 2 messages received and not released, sorted.
    received: Vec<PacketId>,
    counters: Counters,
    /// What a store has to be told; `None`: the session is not durable.
    journal: Option<Vec<Change>>,
    next_position: u64,
}

impl Session {
    /// An empty session without a connection, which ends with the process.
    #[must_use]
    pub fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            queue: Queue::default(),
            inflight: Inflight::default(),
            receive_max: 0,
            received: Vec::new(),
            counters: Counters::default(),
            journal: None,
            next_position: 0,
        }
    }

    /// A durable session without a connection, as a store has it; [`Restored::default`] for a new one.
    #[must_use]
    pub fn durable(limits: SessionLimits, restored: Restored) -> Self {
        let mut session = Self::new(limits);
        session.journal = Some(Vec::new());
        for stored in restored.queue {
            session.queue.push(Held::Stored(stored));
        }
        session.inflight.restore(restored.inflight);
        session.received = restored.received;
        session.received.sort_unstable();
        session.next_position = restored.next_position;
        session
    }

    /// A connection is there: what was in flight is sent again [MQTT-4.4.0-1].
    pub fn attach(&mut self, receive_max: u16, now: Instant) {
        self.receive_max = receive_max.max(1);
        self.expire(now);
        self.inflight.restart();
    }

    /// The connection is gone: waiting QoS 0 messages are dropped.
    pub fn detach(&mut self) {
        self.receive_max = 0;
        self.counters.undeliverable += self.queue.retain(|held| held.qos() > QoS::AtMostOnce);
        self.queue.put_away();
        self.inflight.put_away();
    }

    /// Queues a message.
    pub fn enqueue(&mut self, delivery: Delivery) -> Enqueued {
        if delivery.qos == QoS::AtMostOnce && !self.is_attached() {
            self.counters.undeliverable += 1;
            return Enqueued::DroppedNew;
        }
        let bytes = delivery.bytes();
        if self.queue.has_room(bytes, &self.limits) {
            self.push(delivery);
            return Enqueued::Queued;
        }
        let can_fit = bytes <= self.limits.queue_bytes_max && self.limits.queue_messages_max > 0;
        match self.limits.overflow {
            Overflow::DropOldest if can_fit => {
                let mut dropped = 0;
                while !self.queue.has_room(bytes, &self.limits)
                    && let Some(oldest) = self.queue.pop()
                {
                    self.note_skipped(&oldest);
                    dropped += 1;
                }
                self.counters.dropped += u64::from(dropped);
                self.push(delivery);
                Enqueued::DroppedOldest(dropped)
            }
            Overflow::Disconnect if delivery.qos > QoS::AtMostOnce && self.is_attached() => {
                self.counters.dropped += 1;
                Enqueued::Overflow
            }
            Overflow::DropNew | Overflow::DropOldest | Overflow::Disconnect => {
                self.counters.dropped += 1;
                Enqueued::DroppedNew
            }
        }
    }

    /// What to send next, if anything may be sent now: first what an earlier connection left in flight, then the
    /// queue. Expired messages are skipped, but never those that were sent before [MQTT-4.3.3-7].
    pub fn next(&mut self, now: Instant) -> Option<Outgoing<'_>> {
        if !self.is_attached() {
            return None;
        }
        let window = self.window();
        if self.inflight.is_resending() {
            return self.inflight.next_resend(window);
        }
        loop {
            let head = self.queue.front()?;
            if head.is_expired(now) {
                let expired = self.queue.pop()?;
                self.note_skipped(&expired);
                self.counters.expired += 1; // [MQTT-3.3.2-5]
                continue;
            }
            if head.stored().is_some() {
                return None; // until it is fetched
            }
            if head.qos() == QoS::AtMostOnce {
                self.counters.completed += 1;
                let Held::Here(delivery) = self.queue.pop()? else {
                    return None;
                };
                return Some(Outgoing::Publish {
                    delivery: Cow::Owned(delivery),
                    packet_id: None,
                    dup: false,
                });
            }
            if self.inflight.len() >= window {
                return None; // [MQTT-4.9.0-2]
            }
            let Held::Here(delivery) = self.queue.pop()? else {
                return None;
            };
            let sent = self.inflight.add(delivery);
            debug_assert!(
                sent.is_some(),
                "the window is smaller than the number of identifiers"
            );
            let (packet_id, delivery) = sent?;
            if let (Some(journal), Some(place)) = (&mut self.journal, delivery.place) {
                let qos = delivery.qos;
                journal.push(Change::Sent {
                    place,
                    packet_id,
                    qos,
                });
            }
            return Some(Outgoing::Publish {
                delivery: Cow::Borrowed(delivery),
                packet_id: Some(packet_id),
                dup: false,
            });
        }
    }

    /// Whether [`Session::next`] has something to send now, as far as that can be told without looking for expired
    /// messages.
    #[must_use]
    pub fn has_next(&self) -> bool {
        let Some(head) = self.queue.front().filter(|_| self.is_attached()) else {
            return self.is_attached() && self.inflight.is_resending();
        };
        self.inflight.is_resending()
            || (head.stored().is_none()
                && (head.qos() == QoS::AtMostOnce || self.inflight.len() < self.window()))
    }

    /// The client acknowledged a QoS 1 message, or refused it; false if there is none of this identifier.
    pub fn puback(&mut self, packet_id: PacketId, reason: ReasonCode) -> bool {
        self.inflight.awaits(packet_id) == Some(Awaits::Ack) && self.end(packet_id, reason)
    }

    /// The client received a QoS 2 message, or refused it.
    pub fn pubrec(&mut self, packet_id: PacketId, reason: ReasonCode) -> PubRecOutcome {
        match self.inflight.awaits(packet_id) {
            None | Some(Awaits::Ack) => PubRecOutcome::Unknown,
            Some(Awaits::Rec) if reason.is_error() => {
                self.end(packet_id, reason); // [MQTT-4.4.0-2]
                PubRecOutcome::Ended
            }
            Some(Awaits::Rec) => {
                let known = self.inflight.received(packet_id);
                self.note_exchange(known, Change::Received(packet_id));
                PubRecOutcome::SendPubRel
            }
            // It has it already, whatever it says now.
            Some(Awaits::Comp) => PubRecOutcome::SendPubRel,
        }
    }

    /// The client is done with a QoS 2 message; false if there is none that waits for this.
    pub fn pubcomp(&mut self, packet_id: PacketId) -> bool {
        self.inflight.awaits(packet_id) == Some(Awaits::Comp) && self.end(packet_id, ReasonCode::SUCCESS)
    }

    /// A message was too large for the client: as if it had been delivered [MQTT-3.1.2-25].
    pub fn oversized(&mut self, packet_id: PacketId) {
        let removed = self.inflight.remove(packet_id);
        self.counters.oversized += u64::from(removed.is_some());
        self.note_exchange(removed, Change::Acknowledged(packet_id));
    }

    /// A QoS 2 message came from the client. A store learns of it with [`Session::note_received`].
    pub fn receive_qos2(&mut self, packet_id: PacketId) -> Received2 {
        match self.received.binary_search(&packet_id) {
            Ok(_) => Received2::Duplicate,
            Err(index) => {
                self.received.insert(index, packet_id);
                Received2::Fresh
            }
        }
    }

    /// The QoS 2 message with this identifier is about to be stored. Not noted before: a store that knew the
    /// identifier and not the message would take the message for a duplicate after a crash, and lose it.
    pub fn note_received(&mut self, packet_id: PacketId) {
        if self.received.binary_search(&packet_id).is_ok() {
            self.note(Change::InboundReceived(packet_id));
        }
    }

    /// The client released a QoS 2 message; false if there is none of this identifier.
    pub fn release(&mut self, packet_id: PacketId) -> bool {
        match self.received.binary_search(&packet_id) {
            Ok(index) => {
                self.received.remove(index);
                self.note(Change::InboundReleased(packet_id));
                true
            }
            Err(_) => false,
        }
    }

    /// A QoS 2 message from the client was refused: its identifier is free [MQTT-4.3.3-9].
    pub fn forget_qos2(&mut self, packet_id: PacketId) {
        self.release(packet_id);
    }

    /// Drops queued messages that have expired, to make room; returns how many.
    pub fn expire(&mut self, now: Instant) -> u64 {
        let journal = &mut self.journal;
        let expired = self.queue.retain(|held| {
            let expired = held.is_expired(now);
            if let (true, Some(journal), Some(place)) = (expired, journal.as_mut(), held.place()) {
                journal.push(Change::Skipped(place));
            }
            !expired
        });
        self.counters.expired += expired;
        expired
    }

    /// Its bounds.
    #[must_use]
    pub fn limits(&self) -> SessionLimits {
        self.limits
    }

    /// New bounds for what comes from now on; what is queued or in flight beyond them stays.
    pub fn set_limits(&mut self, limits: SessionLimits) {
        self.limits = limits;
    }

    /// Whether a store is to know of it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.journal.is_some()
    }

    /// The place of a delivery that is queued next; `None`: the session is not durable.
    pub fn place(&mut self, seq: NonZeroU64) -> Option<Place> {
        self.journal.as_ref()?;
        let position = self.next_position;
        self.next_position += 1;
        Some(Place { seq, position })
    }

    /// What the store has not been told yet, in order. It is forgotten even if it is not looked at.
    pub fn take_changes(&mut self) -> impl Iterator<Item = Change> + '_ {
        self.journal.iter_mut().flat_map(|journal| journal.drain(..))
    }

    /// What to fetch from the store, in this order, because it is to be sent soon.
    #[must_use]
    pub fn wanted(&self) -> Vec<Place> {
        if self.journal.is_none() || !self.is_attached() {
            return Vec::new();
        }
        let mut bytes = 0;
        let few = |stored: &Stored| {
            let more = bytes < PAGE_BYTES / 2;
            bytes += u64::from(stored.bytes);
            more
        };
        let wanted = self.inflight.wanted().chain(self.queue.wanted());
        wanted.take_while(few).map(|stored| stored.place).collect()
    }

    /// Takes in what was fetched, in the order it was wanted; `None` for a message that cannot be read, which is lost.
    /// What is not waited for any more is left out.
    pub fn arrived(&mut self, mut fetched: Vec<(Place, Option<Delivery>)>) {
        if !self.is_attached() {
            return;
        }
        let unreadable = self.inflight.arrived(&mut fetched);
        for packet_id in unreadable {
            let removed = self.inflight.remove(packet_id);
            self.note_exchange(removed, Change::Acknowledged(packet_id));
            self.counters.lost += 1;
        }
        for stored in self.queue.arrived(&mut fetched) {
            self.note(Change::Skipped(stored.place));
            self.counters.lost += 1;
        }
    }

    /// What became of messages.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How full the queue is, in percent, if it is more than half full; else 0.
    #[must_use]
    pub fn crowding(&self) -> u8 {
        let (messages, messages_max) = (self.queue.len() as u64, u64::from(self.limits.queue_messages_max));
        let (bytes, bytes_max) = (self.queue.bytes(), self.limits.queue_bytes_max);
        if messages.saturating_mul(2) <= messages_max && bytes.saturating_mul(2) <= bytes_max {
            return 0;
        }
        let percent = |part: u64, whole: u64| part.saturating_mul(100).checked_div(whole).unwrap_or(100);
        let fullest = percent(messages, messages_max).max(percent(bytes, bytes_max));
        u8::try_from(fullest).unwrap_or(100).min(100)
    }

    /// Messages waiting for their first sending.
    #[must_use]
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of those messages.
    #[must_use]
    pub fn queue_bytes(&self) -> u64 {
        self.queue.bytes()
    }

    /// Messages sent and not acknowledged.
    #[must_use]
    pub fn inflight_len(&self) -> usize {
        self.inflight.len()
    }

    /// Their packet identifiers, in the order of their first sending.
    pub fn inflight_ids(&self) -> impl Iterator<Item = PacketId> + '_ {
        self.inflight.packet_ids()
    }

    /// QoS 2 messages received from the client and not released.
    #[must_use]
    pub fn received_len(&self) -> usize {
        self.received.len()
    }

    /// Whether nothing of it needs to be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.len() == 0 && self.inflight.len() == 0 && self.received.is_empty()
    }

    /// Messages that may be sent and not acknowledged.
    fn window(&self) -> usize {
        usize::from(self.receive_max.min(self.limits.inflight_max).max(1))
    }

    fn is_attached(&self) -> bool {
        self.receive_max > 0
    }

    fn end(&mut self, packet_id: PacketId, reason: ReasonCode) -> bool {
        let removed = self.inflight.remove(packet_id);
        self.note_exchange(removed, Change::Acknowledged(packet_id));
        let counter = if reason.is_error() {
            &mut self.counters.refused
        } else {
            &mut self.counters.completed
        };
        *counter += u64::from(removed.is_some());
        removed.is_some()
    }

    /// Queues; beyond the first page a message that a store has is left to it.
    fn push(&mut self, delivery: Delivery) {
        let mut held = Held::Here(delivery);
        if !self.is_attached() || self.queue.fills_a_page() {
            held.put_away();
        }
        self.queue.push(held);
    }

    fn note(&mut self, change: Change) {
        if let Some(journal) = &mut self.journal {
            journal.push(change);
        }
    }

    fn note_skipped(&mut self, held: &Held) {
        if let Some(place) = held.place() {
            self.note(Change::Skipped(place));
        }
    }

    fn note_exchange(&mut self, known: Option<Known>, change: Change) {
        if known.is_some_and(|known| known.durable) {
            self.note(change);
        }
    }
}
