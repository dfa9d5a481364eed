//! What a limit costs for each packet: without limits, with a client's own, and with a share of the broker's.
//!
//! `cargo run --release -p sluice --example throttle_speed`; nanoseconds, the fastest of many short rounds.
#![allow(clippy::print_stdout)] // It is what this program is for.

use sluice::throttle::{Governor, OverLimit, Rate, Rates, SharedRates, Take};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 200;
const PACKETS: u32 = 10_000;
/// As many as a read of 64 KiB brings.
const BATCH: u32 = 500;

/// So much that nobody ever waits: what is measured is the question, not the answer.
const PLENTY: Option<Rate> = Some(Rate {
    per_second: 1 << 40,
    burst: 1 << 40,
});

fn main() {
    let all = Rates {
        bytes_in: PLENTY,
        messages_in: PLENTY,
        subscribes: PLENTY,
        bytes_out: PLENTY,
        messages_out: PLENTY,
    };
    let free = Rates::default();
    for (name, own, broker, action) in [
        ("no limits", free, free, OverLimit::Delay),
        ("a client's own limits, delay", all, free, OverLimit::Delay),
        ("a client's own limits, refuse", all, free, OverLimit::Refuse),
        ("the broker's limits, shared", free, all, OverLimit::Delay),
        ("both", all, all, OverLimit::Delay),
    ] {
        let now = Instant::now();
        let total = SharedRates::default();
        total.set(&broker, now);
        let mut governor = Governor::new(Arc::default(), Arc::new(total));
        governor.apply(&own, action, now);
        println!("{name:32} {:6.1} ns", fastest(&mut governor));
    }
}

/// Per packet: may it be looked at, is it within the limits, and its part of what is done for each batch.
fn fastest(governor: &mut Governor) -> f64 {
    let round = |governor: &mut Governor| {
        let began = Instant::now();
        for packet in 0..PACKETS {
            let now = began;
            if packet % BATCH == 0 {
                governor.settle(now);
                let _ = black_box(governor.may_read(now));
                governor.received(64 * 1024, now);
            }
            let wait = black_box(governor.next_packet_at(now));
            let taken = black_box(governor.publish(128, now));
            debug_assert!(wait.is_none() && taken == Take::Pass);
        }
        began.elapsed()
    };
    let times = (0..ROUNDS).map(|_| round(governor));
    times.min().unwrap_or(Duration::ZERO).as_secs_f64() * 1e9 / f64::from(PACKETS)
}
