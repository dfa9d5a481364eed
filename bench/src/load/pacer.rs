//! When the messages of an open loop are due.

use crate::clock::Nanos;

/// A schedule that does not care whether anybody keeps up.
#[derive(Debug)]
pub(super) struct Pacer {
    start: Nanos,
    nanos_per_message: f64,
    sent: u64,
}

impl Pacer {
    /// The first message is due at `start`.
    pub(super) fn new(start: Nanos, per_second: f64) -> Self {
        Self {
            start,
            nanos_per_message: 1e9 / per_second,
            sent: 0,
        }
    }

    /// When the next message is due.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a run has far fewer than 2^53 nanoseconds"
    )]
    pub(super) fn next_at(&self) -> Nanos {
        self.start + (self.sent as f64 * self.nanos_per_message) as Nanos
    }

    /// The number of the next message and when it was due, if that has passed.
    pub(super) fn due(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        let at = self.next_at();
        (at <= now).then(|| {
            self.sent += 1;
            (self.sent - 1, at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_their_times_even_when_late() {
        let mut pacer = Pacer::new(1000, 1e6);
        assert_eq!(pacer.due(999), None);
        assert_eq!(pacer.due(3500), Some((0, 1000)));
        assert_eq!(pacer.due(3500), Some((1, 2000)));
        assert_eq!(pacer.due(3500), Some((2, 3000)));
        assert_eq!(pacer.due(3500), None);
        assert_eq!(pacer.next_at(), 4000);
    }
}
