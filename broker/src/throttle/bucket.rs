//! A token bucket of one client.

use super::{Rate, refill_time};
use std::time::Instant;

/// Tokens of one client for one kind of thing: bytes, messages or filters.
///
/// What has happened already is charged, even into debt; whoever is in debt waits until it is repaid. Over time the
/// rate holds exactly, whatever the size of the pieces.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    refilled_at: Instant,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        let mut bucket = Self {
            per_second: 0.0,
            burst: 0.0,
            tokens: 0.0,
            refilled_at: now,
        };
        bucket.set_rate(rate, now);
        bucket.tokens = bucket.burst;
        bucket
    }

    /// Another rate from now on. A debt stays; tokens above the new burst are lost.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        self.refill(now);
        let (per_second, burst) = rate.tokens();
        self.per_second = per_second;
        self.burst = burst;
        self.tokens = self.tokens.min(burst);
    }

    /// Tokens that are there; negative: a debt.
    pub fn tokens(&mut self, now: Instant) -> f64 {
        self.refill(now);
        self.tokens
    }

    /// Takes `n`, into debt if need be.
    pub fn charge(&mut self, n: f64, now: Instant) {
        self.refill(now);
        self.tokens -= n;
    }

    /// Takes `n` if that is within the rate. What is larger than the burst needs a full bucket and leaves a debt, or
    /// it would never pass.
    pub fn take(&mut self, n: f64, now: Instant) -> bool {
        self.refill(now);
        let fits = self.tokens >= n.min(self.burst);
        if fits {
            self.tokens -= n;
        }
        fits
    }

    /// When `n` tokens are there; `None`: now.
    pub fn ready_at(&mut self, n: f64, now: Instant) -> Option<Instant> {
        self.refill(now);
        let missing = n.min(self.burst) - self.tokens;
        (missing > 0.0).then(|| now + refill_time(missing, self.per_second))
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled_at);
        if passed.is_zero() {
            return;
        }
        self.refilled_at = now;
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
    }
}
