//! What policies do beyond their answers: to live sessions, capability `sessions`, and to those who are to be kept out,
//! capability `bans`.

use super::bans::{BanKeeper, BanOrder, BanTarget, NoBans};
use super::verdict::Budget;
use parking_lot::Mutex;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
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
#[derive(Default)]
pub(super) struct Actions {
    sender: Mutex<Option<mpsc::Sender<SessionAction>>>,
    dropped: AtomicU64,
    bans: OnceLock<Arc<dyn BanKeeper>>,
}

impl Actions {
    /// For a module that is tried: all its wishes seem to be granted, and none has an effect.
    pub(super) fn of_trial() -> Self {
        let actions = Self::default();
        actions.keep_bans(Arc::new(NoBans));
        actions
    }

    /// Who keeps the bans of policies from now on; the first one stays.
    pub(super) fn keep_bans(&self, keeper: Arc<dyn BanKeeper>) {
        // Nobody would tell the first that it is no longer asked.
        let _ = self.bans.set(keeper);
    }

    /// False also while there is nobody who keeps bans.
    pub(super) fn ban(&self, policy: &str, order: BanOrder) -> bool {
        self.bans.get().is_some_and(|keeper| keeper.ban(policy, order))
    }

    pub(super) fn unban(&self, policy: &str, target: BanTarget) -> bool {
        self.bans.get().is_some_and(|keeper| keeper.unban(policy, target))
    }

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

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actions")
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}
