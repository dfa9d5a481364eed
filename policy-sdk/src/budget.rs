//! What the broker enforces for a client without asking again.

use crate::bindings::host::sluice::policy::types::{Budget, OverLimitAction, Overflow, Rate};

impl Rate {
    /// So many per second on average, and at most `burst` at once.
    pub const fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst }
    }

    /// So many per second, and at most one second's worth at once.
    pub const fn per_second(per_second: u64) -> Self {
        Self::new(per_second, per_second)
    }
}

/// Defines one builder method per limit: `Budget::default().packet_bytes_max(1024)`.
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        /// A budget without limits of its own is `Budget::default()`; each of these sets one.
        impl Budget {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, limit: $type) -> Self { self.$name = Some(limit); self })*
        }
    };
}

limits! {
    /// Bytes the client may send, on the wire.
    bytes_in_per_second: Rate,
    /// Bytes sent to the client, on the wire.
    bytes_out_per_second: Rate,
    /// PUBLISH packets the client may send.
    messages_in_per_second: Rate,
    /// PUBLISH packets sent to the client.
    messages_out_per_second: Rate,
    /// SUBSCRIBE packets the client may send.
    subscribes_per_second: Rate,
    /// Largest packet the client may send, its header included.
    packet_bytes_max: u32,
    /// Largest payload the client may publish.
    payload_bytes_max: u32,
    /// Messages of QoS 1 and 2 on the way to the client at once.
    inflight_max: u16,
    /// Messages that wait for the client, by number.
    queue_messages_max: u32,
    /// Messages that wait for the client, by bytes.
    queue_bytes_max: u64,
    /// What gives way when the queue is full.
    queue_overflow: Overflow,
    /// Subscriptions the client may hold.
    subscriptions_max: u32,
    /// How long its session outlives its connection.
    session_expiry_seconds_max: u32,
    /// How long it may stay connected.
    connection_seconds_max: u32,
    /// What happens when it exceeds a rate.
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
    fn an_unknown_limit_is_an_error() {
        let error = serde_json::from_str::<Budget>(r#"{"packet_max": 1}"#).unwrap_err();
        assert!(error.to_string().contains("packet_max"), "{error}");
    }
}
