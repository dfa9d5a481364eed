//! Where a policy's connect hook is asked.
//!
//! A module starts on the blocking pool, which costs two switches of threads but lets a slow answer delay nobody else.
//! One that has answered there a few times in a row within [`QUICK`] is asked right on the thread of the connection,
//! with no more time than a publish has. When that is not enough the same question goes to the pool, with the whole
//! time of a connect, and the module has to prove itself again: each time twice as long, so that one that is slow now
//! and then, by accident or on purpose, holds up its thread ever more rarely.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// CPU time within which an answer is quick: what a thread's other clients do not notice.
const QUICK: Duration = Duration::from_micros(500);
/// Quick answers in a row that a new module has to give on the pool ...
const PROOF_MIN: u32 = 4;
/// ... and one that has failed to keep its promise again and again.
const PROOF_MAX: u32 = 4096;

/// How quick the connect hook of one module has been lately.
#[derive(Debug)]
pub(super) struct Pace {
    /// Quick answers in a row.
    quick: AtomicU32,
    /// So many of them prove it.
    proof: AtomicU32,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            quick: AtomicU32::new(0),
            proof: AtomicU32::new(PROOF_MIN),
        }
    }

    /// Whether it is to be asked on the thread of the connection.
    pub(super) fn is_quick(&self) -> bool {
        self.quick.load(Relaxed) >= self.proof.load(Relaxed)
    }

    /// An answer took so much CPU time, on whatever thread.
    pub(super) fn answered(&self, took: Duration) {
        if took > QUICK {
            self.quick.store(0, Relaxed);
        } else if !self.is_quick() {
            self.quick.fetch_add(1, Relaxed);
        }
    }

    /// The time on the thread of a connection was not enough.
    pub(super) fn overran(&self) {
        let proof = self.proof.load(Relaxed);
        // Of several threads that find out at the same time one counts.
        if self.quick.swap(0, Relaxed) >= proof {
            self.proof.store(proof.saturating_mul(2).min(PROOF_MAX), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers_until_quick(pace: &Pace) -> u32 {
        let mut answers = 0;
        while !pace.is_quick() {
            pace.answered(QUICK);
            answers += 1;
        }
        answers
    }

    #[test]
    fn a_module_is_quick_once_it_has_been_several_times_in_a_row() {
        let pace = Pace::new();
        for _ in 0..10 {
            for _ in 1..PROOF_MIN {
                pace.answered(QUICK);
                assert!(!pace.is_quick());
            }
            pace.answered(QUICK + Duration::from_nanos(1));
        }
        assert_eq!(answers_until_quick(&pace), PROOF_MIN);
        pace.answered(QUICK * 2);
        assert!(!pace.is_quick());
    }

    #[test]
    fn each_overrun_asks_for_twice_the_proof_up_to_a_bound() {
        let pace = Pace::new();
        let mut expected = PROOF_MIN;
        for _ in 0..20 {
            assert_eq!(answers_until_quick(&pace), expected);
            // Two threads at the same time.
            pace.overran();
            pace.overran();
            expected = (expected * 2).min(PROOF_MAX);
        }
        assert_eq!(expected, PROOF_MAX);
    }
}
