//! How "no" is said.
//!
//! | what is refused | 5.0 | 3.1.1 and 3.1 |
//! |---|---|---|
//! | CONNECT | CONNACK with the reason | CONNACK with the nearest return code |
//! | PUBLISH QoS 0 | nothing | nothing |
//! | PUBLISH QoS 1, 2 | PUBACK, PUBREC with the reason | positive PUBACK, PUBREC [3.1.1: MQTT-3.3.5-2] |
//! | SUBSCRIBE | SUBACK with the reason per filter | SUBACK 0x80 per filter |
//! | UNSUBSCRIBE | UNSUBACK with the reason per filter | UNSUBACK |
//! | the connection | DISCONNECT with the reason | the connection is closed |
//!
//! Policies choose from all reason codes; each packet may carry only its own. What a packet may not carry is
//! replaced by the nearest it may: [MQTT-3.2.2-8], [MQTT-3.4.2-1], [MQTT-3.9.3-2], [MQTT-3.14.2-1].

use crate::packet::{PacketType, Version};
use crate::reason::ReasonCode;
use crate::wire::reasons;

/// The reason a PUBLISH with QoS 1 or 2 is answered with.
pub(super) fn publish(version: Version, reason: ReasonCode) -> ReasonCode {
    match version {
        Version::V5 => listed(PacketType::PubAck, reason),
        Version::V31 | Version::V311 => ReasonCode::SUCCESS,
    }
}

/// The reason itself if the packet may carry it, else the nearest one that it may.
pub(super) fn listed(packet: PacketType, reason: ReasonCode) -> ReasonCode {
    // 0x04 is for clients to say.
    let may_carry = |reason: ReasonCode| {
        reasons::lists(packet, reason.code()) && reason != ReasonCode::DISCONNECT_WITH_WILL
    };
    if may_carry(reason) {
        return reason;
    }
    let nearest = match reason {
        ReasonCode::BAD_USER_NAME_OR_PASSWORD
        | ReasonCode::BAD_AUTHENTICATION_METHOD
        | ReasonCode::BANNED
        | ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => ReasonCode::NOT_AUTHORIZED,
        ReasonCode::MESSAGE_RATE_TOO_HIGH
        | ReasonCode::CONNECTION_RATE_EXCEEDED
        | ReasonCode::PACKET_TOO_LARGE
        | ReasonCode::RECEIVE_MAXIMUM_EXCEEDED => ReasonCode::QUOTA_EXCEEDED,
        _ => ReasonCode::UNSPECIFIED_ERROR,
    };
    if may_carry(nearest) {
        nearest
    } else {
        ReasonCode::UNSPECIFIED_ERROR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(packet: PacketType, reason: ReasonCode, expected: ReasonCode) {
        assert_eq!(listed(packet, reason), expected, "{packet:?}");
    }

    #[test]
    fn no_packet_carries_a_reason_code_that_is_not_its_own() {
        check(
            PacketType::PubAck,
            ReasonCode::NOT_AUTHORIZED,
            ReasonCode::NOT_AUTHORIZED,
        );
        check(PacketType::PubAck, ReasonCode::BANNED, ReasonCode::NOT_AUTHORIZED);
        check(
            PacketType::PubAck,
            ReasonCode::MESSAGE_RATE_TOO_HIGH,
            ReasonCode::QUOTA_EXCEEDED,
        );
        check(
            PacketType::UnsubAck,
            ReasonCode::MESSAGE_RATE_TOO_HIGH,
            ReasonCode::UNSPECIFIED_ERROR,
        );
        check(
            PacketType::Disconnect,
            ReasonCode::BANNED,
            ReasonCode::NOT_AUTHORIZED,
        );
        check(
            PacketType::Disconnect,
            ReasonCode::DISCONNECT_WITH_WILL,
            ReasonCode::UNSPECIFIED_ERROR,
        );
        check(PacketType::ConnAck, ReasonCode::BANNED, ReasonCode::BANNED);
        check(
            PacketType::ConnAck,
            ReasonCode::MESSAGE_RATE_TOO_HIGH,
            ReasonCode::QUOTA_EXCEEDED,
        );
        check(
            PacketType::SubAck,
            ReasonCode::GRANTED_QOS_2,
            ReasonCode::GRANTED_QOS_2,
        );
    }

    #[test]
    fn a_refusal_stays_a_refusal() {
        for packet in [
            PacketType::ConnAck,
            PacketType::PubAck,
            PacketType::SubAck,
            PacketType::UnsubAck,
            PacketType::Disconnect,
        ] {
            for reason in (0x80..=0xFF).filter_map(ReasonCode::new) {
                assert!(listed(packet, reason).is_error(), "{packet:?} {reason}");
            }
        }
    }

    #[test]
    fn before_5_0_a_refused_publish_is_acknowledged() {
        assert_eq!(
            publish(Version::V311, ReasonCode::NOT_AUTHORIZED),
            ReasonCode::SUCCESS
        );
        assert_eq!(
            publish(Version::V5, ReasonCode::NOT_AUTHORIZED),
            ReasonCode::NOT_AUTHORIZED
        );
    }
}
