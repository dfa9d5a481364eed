//! Support for tests: a virtual clock, packets in few words, and both ends of a connection.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test sets up wrongly is to fail the test"
)]

mod client;
mod pair;
pub mod script;
#[cfg(test)]
mod tests;
mod words;

pub use pair::{Pair, Verdict, Welcome};
pub use words::*;

use std::time::Instant;

/// Where virtual time starts: the same instant for all of a process.
#[must_use]
pub fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    #[allow(
        clippy::disallowed_methods,
        reason = "the origin of virtual time; only distances to it matter"
    )]
    *START.get_or_init(Instant::now)
}
