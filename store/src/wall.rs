//! Times of the process and times on disk: milliseconds since 1970 by the wall clock.

use std::time::{Duration, Instant, SystemTime};

/// The same moment by both clocks, taken anew for each batch, so that a wall clock that is set is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    instant: Instant,
    milliseconds: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            instant: Instant::now(),
            milliseconds: to_milliseconds(SystemTime::now()),
        }
    }

    /// The wall clock's time of `at`; what is past by now is now.
    pub(crate) fn milliseconds(&self, at: Instant) -> u64 {
        let ahead = at.saturating_duration_since(self.instant);
        self.milliseconds.saturating_add(whole_milliseconds(ahead))
    }

    /// The process's time of `milliseconds`; `None`: beyond what it can count, which is never.
    pub(crate) fn instant(&self, milliseconds: u64) -> Option<Instant> {
        let ahead = milliseconds.saturating_sub(self.milliseconds);
        self.instant.checked_add(Duration::from_millis(ahead))
    }
}

pub(crate) fn to_milliseconds(at: SystemTime) -> u64 {
    // A clock before 1970 is not set.
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    whole_milliseconds(since)
}

fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For serde: a time that may be absent.
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::{Duration, SystemTime};

    pub(crate) fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(super::to_milliseconds).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let milliseconds = Option::<u64>::deserialize(deserializer)?;
        Ok(milliseconds.and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at))))
    }
}
