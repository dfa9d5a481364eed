//! Words of the protocol: reasons for a refusal and qualities of service.

use crate::bindings::host::sluice::policy::types::Denial;

/// Why something is refused: the MQTT 5.0 reason codes of at least 0x80 that a policy may choose. Clients of older
/// versions are told the nearest they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// 0x80
    UnspecifiedError = 0x80,
    /// 0x83
    ImplementationSpecificError = 0x83,
    /// 0x84
    UnsupportedProtocolVersion = 0x84,
    /// 0x85
    ClientIdentifierNotValid = 0x85,
    /// 0x86
    BadUserNameOrPassword = 0x86,
    /// 0x87
    NotAuthorized = 0x87,
    /// 0x88
    ServerUnavailable = 0x88,
    /// 0x89
    ServerBusy = 0x89,
    /// 0x8A
    Banned = 0x8A,
    /// 0x8C
    BadAuthenticationMethod = 0x8C,
    /// 0x8F
    TopicFilterInvalid = 0x8F,
    /// 0x90
    TopicNameInvalid = 0x90,
    /// 0x95
    PacketTooLarge = 0x95,
    /// 0x96
    MessageRateTooHigh = 0x96,
    /// 0x97
    QuotaExceeded = 0x97,
    /// 0x98
    AdministrativeAction = 0x98,
    /// 0x99
    PayloadFormatInvalid = 0x99,
    /// 0x9A
    RetainNotSupported = 0x9A,
    /// 0x9B
    QosNotSupported = 0x9B,
    /// 0x9C, with [`Denial::server_reference`]
    UseAnotherServer = 0x9C,
    /// 0x9D, with [`Denial::server_reference`]
    ServerMoved = 0x9D,
    /// 0x9E
    SharedSubscriptionsNotSupported = 0x9E,
    /// 0x9F
    ConnectionRateExceeded = 0x9F,
    /// 0xA0
    MaximumConnectTime = 0xA0,
    /// 0xA1
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// 0xA2
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl Reason {
    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// A denial that also tells the client, and the broker's log, in words. Do not put in what a stranger may not know.
    pub fn because(self, text: impl Into<String>) -> Denial {
        Denial::from(self).because(text)
    }
}

/// A quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0
    AtMostOnce = 0,
    /// QoS 1
    AtLeastOnce = 1,
    /// QoS 2
    ExactlyOnce = 2,
}

impl QoS {
    /// The number on the wire, 0 to 2.
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// From the number on the wire. The broker sends 0 to 2 only; anything else is read as 2, the most demanding.
    pub(crate) const fn from_level(level: u8) -> Self {
        match level {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            _ => Self::ExactlyOnce,
        }
    }
}
