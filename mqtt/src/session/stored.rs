//! What a store needs to know of a durable session, and what the session leaves to it.
//!
//! A durable session notes each change that has to survive; whoever drives it carries the notes to the store. The
//! messages of such a session are in the store anyway, so it keeps only the first page of its queue in memory, and
//! nothing while nobody is connected: [`super::Session::wanted`] says what to fetch.

use super::Delivery;
use crate::packet::{PacketId, QoS};
use std::num::NonZeroU64;
use std::time::Instant;

/// Messages of a durable session's queue that are kept in memory.
pub(super) const PAGE_MESSAGES: usize = 1024;
/// Bytes of them.
pub(super) const PAGE_BYTES: u64 = 1 << 20;

/// Where a store keeps a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Of the message, which the store may keep for other sessions too.
    pub seq: NonZeroU64,
    /// Of the delivery among those of its session: rises in the order of the queue.
    pub position: u64,
}

/// A delivery whose message is in the store only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub place: Place,
    /// What the message counts for, see [`crate::message::Message::wire_bytes`].
    pub bytes: u32,
    /// Of the delivery.
    pub qos: QoS,
    /// When the message expires.
    pub expires_at: Option<Instant>,
}

impl Stored {
    /// `None`: no store has it.
    pub(super) fn of(delivery: &Delivery) -> Option<Self> {
        Some(Self {
            place: delivery.place?,
            bytes: u32::try_from(delivery.bytes()).unwrap_or(u32::MAX),
            qos: delivery.qos,
            expires_at: delivery.message.expires_at(),
        })
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// A delivery in a queue or in flight: with its message, or without.
#[derive(Debug)]
pub(super) enum Held {
    Here(Delivery),
    Stored(Stored),
}

impl Held {
    pub(super) fn qos(&self) -> QoS {
        match self {
            Self::Here(delivery) => delivery.qos,
            Self::Stored(stored) => stored.qos,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Here(delivery) => delivery.bytes(),
            Self::Stored(stored) => u64::from(stored.bytes),
        }
    }

    pub(super) fn place(&self) -> Option<Place> {
        match self {
            Self::Here(delivery) => delivery.place,
            Self::Stored(stored) => Some(stored.place),
        }
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        match self {
            Self::Here(delivery) => delivery.is_expired(now),
            Self::Stored(stored) => stored.is_expired(now),
        }
    }

    pub(super) fn stored(&self) -> Option<Stored> {
        match self {
            Self::Here(_) => None,
            Self::Stored(stored) => Some(*stored),
        }
    }

    /// Leaves the message to the store, if the store has it.
    pub(super) fn put_away(&mut self) {
        if let Self::Here(delivery) = self
            && let Some(stored) = Stored::of(delivery)
        {
            *self = Self::Stored(stored);
        }
    }
}

/// Something about a durable session that has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A delivery left the queue and is in flight.
    Sent {
        /// Which.
        place: Place,
        /// Its packet identifier.
        packet_id: PacketId,
        /// Of the delivery.
        qos: QoS,
    },
    /// A delivery, not always the first, left the queue unsent: it expired, was dropped or could not be read.
    Skipped(Place),
    /// An exchange is over: PUBACK, PUBCOMP, an error, or a message too large for the client.
    Acknowledged(PacketId),
    /// PUBREC came: only PUBREL is left to send.
    Received(PacketId),
    /// A QoS 2 message came from the client and is stored.
    InboundReceived(PacketId),
    /// The client released it, or it was refused.
    InboundReleased(PacketId),
}

/// Which packet a client owes for a message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// PUBACK.
    Ack,
    /// PUBREC.
    Rec,
    /// PUBCOMP.
    Comp,
}

/// A message in flight, as a store gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Its packet identifier.
    pub packet_id: PacketId,
    /// What it waits for.
    pub awaits: Awaits,
    /// `None` once PUBREC came.
    pub stored: Option<Stored>,
}

/// What a store has of a session.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// In the order of their positions.
    pub queue: Vec<Stored>,
    /// In the order of their first sending.
    pub inflight: Vec<Exchange>,
    /// QoS 2 messages received from the client and not released.
    pub received: Vec<PacketId>,
    /// Above every position the store has seen.
    pub next_position: u64,
}
