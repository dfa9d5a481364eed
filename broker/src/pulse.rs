//! The heartbeat of the threads that serve clients: the service manager hears that the broker lives only while each of
//! them still takes its turns. A thread that hangs would be missed by its clients alone.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The heartbeats of all workers; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// What the service manager waits for a sign of life; `None`: it does not wait for any.
    watchdog: Option<Duration>,
    beats: Arc<Mutex<Vec<Arc<AtomicU64>>>>,
}

/// The heartbeat of one worker.
#[derive(Debug)]
pub struct Beat {
    every: Option<Duration>,
    count: Arc<AtomicU64>,
}

/// Compares the heartbeats with what they were when it last looked.
#[derive(Debug)]
pub struct Checkup {
    pulse: Pulse,
    seen: Vec<u64>,
}

impl Pulse {
    /// For a service manager that restarts a broker from which it has heard nothing for so long.
    #[must_use]
    pub fn new(watchdog: Option<Duration>) -> Self {
        Self {
            watchdog,
            beats: Arc::default(),
        }
    }

    /// The heartbeat of a worker that is about to start; missed from now on.
    #[must_use]
    pub fn worker(&self) -> Beat {
        let count = Arc::<AtomicU64>::default();
        self.beats.lock().push(Arc::clone(&count));
        Beat {
            every: self.watchdog.map(|watchdog| watchdog / BEATS),
            count,
        }
    }

    /// How often to look, and what to look with. `None`: nobody waits.
    #[must_use]
    pub fn checkup(&self) -> Option<(Duration, Checkup)> {
        let checkup = Checkup {
            pulse: self.clone(),
            seen: Vec::new(),
        };
        Some((self.watchdog? / LOOKS, checkup))
    }
}

impl Beat {
    /// Beats as long as the runtime that it is spawned on turns.
    pub async fn go_on(self) {
        let Some(every) = self.every else { return };
        loop {
            self.beat();
            tokio::time::sleep(every).await;
        }
    }

    fn beat(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Checkup {
    /// The numbers of the workers without a heartbeat since the last look.
    pub fn silent(&mut self) -> Vec<usize> {
        let now: Vec<u64> = self
            .pulse
            .beats
            .lock()
            .iter()
            .map(|beat| beat.load(Ordering::Relaxed))
            .collect();
        let before = std::mem::replace(&mut self.seen, now);
        let pairs = self.seen.iter().enumerate();
        // One that has never beaten is compared with its beginning.
        pairs
            .filter(|(number, now)| before.get(*number).copied().unwrap_or_default() == **now)
            .map(|(number, _)| number)
            .collect()
    }
}

/// Beats in the time of the watchdog: two between two looks, so that one that is late is not missed.
const BEATS: u32 = 8;
/// Looks in the time of the watchdog: three may find somebody busy before it bites.
const LOOKS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_hangs_is_missed_the_others_are_not() {
        let pulse = Pulse::new(Some(Duration::from_secs(8)));
        let (first, second) = (pulse.worker(), pulse.worker());
        let (every, mut checkup) = pulse.checkup().expect("somebody waits");
        assert_eq!(every, Duration::from_secs(2));
        assert_eq!(first.every, Some(Duration::from_secs(1)));
        assert_eq!(checkup.silent(), [0, 1], "neither has begun");
        first.beat();
        second.beat();
        assert_eq!(checkup.silent(), [] as [usize; 0]);
        first.beat();
        assert_eq!(checkup.silent(), [1]);
        drop(second);
        first.beat();
        assert_eq!(checkup.silent(), [1], "a thread that is gone is missed, too");
        assert_eq!(checkup.silent(), [0, 1]);
    }

    #[tokio::test]
    async fn without_a_watchdog_nothing_beats() {
        let pulse = Pulse::default();
        pulse.worker().go_on().await;
        assert!(pulse.checkup().is_none());
    }
}
