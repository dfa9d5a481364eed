//! When a will is sent (sections 3.1.2.5 and 3.1.3.2.2).
//!
//! ```text
//! connection ends ──► fate() ──┬─ Discard
//!                              ├─ PublishNow
//!                              └─ PublishAt(t) ── client is back before t ──► on_return() ─┬─ session goes on: cancelled
//!                                       │                                                  └─ session ends: publish now
//!                                       └─ session ends or t comes ──► publish now
//! ```

use crate::packet::{PacketId, QoS, Version, Will};
use crate::reason::ReasonCode;
use crate::wire::{PublishHead, publish_bytes};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

/// How a connection ended, as far as its will is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client sent DISCONNECT with this reason.
    Disconnected(ReasonCode),
    /// The session goes on or ends without the client's word: the network failed, keep alive passed, the server closed.
    Lost,
    /// Another connection took the session over and resumed it.
    TakenOver,
    /// Another connection took over and started anew, so the session has ended.
    TakenOverClean,
}

/// What becomes of a will when its connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Never sent.
    Discard,
    /// Sent at once.
    PublishNow,
    /// Sent at this time unless the client resumes its session before; or when the session ends.
    PublishAt(Instant),
}

/// Decides about a will with this delay, of a session that outlives its connection by `session_expiry_seconds`
/// (`u32::MAX`: for ever).
#[must_use]
pub fn fate(delay_seconds: u32, ending: Ending, session_expiry_seconds: u32, now: Instant) -> Fate {
    match ending {
        // [MQTT-3.14.4-3]; any other reason keeps the will, 0x04 above all.
        Ending::Disconnected(ReasonCode::SUCCESS) => Fate::Discard,
        Ending::TakenOverClean => Fate::PublishNow,
        // The session ends with the connection, even if the same client is here again.
        _ if session_expiry_seconds == 0 || delay_seconds == 0 => Fate::PublishNow,
        Ending::TakenOver => Fate::Discard, // [MQTT-3.1.3-9]
        Ending::Disconnected(_) | Ending::Lost => {
            // Whichever comes first: the delay or the end of the session [MQTT-3.1.2-8].
            let seconds = delay_seconds.min(session_expiry_seconds);
            match now.checked_add(Duration::from_secs(u64::from(seconds))) {
                Some(at) => Fate::PublishAt(at),
                // Beyond what the clock can count. A will that is early is better than none.
                None => Fate::PublishNow,
            }
        }
    }
}

/// What becomes of a will that waits when its client is back: sent if that ends the session, else cancelled.
#[must_use]
pub fn on_return(session_resumed: bool) -> Fate {
    if session_resumed {
        Fate::Discard
    } else {
        Fate::PublishNow
    }
}

/// The reason to refuse a CONNECT whose will the server cannot publish as asked [MQTT-3.2.2-12], [MQTT-3.2.2-13].
#[must_use]
pub fn unsupported(will: &Will, qos_max: QoS, retain_available: bool) -> Option<ReasonCode> {
    if will.qos > qos_max {
        return Some(ReasonCode::QOS_NOT_SUPPORTED);
    }
    (will.retain && !retain_available).then_some(ReasonCode::RETAIN_NOT_SUPPORTED)
}

