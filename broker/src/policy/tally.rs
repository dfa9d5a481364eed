//! How many decisions each tier has made: the rules, the cache, a call.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Threads that count at the same time without sharing a cache line; more threads share.
const SHARDS: usize = 16;

/// Decisions on publishes and subscriptions since the start, by the costliest thing each needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// By the rules of the admission alone, or because no policy had anything to say.
    pub grant: u64,
    /// By a verdict that a policy allowed to be reused.
    pub cache: u64,
    /// By asking at least one policy. One that failed or rests has been asked, too.
    pub call: u64,
}

/// What a decision needed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tier {
    Grant,
    Cache,
    Call,
}

/// Counts decisions, each thread on its own.
#[derive(Debug, Default)]
pub(super) struct Tally([Shard; SHARDS]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    grant: AtomicU64,
    cache: AtomicU64,
    call: AtomicU64,
}

impl Tally {
    #[inline]
    pub(super) fn count(&self, tier: Tier) {
        self.count_many(tier, 1);
    }

    #[inline]
    pub(super) fn count_many(&self, tier: Tier, decisions: u64) {
        let Some(shard) = self.0.get(shard_of_this_thread()) else {
            return;
        };
        let counter = match tier {
            Tier::Grant => &shard.grant,
            Tier::Cache => &shard.cache,
            Tier::Call => &shard.call,
        };
        counter.fetch_add(decisions, Relaxed);
    }

    pub(super) fn total(&self) -> Decisions {
        let sum = |counter: fn(&Shard) -> &AtomicU64| {
            let values = self.0.iter().map(|shard| counter(shard).load(Relaxed));
            values.fold(0, u64::wrapping_add)
        };
        Decisions {
            grant: sum(|shard| &shard.grant),
            cache: sum(|shard| &shard.cache),
            call: sum(|shard| &shard.call),
        }
    }
}

#[inline]
fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // One more than the shard; 0: not given one yet. A constant is quicker to reach than what has to be made.
        static SHARD: Cell<usize> = const { Cell::new(0) };
    }
    match SHARD.get() {
        0 => {
            let shard = NEXT.fetch_add(1, Relaxed) % SHARDS;
            SHARD.set(shard + 1);
            shard
        }
        shard_plus_1 => shard_plus_1 - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_counted_adds_up_by_tier() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    (0..1_000).for_each(|_| tally.count(Tier::Grant));
                    (0..100).for_each(|_| tally.count(Tier::Cache));
                    (0..10).for_each(|_| tally.count(Tier::Call));
                });
            }
        });
        let threads = 2 * SHARDS as u64;
        let expected = Decisions {
            grant: threads * 1_000,
            cache: threads * 100,
            call: threads * 10,
        };
        assert_eq!(tally.total(), expected);
    }
}
