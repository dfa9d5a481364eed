//! The flat result of the quick hooks, packed as `wit/hooks.wit` says.

use std::time::Duration;

use crate::reason::{QoS, Reason};

/// What a quick hook says. The numbers are the interface's; 0, the value of memory nobody wrote, denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    #[default]
    Deny = 0,
    Allow = 1,
    Abstain = 2,
    Throttle = 3,
    Drop = 4,
    Disconnect = 5,
}

/// Everything a quick hook can answer; `Publish` and `Subscribe` let authors build the combinations that mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flat {
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<Reason>,
    /// Highest QoS granted to a subscription; `None` grants what was asked for.
    pub(crate) qos: Option<QoS>,
    pub(crate) throttle_milliseconds: u16,
    /// In units of 100 ms.
    pub(crate) cache: u16,
    /// Of publishes: the verdict may be reused for payloads of any size.
    pub(crate) whatever_size: bool,
}

impl Flat {
    pub(crate) const fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            reason: None,
            qos: None,
            throttle_milliseconds: 0,
            cache: 0,
            whatever_size: false,
        }
    }

    pub(crate) const fn because(self, reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            ..self
        }
    }

    /// Rounds down, so that a verdict is never reused for longer than its author allowed.
    pub(crate) fn cache_for(self, time: Duration) -> Self {
        Self {
            cache: u16::try_from(time.as_millis() / 100).unwrap_or(u16::MAX),
            ..self
        }
    }

    /// Rounds up, so that a throttle of less than a millisecond is not none.
    pub(crate) fn throttle_for(self, time: Duration) -> Self {
        let milliseconds = time.as_nanos().div_ceil(1_000_000);
        Self {
            throttle_milliseconds: u16::try_from(milliseconds).unwrap_or(u16::MAX),
            ..self
        }
    }

    pub(crate) const fn pack(self) -> u64 {
        let reason = match self.reason {
            Some(reason) => reason.code(),
            None => 0,
        };
        let qos = match self.qos {
            Some(qos) => qos.level() + 1,
            None => 0,
        };
        self.verdict as u64
            | (reason as u64) << 8
            | (qos as u64) << 16
            // The same place as the QoS of a subscription, which a publish has not.
            | (self.whatever_size as u64) << 16
            | (self.throttle_milliseconds as u64) << 32
            | (self.cache as u64) << 48
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zero_value_denies() {
        assert_eq!(Flat::default().pack(), 0);
        assert_eq!(Flat::default(), Flat::new(Verdict::Deny));
    }

    #[test]
    fn each_part_has_its_bits() {
        let everything = Flat {
            verdict: Verdict::Throttle,
            reason: Some(Reason::QuotaExceeded),
            qos: Some(QoS::ExactlyOnce),
            throttle_milliseconds: 0x1234,
            cache: 0x5678,
            whatever_size: false,
        };
        assert_eq!(everything.pack(), 0x5678_1234_0003_9703);
        let publish = Flat {
            qos: None,
            whatever_size: true,
            ..everything
        };
        assert_eq!(publish.pack(), 0x5678_1234_0001_9703);
    }

    #[test]
    fn times_beyond_the_range_stay_at_its_end() {
        let hour = Duration::from_secs(3600);
        assert_eq!(
            Flat::new(Verdict::Throttle)
                .throttle_for(hour)
                .throttle_milliseconds,
            u16::MAX
        );
        assert_eq!(Flat::new(Verdict::Allow).cache_for(hour * 24).cache, u16::MAX);
    }

    #[test]
    fn a_throttle_rounds_up_and_a_cache_time_down() {
        let flat = Flat::new(Verdict::Throttle)
            .throttle_for(Duration::from_micros(1))
            .cache_for(Duration::from_millis(199));
        assert_eq!((flat.throttle_milliseconds, flat.cache), (1, 1));
    }
}
