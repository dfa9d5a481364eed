//! Judging messages.

use std::time::Duration;

use crate::reason::{QoS, Reason};
use crate::verdict::{Flat, Verdict};

/// A message a client publishes, or its will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The session, as in [`crate::ConnectRequest::session`].
    pub session: u64,
    /// What the policy chose at connect; see [`crate::Admission::tag`].
    pub tag: u64,
    /// The topic name, aliases resolved, without the mount point.
    pub topic: String,
    /// The quality of service asked for.
    pub qos: QoS,
    /// Whether the message is to be retained.
    pub retain: bool,
    /// Length of the payload in bytes.
    pub payload_bytes: u32,
}

/// The answer to a [`PublishRequest`]. Its default is a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Publish(Flat);

impl Publish {
    /// Route the message.
    pub const fn allow() -> Self {
        Self(Flat::new(Verdict::Allow))
    }

    /// Refuse it, with 0x87 Not authorized.
    pub const fn deny() -> Self {
        Self(Flat::new(Verdict::Deny))
    }

    /// Refuse it with a reason of your own.
    pub const fn deny_with(reason: Reason) -> Self {
        Self(Flat::new(Verdict::Deny).because(reason))
    }

    /// Acknowledge the message and forget it: the client cannot tell.
    pub const fn drop() -> Self {
        Self(Flat::new(Verdict::Drop))
    }

    /// Refuse the message and the client.
    pub const fn disconnect(reason: Reason) -> Self {
        Self(Flat::new(Verdict::Disconnect).because(reason))
    }

    /// Route the message, then read nothing from the client for so long (up to 65.5 s).
    pub fn throttle(time: Duration) -> Self {
        Self(Flat::new(Verdict::Throttle).throttle_for(time))
    }

    /// No opinion: another policy of the chain must allow it.
    pub const fn abstain() -> Self {
        Self(Flat::new(Verdict::Abstain))
    }

    /// The broker may reuse this answer so long without asking, for a message that is the same in everything the hook
    /// was told: client, topic, QoS, retain flag and size of the payload. So it must depend on nothing else. In steps
    /// of 100 ms, up to 109 minutes.
    pub fn cache_for(self, time: Duration) -> Self {
        Self(self.0.cache_for(time))
    }

    /// With [`Publish::cache_for`]: the broker may reuse this answer for payloads of any size, so it must not depend on
    /// [`PublishRequest::payload_bytes`]. Without, a client whose payloads vary in size is asked about again and again.
    pub fn whatever_size(self) -> Self {
        Self(Flat {
            whatever_size: true,
            ..self.0
        })
    }

    /// Whether this lets the message through.
    pub const fn is_allowed(self) -> bool {
        matches!(self.0.verdict, Verdict::Allow | Verdict::Throttle)
    }

    /// Whether what comes after depends on it: the client is left unread for a while, or sent away.
    pub(crate) const fn is_felt_at_once(self) -> bool {
        matches!(self.0.verdict, Verdict::Throttle | Verdict::Disconnect)
    }

    pub(crate) fn pack(self) -> u64 {
        self.0.pack()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_pack_as_the_interface_says() {
        assert_eq!(Publish::default().pack(), Publish::deny().pack());
        assert_eq!(Publish::deny().pack(), 0);
        assert_eq!(Publish::allow().pack(), 1);
        assert_eq!(Publish::abstain().pack(), 2);
        assert_eq!(
            Publish::throttle(Duration::from_millis(250)).pack(),
            250 << 32 | 3
        );
        assert_eq!(Publish::drop().pack(), 4);
        assert_eq!(Publish::disconnect(Reason::Banned).pack(), 0x8A05);
        assert_eq!(Publish::deny_with(Reason::QuotaExceeded).pack(), 0x9700);
        assert_eq!(
            Publish::allow().cache_for(Duration::from_secs(60)).pack(),
            600 << 48 | 1
        );
        assert_eq!(
            Publish::deny()
                .whatever_size()
                .cache_for(Duration::from_secs(1))
                .pack(),
            10 << 48 | 1 << 16
        );
    }
}
