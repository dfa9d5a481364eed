//! What the broker enforces for a client without asking again.

use crate::bindings::host::sluice::policy::types::{Budget, OverLimitAction, Overflow, Rate};

impl Rate {
    /// So many per second on average, and at most `burst` at once after a pause. A client begins with its burst.
    ///
    /// `per_second` 0 lets nothing through once the burst is spent. A `burst` of 0 counts as 1; what is larger than the
    /// burst passes once the burst is full, and is paid for afterwards.
    pub const fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst }
    }

    /// So many per second, and at most one second's worth at once; see [`Rate::burst`].
    pub const fn per_second(per_second: u64) -> Self {
        Self::new(per_second, per_second)
    }

    /// The same rate, with so many at once after a pause.
    #[must_use]
    pub const fn burst(self, burst: u64) -> Self {
        Self::new(self.per_second, burst)
    }
}

/// Defines one builder method per limit: `Budget::default().packet_bytes_max(1024)`.
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        /// A budget without limits of its own is `Budget::default()`; each of these sets one.
        ///
        /// What a policy does not limit is as the operator says, for all clients or for those of a listener. Of several
        /// values the strictest holds, so a policy gives less, never more. A budget can be replaced while the client
        /// stays connected: by [`Refresh::admit`](crate::Refresh::admit), or at any time by
        /// [`host::sessions::set_budget`](crate::host::sessions::set_budget).
        ///
        /// ```
        /// use sluice_policy::prelude::*;
        ///
        /// let budget = Budget::default()
        ///     .bytes_in_per_second(Rate::per_second(16 * 1024).burst(64 * 1024))
        ///     .messages_out_per_second(Rate::per_second(100))
        ///     .over_limit(OverLimitAction::Refuse)
        ///     .packet_bytes_max(32 * 1024)
        ///     .queue_messages_max(500)
        ///     .queue_overflow(Overflow::DropOldest)
        ///     .connection_seconds_max(24 * 60 * 60);
        /// ```
        impl Budget {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, limit: $type) -> Self { self.$name = Some(limit); self })*
        }
    };
}

limits! {
    /// Bytes from the client in a second, on the wire: every packet, its header and properties included, after
    /// decryption.
    bytes_in_per_second: Rate,
    /// Bytes to the client in a second, on the wire. What is too much waits in its queue.
    bytes_out_per_second: Rate,
    /// PUBLISH packets from the client in a second.
    messages_in_per_second: Rate,
    /// PUBLISH packets to the client in a second. What is too much waits in its queue.
    messages_out_per_second: Rate,
    /// Filters in the client's SUBSCRIBE packets in a second.
    subscribes_per_second: Rate,
    /// Bytes of the largest packet the client may send, its header included, and of its will as a packet. A larger one
    /// ends the connection with 0x95 Packet too large, before its body is read. After CONNACK has announced more, a
    /// message in between is refused with 0x97 Quota exceeded.
    packet_bytes_max: u32,
    /// Bytes of the largest payload the client may publish, its will's included. A larger one is refused with 0x97
    /// Quota exceeded.
    payload_bytes_max: u32,
    /// Messages of QoS 1 and 2 that may be unacknowledged at once, in each direction: sent to the client, and
    /// announced to it as Receive Maximum.
    inflight_max: u16,
    /// Messages that wait for the client, connected or not.
    queue_messages_max: u32,
    /// Bytes of the messages that wait for the client.
    queue_bytes_max: u64,
    /// What gives way when either is reached.
    queue_overflow: Overflow,
    /// Subscriptions the client may hold; further ones are refused with 0x97 Quota exceeded.
    subscriptions_max: u32,
    /// Seconds its session may outlive its connection; 0: it ends with it.
    session_expiry_seconds_max: u32,
    /// Seconds it may stay connected, counted from CONNECT or from its last re-authentication; then it is disconnected
    /// with 0xA0 Maximum connect time. See [`Budget::until`] for tokens.
    connection_seconds_max: u32,
    /// What happens when it sends faster than these rates allow: it is read more slowly, which is the default
    /// (`Delay`); what is too much is refused with 0x97 Quota exceeded, or acknowledged and forgotten before MQTT 5.0
    /// (`Refuse`), or always (`Drop`, but subscriptions are refused); or it is disconnected with 0x96 Message rate too
    /// high (`Disconnect`).
    over_limit: OverLimitAction,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_can_be_written_in_the_settings() {
        let budget: Budget = serde_json::from_str(
            r#"{"packet_bytes_max": 1024, "bytes_in_per_second": {"per_second": 10, "burst": 20},
                "over_limit": "disconnect", "queue_overflow": "drop-oldest"}"#,
        )
        .unwrap();
        let expected = Budget::default()
            .packet_bytes_max(1024)
            .bytes_in_per_second(Rate::new(10, 20))
            .over_limit(OverLimitAction::Disconnect)
            .queue_overflow(Overflow::DropOldest);
        assert_eq!(budget, expected);
    }

    #[test]
    fn a_rate_has_one_second_at_once_unless_it_says_otherwise() {
        assert_eq!(Rate::per_second(10), Rate::new(10, 10));
        assert_eq!(Rate::per_second(10).burst(50), Rate::new(10, 50));
    }

    #[test]
    fn an_unknown_limit_is_an_error() {
        let error = serde_json::from_str::<Budget>(r#"{"packet_max": 1}"#).unwrap_err();
        assert!(error.to_string().contains("packet_max"), "{error}");
    }
}
