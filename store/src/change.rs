//! What the broker tells the store.

use crate::wall;
use serde::{Deserialize, Serialize};
use sluice_mqtt::message::Message;
use std::time::SystemTime;

/// One fact. Facts of one session, topic or key are submitted in the order in which they happened.
#[derive(Clone, Debug)]
pub enum Change {
    /// A session exists, and this is all that is known of it; said again whenever any of it changes.
    ///
    /// A session is opened before it is a recipient: what is for a session nobody has opened is dropped.
    SessionOpened(Box<SessionRecord>),
    /// A session is gone, with its subscriptions, its queue and what it had in flight.
    ///
    /// The store knows itself which messages it held. Its number is never used again.
    SessionEnded {
        /// Its number.
        session: u64,
    },
    /// A session has this subscription, in place of any with the same filter [MQTT-3.8.4-3].
    Subscribed {
        /// Its number.
        session: u64,
        /// As the client wrote it.
        filter: String,
        /// Subscription Options (section 3.8.3.1).
        options: u8,
        /// Subscription Identifier; 0: none.
        id: u32,
    },
    /// A session no longer has it.
    Unsubscribed {
        /// Its number.
        session: u64,
        /// As the client wrote it.
        filter: String,
    },
    /// A message left the queue of a session and is in flight. Messages leave in the order of their positions.
    Sent {
        /// Its number.
        session: u64,
        /// Of the message in the session's queue.
        position: u64,
        /// The message's.
        seq: u64,
        /// Not 0.
        packet_id: u16,
        /// Whether PUBREC is awaited, not PUBACK.
        qos2: bool,
    },
    /// A message left the queue of a session unsent: it expired, was dropped, or cannot be read. Any of the queue may.
    Skipped {
        /// Its number.
        session: u64,
        /// Of the message in the session's queue.
        position: u64,
        /// The message's.
        seq: u64,
    },
    /// PUBACK, PUBCOMP, or an error ended an exchange.
    Acknowledged {
        /// Its number.
        session: u64,
        /// Of the exchange.
        packet_id: u16,
    },
    /// PUBREC came: only PUBREL is left to send, and the message is not needed any more [MQTT-4.3.3-6].
    Received {
        /// Its number.
        session: u64,
        /// Of the exchange.
        packet_id: u16,
    },
    /// The client sent a QoS 2 message with this identifier.
    InboundReceived {
        /// Its number.
        session: u64,
        /// Of the client's PUBLISH.
        packet_id: u16,
    },
    /// The client released it, or it was refused.
    InboundReleased {
        /// Its number.
        session: u64,
        /// Of the client's PUBLISH.
        packet_id: u16,
    },
    /// The retained message of its topic.
    Retained(Message),
    /// A topic has no retained message any more.
    RetainedCleared(String),
    /// Something the store does not understand: bans, values of policies. `None` removes it.
    Fact {
        /// Whose keys these are; above 0.
        kind: u8,
        /// Unique among those of this kind.
        key: Vec<u8>,
        /// What is known.
        value: Option<Vec<u8>>,
    },
}

/// A message and all durable sessions that are to get it.
#[derive(Clone, Debug)]
pub struct MessageRecord<'a> {
    /// From [`crate::Store::next_seq`].
    pub seq: u64,
    /// The message; its clone shares the bytes.
    pub message: &'a Message,
    /// In any order. A session may stand here twice, with different positions.
    pub recipients: Vec<Recipient>,
}

/// One session that is to get a message, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Its number.
    pub session: u64,
    /// In the session's queue; rises with each message that is queued.
    pub position: u64,
    /// 1 or 2: the lower of the published and the granted QoS.
    pub qos: u8,
    /// RETAIN as it is to be sent.
    pub retain: bool,
    /// Of all subscriptions of the session that match.
    pub subscription_ids: Vec<u32>,
}

