//! Who still needs what: turns batches of changes into rows to put and to delete.
//!
//! A recipient of a message is *queued* until it is sent or skipped, then perhaps *in flight*, then *done*. On disk
//! the message names its recipients once and is never rewritten; what became of them is in the progress of their
//! sessions: all positions below `sent_below` have left the queue, those `skipped` have too, and those of them that
//! are in flight are listed. When no recipient of a message is queued or in flight any more, the message goes.
//!
//! No I/O and no clock: the same batches give the same rows.

mod progress;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use progress::{Place, Progress, Saved};
pub(crate) use rows::{Granted, Rows};

use crate::batch::{Batch, Kept};
use crate::change::{Change, Recipient, SessionRecord};
use crate::recovered::Awaits;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What the store knows of sessions and messages beside their contents. Memory: 16 bytes for each queued recipient,
/// 32 for each one in flight, and about 32 for each message that several sessions are still to get.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sessions: HashMap<u64, Progress, RandomState>,
    /// How many recipients a message has that are queued or in flight, if they are more than one.
    shared: HashMap<u64, u32, RandomState>,
}

/// A batch on its way to rows.
#[derive(Debug, Default)]
struct Draft {
    rows: Rows,
    /// Sessions whose progress has changed.
    touched: BTreeSet<u64>,
}

impl Ledger {
    /// The rows that a batch changes: sessions are opened first, then messages are taken in, then all else follows.
    pub(crate) fn apply(&mut self, batch: Batch) -> Rows {
        for change in &batch.changes {
            if let Change::SessionOpened(record) = change {
                self.sessions.entry(record.number).or_default();
            }
        }
        let mut draft = Draft::default();
        let messages: BTreeMap<_, _> = batch.messages.iter().collect();
        for (seq, kept) in messages {
            self.message(*seq, kept, &mut draft);
        }
        for change in batch.changes {
            self.change(change, &mut draft);
        }
        for session in draft.touched {
            if let Some(progress) = self.sessions.get(&session) {
                draft.rows.progress.insert(session, Some(progress.saved.clone()));
            }
        }
        draft.rows
    }

    fn message(&mut self, seq: u64, kept: &Arc<Kept>, draft: &mut Draft) {
        let live: Vec<bool> = kept
            .recipients
            .iter()
            .map(|recipient| self.take_in(seq, recipient).is_some())
            .collect();
        let count = live.iter().filter(|live| **live).count();
        self.count(seq, count);
        if count == live.len() && count > 0 {
            draft.rows.put_message(seq, Arc::clone(kept));
        } else if count > 0 {
            let recipients = kept.recipients.iter().zip(live);
            let recipients = recipients.filter(|(_, live)| *live);
            let kept = Kept {
                message: kept.message.clone(),
                recipients: recipients.map(|(recipient, _)| recipient.clone()).collect(),
            };
            draft.rows.put_message(seq, Arc::new(kept));
        }
    }

    /// Where a recipient of a message is now; `None`: done, or of a session that is gone.
    fn take_in(&mut self, seq: u64, recipient: &Recipient) -> Option<Place> {
        let progress = self.sessions.get_mut(&recipient.session)?;
        progress.take_in(recipient.position, seq)
    }

    fn count(&mut self, seq: u64, live: usize) {
        if live > 1 {
            self.shared.insert(seq, u32::try_from(live).unwrap_or(u32::MAX));
        }
    }

    fn change(&mut self, change: Change, draft: &mut Draft) {
        match change {
            Change::SessionOpened(record) => self.opened(record, draft),
            Change::SessionEnded { session } => self.ended(session, draft),
            Change::Subscribed {
                session,
                filter,
                options,
                id,
            } => self.subscription(session, filter, Some(Granted { options, id }), draft),
            Change::Unsubscribed { session, filter } => self.subscription(session, filter, None, draft),
            Change::Retained(message) => {
                let topic = message.topic().to_owned();
                draft.rows.retained.insert(topic, Some(message));
            }
            Change::RetainedCleared(topic) => {
                draft.rows.retained.insert(topic, None);
            }
            Change::Fact { kind, key, value } => {
                draft.rows.facts.insert((kind, key), value);
            }
            Change::Sent { session, .. }
            | Change::Skipped { session, .. }
            | Change::Acknowledged { session, .. }
            | Change::Received { session, .. }
            | Change::InboundReceived { session, .. }
            | Change::InboundReleased { session, .. } => {
                let Some(progress) = self.sessions.get_mut(&session) else {
                    return;
                };
                draft.touched.insert(session);
                if let Some(seq) = progress.advance(&change) {
                    self.release(seq, draft);
                }
            }
        }
    }

    fn opened(&self, record: Box<SessionRecord>, draft: &mut Draft) {
        // It may have ended since, in this very batch.
        if self.sessions.contains_key(&record.number) {
            draft.rows.sessions.insert(record.number, Some(*record));
        }
    }

    fn ended(&mut self, session: u64, draft: &mut Draft) {
        let Some(progress) = self.sessions.remove(&session) else {
            return;
        };
        draft.rows.end_session(session);
        for seq in progress.held() {
            self.release(seq, draft);
        }
    }

    fn subscription(&self, session: u64, filter: String, granted: Option<Granted>, draft: &mut Draft) {
        if self.sessions.contains_key(&session) {
            let filters = draft.rows.subscriptions.entry(session).or_default();
            filters.insert(filter, granted);
        }
    }

    /// One recipient of a message is done.
    fn release(&mut self, seq: u64, draft: &mut Draft) {
        match self.shared.get_mut(&seq) {
            Some(live) if *live > 2 => *live -= 1,
            Some(_) => {
                self.shared.remove(&seq);
            }
            None => draft.rows.delete_message(seq),
        }
    }
}

/// How it is made from what is on disk.
impl Ledger {
    /// A session that is on disk.
    pub(crate) fn recover_session(&mut self, number: u64, saved: Saved) {
        self.sessions.insert(number, Progress::new(saved));
    }

    /// Whether there is such a session.
    pub(crate) fn knows(&self, session: u64) -> bool {
        self.sessions.contains_key(&session)
    }

    /// A message that is on disk, as a series of its recipients. Those that still need it are given to `live`; if there
    /// are none, false: its rows are to be deleted.
    pub(crate) fn recover_message<E>(
        &mut self,
        seq: u64,
        recipients: impl Iterator<Item = Result<Recipient, E>>,
        mut live: impl FnMut(Recipient, Place),
    ) -> Result<bool, E> {
        let mut count = 0;
        for recipient in recipients {
            let recipient = recipient?;
            if let Some(place) = self.take_in(seq, &recipient) {
                count += 1;
                live(recipient, place);
            }
        }
        self.count(seq, count);
        Ok(count > 0)
    }

    /// All messages have been seen: what is in flight without one is dropped, unless only PUBREL is left of it.
    /// The rows say so.
    pub(crate) fn recovered(&mut self) -> Rows {
        let mut rows = Rows::default();
        for (number, progress) in &mut self.sessions {
            if progress.drop_lost() {
                rows.progress.insert(*number, Some(progress.saved.clone()));
            }
        }
        rows
    }

    pub(crate) fn progress(&self, session: u64) -> Option<&Progress> {
        self.sessions.get(&session)
    }
}

/// What is in flight for a client that owes PUBCOMP needs no message.
fn needs_message(awaits: Awaits) -> bool {
    awaits != Awaits::Comp
}
