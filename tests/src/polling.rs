//! Waiting for what the broker does not announce. The one place where a test pauses: between two looks.

use std::time::{Duration, Instant};

/// How long a test waits for something that must happen: long, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `holds`, asking again and again.
///
/// # Panics
/// When it does not come to hold.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it did not happen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