/// All that is known of a session beside its subscriptions and messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Above 0 and never used twice, see [`crate::Recovered::first_number`].
    pub number: u64,
    /// Prefix of all topics of the client; empty without a mount point.
    pub mountpoint: String,
    /// Client identifier.
    pub client_id: String,
    /// As of its last CONNECT.
    pub username: Option<String>,
    /// Where it connected from last.
    pub address: Option<String>,
    /// Session Expiry Interval in seconds; `u32::MAX`: never (section 3.1.2.11.2).
    pub expiry_seconds: u32,
    /// Whether it has a connection.
    pub phase: Phase,
    /// What is published when its connection is lost.
    pub will: Option<WillRecord>,
    /// Bounds of its queue, which hold while nobody is connected.
    pub limits: QueueLimits,
    /// What was granted to it, as the broker writes it.
    pub gate: Vec<u8>,
}

/// Bounds of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLimits {
    /// Messages waiting to be sent.
    pub messages_max: u32,
    /// Their bytes.
    pub bytes_max: u64,
    /// What happens when the queue is full, as the broker counts it.
    pub overflow: u8,
    /// Messages sent and not acknowledged.
    pub inflight_max: u16,
    /// Subscriptions.
    pub subscriptions_max: u32,
}

/// Whether a session has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It has.
    Online,
    /// It has none.
    Offline {
        /// When it ends, to the millisecond; `None`: never.
        #[serde(with = "wall::optional")]
        expires_at: Option<SystemTime>,
    },
}

/// A will (section 3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WillRecord {
    /// As the client wrote it.
    pub topic: String,
    /// Will payload.
    pub payload: Vec<u8>,
    /// Will QoS.
    pub qos: u8,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay_seconds: u32,
    /// Message Expiry Interval in seconds, which counts from when it is published.
    pub expiry_seconds: Option<u32>,
    /// Encoded properties that are passed on unchanged.
    pub forwarded: Vec<u8>,
    /// When it is published unless the client is back before, to the millisecond; `None`: its connection is not lost.
    #[serde(with = "wall::optional")]
    pub due_at: Option<SystemTime>,
}

/// A message as one session is to get it.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// What is delivered.
    pub message: Message,
    /// 1 or 2.
    pub qos: u8,
    /// RETAIN as it is to be sent.
    pub retain: bool,
    /// Of all subscriptions of the session that match.
    pub subscription_ids: Vec<u32>,
}

/// What a change is accounted with until it is on disk, beside its strings and bytes.
const CHANGE_BYTES: u64 = 64;

impl Change {
    /// Whether it would have the place of a row that the store keeps for itself.
    pub(crate) fn is_of_the_store(&self) -> bool {
        match self {
            Self::SessionOpened(record) => record.number == 0,
            Self::Retained(message) => message.topic().is_empty(),
            Self::Fact { kind, .. } => *kind == 0,
            _ => false,
        }
    }

    /// Bytes of memory it takes until it is on disk, about.
    pub(crate) fn bytes(&self) -> u64 {
        let variable = match self {
            Self::SessionOpened(record) => record.bytes(),
            Self::Subscribed { filter, .. } | Self::Unsubscribed { filter, .. } => filter.len(),
            Self::Retained(message) => message.wire_bytes(),
            Self::RetainedCleared(topic) => topic.len(),
            Self::Fact { key, value, .. } => key.len() + value.as_ref().map_or(0, Vec::len),
            Self::SessionEnded { .. }
            | Self::Sent { .. }
            | Self::Skipped { .. }
            | Self::Acknowledged { .. }
            | Self::Received { .. }
            | Self::InboundReceived { .. }
            | Self::InboundReleased { .. } => 0,
        };
        CHANGE_BYTES + variable as u64
    }
}

impl SessionRecord {
    fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let will = self.will.as_ref().map_or(0, |will| {
            will.topic.len() + will.payload.len() + will.forwarded.len()
        });
        let names = self.mountpoint.len() + self.client_id.len();
        names + text(&self.username) + text(&self.address) + will + self.gate.len()
    }
}