/// Bytes of the PUBLISH, fixed header included, with which the client would send its will itself.
#[must_use]
pub fn packet_bytes(will: &Will, version: Version) -> usize {
    let head = PublishHead {
        dup: false,
        qos: will.qos,
        retain: will.retain,
        packet_id: (will.qos > QoS::AtMostOnce).then_some(PacketId(NonZeroU16::MIN)),
        topic: will.topic.as_bytes(),
        alias: None,
        expiry_seconds: will.properties.message_expiry_seconds,
        subscription_ids: &[],
        forwarded: &will.properties.forwarded,
    };
    publish_bytes(&head, will.payload.len(), version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PublishProperties;
    use crate::testing::start;
    use crate::text::Text;
    use crate::topic::TopicName;
    use bytes::Bytes;

    const NEVER: u32 = u32::MAX;

    fn check(delay: u32, ending: Ending, expiry: u32, expected: Fate) {
        assert_eq!(
            fate(delay, ending, expiry, start()),
            expected,
            "delay {delay}, {ending:?}, expiry {expiry}"
        );
    }

    fn after(seconds: u64) -> Fate {
        Fate::PublishAt(start() + Duration::from_secs(seconds))
    }

    #[test]
    fn only_a_normal_disconnect_discards_the_will() {
        for delay in [0, 10] {
            check(
                delay,
                Ending::Disconnected(ReasonCode::SUCCESS),
                60,
                Fate::Discard,
            );
        }
        check(
            0,
            Ending::Disconnected(ReasonCode::DISCONNECT_WITH_WILL),
            60,
            Fate::PublishNow,
        );
        check(
            10,
            Ending::Disconnected(ReasonCode::DISCONNECT_WITH_WILL),
            60,
            after(10),
        );
        check(
            0,
            Ending::Disconnected(ReasonCode::UNSPECIFIED_ERROR),
            0,
            Fate::PublishNow,
        );
    }

    #[test]
    fn a_delayed_will_is_due_at_the_end_of_the_session_at_the_latest() {
        check(10, Ending::Lost, 60, after(10));
        check(60, Ending::Lost, 10, after(10));
        check(60, Ending::Lost, NEVER, after(60));
        check(NEVER, Ending::Lost, 60, after(60));
        check(60, Ending::Lost, 0, Fate::PublishNow);
        check(0, Ending::Lost, 60, Fate::PublishNow);
    }

    #[test]
    fn a_will_is_as_large_as_the_publish_its_client_would_send() {
        let mut will = Will {
            topic: TopicName::new(Text::try_from("topic").unwrap()).unwrap(),
            payload: Bytes::from_static(b"payload"),
            qos: QoS::AtMostOnce,
            retain: false,
            delay_seconds: 0,
            properties: PublishProperties::default(),
        };
        assert_eq!(packet_bytes(&will, Version::V311), 2 + 2 + 5 + 7);
        will.qos = QoS::AtLeastOnce;
        assert_eq!(packet_bytes(&will, Version::V311), 2 + 2 + 5 + 2 + 7);
        will.properties.message_expiry_seconds = Some(1);
        assert_eq!(packet_bytes(&will, Version::V5), 2 + 2 + 5 + 2 + 6 + 7);
    }

    #[test]
    fn a_takeover_cancels_a_delayed_will_only_if_the_session_goes_on() {
        check(0, Ending::TakenOver, 60, Fate::PublishNow);
        check(10, Ending::TakenOver, 60, Fate::Discard);
        check(10, Ending::TakenOver, 0, Fate::PublishNow);
        check(10, Ending::TakenOverClean, 60, Fate::PublishNow);
        assert_eq!(on_return(true), Fate::Discard);
        assert_eq!(on_return(false), Fate::PublishNow);
    }

    #[test]
    fn a_will_above_the_servers_abilities_is_refused() {
        let mut will = Will {
            topic: TopicName::new(Text::try_from("w").unwrap()).unwrap(),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: true,
            delay_seconds: 0,
            properties: PublishProperties::default(),
        };
        assert_eq!(unsupported(&will, QoS::AtLeastOnce, true), None);
        assert_eq!(
            unsupported(&will, QoS::AtMostOnce, true),
            Some(ReasonCode::QOS_NOT_SUPPORTED)
        );
        assert_eq!(
            unsupported(&will, QoS::AtLeastOnce, false),
            Some(ReasonCode::RETAIN_NOT_SUPPORTED)
        );
        will.retain = false;
        assert_eq!(unsupported(&will, QoS::AtLeastOnce, false), None);
    }
}
