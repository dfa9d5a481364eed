//! Rates: how fast a client may be, in each direction, alone and together with others.
//!
//! Pure: `now` is an argument, nothing here sleeps, reads a clock or touches a socket. Whoever moves bytes asks before
//! (*when may I go on?*) and tells after (*so much has moved*).
//!
//! ```text
//!   Governor (one connection)
//!     inward  ── bytes    ── own Bucket · the listener's SharedBucket · the broker's SharedBucket
//!             ── messages ── own Bucket · ...
//!             ── filters  ── own Bucket · ...
//!     outward ── bytes    ── ...
//!             ── messages ── ...
//! ```
//!
//! All levels apply at once: whichever is exhausted makes the client wait. A [`Bucket`] belongs to one client. A
//! [`SharedBucket`] is divided among all who use it: when it is exhausted, each of the clients that want more than their
//! part gets the same part, and those that want less do not wait (max-min fairness).

mod bucket;
mod fair_queue;
mod governor;
mod shared;
#[cfg(test)]
mod tests;

pub use bucket::Bucket;
pub use governor::{Governor, Over, OverLimit, Rates, Take, Throttled};
pub use shared::{Share, SharedBucket, SharedRates};

use std::time::Duration;

/// Tokens refill at `per_second`; at most `burst` are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes, messages or filters a second; 0: none at all once the burst is spent.
    pub per_second: u64,
    /// The same unit, at once after a pause; 0 counts as 1.
    pub burst: u64,
}

impl Rate {
    /// Tokens a second and at most, to reckon with.
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53, and a rate above is none"
    )]
    fn tokens(self) -> (f64, f64) {
        (self.per_second as f64, self.burst.max(1) as f64)
    }
}

/// Longest wait before a limit is looked at again: one that is 0 or tiny has no better answer.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// How long it takes to refill so many tokens.
fn refill_time(tokens: f64, per_second: f64) -> Duration {
    if tokens <= 0.0 {
        return Duration::ZERO;
    }
    let seconds = tokens / per_second;
    // Rounded up, so that the tokens are there when the time has come.
    if seconds.is_finite() && seconds < WAIT_MAX.as_secs_f64() {
        Duration::from_secs_f64(seconds) + Duration::from_nanos(1)
    } else {
        WAIT_MAX
    }
}

/// Whole tokens; a debt is none.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of floats saturates"
)]
fn whole(tokens: f64) -> u64 {
    tokens as u64
}
