//! The harness of the black-box tests: a broker process, raw MQTT peers, and the packets they speak.
//!
//! A failure is a panic that shows the conversation so far: nothing here is meant for other uses than tests.

pub mod authority;
pub mod broker;
pub mod compiled;
pub mod guests;
pub mod http;
pub mod log;
pub mod packet;
pub mod peer;
mod polling;
pub mod property;
mod reader;
pub mod receiving;
pub mod reply;
pub mod tls;
pub mod transport;
pub mod websocket;

pub use polling::{PATIENCE, eventually};

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test of this process uses, for client identifiers and topics.
#[must_use]
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a check in both versions at the same time: for those that have to wait.
pub fn at_once(check: impl Fn(packet::Version) + Sync) {
    std::thread::scope(|scope| {
        for version in packet::BOTH {
            let check = &check;
            scope.spawn(move || check(version));
        }
    });
}
