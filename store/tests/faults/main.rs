//! Power loss, failed syncs, full disks and damaged bits, in seeded runs. `--example faults` runs more of them, and one
//! that failed again.

// A test that cannot go on fails by panicking, also in its threads.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)]

use sluice_store::testing::{Kind, Tally, run};
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
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
fn a_damaged_store_that_is_not_trusted_is_refused_or_says_what_it_cannot_read() {
    silence_redb();
    let tally = all(Kind::BitFlipsChecked);
    assert!(tally.refused > 0 && tally.compared > 0, "{tally:?}");
}

#[test]
fn a_repair_keeps_nothing_that_was_not_written() {
    silence_redb();
    let tally = all(Kind::Repairs);
    assert!(tally.compared > SEEDS, "{tally:?}");
    // A database that is too damaged to be closed lets go of its file all the same.
    let files = std::fs::read_dir("/proc/self/fd")
        .expect("the process has files")
        .count();
    assert!(files < 100, "{files} open files");
}

#[test]
fn a_damaged_store_that_is_trusted_gives_nothing_that_was_not_written() {
    // Redb aborts when what it keeps of its free pages is damaged in certain ways. The next start does not trust the
    // file then, which the test above covers with the same seeds.
    let mut aborted = Vec::new();
    let mut from = 0;
    while from < SEEDS {
        let done = child(from);
        if done < SEEDS {
            aborted.push(done);
        }
        from = done + 1;
    }
    assert!(aborted.len() as u64 <= SEEDS / 50, "aborted: {aborted:?}");
}

/// Tells a process where to begin; it is this test then, and no other.
const FROM: &str = "SLUICE_STORE_FAULTS_FROM";

/// Runs seeds in a process of their own, until it ends; returns the first that was not done.
fn child(from: u64) -> u64 {
    let output = Command::new(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", "seeds_of_a_child", "--nocapture"])
        .env(FROM, from.to_string())
        .output()
        .expect("a test can start itself");
    let text = String::from_utf8_lossy(&output.stdout);
    let done = text
        .lines()
        .filter_map(|line| line.strip_prefix("done ")?.parse::<u64>().ok());
    let next = done.max().map_or(from, |seed| seed + 1);
    let ended_well = output.status.success() && next == SEEDS;
    let aborted = output.status.signal() == Some(6);
    assert!(
        ended_well || aborted,
        "{} at seed {next}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    next
}

#[test]
fn seeds_of_a_child() {
    let Ok(from) = std::env::var(FROM) else { return };
    silence_redb();
    for seed in from.parse().expect("a number")..SEEDS {
        run(Kind::BitFlips, seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        println!("\ndone {seed}");
    }
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
