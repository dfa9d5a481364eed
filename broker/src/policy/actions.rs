//! What policies do to live sessions: capability `sessions`.

use super::verdict::Budget;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Actions that wait to be carried out; further ones are dropped and counted.
const QUEUE_MAX: usize = 1024;

/// Something a policy wants done to a session. Whoever carries it out asks the session's gate first
/// ([`super::Gate::is_judged_by`]): a policy has no power over sessions it does not judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAction {
    /// End the session's connection.
    Disconnect {
        /// Which session.
        session: u64,
        /// Who wants it.
        policy: Arc<str>,
        /// MQTT 5.0 reason code for DISCONNECT, already checked.
        reason: u8,
    },
    /// Replace the budget this policy set: give it to [`super::Gate::set_budget`].
    SetBudget {
        /// Which session.
        session: u64,
        /// Whose budget it is.
        policy: Arc<str>,
        /// The new one.
        budget: Budget,
    },
}

/// The way from policies to whoever carries actions out.
#[derive(Debug, Default)]
pub(super) struct Actions {
    sender: Mutex<Option<mpsc::Sender<SessionAction>>>,
    dropped: AtomicU64,
}

impl Actions {
    /// The receiving end; an earlier one gets nothing more.
    pub(super) fn receiver(&self) -> mpsc::Receiver<SessionAction> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        *self.sender.lock() = Some(sender);
        receiver
    }

    /// Never waits: called from inside a policy's call.
    pub(super) fn send(&self, action: SessionAction) {
        let sent = self
            .sender
            .lock()
            .as_ref()
            .is_some_and(|sender| sender.try_send(action).is_ok());
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
