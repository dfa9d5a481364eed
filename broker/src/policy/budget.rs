//! What a client may use: the one shape in which the configuration, a listener, a policy and an operator say it.
//!
//! Several of them hold for a client at the same time: the strictest value wins ([`Budget::strictest`]), and an
//! operator's word about one client goes before all ([`Budget::overridden_by`]).
//!
//! What derives `Serialize` here is part of what [`super::Gate::remember`] writes: a change of it is a change of that
//! format.

use serde::{Deserialize, Serialize};

/// Tokens refill at `per_second`, at most `burst` are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// Bytes or messages.
    pub per_second: u64,
    /// Bytes or messages.
    pub burst: u64,
}

impl Rate {
    /// No rate at all, for the one who can lift what others say: the operator.
    pub const UNLIMITED: Self = Self {
        per_second: u64::MAX,
        burst: u64::MAX,
    };
}

/// What the broker does with a client that exceeds a rate. Ordered from mild to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OverLimitAction {
    /// Stop reading its socket until the rate is kept again.
    Delay,
    /// Answer 0x97 Quota exceeded.
    Refuse,
    /// Acknowledge and forget the message.
    Drop,
    /// DISCONNECT with 0x96 Message rate too high.
    Disconnect,
}

/// What gives way when a session's queue is full. Ordered from mild to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum QueueOverflow {
    /// The newest message is not queued.
    DropNew,
    /// The oldest queued message makes room.
    DropOldest,
    /// The client is disconnected.
    Disconnect,
}

/// Everything the broker enforces for a client. `None` leaves the listener's or the global value. Sizes are wire
/// bytes, headers included, unless they say payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // Each name says what it bounds and in which unit.
pub struct Budget {
    pub bytes_in_per_second: Option<Rate>,
    pub bytes_out_per_second: Option<Rate>,
    pub messages_in_per_second: Option<Rate>,
    pub messages_out_per_second: Option<Rate>,
    pub subscribes_per_second: Option<Rate>,
    pub packet_bytes_max: Option<u32>,
    pub payload_bytes_max: Option<u32>,
    pub inflight_max: Option<u16>,
    pub queue_messages_max: Option<u32>,
    pub queue_bytes_max: Option<u64>,
    pub queue_overflow: Option<QueueOverflow>,
    pub subscriptions_max: Option<u32>,
    pub session_expiry_seconds_max: Option<u32>,
    pub connection_seconds_max: Option<u32>,
    pub over_limit: Option<OverLimitAction>,
}

impl Budget {
    /// Of each value the stricter one: the smaller number, or the harsher action.
    #[must_use]
    pub fn strictest(&self, other: &Self) -> Self {
        Self {
            bytes_in_per_second: rate(self.bytes_in_per_second, other.bytes_in_per_second),
            bytes_out_per_second: rate(self.bytes_out_per_second, other.bytes_out_per_second),
            messages_in_per_second: rate(self.messages_in_per_second, other.messages_in_per_second),
            messages_out_per_second: rate(self.messages_out_per_second, other.messages_out_per_second),
            subscribes_per_second: rate(self.subscribes_per_second, other.subscribes_per_second),
            packet_bytes_max: least(self.packet_bytes_max, other.packet_bytes_max),
            payload_bytes_max: least(self.payload_bytes_max, other.payload_bytes_max),
            inflight_max: least(self.inflight_max, other.inflight_max),
            queue_messages_max: least(self.queue_messages_max, other.queue_messages_max),
            queue_bytes_max: least(self.queue_bytes_max, other.queue_bytes_max),
            queue_overflow: self.queue_overflow.max(other.queue_overflow),
            subscriptions_max: least(self.subscriptions_max, other.subscriptions_max),
            session_expiry_seconds_max: least(
                self.session_expiry_seconds_max,
                other.session_expiry_seconds_max,
            ),
            connection_seconds_max: least(self.connection_seconds_max, other.connection_seconds_max),
            over_limit: self.over_limit.max(other.over_limit),
        }
    }

    /// What `other` says, and where it says nothing, this.
    #[must_use]
    pub fn overridden_by(&self, other: &Self) -> Self {
        Self {
            bytes_in_per_second: other.bytes_in_per_second.or(self.bytes_in_per_second),
            bytes_out_per_second: other.bytes_out_per_second.or(self.bytes_out_per_second),
            messages_in_per_second: other.messages_in_per_second.or(self.messages_in_per_second),
            messages_out_per_second: other.messages_out_per_second.or(self.messages_out_per_second),
            subscribes_per_second: other.subscribes_per_second.or(self.subscribes_per_second),
            packet_bytes_max: other.packet_bytes_max.or(self.packet_bytes_max),
            payload_bytes_max: other.payload_bytes_max.or(self.payload_bytes_max),
            inflight_max: other.inflight_max.or(self.inflight_max),
            queue_messages_max: other.queue_messages_max.or(self.queue_messages_max),
            queue_bytes_max: other.queue_bytes_max.or(self.queue_bytes_max),
            queue_overflow: other.queue_overflow.or(self.queue_overflow),
            subscriptions_max: other.subscriptions_max.or(self.subscriptions_max),
            session_expiry_seconds_max: other
                .session_expiry_seconds_max
                .or(self.session_expiry_seconds_max),
            connection_seconds_max: other.connection_seconds_max.or(self.connection_seconds_max),
            over_limit: other.over_limit.or(self.over_limit),
        }
    }

