//! A service that fails again and again is left alone for a while: clients then get their answer at once, and the
//! service a chance to recover.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Whether a service may be asked. It takes the time and does nothing by itself.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    retry_after: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is asked; so many requests in a row have failed.
    Closed { failures: u32 },
    /// It is not asked before then.
    Open { until: Instant },
    /// One request is trying whether it is back.
    Probing,
}

/// What a result means beyond the request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing that is not known.
    Same,
    /// From now on the service is left alone.
    Opened,
    /// It is back.
    Closed,
}

/// The right to ask once. Dropped without a result it has shown nothing.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    is_settled: bool,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, retry_after: Duration) -> Self {
        Self {
            failures_max: failures_max.max(1),
            retry_after,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// Whether the service is left alone now.
    pub(super) fn is_open(&self) -> bool {
        !matches!(*self.state.lock(), State::Closed { .. })
    }

    /// Whether asking makes sense; `None`: not now. Whoever gets a pass asks.
    pub(super) fn admit(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.state.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if until <= now => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Pass {
            breaker: self,
            is_probe,
            is_settled: false,
        })
    }

    /// Whether [`Breaker::admit`] would give a pass: asked before a request joins the queue.
    pub(super) fn may_admit(&self, now: Instant) -> bool {
        match *self.state.lock() {
            State::Closed { .. } => true,
            State::Open { until } => until <= now,
            State::Probing => false,
        }
    }
}

impl Pass<'_> {
    /// The service has answered.
    pub(super) fn succeeded(mut self) -> Turn {
        self.is_settled = true;
        let mut state = self.breaker.state.lock();
        match *state {
            State::Closed { .. } => {
                *state = State::Closed { failures: 0 };
                Turn::Same
            }
            State::Probing if self.is_probe => {
                *state = State::Closed { failures: 0 };
                Turn::Closed
            }
            // It was asked before the others failed: that says nothing of now.
            State::Open { .. } | State::Probing => Turn::Same,
        }
    }

    /// The service has not answered, or only that it cannot.
    pub(super) fn failed(mut self, now: Instant) -> Turn {
        self.is_settled = true;
        let mut state = self.breaker.state.lock();
        let until = now + self.breaker.retry_after;
        match *state {
            State::Closed { failures } if failures.saturating_add(1) < self.breaker.failures_max => {
                *state = State::Closed {
                    failures: failures + 1,
                };
                Turn::Same
            }
            State::Closed { .. } => {
                *state = State::Open { until };
                Turn::Opened
            }
            State::Probing if self.is_probe => {
                *state = State::Open { until };
                Turn::Same
            }
            State::Open { .. } | State::Probing => Turn::Same,
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.is_settled {
            // The client has gone; the next one tries.
            *self.breaker.state.lock() = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn fail(breaker: &Breaker, now: Instant) -> Turn {
        breaker.admit(now).expect("a pass").failed(now)
    }

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(2, PAUSE);
        assert_eq!(fail(&breaker, now), Turn::Same);
        assert_eq!(fail(&breaker, now), Turn::Opened);
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_a_success_in_between_starts_anew() {
        let now = Instant::now();
        let breaker = Breaker::new(3, PAUSE);
        for _ in 0..5 {
            assert_eq!(fail(&breaker, now), Turn::Same);
            assert_eq!(fail(&breaker, now), Turn::Same);
            assert_eq!(breaker.admit(now).unwrap().succeeded(), Turn::Same);
        }
        assert_eq!(fail(&breaker, now), Turn::Same);
        assert_eq!(fail(&breaker, now), Turn::Same);
        assert_eq!(fail(&breaker, now), Turn::Opened);
        assert!(breaker.is_open() && !breaker.may_admit(now) && breaker.admit(now).is_none());
    }

    #[test]
    fn after_a_pause_one_request_tries_and_closes_it_or_not() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + PAUSE;
        let probe = breaker.admit(later).expect("one may try");
        assert!(breaker.admit(later).is_none(), "only one");
        assert_eq!(probe.failed(later), Turn::Same);
        assert!(breaker.admit(later).is_none(), "another pause");
        let probe = breaker.admit(later + PAUSE).expect("one may try");
        assert_eq!(probe.succeeded(), Turn::Closed);
        assert!(!breaker.is_open() && breaker.admit(later + PAUSE).is_some());
    }

    #[test]
    fn a_client_that_goes_away_while_it_tries_leaves_the_turn_to_the_next() {
        let now = Instant::now();
        let breaker = opened(now);
        drop(breaker.admit(now + PAUSE).expect("one may try"));
        assert!(breaker.is_open());
        assert!(breaker.admit(now + PAUSE).is_some());
    }

    #[test]
    fn answers_to_questions_from_before_change_nothing() {
        let now = Instant::now();
        let breaker = Breaker::new(1, PAUSE);
        let (early, late) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        assert_eq!(fail(&breaker, now), Turn::Opened);
        assert_eq!(early.succeeded(), Turn::Same);
        assert_eq!(late.failed(now), Turn::Same);
        assert!(breaker.admit(now).is_none());
    }
}
