//! That a client comes up against its limits, as its policies are told: at most once a second, however often it does.

use crate::policy::verdict::Limit;
use std::time::{Duration, Instant};

/// Between two times that the policies are told.
const PAUSE: Duration = Duration::from_secs(1);

/// What one client has come up against.
#[derive(Debug, Default)]
pub(super) struct LimitHits {
    told_at: Option<Instant>,
    /// So often since, in the order of [`Limit::ALL`].
    untold: [u32; Limit::ALL.len()],
}

impl LimitHits {
    /// Notes one more; gives what is to be told now, if it is time for that.
    pub(super) fn note(&mut self, limit: Limit, now: Instant) -> impl Iterator<Item = (Limit, u64)> + use<> {
        for (one, untold) in Limit::ALL.into_iter().zip(&mut self.untold) {
            *untold = untold.saturating_add(u32::from(one == limit));
        }
        let is_time = self
            .told_at
            .is_none_or(|told_at| now.saturating_duration_since(told_at) >= PAUSE);
        let times = match is_time {
            true => {
                self.told_at = Some(now);
                std::mem::take(&mut self.untold)
            }
            false => Default::default(),
        };
        let each = Limit::ALL.into_iter().zip(times.map(u64::from));
        each.filter(|(_, times)| *times > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_next_together_a_second_later() {
        let mut hits = LimitHits::default();
        let start = Instant::now();
        let mut note = |limit, millis| -> Vec<_> {
            let now = start + Duration::from_millis(millis);
            hits.note(limit, now).collect()
        };
        assert_eq!(note(Limit::Inward, 0), [(Limit::Inward, 1)]);
        assert_eq!(note(Limit::Inward, 1), []);
        assert_eq!(note(Limit::Subscribes, 999), []);
        assert_eq!(
            note(Limit::Inward, 1_000),
            [(Limit::Inward, 2), (Limit::Subscribes, 1)]
        );
        assert_eq!(note(Limit::Outward, 1_999), []);
        assert_eq!(note(Limit::Outward, 9_000), [(Limit::Outward, 2)]);
    }
}
