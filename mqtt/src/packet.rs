//! The control packets: one vocabulary, a superset of the three versions.
//!
//! Packets decoded from a buffer hold slices of it (nothing is copied); what is stored must be detached.
//! Fields that a version does not have are empty on decoding and ignored on encoding.

use crate::reason::ReasonCode;
use crate::text::Text;
use crate::topic::{TopicFilter, TopicName};
use bytes::Bytes;
use std::num::NonZeroU16;

/// A protocol level (section 3.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `MQIsdp`, level 3.
    V31,
    /// `MQTT`, level 4.
    V311,
    /// `MQTT`, level 5.
    V5,
}

/// Quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// 0.
    #[default]
    AtMostOnce = 0,
    /// 1.
    AtLeastOnce = 1,
    /// 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The value for 0, 1 or 2.
    #[must_use]
    pub fn new(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A packet identifier: never zero (section 2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub NonZeroU16);

impl PacketId {
    /// The identifier for a non-zero value.
    #[must_use]
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// Its value, 1 to 65,535.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

/// User properties in the order they were sent.
pub type UserProperties = Vec<(Text, Text)>;

/// Any control packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// 1
    Connect(Box<Connect>),
    /// 2
    ConnAck(Box<ConnAck>),
    /// 3
    Publish(Publish),
    /// 4
    PubAck(Ack),
    /// 5
    PubRec(Ack),
    /// 6
    PubRel(Ack),
    /// 7
    PubComp(Ack),
    /// 8
    Subscribe(Subscribe),
    /// 9
    SubAck(SubAck),
    /// 10
    Unsubscribe(Unsubscribe),
    /// 11
    UnsubAck(UnsubAck),
    /// 12
    PingReq,
    /// 13
    PingResp,
    /// 14
    Disconnect(Disconnect),
    /// 15
    Auth(Auth),
}

macro_rules! packet_types {
    ($($(#[$doc:meta])* $variant:ident = $value:literal, $name:literal;)*) => {
        /// A control packet type (section 2.1.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PacketType {
            $($(#[$doc])* $variant = $value,)*
        }

        impl PacketType {
            /// The type of a value from 1 to 15.
            #[must_use]
            pub fn new(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)* _ => None }
            }

            /// The specification's name for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl Packet {
            /// Which packet it is.
            #[must_use]
            pub fn packet_type(&self) -> PacketType {
                match self { $(Self::$variant { .. } => PacketType::$variant,)* }
            }
        }
    };
}

packet_types! {
    /// Client to server.
    Connect = 1, "CONNECT";
    /// Server to client.
    ConnAck = 2, "CONNACK";
    /// Both ways.
    Publish = 3, "PUBLISH";
    /// Both ways.
    PubAck = 4, "PUBACK";
    /// Both ways.
    PubRec = 5, "PUBREC";
    /// Both ways.
    PubRel = 6, "PUBREL";
    /// Both ways.
    PubComp = 7, "PUBCOMP";
    /// Client to server.
    Subscribe = 8, "SUBSCRIBE";
    /// Server to client.
    SubAck = 9, "SUBACK";
    /// Client to server.
    Unsubscribe = 10, "UNSUBSCRIBE";
    /// Server to client.
    UnsubAck = 11, "UNSUBACK";
    /// Client to server.
    PingReq = 12, "PINGREQ";
    /// Server to client.
    PingResp = 13, "PINGRESP";
    /// Client to server, since 5.0 both ways.
    Disconnect = 14, "DISCONNECT";
    /// Both ways, since 5.0.
    Auth = 15, "AUTH";
}

/// CONNECT (section 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// Protocol name and level.
    pub version: Version,
    /// Clean Start, or Clean Session before 5.0.
    pub clean_start: bool,
    /// Seconds; 0: no keep alive.
    pub keep_alive_seconds: u16,
    /// May be empty.
    pub client_id: Text,
    /// The message to publish when the client vanishes.
    pub will: Option<Will>,
    /// User name.
    pub username: Option<Text>,
    /// Password.
    pub password: Option<Bytes>,
    /// Session Expiry Interval in seconds; `None`: absent (0), `Some(u32::MAX)`: never.
    pub session_expiry_seconds: Option<u32>,
    /// Receive Maximum, 1 to 65,535; absent: 65,535.
    pub receive_max: Option<NonZeroU16>,
    /// Maximum Packet Size, at least 1.
    pub packet_bytes_max: Option<u32>,
    /// Topic Alias Maximum; absent: 0.
    pub topic_alias_max: u16,
    /// Request Response Information.
    pub request_response_information: bool,
    /// Request Problem Information; true when absent.
    pub request_problem_information: bool,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Authentication Method.
    pub auth_method: Option<Text>,
    /// Authentication Data.
    pub auth_data: Option<Bytes>,
}

impl Connect {
    /// A CONNECT without keep alive, will, user name and password, and every property at its default (section 3.1.2.11).
    #[must_use]
    pub fn new(version: Version, clean_start: bool, client_id: Text) -> Self {
        Self {
            version,
            clean_start,
            keep_alive_seconds: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            session_expiry_seconds: None,
            receive_max: None,
            packet_bytes_max: None,
            topic_alias_max: 0,
            request_response_information: false,
            request_problem_information: true,
            user_properties: Vec::new(),
            auth_method: None,
            auth_data: None,
        }
    }
}

/// The will of a CONNECT (sections 3.1.2.5 and 3.1.3.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Will {
    /// Without wildcards.
    pub topic: TopicName,
    /// Will payload.
    pub payload: Bytes,
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay_seconds: u32,
    /// The properties to publish it with.
    pub properties: PublishProperties,
}

