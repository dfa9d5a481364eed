//! Keep alive (section 3.1.2.10): how long a client may be silent.

use std::time::{Duration, Instant};

/// Watches for complete packets. A part of a packet is no sign of life.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepAlive {
    seconds: u16,
    heard_at: Instant,
}

impl KeepAlive {
    /// `seconds` 0: the client may be silent for ever.
    pub(super) fn new(seconds: u16, now: Instant) -> Self {
        Self {
            seconds,
            heard_at: now,
        }
    }

    /// A complete packet came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// One and a half times the keep alive after the last packet [MQTT-3.1.2-22].
    pub(super) fn deadline(&self) -> Option<Instant> {
        let patience = Duration::from_millis(u64::from(self.seconds) * 1500);
        (self.seconds > 0).then(|| self.heard_at + patience)
    }
}
