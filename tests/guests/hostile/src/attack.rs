//! What a hostile policy can do.

use std::hint::black_box;

use serde::Deserialize;
use sluice_policy::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    /// Never returns.
    Loop,
    /// Never returns, most of the time inside bulk memory instructions, which nothing interrupts.
    BulkMemory,
    Panic,
    /// Allocates without end.
    Memory,
    /// Keeps 256 KiB of each call.
    Leak,
    /// Calls itself without end, with small frames.
    Recursion,
    /// Calls itself without end, with frames that fill the stack in linear memory first.
    BigFrames,
    /// Answers with a list of half a million texts, where the answer has a list.
    HugeList,
    /// Writes a million lines to the log.
    LogFlood,
    /// Writes one line of 4 MiB to the log.
    HugeLog,
    /// Writes a line to the log that tries to look like several.
    ForgedLog,
    /// Asks the broker for something in every round, without end; at connect only.
    EndlessQuestions,
    /// Awaits something that is not for it to await; at connect only.
    StuckFuture,
    /// Behaves, but says no.
    Refuse,
}

impl Attack {
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name);
        Self::deserialize(name).ok()
    }
}

/// Carries out what is no matter of the answer.
#[expect(clippy::panic, reason = "it is hostile")]
pub(crate) fn run(attack: Option<Attack>) {
    match attack {
        None | Some(Attack::HugeList | Attack::EndlessQuestions | Attack::StuckFuture | Attack::Refuse) => {}
        Some(Attack::Loop) => loop {
            black_box(());
        },
        Some(Attack::BulkMemory) => {
            let mut memory = vec![0_u8; 4 << 20];
            loop {
                black_box(&mut memory).fill(1);
            }
        }
        Some(Attack::Panic) => panic!("this policy panics on demand"),
        Some(Attack::Memory) => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        Some(Attack::Leak) => {
            black_box(Vec::leak(vec![1_u8; 256 << 10]));
        }
        Some(Attack::Recursion) => {
            black_box(deeper(0));
        }
        Some(Attack::BigFrames) => {
            black_box(deeper_with_frames(0));
        }
        Some(Attack::LogFlood) => (0..1_000_000).for_each(|line| log::warn!("line {line} of a flood")),
        Some(Attack::HugeLog) => log::warn!("{}", "x".repeat(4 << 20)),
        Some(Attack::ForgedLog) => {
            log::warn!("innocent\n2026-01-01T00:00:00Z ERROR forged=\"yes\"\u{1b}[31m")
        }
    }
}

pub(crate) fn huge_list() -> Vec<(String, String)> {
    vec![(String::new(), String::new()); 500_000]
}

pub(crate) fn huge_terms() -> Admission {
    Admission::new().grants(std::iter::repeat_with(|| Grant::allow("#")).take(500_000))
}

/// The result of the inner call is used, so this is no loop in disguise.
fn deeper(depth: u64) -> u64 {
    match black_box(depth) {
        u64::MAX => 0,
        depth => deeper(depth + 1) ^ black_box(depth),
    }
}

fn deeper_with_frames(depth: u64) -> u64 {
    let frame = black_box([depth; 1024]);
    match black_box(depth) {
        u64::MAX => 0,
        depth => deeper_with_frames(depth + 1) ^ black_box(frame).iter().sum::<u64>(),
    }
}
