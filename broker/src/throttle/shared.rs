//! Token buckets that many clients share, divided fairly when they are exhausted.
//!
//! While there are tokens nobody waits. When there are none, a client pays for what it has moved before it moves more,
//! and [`FairQueue`] says when it has paid.

use super::fair_queue::{FairQueue, Place};
use super::{Rate, refill_time, whole};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A long wait is looked at again: it becomes shorter when others leave.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Together those who wait look at most so often a second.
const LOOKS_PER_SECOND: f64 = 10_000.0;
/// How often each gets its turn, about.
const CHUNKS_PER_SECOND: f64 = 16.0;

/// A bucket that all clients of a listener or of the broker share.
///
/// A lock of a few lines, taken once per batch of packets, and only where a limit is set.
#[derive(Debug)]
pub struct SharedBucket {
    /// What one client should move at a time, see [`SharedBucket::chunk`]; `u64::MAX`: there is no limit.
    chunk: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    per_second: f64,
    burst: f64,
    tokens: f64,
    refilled_at: Option<Instant>,
    queue: FairQueue,
}

impl Default for SharedBucket {
    fn default() -> Self {
        Self {
            chunk: AtomicU64::new(u64::MAX),
            state: Mutex::default(),
        }
    }
}

impl SharedBucket {
    /// Sets, changes or (`None`) lifts the limit. A debt stays; a limit that is new begins with its whole burst.
    pub fn set_rate(&self, rate: Option<Rate>, now: Instant) {
        let mut state = self.state.lock();
        let Some(rate) = rate else {
            self.chunk.store(u64::MAX, Ordering::Release);
            return;
        };
        let is_new = !self.is_limited();
        state.refill(now);
        let (per_second, burst) = rate.tokens();
        state.per_second = per_second;
        state.burst = burst;
        state.tokens = if is_new { burst } else { state.tokens.min(burst) };
        self.publish_chunk(&state);
    }

    /// Whether there is a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.chunk() != u64::MAX
    }

    /// How much one client should move at a time, so that all get their turn often; `u64::MAX` without a limit.
    pub(super) fn chunk(&self) -> u64 {
        self.chunk.load(Ordering::Relaxed)
    }

    fn publish_chunk(&self, state: &State) {
        let chunk = state.per_second / CHUNKS_PER_SECOND / state.queue.waiting();
        self.chunk.store(whole(chunk), Ordering::Release);
    }
}

impl State {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled_at.unwrap_or(now));
        self.refilled_at = self.refilled_at.max(Some(now));
        let refilled = passed.as_secs_f64() * self.per_second;
        self.queue.serve(refilled);
        self.tokens = (self.tokens + refilled).min(self.burst);
    }

    /// The deepest debt. New clients move something before they pay: many of them could outrun the rate for ever,
    /// so below this everybody waits.
    fn debt_max(&self) -> f64 {
        self.burst.max(self.per_second)
    }
}

/// One client's place in a [`SharedBucket`]. What it owes when it leaves is still paid for.
#[derive(Debug)]
pub struct Share {
    bucket: Arc<SharedBucket>,
    /// Its place in the queue, once it has had to wait.
    place: Option<Place>,
}

impl Share {
    /// A place that has not used anything yet.
    #[must_use]
    pub fn new(bucket: Arc<SharedBucket>) -> Self {
        Self { bucket, place: None }
    }

    /// See [`SharedBucket::chunk`].
    pub(super) fn chunk(&self) -> u64 {
        self.bucket.chunk()
    }

    /// Tells that `n` tokens' worth has moved.
    pub fn charge(&mut self, n: f64, now: Instant) {
        if !self.bucket.is_limited() {
            return;
        }
        let mut state = self.bucket.state.lock();
        state.refill(now);
        let owed = n - state.tokens.max(0.0);
        state.tokens -= n;
        if owed > 0.0 {
            let place = *self.place.get_or_insert_with(|| state.queue.join());
            state.queue.charge(place, owed);
        }
        self.bucket.publish_chunk(&state);
    }

    /// When the client may go on; `None`: now. To be asked again then, for it depends on what the others do.
    pub fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        if !self.bucket.is_limited() {
            return None;
        }
        let mut state = self.bucket.state.lock();
        state.refill(now);
        let owed = self.place.map_or(0.0, |place| state.queue.owed(place));
        let wait = if owed > 0.0 {
            refill_time(owed * state.queue.waiting(), state.per_second)
        } else {
            let too_deep = -state.debt_max() - state.tokens;
            if too_deep < 0.0 {
                return None;
            }
            refill_time(too_deep + 1.0, state.per_second)
        };
        let look_again = Duration::from_secs_f64(state.queue.waiting() / LOOKS_PER_SECOND);
        Some(now + wait.min(LOOK_AGAIN.max(look_again)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.bucket.state.lock().queue.leave(place);
        }
    }
}

/// The limits that all clients of a listener, or of the broker, share.
#[derive(Debug, Default)]
pub struct SharedRates {
    pub(super) bytes_in: Arc<SharedBucket>,
    pub(super) messages_in: Arc<SharedBucket>,
    pub(super) subscribes: Arc<SharedBucket>,
    pub(super) bytes_out: Arc<SharedBucket>,
    pub(super) messages_out: Arc<SharedBucket>,
}

impl SharedRates {
    /// Puts other limits in force, at once and for all who share them.
    pub fn set(&self, rates: &super::Rates, now: Instant) {
        self.bytes_in.set_rate(rates.bytes_in, now);
        self.messages_in.set_rate(rates.messages_in, now);
        self.subscribes.set_rate(rates.subscribes, now);
        self.bytes_out.set_rate(rates.bytes_out, now);
        self.messages_out.set_rate(rates.messages_out, now);
    }
}
