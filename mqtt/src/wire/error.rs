//! What can be wrong with a packet: one variant per rule, each knowing the reason code to answer with.

use super::property;
use crate::packet::{PacketType, Version};
use crate::reason::ReasonCode;
use crate::text::TextError;
use crate::topic::{FilterError, NameError};
use std::fmt;

/// Why a packet was not decoded. After one the connection must be closed: the input is no longer in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The bytes are not a packet.
    Malformed(Malformed),
    /// They are one, but it says what the protocol forbids or is beyond a limit.
    Violation(Violation),
}

/// Bytes that cannot be a control packet (Malformed Packet, section 4.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Type 0, or AUTH before 5.0.
    PacketType(u8),
    /// [MQTT-2.1.3-1]: this first byte has reserved flags that differ from the listed value.
    FixedHeaderFlags(u8),
    /// A Remaining Length of more than four bytes.
    RemainingLength,
    /// A Variable Byte Integer of more than four bytes.
    VarintTooLong,
    /// [MQTT-1.5.5-1]: a Variable Byte Integer, or a Remaining Length of any version, is not the shortest.
    VarintNotShortest,
    /// A field reaches past the end of its packet or of its property block.
    Truncated,
    /// Bytes remain behind the last field.
    TrailingBytes,
    /// The Remaining Length is above the only one this packet can have.
    BodyTooLong(PacketType),
    /// [MQTT-1.5.4-1]
    NotUtf8,
    /// [MQTT-1.5.4-2]
    NullCharacter,
    /// [MQTT-3.1.2-1]: neither `MQTT` nor `MQIsdp`.
    ProtocolName,
    /// [MQTT-3.1.2-3]: the reserved bit of the CONNECT flags.
    ConnectReservedFlag,
    /// [MQTT-3.1.2-11], [MQTT-3.1.2-13]: will QoS or will retain without a will.
    WillFlagsWithoutWill,
    /// [MQTT-3.1.2-12]
    WillQos3,
    /// [MQTT-3.1.2-22] of 3.1.1: a password needs a user name.
    PasswordWithoutUsername,
    /// [MQTT-3.2.2-1]: the reserved bits of the CONNACK flags.
    ConnAckReservedFlags,
    /// [MQTT-3.3.1-4]
    PublishQos3,
    /// [MQTT-3.3.1-2]
    DupAtQos0,
    /// [MQTT-3.3.2-2], [MQTT-4.7.3-1]: the topic of a PUBLISH or of a will.
    TopicName(NameError),
    /// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    TopicFilter(FilterError),
    /// [MQTT-3.8.3-5], [MQTT-3-8.3-4] of 3.1.1: reserved bits of the subscription options.
    SubscriptionReservedBits,
    /// Not an identifier of section 2.2.2.2.
    UnknownProperty(u32),
    /// A property that this packet does not carry (section 2.2.2.2).
    PropertyNotAllowed(u8),
}

/// A well-formed packet that the protocol forbids (Protocol Error, section 4.13) or a limit refuses, as far as one
/// packet shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Larger than the limit in force, the fixed header counted.
    PacketTooLarge,
    /// [MQTT-3.1.0-1]
    FirstPacketNotConnect,
    /// [MQTT-3.1.2-2]: a known protocol name with this other level.
    ProtocolLevel(u8),
    /// 3.1: a client identifier has 1 to 23 characters.
    ClientIdLength,
    /// [MQTT-3.1.3-8] of 3.1.1: an empty client identifier needs a clean session.
    EmptyClientId,
    /// [MQTT-2.2.1-3], [MQTT-2.2.1-4]
    PacketIdZero,
    /// A property that may occur once occurs twice.
    DuplicateProperty(u8),
    /// Zero where the property forbids it.
    ZeroProperty(u8),
    /// Neither 0 nor 1 where the property allows only these.
    NotZeroOrOne(u8),
    /// [MQTT-3.3.2-14], [MQTT-4.7.3-1]
    ResponseTopic(NameError),
    /// An empty topic with no alias to stand for it (section 3.3.2.1).
    EmptyTopicWithoutAlias,
    /// [MQTT-3.8.3-2], [MQTT-3.10.3-2]
    NoFilters,
    /// A maximum QoS of 3 (section 3.8.3.1).
    SubscribeQos3,
    /// A retain handling of 3 (section 3.8.3.1).
    RetainHandling3,
    /// [MQTT-3.8.3-4]
    NoLocalOnShared,
    /// [MQTT-3.8.4-6]: a SUBACK or UNSUBACK answers at least one filter.
    NoReasonCodes,
    /// A reason code, or a return code of 3.x, that is not listed for this packet.
    ReasonCode(PacketType, u8),
    /// [MQTT-3.2.2-6], [MQTT-3.2.2-4] of 3.1.1: session present on a refusal.
    SessionPresentOnRefusal,
    /// Authentication Data without an Authentication Method (sections 3.1.2.11.10, 3.2.2.3.18).
    AuthDataWithoutMethod,
    /// An AUTH without its method (section 3.15.2.2.2).
    AuthWithoutMethod,
    /// More user properties than [`crate::limits::USER_PROPERTIES_MAX`].
    TooManyUserProperties,
    /// More filters than [`crate::limits::FILTERS_MAX`].
    TooManyFilters,
    /// A packet that only servers send.
    ServerPacket(PacketType),
    /// A property that only servers send in this packet; [MQTT-3.3.4-6] for the subscription identifier.
    ServerProperty(PacketType, u8),
    /// A reason code that only servers send in this packet.
    ServerReasonCode(PacketType, u8),
}

