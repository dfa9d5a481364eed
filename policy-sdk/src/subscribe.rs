//! Judging subscriptions.

use std::time::Duration;

use crate::reason::{QoS, Reason};
use crate::verdict::{Flat, Verdict};

/// One filter a client subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The session, as in [`crate::ConnectRequest::session`].
    pub session: u64,
    /// What the policy chose at connect; see [`crate::Admission::tag`].
    pub tag: u64,
    /// The topic filter, without the mount point and without `$share/name/`.
    pub filter: String,
    /// The quality of service asked for.
    pub qos: QoS,
    /// The client does not want its own messages.
    pub no_local: bool,
    /// Retain flags are to be kept as published.
    pub retain_as_published: bool,
    /// Which retained messages the client wants.
    pub retain_handling: RetainHandling,
    /// The subscription is shared with other clients.
    pub shared: bool,
}

/// Which retained messages a subscription asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainHandling {
    /// All that match.
    Send,
    /// All that match, if the subscription is new.
    SendIfNew,
    /// None.
    DoNotSend,
}

impl SubscribeRequest {
    /// `options` are the bits of `wit/hooks.wit`.
    pub(crate) fn new(session: u64, tag: u64, filter: String, options: u32) -> Self {
        Self {
            session,
            tag,
            filter,
            qos: QoS::from_level((options & 0b11) as u8),
            no_local: options & 1 << 2 != 0,
            retain_as_published: options & 1 << 3 != 0,
            retain_handling: match options >> 4 & 0b11 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            },
            shared: options & 1 << 8 != 0,
        }
    }
}

/// The answer to a [`SubscribeRequest`]. Its default is a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Subscribe(Flat);

impl Subscribe {
    /// Grant the subscription as asked for.
    pub const fn allow() -> Self {
        Self(Flat::new(Verdict::Allow))
    }

    /// Grant it with at most this QoS.
    pub const fn allow_at(qos: QoS) -> Self {
        Self(Flat {
            qos: Some(qos),
            ..Flat::new(Verdict::Allow)
        })
    }

    /// Refuse it, with 0x87 Not authorized.
    pub const fn deny() -> Self {
        Self(Flat::new(Verdict::Deny))
    }

    /// Refuse it with a reason of your own.
    pub const fn deny_with(reason: Reason) -> Self {
        Self(Flat::new(Verdict::Deny).because(reason))
    }

    /// Refuse the subscription and the client.
    pub const fn disconnect(reason: Reason) -> Self {
        Self(Flat::new(Verdict::Disconnect).because(reason))
    }

    /// No opinion: another policy of the chain must allow it.
    pub const fn abstain() -> Self {
        Self(Flat::new(Verdict::Abstain))
    }

    /// The broker may reuse this answer so long for the same client and filter without asking, so it must depend on
    /// nothing else. In steps of 100 ms, up to 109 minutes.
    pub fn cache_for(self, time: Duration) -> Self {
        Self(self.0.cache_for(time))
    }

    /// Whether this lets the subscription through.
    pub const fn is_allowed(self) -> bool {
        matches!(self.0.verdict, Verdict::Allow)
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
        assert_eq!(Subscribe::default().pack(), 0);
        assert_eq!(Subscribe::allow().pack(), 1);
        assert_eq!(Subscribe::allow_at(QoS::AtMostOnce).pack(), 0x1_0001);
        assert_eq!(Subscribe::allow_at(QoS::ExactlyOnce).pack(), 0x3_0001);
        assert_eq!(Subscribe::abstain().pack(), 2);
        assert_eq!(Subscribe::deny_with(Reason::TopicFilterInvalid).pack(), 0x8F00);
        assert_eq!(Subscribe::disconnect(Reason::AdministrativeAction).pack(), 0x9805);
    }

    #[test]
    fn options_are_read_from_their_bits() {
        let plain = SubscribeRequest::new(1, 2, "a/#".to_owned(), 0);
        assert_eq!(
            (plain.qos, plain.no_local, plain.retain_as_published, plain.shared),
            (QoS::AtMostOnce, false, false, false)
        );
        assert_eq!(plain.retain_handling, RetainHandling::Send);

        let all = SubscribeRequest::new(1, 2, "a/#".to_owned(), 0b1_0010_1110);
        assert_eq!(
            (all.qos, all.no_local, all.retain_as_published, all.shared),
            (QoS::ExactlyOnce, true, true, true)
        );
        assert_eq!(all.retain_handling, RetainHandling::DoNotSend);
    }
}
