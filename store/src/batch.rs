//! What becomes durable together.

use crate::change::{Change, MessageRecord, Recipient, StoredMessage};
use foldhash::fast::RandomState;
use sluice_mqtt::message::Message;
use std::collections::HashMap;
use std::sync::Arc;

/// Messages by seq.
pub(crate) type Messages = HashMap<u64, Arc<Kept>, RandomState>;

/// A message and who is to get it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) message: Message,
    pub(crate) recipients: Vec<Recipient>,
}

/// What was submitted since the batch before was closed.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Shared with those who read while it is written.
    pub(crate) messages: Arc<Messages>,
    /// In the order in which they were submitted.
    pub(crate) changes: Vec<Change>,
    /// Memory it takes, about.
    pub(crate) bytes: u64,
}

/// What a message is accounted with until it is on disk, beside its bytes; and each recipient.
const MESSAGE_BYTES: u64 = 64;
const RECIPIENT_BYTES: u64 = size_of::<Recipient>() as u64;

impl Kept {
    pub(crate) fn new(record: MessageRecord<'_>) -> Self {
        Self {
            message: record.message.clone(),
            recipients: record.recipients,
        }
    }

    fn bytes(&self) -> u64 {
        MESSAGE_BYTES + self.message.wire_bytes() as u64 + RECIPIENT_BYTES * self.recipients.len() as u64
    }

    /// The message as the session is to get it; with a position, exactly the copy at that position.
    pub(crate) fn copy_for(&self, session: u64, position: Option<u64>) -> Option<StoredMessage> {
        let recipient = self
            .recipients
            .iter()
            .find(|recipient| recipient.is(session, position))?;
        Some(recipient.clone().with(self.message.clone()))
    }
}

impl Recipient {
    pub(crate) fn is(&self, session: u64, position: Option<u64>) -> bool {
        self.session == session && position.is_none_or(|position| position == self.position)
    }

    pub(crate) fn with(self, message: Message) -> StoredMessage {
        StoredMessage {
            message,
            qos: self.qos,
            retain: self.retain,
            subscription_ids: self.subscription_ids,
        }
    }
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.changes.is_empty()
    }

    /// Takes in a message; returns the bytes it counts for.
    pub(crate) fn add_message(&mut self, seq: u64, kept: Arc<Kept>) -> u64 {
        let bytes = kept.bytes();
        self.bytes += bytes;
        // Nobody reads from a batch that still grows without the lock it is under, so this copies nothing.
        Arc::make_mut(&mut self.messages).insert(seq, kept);
        bytes
    }

    /// Takes in a change; returns the bytes it counts for.
    pub(crate) fn add_change(&mut self, change: Change) -> u64 {
        let bytes = change.bytes();
        self.bytes += bytes;
        self.changes.push(change);
        bytes
    }
}
