//! What is enforced for one client: of all that has a say, the strictest, unless the operator spoke about this client.

use super::Shared;
use crate::config::Limits;
use crate::policy::Gate;
use crate::policy::budget::{Budget, OverLimitAction, QueueOverflow, Rate};
use crate::policy::verdict::Admission;
use crate::throttle::{self, OverLimit, Rates};
use sluice_mqtt::conn::Terms;
use sluice_mqtt::packet::{Connect, QoS, Version};
use sluice_mqtt::session::{Overflow, SessionLimits};
use sluice_mqtt::topic::levels;
use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

/// Who has a say in what a client may use, in the order in which they are named when several say the same.
#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    Limits,
    Listener(&'a str),
    Policy(&'a str),
    /// Last, and above all.
    Operator,
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limits => f.write_str("limits"),
            Self::Listener(name) => write!(f, "listener {name}"),
            Self::Policy(name) => write!(f, "policy {name}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// What follows from everybody who has a say about this client now; each is shown to `hear` on the way. What policies
/// say of the life of the connection counts from `authenticated_after`, the time since CONNECT when the client was last
/// authenticated; the others' counts from CONNECT.
pub(super) fn budget(
    shared: &Shared,
    listener: &str,
    client_id: &str,
    gate: &Gate,
    authenticated_after: Duration,
    mut hear: impl FnMut(Who<'_>, &Budget),
) -> Budget {
    let mut outcome = Budget::default();
    let mut say = |who: Who<'_>, budget: &Budget| {
        hear(who, budget);
        outcome = match who {
            Who::Operator => outcome.overridden_by(budget),
            Who::Policy(_) => outcome.strictest(&later(budget, authenticated_after)),
            Who::Limits | Who::Listener(_) => outcome.strictest(budget),
        };
    };
    say(Who::Limits, &shared.hub.limits().client);
    if let Some(door) = shared.doors.load().get(listener) {
        say(Who::Listener(listener), &door.limits);
    }
    for (policy, budget) in gate.budgets() {
        say(Who::Policy(policy), budget);
    }
    if let Some(budget) = shared.hub.client_limits(client_id) {
        say(Who::Operator, &budget);
    }
    outcome
}

/// The budget of a policy that was asked so long after CONNECT.
fn later(budget: &Budget, after: Duration) -> Budget {
    let after = u32::try_from(after.as_secs()).unwrap_or(u32::MAX);
    Budget {
        connection_seconds_max: budget.connection_seconds_max.map(|max| max.saturating_add(after)),
        ..*budget
    }
}

/// What is enforced for one client.
#[derive(Clone, Debug)]
pub(super) struct Enforced {
    pub(super) packet_bytes_max: u32,
    pub(super) payload_bytes_max: u32,
    pub(super) qos_max: QoS,
    pub(super) retain_available: bool,
    pub(super) subscriptions_max: u32,
    pub(super) session_expiry_seconds_max: u32,
    pub(super) connection_max: Option<Duration>,
    pub(super) backpressure_max: Option<Duration>,
    pub(super) receive_max: NonZeroU16,
    pub(super) topic_alias_max: u16,
    topic_levels_max: u16,
    mounted: bool,
    keep_alive_seconds_max: u16,
    pub(super) will_delay_seconds_max: u32,
    session: SessionLimits,
    pub(super) rates: Rates,
    pub(super) over_limit: OverLimit,
}

impl Enforced {
    pub(super) fn new(
        shared: &Shared,
        listener: &str,
        client_id: &str,
        gate: &Gate,
        authenticated_after: Duration,
    ) -> Self {
        let budget = budget(shared, listener, client_id, gate, authenticated_after, |_, _| {});
        Self::from(&shared.hub.limits(), &budget, gate.mountpoint().is_some())
    }

    fn from(limits: &Limits, budget: &Budget, mounted: bool) -> Self {
        let receive_max = budget.inflight_max.unwrap_or(u16::MAX).min(limits.receive_max);
        Self {
            packet_bytes_max: budget.packet_bytes_max.unwrap_or(u32::MAX),
            payload_bytes_max: budget.payload_bytes_max.unwrap_or(u32::MAX),
            qos_max: limits.qos_max,
            retain_available: limits.retain_available,
            subscriptions_max: budget.subscriptions_max.unwrap_or(u32::MAX),
            session_expiry_seconds_max: budget.session_expiry_seconds_max.unwrap_or(u32::MAX),
            connection_max: budget
                .connection_seconds_max
                .map(|max| Duration::from_secs(max.into())),
            backpressure_max: limits.backpressure_max,
            receive_max: NonZeroU16::new(receive_max).unwrap_or(NonZeroU16::MIN),
            topic_alias_max: limits.topic_alias_max,
            topic_levels_max: limits.topic_levels_max,
            mounted,
            keep_alive_seconds_max: limits
                .keep_alive_max
                .map_or(0, |max| u16::try_from(max.as_secs()).unwrap_or(u16::MAX)),
            will_delay_seconds_max: u32::try_from(limits.will_delay_max.as_secs()).unwrap_or(u32::MAX),
            session: SessionLimits {
                queue_messages_max: budget.queue_messages_max.unwrap_or(u32::MAX),
                queue_bytes_max: budget.queue_bytes_max.unwrap_or(u64::MAX),
                overflow: overflow(budget.queue_overflow),
                inflight_max: budget.inflight_max.unwrap_or(u16::MAX),
            },
            rates: rates(budget),
            over_limit: match budget.over_limit {
                None | Some(OverLimitAction::Delay) => OverLimit::Delay,
                Some(OverLimitAction::Refuse) => OverLimit::Refuse,
                Some(OverLimitAction::Drop) => OverLimit::Drop,
                Some(OverLimitAction::Disconnect) => OverLimit::Disconnect,
            },
        }
    }

    pub(super) fn session_limits(&self) -> SessionLimits {
        self.session
    }

    /// Whether a client may publish there: `$SYS` and `$share` are the broker's own. Behind a mount point no topic
    /// may start with `$`, for there a wildcard would match it [MQTT-4.7.2-1].
    pub(super) fn topic_allowed(&self, topic: &[u8]) -> bool {
        let reserved = match self.mounted {
            true => topic.starts_with(b"$"),
            false => topic.starts_with(b"$SYS/") || topic.starts_with(b"$share/"),
        };
        !reserved && levels(topic) <= usize::from(self.topic_levels_max)
    }

    /// Seconds the session is to outlive its connection: what the client asks, up to the maximum.
    pub(super) fn session_expiry_seconds(&self, connect: &Connect) -> u32 {
        connect
            .session_expiry_wanted()
            .min(self.session_expiry_seconds_max)
    }

    /// What a client that can be told is told.
    pub(super) fn keep_alive_seconds(&self, connect: &Connect, admission: &Admission) -> u16 {
        let said = admission.connack.server_keep_alive_seconds;
        said.unwrap_or_else(|| self.capped_keep_alive_seconds(connect))
    }

    /// What the client asks for, or the longest there is.
    fn capped_keep_alive_seconds(&self, connect: &Connect) -> u16 {
        let asked = connect.keep_alive_seconds;
        let max = self.keep_alive_seconds_max;
        if max > 0 && (asked == 0 || asked > max) {
            max
        } else {
            asked
        }
    }

    /// What the connection is to enforce.
    pub(super) fn terms(&self, connect: &Connect, admission: &Admission) -> Terms {
        // Before 5.0 a client cannot be told: what a policy says to clients does not concern it, what the operator
        // allows at most holds all the same. A server may end the connection of a client that is silent for longer than
        // it likes at any time (3.1.1, section 3.1.2.10).
        let can_be_told = connect.version == Version::V5;
        let keep_alive_seconds = if can_be_told {
            self.keep_alive_seconds(connect, admission)
        } else {
            self.capped_keep_alive_seconds(connect)
        };
        Terms {
            receive_max: self.receive_max,
            topic_alias_max: self.topic_alias_max,
            packet_bytes_max: self.packet_bytes_max,
            payload_bytes_max: self.payload_bytes_max,
            keep_alive_seconds,
            session_expiry_seconds: self.session_expiry_seconds(connect),
        }
    }
}

/// As in a configuration.
pub(super) fn action_name(action: OverLimit) -> &'static str {
    let action = match action {
        OverLimit::Delay => OverLimitAction::Delay,
        OverLimit::Refuse => OverLimitAction::Refuse,
        OverLimit::Drop => OverLimitAction::Drop,
        OverLimit::Disconnect => OverLimitAction::Disconnect,
    };
    action.name()
}

fn overflow(rule: Option<QueueOverflow>) -> Overflow {
    match rule {
        None | Some(QueueOverflow::DropNew) => Overflow::DropNew,
        Some(QueueOverflow::DropOldest) => Overflow::DropOldest,
        Some(QueueOverflow::Disconnect) => Overflow::Disconnect,
    }
}

/// The rates of a budget.
pub(super) fn rates(budget: &Budget) -> Rates {
    let rate = |rate: Option<Rate>| {
        let rate = rate.filter(|rate| *rate != Rate::UNLIMITED);
        rate.map(|Rate { per_second, burst }| throttle::Rate { per_second, burst })
    };
    Rates {
        bytes_in: rate(budget.bytes_in_per_second),
        messages_in: rate(budget.messages_in_per_second),
        subscribes: rate(budget.subscribes_per_second),
        bytes_out: rate(budget.bytes_out_per_second),
        messages_out: rate(budget.messages_out_per_second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_policy_says_counts_from_the_last_authentication() {
        let seconds = |max| Budget {
            connection_seconds_max: Some(max),
            ..Budget::default()
        };
        let after = Duration::from_millis(90_999);
        assert_eq!(later(&seconds(10), after), seconds(100));
        assert_eq!(later(&seconds(u32::MAX), after), seconds(u32::MAX));
        assert_eq!(later(&Budget::default(), after), Budget::default());
    }
}
