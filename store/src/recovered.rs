//! What the store had when it was opened.

use crate::change::SessionRecord;
use sluice_mqtt::message::Message;
use std::time::Instant;

/// All that outlived the last process, except the messages in queues, which [`crate::Store::read`] gives one by one.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Sessions that begin now take their numbers from here on: none of them was used before.
    pub first_number: u64,
    /// In the order of their numbers.
    pub sessions: Vec<RecoveredSession>,
    /// One for each topic.
    pub retained: Vec<Message>,
    /// In the order of kinds and keys.
    pub facts: Vec<Fact>,
}

/// Kind, key and value of a fact.
pub type Fact = (u8, Vec<u8>, Vec<u8>);

/// A session.
#[derive(Debug)]
pub struct RecoveredSession {
    /// As it was last said.
    pub record: SessionRecord,
    /// Filter, Subscription Options and Subscription Identifier (0: none).
    pub subscriptions: Vec<(String, u8, u32)>,
    /// What waits to be sent for the first time, in the order of positions.
    pub queue: Vec<Stored>,
    /// What was sent and not acknowledged, in the order of first sending.
    pub inflight: Vec<Exchange>,
    /// QoS 2 messages received from the client and not released, sorted.
    pub received: Vec<u16>,
    /// Above every position the store has seen.
    pub next_position: u64,
}

/// A message in a queue or in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The message's.
    pub seq: u64,
    /// In the session's queue.
    pub position: u64,
    /// What the message counts for, see [`Message::wire_bytes`].
    pub bytes: u32,
    /// 1 or 2, for this session.
    pub qos: u8,
    /// When the message expires; `None`: never.
    pub expires_at: Option<Instant>,
}

/// A message that was sent and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Not 0.
    pub packet_id: u16,
    /// What the client owes.
    pub awaits: Awaits,
    /// `None` exactly when PUBREC came.
    pub stored: Option<Stored>,
}

/// Which packet a client owes for a message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Awaits {
    /// PUBACK.
    Ack,
    /// PUBREC.
    Rec,
    /// PUBCOMP.
    Comp,
}