impl Malformed {
    /// What to answer with.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        match self {
            Self::ProtocolName => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::TopicName(_) => ReasonCode::TOPIC_NAME_INVALID,
            Self::TopicFilter(_) => ReasonCode::TOPIC_FILTER_INVALID,
            _ => ReasonCode::MALFORMED_PACKET,
        }
    }
}

impl Violation {
    /// What to answer with.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        match self {
            Self::PacketTooLarge => ReasonCode::PACKET_TOO_LARGE,
            Self::ProtocolLevel(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::ClientIdLength | Self::EmptyClientId => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            // [MQTT-3.3.2-8]
            Self::ZeroProperty(property::TOPIC_ALIAS) => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::TooManyUserProperties | Self::TooManyFilters => ReasonCode::QUOTA_EXCEEDED,
            _ => ReasonCode::PROTOCOL_ERROR,
        }
    }
}

impl WireError {
    /// What to answer with.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        match self {
            Self::Malformed(malformed) => malformed.reason(),
            Self::Violation(violation) => violation.reason(),
        }
    }
}

/// A CONNECT that was not decoded, and what to say before closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// What is wrong.
    pub cause: WireError,
    /// How to tell the client.
    pub answer: ConnectAnswer,
}

/// The last words to a client whose CONNECT cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectAnswer {
    /// Close without a word: before 5.0 [MQTT-3.1.4-1 of 3.1.1], or while the version is not known.
    Close,
    /// A CONNACK of this version with this reason, encoded by [`super::encode`] as either version wants it.
    ConnAck(Version, ReasonCode),
}

impl From<Malformed> for WireError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Violation> for WireError {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<TextError> for Malformed {
    fn from(error: TextError) -> Self {
        match error {
            // A length prefix of two bytes cannot announce more; named for completeness.
            TextError::TooLong => Self::Truncated,
            TextError::NotUtf8 => Self::NotUtf8,
            TextError::Null => Self::NullCharacter,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::PacketType(value) => return write!(f, "packet type {value} does not exist"),
            Self::FixedHeaderFlags(byte) => return write!(f, "reserved flags in first byte 0x{byte:02X}"),
            Self::BodyTooLong(packet) => return write!(f, "{} is longer than it can be", packet.name()),
            Self::TopicName(error) => return error.fmt(f),
            Self::TopicFilter(error) => return error.fmt(f),
            Self::UnknownProperty(id) => return write!(f, "property 0x{id:02X} does not exist"),
            Self::PropertyNotAllowed(id) => {
                return write!(f, "{} is not a property of this packet", property::name(*id));
            }
            Self::RemainingLength => "the remaining length has more than four bytes",
            Self::VarintTooLong => "a variable byte integer has more than four bytes",
            Self::VarintNotShortest => "a variable byte integer is not the shortest",
            Self::Truncated => "a field reaches past the end of the packet",
            Self::TrailingBytes => "bytes remain behind the last field",
            Self::NotUtf8 => "a string is not well-formed UTF-8",
            Self::NullCharacter => "a string contains U+0000",
            Self::ProtocolName => "the protocol name is not MQTT",
            Self::ConnectReservedFlag => "the reserved CONNECT flag is set",
            Self::WillFlagsWithoutWill => "will QoS or will retain without a will",
            Self::WillQos3 => "will QoS 3",
            Self::PasswordWithoutUsername => "a password without a user name",
            Self::ConnAckReservedFlags => "reserved CONNACK flags are set",
            Self::PublishQos3 => "QoS 3",
            Self::DupAtQos0 => "DUP on a QoS 0 message",
            Self::SubscriptionReservedBits => "reserved bits in the subscription options",
        };
        f.write_str(text)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::ProtocolLevel(level) => return write!(f, "protocol level {level} is not supported"),
            Self::DuplicateProperty(id) => return write!(f, "{} occurs twice", property::name(*id)),
            Self::ZeroProperty(id) => return write!(f, "{} is zero", property::name(*id)),
            Self::NotZeroOrOne(id) => return write!(f, "{} is neither 0 nor 1", property::name(*id)),
            Self::ResponseTopic(error) => return write!(f, "response topic: {error}"),
            Self::ReasonCode(packet, code) => {
                return write!(f, "0x{code:02X} is not a reason code of {}", packet.name());
            }
            Self::ServerPacket(packet) => return write!(f, "a client does not send {}", packet.name()),
            Self::ServerProperty(packet, id) => {
                return write!(
                    f,
                    "a client does not send {} in {}",
                    property::name(*id),
                    packet.name()
                );
            }
            Self::ServerReasonCode(packet, code) => {
                return write!(f, "a client does not send 0x{code:02X} in {}", packet.name());
            }
            Self::PacketTooLarge => "the packet is larger than allowed",
            Self::FirstPacketNotConnect => "the first packet is not CONNECT",
            Self::ClientIdLength => "a client identifier of MQTT 3.1 has 1 to 23 characters",
            Self::EmptyClientId => "an empty client identifier needs a clean session",
            Self::PacketIdZero => "packet identifier 0",
            Self::EmptyTopicWithoutAlias => "an empty topic without a topic alias",
            Self::NoFilters => "no topic filter",
            Self::SubscribeQos3 => "maximum QoS 3",
            Self::RetainHandling3 => "retain handling 3",
            Self::NoLocalOnShared => "no local on a shared subscription",
            Self::NoReasonCodes => "no reason code",
            Self::SessionPresentOnRefusal => "session present on a refusal",
            Self::AuthDataWithoutMethod => "authentication data without a method",
            Self::AuthWithoutMethod => "AUTH without an authentication method",
            Self::TooManyUserProperties => "too many user properties",
            Self::TooManyFilters => "too many topic filters",
        };
        f.write_str(text)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Malformed {}
impl std::error::Error for Violation {}
impl std::error::Error for WireError {}
impl std::error::Error for ConnectError {}
