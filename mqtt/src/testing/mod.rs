//! Support for tests: a virtual clock and scripted ends of a connection.

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
