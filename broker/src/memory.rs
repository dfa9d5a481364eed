//! How much memory the broker uses, and what it does as its limit comes near.
//!
//! | used of the limit | what happens |
//! |---|---|
//! | from 3/4 | every publisher is held to a rate that falls as memory fills up: the heaviest feel it first |
//! | from 7/8 | only clients that have a session already are let in, so that those who are in do not suffer |
//! | from 31/32 | messages and subscriptions are refused |
//!
//! All of it ends by itself when memory is free again. What is counted is what the allocator has given out: every
//! buffer, queue, session and policy instance, without anybody having to remember to count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tikv_jemalloc_ctl::{epoch, stats};
use tikv_jemallocator::Jemalloc;

/// It counts what it gives out, and threads do not wait for each other to free what another has allocated.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How often a limited broker looks: what may be allocated in between is small beside the steps of the table.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often an unlimited one does: for its figures, and to obey a limit that is set.
const LOOK_EVERY_UNLIMITED: Duration = Duration::from_millis(100);
/// What a publisher may send when three quarters are used.
const RATE_MAX: f64 = 16.0 * 1024.0 * 1024.0;
/// How often that is halved until all is used.
const HALVINGS: f64 = 14.0;

/// Memory of this process, and the limit it keeps to. Cheap to look at from every thread.
#[derive(Debug)]
pub struct Memory {
    /// Bytes; `u64::MAX`: none.
    limit: AtomicU64,
    used: AtomicU64,
}

/// How near the limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Far.
    None,
    /// Publishers are slowed down.
    Tight,
    /// Nobody who has no session is let in.
    Closed,
    /// Nothing more is taken.
    Full,
}

impl Pressure {
    /// For logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tight => "tight",
            Self::Closed => "closed",
            Self::Full => "full",
        }
    }
}

impl Memory {
    /// With a limit in bytes, or none.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        let memory = Self {
            limit: AtomicU64::new(limit.unwrap_or(u64::MAX)),
            used: AtomicU64::new(0),
        };
        memory.look();
        memory
    }

    /// Another limit from now on.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.limit.store(limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Bytes; `None`: no limit.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit < u64::MAX)
    }

    /// Bytes given out by the allocator, at the last look.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Asks the allocator; returns how long until the next look.
    pub fn look(&self) -> Duration {
        // Statistics are compiled in: both always answer.
        if epoch::advance().is_ok()
            && let Ok(used) = stats::allocated::read()
        {
            self.used.store(used as u64, Ordering::Relaxed);
        }
        match self.limit() {
            Some(_) => LOOK_EVERY,
            None => LOOK_EVERY_UNLIMITED,
        }
    }

    /// How near the limit is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        pressure(self.used(), self.limit.load(Ordering::Relaxed))
    }

    /// What each publisher may send for now, in bytes a second. `None`: as much as it likes.
    #[must_use]
    pub fn publisher_rate(&self) -> Option<f64> {
        publisher_rate(self.used(), self.limit.load(Ordering::Relaxed))
    }
}

fn pressure(used: u64, limit: u64) -> Pressure {
    match limit - used.min(limit) {
        left if left > limit / 4 => Pressure::None,
        left if left > limit / 8 => Pressure::Tight,
        left if left > limit / 32 => Pressure::Closed,
        _ => Pressure::Full,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a share of the limit, not a count")]
fn publisher_rate(used: u64, limit: u64) -> Option<f64> {
    if pressure(used, limit) == Pressure::None {
        return None;
    }
    let left = (limit - used.min(limit)) as f64 / (limit as f64 / 4.0);
    Some(RATE_MAX * (-HALVINGS * (1.0 - left)).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_come_one_after_the_other() {
        for (used, expected) in [
            (0, Pressure::None),
            (747, Pressure::None),
            (752, Pressure::Tight),
            (873, Pressure::Tight),
            (876, Pressure::Closed),
            (967, Pressure::Closed),
            (970, Pressure::Full),
            (5_000, Pressure::Full),
        ] {
            assert_eq!(pressure(used, 1_000), expected, "{used}");
        }
        assert_eq!(pressure(u64::MAX / 2, u64::MAX), Pressure::None, "no limit");
    }

    #[test]
    fn publishers_are_slowed_down_more_and_more() {
        assert_eq!(publisher_rate(700, 1_000), None);
        let mut last = f64::MAX;
        for used in [752, 800, 850, 900, 950, 1_000, 2_000] {
            let rate = publisher_rate(used, 1_000).expect("a rate");
            assert!(rate < last || used > 1_000, "{used}: {rate}");
            last = rate;
        }
        assert!((900.0..1_100.0).contains(&last), "{last}");
    }

    #[test]
    fn what_is_allocated_is_counted_and_what_is_freed_is_not() {
        const BYTES: usize = 64 << 20;
        let memory = Memory::new(None);
        let before = memory.used();
        let block = std::hint::black_box(vec![1_u8; BYTES]);
        memory.look();
        assert!(
            memory.used() >= before + BYTES as u64 / 2,
            "{before} {}",
            memory.used()
        );
        drop(block);
        memory.look();
        assert!(
            memory.used() < before + BYTES as u64 / 2,
            "{before} {}",
            memory.used()
        );
    }
}
