//! How many messages one module judges with one call.
//!
//! They have no more time together than one alone has, so that the thread's other clients wait no longer. A module that
//! needs little of it is given twice as many the next time, one that needs much half as many; one that has not even the
//! time for two is asked about each alone, and given two again now and then.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Messages in one call at most; `wit/hooks.wit` says so.
pub(super) const MESSAGES_MAX: u32 = 64;
/// What a module begins with.
const MESSAGES_MIN: u32 = 2;
/// Questions that a module which is too slow is asked one by one between two tries.
const ALONE: u32 = 1_024;

/// The portion of one module, for all threads.
#[derive(Debug)]
pub(super) struct Portion {
    /// 1: each is asked alone.
    messages: AtomicU32,
    alone: AtomicU32,
}

impl Portion {
    pub(super) fn new() -> Self {
        Self {
            messages: AtomicU32::new(MESSAGES_MIN),
            alone: AtomicU32::new(0),
        }
    }

    /// How many of `waiting` messages to ask about at once; 1: ask about the first as if it had come alone.
    pub(super) fn of(&self, waiting: u32) -> u32 {
        let messages = self.messages.load(Relaxed);
        if messages < MESSAGES_MIN {
            if self.alone.fetch_add(1, Relaxed) < ALONE {
                return 1;
            }
            self.alone.store(0, Relaxed);
            return waiting.min(MESSAGES_MIN);
        }
        waiting.min(messages)
    }

    /// A call about so many messages took so long of the time it had.
    pub(super) fn took(&self, messages: u32, time: Duration, allowed: Duration) {
        let before = self.messages.load(Relaxed);
        if time > allowed / 2 {
            self.messages.store((messages / 2).max(1), Relaxed);
        } else if messages >= before && before < MESSAGES_MAX && time < allowed / 4 {
            self.messages.store((messages * 2).min(MESSAGES_MAX), Relaxed);
        }
    }

    /// A call about so many messages failed, perhaps because they were too many.
    pub(super) fn failed(&self, messages: u32) {
        self.messages.store((messages / 2).max(1), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Duration = Duration::from_millis(2);

    #[test]
    fn a_quick_module_is_given_more_until_it_has_the_most() {
        let portion = Portion::new();
        let mut given = Vec::new();
        for _ in 0..7 {
            let messages = portion.of(1_000);
            given.push(messages);
            portion.took(messages, Duration::from_micros(10), ALLOWED);
        }
        assert_eq!(given, [2, 4, 8, 16, 32, 64, 64]);
        assert_eq!(portion.of(3), 3, "never more than there are");
    }

    #[test]
    fn a_portion_that_was_not_full_proves_nothing() {
        let portion = Portion::new();
        portion.took(2, Duration::from_micros(10), ALLOWED);
        portion.took(2, Duration::from_micros(10), ALLOWED);
        assert_eq!(portion.of(1_000), 4);
    }

    #[test]
    fn a_slow_module_is_given_less_and_then_asked_one_by_one() {
        let portion = Portion::new();
        portion.took(8, Duration::from_micros(1_001), ALLOWED);
        assert_eq!(portion.of(1_000), 4);
        portion.failed(4);
        assert_eq!(portion.of(1_000), 2);
        portion.failed(2);
        for _ in 0..ALONE {
            assert_eq!(portion.of(1_000), 1);
        }
        assert_eq!(portion.of(1_000), 2, "it is given a chance");
        assert_eq!(portion.of(1_000), 1, "only one");
        portion.took(2, Duration::from_micros(10), ALLOWED);
        assert_eq!(portion.of(1_000), 4, "it took it");
    }
}
