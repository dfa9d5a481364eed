//! Why a connection ends without anyone having asked for it.

use crate::reason::ReasonCode;
use crate::wire::{ConnectError, WireError};
use std::fmt;

/// Why the connection closed itself. What there was to say to the client is in the output.
#[derive(Clone, Debug, PartialEq)]
pub enum CloseCause {
    /// The first packet is no CONNECT that can be accepted.
    Connect(ConnectError),
    /// A packet breaks a rule by itself.
    Wire(WireError),
    /// A packet breaks a rule here and now.
    Breach(Breach),
    /// The client took too long before it was let in.
    ConnectTimeout,
    /// Nothing was heard for one and a half times the keep alive [MQTT-3.1.2-22].
    KeepAliveTimeout,
    /// A PUBLISH was dropped without a verdict: a fault of the broker, which then stops rather than go on unjudged.
    Unjudged,
}

impl CloseCause {
    /// The reason code that says it, whether or not the client can be told.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Connect(error) => error.cause.reason(),
            Self::Wire(error) => error.reason(),
            Self::Breach(breach) => breach.reason(),
            Self::ConnectTimeout => ReasonCode::UNSPECIFIED_ERROR,
            Self::KeepAliveTimeout => ReasonCode::KEEP_ALIVE_TIMEOUT,
            Self::Unjudged => ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
        }
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Wire(error) => error.fmt(f),
            Self::Breach(breach) => breach.fmt(f),
            Self::ConnectTimeout => f.write_str("no CONNECT in time"),
            Self::KeepAliveTimeout => f.write_str("silent for longer than its keep alive allows"),
            Self::Unjudged => f.write_str("a PUBLISH was dropped without a verdict"),
        }
    }
}

impl std::error::Error for CloseCause {}

/// A packet that is well-formed and does not belong here: a protocol error between packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// This version is not spoken here.
    VersionNotAllowed,
    /// [MQTT-3.1.0-2]
    SecondConnect,
    /// Something else than AUTH or DISCONNECT before CONNACK [MQTT-3.1.2-30].
    BeforeConnAck,
    /// AUTH from a client whose CONNECT named no method [MQTT-4.12.0-7].
    AuthWithoutMethod,
    /// AUTH before CONNACK with another method than CONNECT [MQTT-4.12.0-5].
    AuthMethodChanged,
    /// AUTH after CONNACK with another method than CONNECT [MQTT-4.12.1-1].
    ReauthMethodChanged,
    /// AUTH that answers nothing, or that starts what is going on.
    UnexpectedAuth,
    /// More unacknowledged PUBLISHes than the server's Receive Maximum [MQTT-3.3.4-7].
    ReceiveMaximumExceeded,
    /// Neither a topic nor an alias.
    NoTopic,
    /// Zero or above the server's Topic Alias Maximum.
    TopicAliasInvalid {
        /// The alias.
        alias: u16,
        /// The maximum.
        max: u16,
    },
    /// An alias that was never set.
    TopicAliasUnknown {
        /// The alias.
        alias: u16,
    },
    /// QoS above the server's Maximum QoS [MQTT-3.2.2-11].
    QosNotSupported,
    /// RETAIN although the server keeps nothing [MQTT-3.2.2-14].
    RetainNotSupported,
    /// A DISCONNECT that would keep a session which CONNECT said ends (section 3.14.2.2.2).
    SessionExpiryAtDisconnect,
}

impl Breach {
    /// The reason code that says it.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        match self {
            Self::VersionNotAllowed => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::AuthMethodChanged => ReasonCode::BAD_AUTHENTICATION_METHOD,
            Self::ReceiveMaximumExceeded => ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
            Self::TopicAliasInvalid { .. } => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::QosNotSupported => ReasonCode::QOS_NOT_SUPPORTED,
            Self::RetainNotSupported => ReasonCode::RETAIN_NOT_SUPPORTED,
            // DISCONNECT has no 0x8C, so a changed method is a protocol error there.
            Self::SecondConnect
            | Self::BeforeConnAck
            | Self::AuthWithoutMethod
            | Self::ReauthMethodChanged
            | Self::UnexpectedAuth
            | Self::NoTopic
            | Self::TopicAliasUnknown { .. }
            | Self::SessionExpiryAtDisconnect => ReasonCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VersionNotAllowed => f.write_str("this protocol version is not allowed here"),
            Self::SecondConnect => f.write_str("a second CONNECT"),
            Self::BeforeConnAck => f.write_str("a packet other than AUTH and DISCONNECT before CONNACK"),
            Self::AuthWithoutMethod => f.write_str("AUTH without an authentication method in CONNECT"),
            Self::AuthMethodChanged | Self::ReauthMethodChanged => {
                f.write_str("AUTH with another authentication method than CONNECT")
            }
            Self::UnexpectedAuth => f.write_str("AUTH that was not asked for"),
            Self::ReceiveMaximumExceeded => f.write_str("more unacknowledged PUBLISHes than Receive Maximum"),
            Self::NoTopic => f.write_str("a PUBLISH with neither topic nor topic alias"),
            Self::TopicAliasInvalid { alias, max } => {
                write!(f, "topic alias {alias}, allowed are 1 to {max}")
            }
            Self::TopicAliasUnknown { alias } => write!(f, "topic alias {alias} stands for nothing"),
            Self::QosNotSupported => f.write_str("a PUBLISH with a QoS above the announced maximum"),
            Self::RetainNotSupported => f.write_str("a retained PUBLISH although retaining is not available"),
            Self::SessionExpiryAtDisconnect => {
                f.write_str("a DISCONNECT that would keep a session which CONNECT did not")
            }
        }
    }
}

impl std::error::Error for Breach {}
