//! Power loss, failed syncs, full disks and damaged bits, in seeded runs. `--example faults` runs more of them, and one
//! that failed again.

// A test that cannot go on fails by panicking, also in its threads.
#![allow(clippy::expect_used, clippy::panic)]

use sluice_store::testing::{Kind, Tally, run};
use std::num::NonZeroUsize;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const SEEDS: u64 = 500;

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let tally = all(Kind::PowerLoss);
    assert!(tally.troubles > SEEDS && tally.acknowledged > SEEDS, "{tally:?}");
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync_that_is_not_on_disk() {
    let tally = all(Kind::FailedSync);
    assert!(tally.troubles > SEEDS && tally.acknowledged > SEEDS, "{tally:?}");
}

#[test]
fn a_full_disk_loses_nothing_and_recovers_when_there_is_room() {
    let tally = all(Kind::DiskFull);
    assert!(
        tally.troubles > SEEDS / 4 && tally.acknowledged > SEEDS,
        "{tally:?}"
    );
}

#[test]
fn a_damaged_store_is_refused_or_says_what_it_cannot_read() {
    silence_redb();
    let tally = all(Kind::BitFlips);
    assert!(tally.refused > 0 && tally.compared > 0, "{tally:?}");
}

/// Runs all seeds of a kind.
fn all(kind: Kind) -> Tally {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| some(kind, &next))).collect();
        let mut tally = Tally::default();
        for thread in threads {
            tally += thread.join().expect("a run fails with its seed");
        }
        tally
    })
}

fn some(kind: Kind, next: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= SEEDS {
            return tally;
        }
        tally += run(kind, seed).unwrap_or_else(|error| panic!("{kind}, seed {seed}: {error}"));
    }
}

/// A damaged file makes redb panic, which the store catches; a thousand backtraces of it tell nothing.
fn silence_redb() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_redbs = panic
                .location()
                .is_some_and(|location| location.file().contains("redb"));
            if !is_redbs {
                tell(panic);
            }
        }));
    });
}
