//! What is due when for sessions without a connection: delayed wills and session expiry.

use super::Hub;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often expired retained messages are looked for; a sweep goes over all topics in slices.
const RETAINED_SWEEP_EVERY: Duration = Duration::from_secs(30);

/// One entry per disconnected session at most, so no larger than the registry.
#[derive(Default)]
pub(super) struct Timers {
    due: Mutex<BTreeSet<(Instant, u64)>>,
    changed: Notify,
}

impl Timers {
    pub(super) fn schedule(&self, at: Instant, number: u64) {
        let mut due = self.due.lock();
        let first = due.first().is_none_or(|(earliest, _)| at < *earliest);
        due.insert((at, number));
        if first {
            self.changed.notify_one();
        }
    }

    pub(super) fn cancel(&self, at: Instant, number: u64) {
        self.due.lock().remove(&(at, number));
    }

    fn next(&self) -> Option<Instant> {
        self.due.lock().first().map(|(at, _)| *at)
    }

    fn pop(&self, now: Instant) -> Option<u64> {
        let mut due = self.due.lock();
        let first = *due.first().filter(|(at, _)| *at <= now)?;
        due.remove(&first);
        Some(first.1)
    }
}

impl Hub {
    /// Does for ever what is due for disconnected sessions and expired retained messages.
    pub async fn keep_house(&self) {
        let mut sweep_at = Instant::now() + RETAINED_SWEEP_EVERY;
        loop {
            let at = self.inner.timers.next().map_or(sweep_at, |at| at.min(sweep_at));
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {}
                () = self.inner.timers.changed.notified() => {}
            }
            let now = Instant::now();
            while let Some(number) = self.inner.timers.pop(now) {
                self.session_due(number, now);
                tokio::task::yield_now().await;
            }
            if now >= sweep_at {
                self.expire_bans();
                while !self.sweep_retained(now) {
                    tokio::task::yield_now().await;
                }
                sweep_at = now + RETAINED_SWEEP_EVERY;
            }
        }
    }
}
