//! Runs the store on a disk that fails: `--kind power-loss|failed-sync|disk-full|bit-flips|bit-flips-checked|repairs`,
//! `--seeds N`, and `--from SEED` to begin there. A seed that fails is printed; `--from SEED --seeds 1` replays it. With
//! `bit-flips`, redb may abort the process, so these run in processes of their own, one after the other; seeds that
//! ended theirs are counted.

// Its output is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use sluice_store::testing::{Kind, Tally, run};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut kinds, mut seeds, mut from) = (Kind::ALL.to_vec(), 1_000, 0);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = value.parse::<u64>();
        match (argument.as_str(), number) {
            ("--kind", _) => kinds.retain(|kind| kind.to_string() == value),
            ("--seeds", Ok(number)) => seeds = number,
            ("--from", Ok(number)) => from = number,
            _ => {
                eprintln!("{argument} {value}: not understood");
                return ExitCode::FAILURE;
            }
        }
    }
    // A damaged file makes redb panic; the store catches that, and what matters is in what it says.
    std::panic::set_hook(Box::new(|_| {}));
    let is_child = std::env::var_os(CHILD).is_some();
    let mut failed = kinds.is_empty();
    for kind in kinds {
        failed |= if kind == Kind::BitFlips && !is_child {
            !apart(from, seeds)
        } else {
            !all(kind, from, seeds)
        };
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Tells a process that it runs seeds for another one, which reads what it prints.
const CHILD: &str = "SLUICE_STORE_FAULTS_CHILD";
/// SIGABRT.
const ABORTED: i32 = 6;

/// Runs bit flips in processes of their own, until all seeds are done; false if one failed.
fn apart(from: u64, seeds: u64) -> bool {
    let end = from.saturating_add(seeds);
    let (mut next, mut aborted, mut passed) = (from, 0_u64, true);
    while next < end {
        let (last, outcome) = match child(next, end - next) {
            Ok(done) => done,
            Err(error) => {
                eprintln!("no process for seed {next}: {error}");
                return false;
            }
        };
        match outcome {
            Outcome::Ended { success } => {
                passed &= success;
                next = end;
            }
            Outcome::Aborted => {
                aborted += 1;
                next = last.unwrap_or(next) + 1;
            }
        }
    }
    println!("{}: {seeds} seeds, {aborted} ended their process", Kind::BitFlips);
    passed
}

/// How a process of seeds came to its end.
enum Outcome {
    Ended { success: bool },
    Aborted,
}

/// Runs seeds in one process; the last that it began, and how it ended.
fn child(from: u64, seeds: u64) -> io::Result<(Option<u64>, Outcome)> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--kind", &Kind::BitFlips.to_string()])
        .args(["--from", &from.to_string(), "--seeds", &seeds.to_string()])
        .env(CHILD, "1")
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut begun = text
        .lines()
        .filter_map(|line| line.strip_prefix("seed ")?.parse().ok());
    for line in text.lines().filter(|line| !line.starts_with("seed ")) {
        println!("{line}");
    }
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let outcome = if output.status.signal() == Some(ABORTED) {
        Outcome::Aborted
    } else {
        Outcome::Ended {
            success: output.status.success(),
        }
    };
    Ok((begun.next_back(), outcome))
}

/// Runs all seeds of a kind; false if one failed.
fn all(kind: Kind, from: u64, seeds: u64) -> bool {
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let failures = AtomicU64::new(0);
    let threads = match kind {
        Kind::BitFlips => 1,
        _ => thread::available_parallelism().map_or(1, NonZeroUsize::get),
    };
    let tally = thread::scope(|scope| {
        let work = || some(kind, &next, from.saturating_add(seeds), &failures);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut tally = Tally::default();
        for thread in threads {
            match thread.join() {
                Ok(part) => tally += part,
                Err(_) => {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        tally
    });
    let failures = failures.into_inner();
    let seconds = began.elapsed().as_secs_f64();
    println!("{kind}: {seeds} seeds, {failures} failed, {seconds:.1} s, {tally:?}");
    failures == 0
}

fn some(kind: Kind, next: &AtomicU64, end: u64, failures: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return tally;
        }
        if kind == Kind::BitFlips {
            println!("seed {seed}");
        }
        match run(kind, seed) {
            Ok(part) => tally += part,
            Err(error) => {
                failures.fetch_add(1, Ordering::Relaxed);
                eprintln!("{kind}, seed {seed}: {error}");
            }
        }
    }
}
