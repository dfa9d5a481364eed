//! The clock of deadlines: a thread that advances the engine's epoch.
//!
//! It ticks every millisecond while policies are called. When none has been for a second it dozes, so that a broker with
//! nothing to decide does not wake up a thousand times a second, and the next call wakes it. Whatever has been running since
//! before ages on, in larger steps.

use super::engine::TICK;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use wasmtime::Engine;

/// Ticks without a new call after which it dozes.
const QUIET_TICKS: u32 = 1_000;
/// How long it dozes at a time, in ticks. A call that begins in the very moment in which it falls asleep is not heard: its
/// deadline comes so much later at most.
const DOZE_TICKS: u32 = 50;

/// What calls and the thread tell each other.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    /// A call has begun since the thread last looked.
    called: AtomicBool,
    dozes: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    /// Starts the thread. It ends with the last clone of the engine.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(super) fn start(engine: &Engine) -> Result<Arc<Self>, String> {
        let ticker = Arc::new(Self::default());
        let weak = engine.weak();
        let told = Arc::clone(&ticker);
        // A thread of its own: on a busy async runtime the tick would come late, and deadlines with it.
        let thread = thread::Builder::new().name("policy-epoch".into()).spawn(move || {
            let mut rhythm = Rhythm::default();
            while let Some(engine) = weak.upgrade() {
                let beat = rhythm.next(told.called.swap(false, Relaxed));
                for _ in 0..beat.epochs {
                    engine.increment_epoch();
                }
                drop(engine);
                if beat.dozes {
                    told.dozes.store(true, Relaxed);
                    thread::park_timeout(TICK * DOZE_TICKS);
                    told.dozes.store(false, Relaxed);
                } else {
                    thread::sleep(TICK);
                }
            }
        });
        let thread = thread.map_err(|error| format!("the thread that keeps deadlines: {error}"))?;
        // Nobody else sets it.
        let _ = ticker.thread.set(thread.thread().clone());
        Ok(ticker)
    }

    /// A call begins.
    #[inline]
    pub(super) fn call_begins(&self) {
        // Mostly it is known already, and the cache line stays shared.
        if !self.called.load(Relaxed) {
            self.called.store(true, Relaxed);
        }
        if self.dozes.load(Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// When it ticks and when it dozes.
#[derive(Debug, Default)]
struct Rhythm {
    /// Ticks since the last call began.
    quiet: u32,
}

/// What is to be done next: so many epochs, then a pause.
#[derive(Debug, PartialEq, Eq)]
struct Beat {
    epochs: u32,
    dozes: bool,
}

impl Rhythm {
    /// `called`: whether a call has begun since the last beat.
    fn next(&mut self, called: bool) -> Beat {
        let has_dozed = self.quiet > QUIET_TICKS;
        self.quiet = match called {
            true => 0,
            false => self.quiet.saturating_add(1),
        };
        Beat {
            // A call that has just woken it must not pay for the time it dozed; those that were there before do.
            epochs: if has_dozed && !called { DOZE_TICKS } else { 1 },
            dozes: self.quiet > QUIET_TICKS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::wasm::engine;

    const TICKS: Beat = Beat {
        epochs: 1,
        dozes: false,
    };

    /// A rhythm that has dozed once.
    fn dozing() -> Rhythm {
        let mut rhythm = Rhythm::default();
        while !rhythm.next(false).dozes {}
        rhythm
    }

    #[test]
    fn it_ticks_until_no_call_has_begun_for_a_while() {
        let mut rhythm = Rhythm::default();
        for _ in 0..QUIET_TICKS {
            assert_eq!(rhythm.next(false), TICKS);
        }
        let falls_asleep = Beat {
            epochs: 1,
            dozes: true,
        };
        assert_eq!(rhythm.next(false), falls_asleep);
    }

    #[test]
    fn while_it_dozes_as_much_time_passes_for_a_call_that_goes_on() {
        let dozes_on = Beat {
            epochs: DOZE_TICKS,
            dozes: true,
        };
        let mut rhythm = dozing();
        assert_eq!(rhythm.next(false), dozes_on);
        assert_eq!(rhythm.next(false), dozes_on);
    }

    #[test]
    fn a_call_wakes_it_and_has_not_slept() {
        let mut rhythm = dozing();
        assert_eq!(rhythm.next(true), TICKS);
        assert_eq!(rhythm.next(false), TICKS);
    }

    #[test]
    fn the_thread_dozes_off_and_a_call_makes_it_tick_again() {
        let (_engine, ticker) = engine::start().unwrap();
        let wait_until = |holds: fn(&Ticker) -> bool| {
            while !holds(&ticker) {
                thread::yield_now();
            }
        };
        wait_until(|ticker| ticker.dozes.load(Relaxed));
        ticker.call_begins();
        wait_until(|ticker| !ticker.called.load(Relaxed));
        assert!(!ticker.dozes.load(Relaxed));
    }
}
