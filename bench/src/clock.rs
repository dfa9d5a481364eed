//! One clock for everything that is measured.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Nanoseconds since this process first asked; fits 584 years.
pub type Nanos = u64;

/// Now. Costs a few dozen nanoseconds.
pub fn now() -> Nanos {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    nanos(START.elapsed())
}

/// A duration as nanoseconds.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// Nanoseconds as seconds.
pub fn seconds(nanos: Nanos) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}
