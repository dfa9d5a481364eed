//! Rows to put and to delete, by key. Putting or deleting them twice does no harm.

use super::progress::Saved;
use crate::batch::Kept;
use crate::change::SessionRecord;
use serde::{Deserialize, Serialize};
use sluice_mqtt::message::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be on disk, and what not any more (`None`).
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Messages to put, with those recipients that need them.
    pub(crate) messages: BTreeMap<u64, Arc<Kept>>,
    /// Messages to delete.
    pub(crate) finished: BTreeSet<u64>,
    pub(crate) progress: BTreeMap<u64, Option<Saved>>,
    /// With a session its subscriptions go.
    pub(crate) sessions: BTreeMap<u64, Option<SessionRecord>>,
    /// By session and filter.
    pub(crate) subscriptions: BTreeMap<u64, BTreeMap<String, Option<Granted>>>,
    pub(crate) retained: BTreeMap<String, Option<Message>>,
    pub(crate) facts: BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>>,
}

/// What was granted to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Granted {
    /// Subscription Options (section 3.8.3.1).
    pub(crate) options: u8,
    /// Subscription Identifier; 0: none.
    pub(crate) id: u32,
}

impl Rows {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.finished.is_empty()
            && self.progress.is_empty()
            && self.sessions.is_empty()
            && self.subscriptions.is_empty()
            && self.retained.is_empty()
            && self.facts.is_empty()
    }

    pub(super) fn put_message(&mut self, seq: u64, kept: Arc<Kept>) {
        self.messages.insert(seq, kept);
    }

    /// A message that was never written needs not be deleted.
    pub(super) fn delete_message(&mut self, seq: u64) {
        if self.messages.remove(&seq).is_none() {
            self.finished.insert(seq);
        }
    }

    pub(super) fn end_session(&mut self, session: u64) {
        self.sessions.insert(session, None);
        self.progress.insert(session, None);
        self.subscriptions.remove(&session);
    }

    /// Takes in the rows of a later batch.
    ///
    /// These rows may have been written, even if writing them was reported to have failed: what is deleted later has
    /// to be deleted.
    pub(crate) fn absorb(&mut self, later: Self) {
        for seq in &later.finished {
            self.messages.remove(seq);
        }
        for (session, _) in later.sessions.iter().filter(|(_, record)| record.is_none()) {
            self.subscriptions.remove(session);
        }
        self.finished.extend(later.finished);
        self.messages.extend(later.messages);
        self.progress.extend(later.progress);
        self.sessions.extend(later.sessions);
        for (session, filters) in later.subscriptions {
            self.subscriptions.entry(session).or_default().extend(filters);
        }
        self.retained.extend(later.retained);
        self.facts.extend(later.facts);
    }
}