/// CONNACK (section 3.2).
#[derive(Clone, Debug, PartialEq)]
pub struct ConnAck {
    /// Session Present.
    pub session_present: bool,
    /// The outcome; before 5.0 it is sent as the nearest return code.
    pub reason: ReasonCode,
    /// Session Expiry Interval, when it differs from the client's.
    pub session_expiry_seconds: Option<u32>,
    /// The server's Receive Maximum.
    pub receive_max: Option<NonZeroU16>,
    /// Maximum QoS, when below 2.
    pub qos_max: Option<QoS>,
    /// Retain Available; true when absent.
    pub retain_available: bool,
    /// The server's Maximum Packet Size.
    pub packet_bytes_max: Option<u32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<Text>,
    /// The server's Topic Alias Maximum.
    pub topic_alias_max: u16,
    /// Reason String.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Wildcard Subscription Available.
    pub wildcard_available: bool,
    /// Subscription Identifiers Available.
    pub subscription_ids_available: bool,
    /// Shared Subscription Available.
    pub shared_available: bool,
    /// Server Keep Alive in seconds.
    pub server_keep_alive_seconds: Option<u16>,
    /// Response Information.
    pub response_information: Option<Text>,
    /// Server Reference.
    pub server_reference: Option<Text>,
    /// Authentication Method.
    pub auth_method: Option<Text>,
    /// Authentication Data.
    pub auth_data: Option<Bytes>,
}

impl ConnAck {
    /// A CONNACK with this reason and every property at its default.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            session_expiry_seconds: None,
            receive_max: None,
            qos_max: None,
            retain_available: true,
            packet_bytes_max: None,
            assigned_client_id: None,
            topic_alias_max: 0,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_available: true,
            subscription_ids_available: true,
            shared_available: true,
            server_keep_alive_seconds: None,
            response_information: None,
            server_reference: None,
            auth_method: None,
            auth_data: None,
        }
    }
}

/// PUBLISH (section 3.3) as it stands on the wire: the topic may be empty where an alias replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Re-delivery.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// `None`: empty, an alias stands for it (5.0 only).
    pub topic: Option<TopicName>,
    /// Present exactly when QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// Properties.
    pub properties: PublishProperties,
    /// Application message.
    pub payload: Bytes,
}

/// The properties of a PUBLISH or a will, validated but not taken apart.
///
/// `forwarded` holds the encoded properties that a server passes on unchanged [MQTT-3.3.2-4], [-15..-18], [-20]:
/// payload format, content type, response topic, correlation data, user properties, in the order they came. The
/// codec reads them with [`crate::wire::property::ForwardedProperties`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties {
    /// Encoded properties without their length prefix.
    pub forwarded: Bytes,
    /// Message Expiry Interval in seconds.
    pub message_expiry_seconds: Option<u32>,
    /// Topic Alias, never 0; the connection rejects values above its maximum (0x94).
    pub topic_alias: Option<u16>,
    /// Subscription Identifiers; only a server sends them.
    pub subscription_ids: Vec<u32>,
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP (sections 3.4 to 3.7).
#[derive(Clone, Debug, PartialEq)]
pub struct Ack {
    /// Packet identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// Success before 5.0.
    pub reason: ReasonCode,
    /// Reason String.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl Ack {
    /// An acknowledgement without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            reason_string: None,
            user_properties: Vec::new(),
        }
    }
}

/// SUBSCRIBE (section 3.8).
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// Subscription Identifier, 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// At least one.
    pub filters: Vec<(TopicFilter, SubscriptionOptions)>,
}

/// Subscription Options (section 3.8.3.1). Before 5.0 only the QoS is meaningful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Maximum QoS.
    pub qos: QoS,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// The byte of SUBSCRIBE that says so.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }

    /// What a byte of SUBSCRIBE says; `None`: it has no meaning.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(Self {
            qos: QoS::new(byte & 0b11)?,
            no_local: byte & 0b100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling: match byte >> 4 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::Never,
                _ => return None,
            },
        })
    }
}

/// Retain Handling (section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// 0: send retained messages at every subscribe.
    #[default]
    Send = 0,
    /// 1: only if the subscription is new.
    SendIfNew = 1,
    /// 2: never.
    Never = 2,
}

/// SUBACK (section 3.9).
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck {
    /// Packet identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason String.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// One per filter, in their order.
    pub reasons: Vec<ReasonCode>,
}

/// UNSUBSCRIBE (section 3.10).
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// User Properties.
    pub user_properties: UserProperties,
    /// At least one.
    pub filters: Vec<TopicFilter>,
}

/// UNSUBACK (section 3.11).
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck {
    /// Packet identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason String.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// One per filter; not sent before 5.0.
    pub reasons: Vec<ReasonCode>,
}

/// DISCONNECT (section 3.14).
#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect {
    /// Why; 0x00 before 5.0.
    pub reason: ReasonCode,
    /// Session Expiry Interval; only a client sends it.
    pub session_expiry_seconds: Option<u32>,
    /// Reason String.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Server Reference.
    pub server_reference: Option<Text>,
}

impl Disconnect {
    /// A DISCONNECT without properties.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry_seconds: None,
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        }
    }
}

/// AUTH (section 3.15), 5.0 only.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// 0x00, 0x18 or 0x19.
    pub reason: ReasonCode,
    /// Authentication Method.
    pub method: Option<Text>,
    /// Authentication Data.
    pub data: Option<Bytes>,
    /// Reason String.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}
