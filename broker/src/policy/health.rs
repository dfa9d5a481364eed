//! How a module fares: when to go back to the one before it, and when to leave it alone for a while.

use super::notice::FaultKind;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// So many faults in a row, with no call that succeeds between them, quarantine a module.
const CONSECUTIVE_FAULTS_MAX: u32 = 5;
/// Faults are also held against calls, over this long ...
const WINDOW: Duration = Duration::from_secs(10);
/// ... and from so many faults on ...
const WINDOW_FAULTS_MIN: u64 = 20;
/// ... more than one in so many calls quarantines.
const WINDOW_CALLS_PER_FAULT: u64 = 1_000;
/// A module that exhausts its deadlines in a row is not called for so long; each further time twice as long.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);

/// The account of one module since it was activated.
#[derive(Debug)]
pub(super) struct Health {
    started_at: Instant,
    calls: AtomicU64,
    faults: AtomicU64,
    consecutive: AtomicU32,
    quarantined: AtomicBool,
    /// Set while it rests; the hot path looks at nothing else.
    resting: AtomicBool,
    rest: Mutex<Rest>,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    next: Duration,
}

#[derive(Debug)]
struct Window {
    opened_at: Instant,
    calls_before: u64,
    faults: u64,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started_at: now,
            calls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            consecutive: AtomicU32::new(0),
            quarantined: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            rest: Mutex::new(Rest {
                until: now,
                next: REST,
            }),
            window: Mutex::new(Window {
                opened_at: now,
                calls_before: 0,
                faults: 0,
            }),
        }
    }

    /// Whether it may be called now.
    #[inline]
    pub(super) fn may_be_called(&self) -> bool {
        !self.resting.load(Relaxed) || self.is_rested(Instant::now())
    }

    /// Whether it has exhausted its deadlines and not recovered since.
    pub(super) fn is_resting(&self) -> bool {
        self.resting.load(Relaxed)
    }

    #[cold]
    fn is_rested(&self, now: Instant) -> bool {
        // One caller at a time finds out whether it has recovered.
        let Some(mut rest) = self.rest.try_lock() else {
            return false;
        };
        if now < rest.until {
            return false;
        }
        rest.until = now + rest.next;
        true
    }

    /// A call succeeded.
    #[inline]
    pub(super) fn succeeded(&self) {
        if self.consecutive.load(Relaxed) != 0 {
            self.recovered();
        }
    }

    #[cold]
    fn recovered(&self) {
        self.consecutive.store(0, Relaxed);
        if self.resting.swap(false, Relaxed) {
            self.rest.lock().next = REST;
        }
    }

    /// Adds calls to the total; instances do so now and then, not at each call.
    pub(super) fn count_calls(&self, calls: u32) {
        self.calls.fetch_add(calls.into(), Relaxed);
    }

    /// A call failed. True when the module is to be quarantined; only once.
    pub(super) fn failed(&self, kind: FaultKind, now: Instant) -> bool {
        self.faults.fetch_add(1, Relaxed);
        let consecutive = self.consecutive.fetch_add(1, Relaxed).saturating_add(1);
        // A trap costs microseconds and may be called for again; a spinner costs milliseconds of everyone's thread.
        if kind == FaultKind::Deadline && consecutive >= CONSECUTIVE_FAULTS_MAX {
            let mut rest = self.rest.lock();
            rest.until = now + rest.next;
            rest.next = (rest.next * 2).min(REST_MAX);
            self.resting.store(true, Relaxed);
        }
        let quarantine = consecutive >= CONSECUTIVE_FAULTS_MAX || self.too_many_in_window(now);
        quarantine && !self.quarantined.swap(true, Relaxed)
    }

    fn too_many_in_window(&self, now: Instant) -> bool {
        let calls = self.calls.load(Relaxed);
        let mut window = self.window.lock();
        if now.saturating_duration_since(window.opened_at) > WINDOW {
            *window = Window {
                opened_at: now,
                calls_before: calls,
                faults: 0,
            };
        }
        window.faults += 1;
        let in_window = calls.saturating_sub(window.calls_before);
        window.faults >= WINDOW_FAULTS_MIN && window.faults * WINDOW_CALLS_PER_FAULT > in_window
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            calls: self.calls.load(Relaxed),
            faults: self.faults.load(Relaxed),
            quarantined: self.quarantined.load(Relaxed),
            active_for: self.started_at.elapsed(),
        }
    }
}

/// What is told about a module's health.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    pub(super) calls: u64,
    pub(super) faults: u64,
    pub(super) quarantined: bool,
    pub(super) active_for: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_faults_in_a_row_quarantine_once() {
        let now = Instant::now();
        let health = Health::new(now);
        for _ in 0..4 {
            assert!(!health.failed(FaultKind::Trap, now));
        }
        assert!(health.failed(FaultKind::Trap, now));
        assert!(!health.failed(FaultKind::Trap, now));
        assert!(health.totals().quarantined);
    }

    #[test]
    fn a_success_between_faults_starts_anew() {
        let now = Instant::now();
        let health = Health::new(now);
        health.count_calls(1_000_000);
        for _ in 0..100 {
            assert!(!health.failed(FaultKind::Trap, now));
            health.succeeded();
        }
    }

    #[test]
    fn one_fault_in_a_thousand_calls_quarantines_from_the_twentieth_on() {
        let now = Instant::now();
        let health = Health::new(now);
        let mut quarantined_at = None;
        for fault in 1..=30 {
            health.count_calls(900);
            if health.failed(FaultKind::Trap, now) {
                quarantined_at = Some(fault);
            }
            health.succeeded();
        }
        assert_eq!(quarantined_at, Some(20));
        let health = Health::new(now);
        for second in 0..100 {
            health.count_calls(900);
            assert!(!health.failed(FaultKind::Trap, now + Duration::from_secs(second)));
            health.succeeded();
        }
    }

    #[test]
    fn a_spinner_rests_and_a_success_ends_the_rest() {
        let now = Instant::now();
        let health = Health::new(now);
        for _ in 0..5 {
            assert!(health.may_be_called());
            health.failed(FaultKind::Deadline, now);
        }
        assert!(!health.is_rested(now + REST - Duration::from_millis(1)));
        assert!(health.is_rested(now + REST));
        // The probe is under way: nobody else calls.
        assert!(!health.is_rested(now + REST));
        health.failed(FaultKind::Deadline, now + REST);
        assert!(!health.is_rested(now + REST * 2));
        assert!(health.is_rested(now + REST * 3));
        health.succeeded();
        assert!(health.may_be_called());
    }

    #[test]
    fn traps_do_not_rest() {
        let now = Instant::now();
        let health = Health::new(now);
        for _ in 0..50 {
            health.failed(FaultKind::Trap, now);
        }
        assert!(health.may_be_called());
    }
}
