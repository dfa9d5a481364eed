//! Which reason codes a policy may give where. Sending one that the packet may not carry would be a protocol error
//! of ours (MQTT 5.0 section 2.4), so others are replaced.

use sluice_mqtt::reason::ReasonCode;

const NOT_AUTHORIZED: u8 = 0x87;
/// For refusals that are the policy's failure, in every packet that can carry a failure.
pub(super) const FAULT: u8 = 0x83;

fn one_of(code: u8, allowed: &[ReasonCode], otherwise: u8) -> u8 {
    if allowed.iter().any(|reason| reason.code() == code) {
        code
    } else {
        otherwise
    }
}

/// CONNACK, MQTT 5.0 section 3.2.2.2.
pub(super) fn connack_reason(code: u8) -> u8 {
    use ReasonCode as R;
    const ALLOWED: &[ReasonCode] = &[
        R::UNSPECIFIED_ERROR,
        R::MALFORMED_PACKET,
        R::PROTOCOL_ERROR,
        R::IMPLEMENTATION_SPECIFIC_ERROR,
        R::UNSUPPORTED_PROTOCOL_VERSION,
        R::CLIENT_IDENTIFIER_NOT_VALID,
        R::BAD_USER_NAME_OR_PASSWORD,
        R::NOT_AUTHORIZED,
        R::SERVER_UNAVAILABLE,
        R::SERVER_BUSY,
        R::BANNED,
        R::BAD_AUTHENTICATION_METHOD,
        R::TOPIC_NAME_INVALID,
        R::PACKET_TOO_LARGE,
        R::QUOTA_EXCEEDED,
        R::PAYLOAD_FORMAT_INVALID,
        R::RETAIN_NOT_SUPPORTED,
        R::QOS_NOT_SUPPORTED,
        R::USE_ANOTHER_SERVER,
        R::SERVER_MOVED,
        R::CONNECTION_RATE_EXCEEDED,
    ];
    one_of(code, ALLOWED, NOT_AUTHORIZED)
}

/// PUBACK and PUBREC, MQTT 5.0 sections 3.4.2.1 and 3.5.2.1.
pub(super) fn publish_reason(code: u8) -> u8 {
    use ReasonCode as R;
    const ALLOWED: &[ReasonCode] = &[
        R::UNSPECIFIED_ERROR,
        R::IMPLEMENTATION_SPECIFIC_ERROR,
        R::NOT_AUTHORIZED,
        R::TOPIC_NAME_INVALID,
        R::QUOTA_EXCEEDED,
        R::PAYLOAD_FORMAT_INVALID,
    ];
    one_of(code, ALLOWED, NOT_AUTHORIZED)
}

/// SUBACK, MQTT 5.0 section 3.9.3.
pub(super) fn subscribe_reason(code: u8) -> u8 {
    use ReasonCode as R;
    const ALLOWED: &[ReasonCode] = &[
        R::UNSPECIFIED_ERROR,
        R::IMPLEMENTATION_SPECIFIC_ERROR,
        R::NOT_AUTHORIZED,
        R::TOPIC_FILTER_INVALID,
        R::QUOTA_EXCEEDED,
        R::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        R::SUBSCRIPTION_IDS_NOT_SUPPORTED,
        R::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
    ];
    one_of(code, ALLOWED, NOT_AUTHORIZED)
}

/// DISCONNECT sent by a server, MQTT 5.0 section 3.14.2.1.
pub(super) fn disconnect_reason(code: u8) -> u8 {
    use ReasonCode as R;
    const ALLOWED: &[ReasonCode] = &[
        R::UNSPECIFIED_ERROR,
        R::MALFORMED_PACKET,
        R::PROTOCOL_ERROR,
        R::IMPLEMENTATION_SPECIFIC_ERROR,
        R::NOT_AUTHORIZED,
        R::SERVER_BUSY,
        R::SERVER_SHUTTING_DOWN,
        R::KEEP_ALIVE_TIMEOUT,
        R::SESSION_TAKEN_OVER,
        R::TOPIC_FILTER_INVALID,
        R::TOPIC_NAME_INVALID,
        R::RECEIVE_MAXIMUM_EXCEEDED,
        R::TOPIC_ALIAS_INVALID,
        R::PACKET_TOO_LARGE,
        R::MESSAGE_RATE_TOO_HIGH,
        R::QUOTA_EXCEEDED,
        R::ADMINISTRATIVE_ACTION,
        R::PAYLOAD_FORMAT_INVALID,
        R::RETAIN_NOT_SUPPORTED,
        R::QOS_NOT_SUPPORTED,
        R::USE_ANOTHER_SERVER,
        R::SERVER_MOVED,
        R::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        R::CONNECTION_RATE_EXCEEDED,
        R::MAXIMUM_CONNECT_TIME,
        R::SUBSCRIPTION_IDS_NOT_SUPPORTED,
        R::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
    ];
    one_of(code, ALLOWED, NOT_AUTHORIZED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_the_packet_may_not_carry_becomes_not_authorized() {
        for reason in [
            connack_reason,
            publish_reason,
            subscribe_reason,
            disconnect_reason,
        ] {
            assert_eq!(reason(0), 0x87);
            assert_eq!(reason(0x18), 0x87);
            assert_eq!(reason(0xFF), 0x87);
            assert_eq!(reason(FAULT), FAULT);
        }
        assert_eq!(connack_reason(0x9C), 0x9C);
        assert_eq!(publish_reason(0x9C), 0x87);
        assert_eq!(subscribe_reason(0x9E), 0x9E);
        assert_eq!(disconnect_reason(0x96), 0x96);
        assert_eq!(connack_reason(0x96), 0x87);
    }
}
