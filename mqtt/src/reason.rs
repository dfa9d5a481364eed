//! Reason codes (section 2.4) and the only mapping to the return codes of MQTT 3.1.1.

use std::fmt;

/// A reason code that the specification lists. Which packets may carry it is checked by the codec.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReasonCode(u8);

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        impl ReasonCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The reason code of a listed value.
            #[must_use]
            pub fn new(code: u8) -> Option<Self> {
                match code { $($code)|* => Some(Self(code)), _ => None }
            }

            /// The specification's name for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self.0 { $($code => $text,)* _ => "Unlisted" }
            }
        }
    };
}

reason_codes! {
    /// Also Normal disconnection and Granted QoS 0.
    SUCCESS = 0x00, "Success";
    /// SUBACK.
    GRANTED_QOS_1 = 0x01, "Granted QoS 1";
    /// SUBACK.
    GRANTED_QOS_2 = 0x02, "Granted QoS 2";
    /// DISCONNECT of a client that wants its will sent.
    DISCONNECT_WITH_WILL = 0x04, "Disconnect with Will Message";
    /// PUBACK, PUBREC.
    NO_MATCHING_SUBSCRIBERS = 0x10, "No matching subscribers";
    /// UNSUBACK.
    NO_SUBSCRIPTION_EXISTED = 0x11, "No subscription existed";
    /// AUTH.
    CONTINUE_AUTHENTICATION = 0x18, "Continue authentication";
    /// AUTH.
    RE_AUTHENTICATE = 0x19, "Re-authenticate";
    /// Any negative acknowledgement.
    UNSPECIFIED_ERROR = 0x80, "Unspecified error";
    /// CONNACK, DISCONNECT.
    MALFORMED_PACKET = 0x81, "Malformed Packet";
    /// CONNACK, DISCONNECT.
    PROTOCOL_ERROR = 0x82, "Protocol Error";
    /// Any negative acknowledgement.
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83, "Implementation specific error";
    /// CONNACK.
    UNSUPPORTED_PROTOCOL_VERSION = 0x84, "Unsupported Protocol Version";
    /// CONNACK.
    CLIENT_IDENTIFIER_NOT_VALID = 0x85, "Client Identifier not valid";
    /// CONNACK.
    BAD_USER_NAME_OR_PASSWORD = 0x86, "Bad User Name or Password";
    /// Any negative acknowledgement.
    NOT_AUTHORIZED = 0x87, "Not authorized";
    /// CONNACK.
    SERVER_UNAVAILABLE = 0x88, "Server unavailable";
    /// CONNACK, DISCONNECT.
    SERVER_BUSY = 0x89, "Server busy";
    /// CONNACK.
    BANNED = 0x8A, "Banned";
    /// DISCONNECT.
    SERVER_SHUTTING_DOWN = 0x8B, "Server shutting down";
    /// CONNACK, DISCONNECT.
    BAD_AUTHENTICATION_METHOD = 0x8C, "Bad authentication method";
    /// DISCONNECT.
    KEEP_ALIVE_TIMEOUT = 0x8D, "Keep Alive timeout";
    /// DISCONNECT.
    SESSION_TAKEN_OVER = 0x8E, "Session taken over";
    /// SUBACK, UNSUBACK, DISCONNECT.
    TOPIC_FILTER_INVALID = 0x8F, "Topic Filter invalid";
    /// CONNACK, PUBACK, PUBREC, DISCONNECT.
    TOPIC_NAME_INVALID = 0x90, "Topic Name invalid";
    /// PUBACK, PUBREC, SUBACK, UNSUBACK.
    PACKET_IDENTIFIER_IN_USE = 0x91, "Packet Identifier in use";
    /// PUBREL, PUBCOMP.
    PACKET_IDENTIFIER_NOT_FOUND = 0x92, "Packet Identifier not found";
    /// DISCONNECT.
    RECEIVE_MAXIMUM_EXCEEDED = 0x93, "Receive Maximum exceeded";
    /// DISCONNECT.
    TOPIC_ALIAS_INVALID = 0x94, "Topic Alias invalid";
    /// CONNACK, DISCONNECT.
    PACKET_TOO_LARGE = 0x95, "Packet too large";
    /// DISCONNECT.
    MESSAGE_RATE_TOO_HIGH = 0x96, "Message rate too high";
    /// CONNACK, PUBACK, PUBREC, SUBACK, DISCONNECT.
    QUOTA_EXCEEDED = 0x97, "Quota exceeded";
    /// DISCONNECT.
    ADMINISTRATIVE_ACTION = 0x98, "Administrative action";
    /// CONNACK, PUBACK, PUBREC, DISCONNECT.
    PAYLOAD_FORMAT_INVALID = 0x99, "Payload format invalid";
    /// CONNACK, DISCONNECT.
    RETAIN_NOT_SUPPORTED = 0x9A, "Retain not supported";
    /// CONNACK, DISCONNECT.
    QOS_NOT_SUPPORTED = 0x9B, "QoS not supported";
    /// CONNACK, DISCONNECT.
    USE_ANOTHER_SERVER = 0x9C, "Use another server";
    /// CONNACK, DISCONNECT.
    SERVER_MOVED = 0x9D, "Server moved";
    /// SUBACK, DISCONNECT.
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E, "Shared Subscriptions not supported";
    /// CONNACK, DISCONNECT.
    CONNECTION_RATE_EXCEEDED = 0x9F, "Connection rate exceeded";
    /// DISCONNECT.
    MAXIMUM_CONNECT_TIME = 0xA0, "Maximum connect time";
    /// SUBACK, DISCONNECT.
    SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xA1, "Subscription Identifiers not supported";
    /// SUBACK, DISCONNECT.
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2, "Wildcard Subscriptions not supported";
}

impl ReasonCode {
    /// The byte on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self.0
    }

    /// Whether it reports a failure (0x80 and above).
    #[must_use]
    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// The CONNACK return code of MQTT 3.1.1 (its section 3.2.2.3) that comes nearest.
    #[must_use]
    pub fn connack_return_code_v3(self) -> u8 {
        match self {
            Self::SUCCESS => 0,
            Self::UNSUPPORTED_PROTOCOL_VERSION => 1,
            Self::CLIENT_IDENTIFIER_NOT_VALID => 2,
            Self::BAD_USER_NAME_OR_PASSWORD | Self::BAD_AUTHENTICATION_METHOD => 4,
            Self::NOT_AUTHORIZED | Self::BANNED => 5,
            _ => 3,
        }
    }

    /// The SUBACK return code of MQTT 3.1.1 (its section 3.9.3).
    #[must_use]
    pub fn suback_return_code_v3(self) -> u8 {
        if self.0 <= 2 { self.0 } else { 0x80 }
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} {}", self.0, self.name())
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
