//! The clock of deadlines: a thread that advances the engine's epoch.
//!
//! It ticks while policies are called. When none has been for a second it dozes, so that a broker with nothing to decide
//! does not wake up hundreds of times a second, and the next call wakes it. Whatever has been running since before is looked
//! at less often.

use super::engine::TICK;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::Engine;

/// Ticks without a new call after which it dozes.
const QUIET_TICKS: u32 = 350;
/// How long it dozes at a time. A call that begins in the very moment in which it falls asleep is not heard: it is looked at
/// so much later at most.
const DOZE: Duration = Duration::from_millis(50);

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
                engine.increment_epoch();
                drop(engine);
                if rhythm.dozes(told.called.swap(false, Relaxed)) {
                    told.dozes.store(true, Relaxed);
                    thread::park_timeout(DOZE);
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

impl Rhythm {
    /// Whether to doze after this tick; `called`: a call has begun since the last.
    fn dozes(&mut self, called: bool) -> bool {
        self.quiet = match called {
            true => 0,
            false => self.quiet.saturating_add(1),
        };
        self.quiet > QUIET_TICKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::wasm::engine;

    #[test]
    fn it_ticks_until_no_call_has_begun_for_a_while_and_again_with_the_next() {
        let mut rhythm = Rhythm::default();
        for _ in 0..2 {
            for _ in 0..QUIET_TICKS {
                assert!(!rhythm.dozes(false));
            }
            assert!(rhythm.dozes(false));
            assert!(rhythm.dozes(false));
            assert!(!rhythm.dozes(true));
        }
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