    /// Every limit under the name it has in a configuration, for whoever shows or compares them one by one.
    #[must_use]
    pub fn amounts(&self) -> [(&'static str, Option<Amount>); 15] {
        let bytes_rate = |rate: Option<Rate>| rate.map(Amount::BytesPerSecond);
        let rate = |rate: Option<Rate>| rate.map(Amount::PerSecond);
        let seconds = |seconds: Option<u32>| seconds.map(Amount::Seconds);
        [
            ("bytes_in_per_second", bytes_rate(self.bytes_in_per_second)),
            ("bytes_out_per_second", bytes_rate(self.bytes_out_per_second)),
            ("messages_in_per_second", rate(self.messages_in_per_second)),
            ("messages_out_per_second", rate(self.messages_out_per_second)),
            ("subscribes_per_second", rate(self.subscribes_per_second)),
            (
                "packet_bytes_max",
                self.packet_bytes_max.map(|n| Amount::Bytes(n.into())),
            ),
            (
                "payload_bytes_max",
                self.payload_bytes_max.map(|n| Amount::Bytes(n.into())),
            ),
            ("inflight_max", self.inflight_max.map(|n| Amount::Count(n.into()))),
            (
                "queue_messages_max",
                self.queue_messages_max.map(|n| Amount::Count(n.into())),
            ),
            ("queue_bytes_max", self.queue_bytes_max.map(Amount::Bytes)),
            (
                "queue_overflow",
                self.queue_overflow.map(|rule| Amount::Word(rule.name())),
            ),
            (
                "subscriptions_max",
                self.subscriptions_max.map(|n| Amount::Count(n.into())),
            ),
            ("session_expiry_max", seconds(self.session_expiry_seconds_max)),
            ("connection_lifetime_max", seconds(self.connection_seconds_max)),
            (
                "over_limit",
                self.over_limit.map(|action| Amount::Word(action.name())),
            ),
        ]
    }
}

/// One limit of a [`Budget`], in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes and a burst of bytes.
    BytesPerSecond(Rate),
    /// Messages or filters, and a burst of them.
    PerSecond(Rate),
    /// Bytes.
    Bytes(u64),
    /// Messages, subscriptions.
    Count(u64),
    /// Seconds; `u32::MAX`: for ever.
    Seconds(u32),
    /// What is done.
    Word(&'static str),
}

impl OverLimitAction {
    /// As in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Refuse => "refuse",
            Self::Drop => "drop",
            Self::Disconnect => "disconnect",
        }
    }
}

impl QueueOverflow {
    /// As in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DropNew => "drop-new",
            Self::DropOldest => "drop-oldest",
            Self::Disconnect => "disconnect",
        }
    }
}

fn least<T: Ord>(left: Option<T>, right: Option<T>) -> Option<T> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

fn rate(left: Option<Rate>, right: Option<Rate>) -> Option<Rate> {
    match (left, right) {
        (Some(left), Some(right)) => Some(Rate {
            per_second: left.per_second.min(right.per_second),
            burst: left.burst.min(right.burst),
        }),
        (left, right) => left.or(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 20,
    };

    fn full(n: u8) -> Budget {
        let rate = Some(Rate {
            per_second: n.into(),
            burst: n.into(),
        });
        Budget {
            bytes_in_per_second: rate,
            bytes_out_per_second: rate,
            messages_in_per_second: rate,
            messages_out_per_second: rate,
            subscribes_per_second: rate,
            packet_bytes_max: Some(n.into()),
            payload_bytes_max: Some(n.into()),
            inflight_max: Some(n.into()),
            queue_messages_max: Some(n.into()),
            queue_bytes_max: Some(n.into()),
            queue_overflow: Some(QueueOverflow::DropOldest),
            subscriptions_max: Some(n.into()),
            session_expiry_seconds_max: Some(n.into()),
            connection_seconds_max: Some(n.into()),
            over_limit: Some(OverLimitAction::Refuse),
        }
    }

    #[test]
    fn the_strictest_wins_in_every_limit_whoever_says_it() {
        assert_eq!(full(1).strictest(&full(2)), full(1));
        assert_eq!(full(2).strictest(&full(1)), full(1));
        assert_eq!(full(1).strictest(&Budget::default()), full(1));
        assert_eq!(Budget::default().strictest(&full(1)), full(1));
        let harsh = Budget {
            over_limit: Some(OverLimitAction::Disconnect),
            queue_overflow: Some(QueueOverflow::Disconnect),
            ..Budget::default()
        };
        assert_eq!(full(1).strictest(&harsh).over_limit, harsh.over_limit);
        assert_eq!(full(1).strictest(&harsh).queue_overflow, harsh.queue_overflow);
    }

    #[test]
    fn an_override_replaces_what_it_says_and_leaves_the_rest() {
        assert_eq!(full(1).overridden_by(&full(2)), full(2));
        assert_eq!(full(1).overridden_by(&Budget::default()), full(1));
        let raised = Budget {
            bytes_in_per_second: Some(RATE),
            ..Budget::default()
        };
        let expected = Budget {
            bytes_in_per_second: Some(RATE),
            ..full(1)
        };
        assert_eq!(full(1).overridden_by(&raised), expected);
    }

    #[test]
    fn every_limit_is_shown_under_a_name_of_its_own() {
        let amounts = full(1).amounts();
        assert!(amounts.iter().all(|(_, amount)| amount.is_some()));
        let mut names: Vec<_> = amounts.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), amounts.len());
        assert!(
            Budget::default()
                .amounts()
                .iter()
                .all(|(_, amount)| amount.is_none())
        );
    }
}
