//! The seam for what is to outlive the process.
//!
//! The hub tells a store every fact about sessions and retained messages, in order. The memory store promises
//! nothing beyond the process; an engine on disk will answer [`Store::append`] once the record is durable, and the
//! hub hands out the right to acknowledge only then: decide, store, acknowledge.

mod memory;

pub use memory::Memory;

use sluice_mqtt::message::Message;
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::TopicFilter;
use std::sync::Arc;

/// What names a session: two tenants may use the same client id without meeting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Prefix of all topics of the client; empty without a mount point.
    pub mountpoint: Arc<str>,
    /// Client identifier.
    pub client_id: Arc<str>,
}

/// One fact.
pub enum Record<'a> {
    /// A session exists, or exists again, and outlives its connection by so many seconds.
    SessionOpened(&'a SessionKey, u32),
    /// A session and all that belongs to it is gone.
    SessionEnded(&'a SessionKey),
    /// A session has this subscription.
    Subscribed(&'a SessionKey, &'a TopicFilter),
    /// A session no longer has it.
    Unsubscribed(&'a SessionKey, &'a Text),
    /// The retained message of its topic.
    Retained(&'a Message),
    /// A topic has no retained message any more.
    RetainedCleared(&'a str),
}

/// Keeps records.
pub trait Store: Send + Sync {
    /// Takes one record; returns when it is as durable as this store promises.
    fn append(&self, record: Record<'_>);
}
