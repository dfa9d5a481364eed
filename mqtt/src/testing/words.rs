//! Packets in few words.

use crate::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketId, Publish, PublishProperties, QoS, SubAck,
    Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe, Version,
};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::topic::{TopicFilter, TopicName};
use bytes::Bytes;

/// A text.
#[must_use]
pub fn text(text: &str) -> Text {
    Text::try_from(text).expect("a valid string")
}

/// A topic name.
#[must_use]
pub fn topic(name: &str) -> TopicName {
    TopicName::new(text(name)).expect("a valid topic")
}

/// A packet identifier.
#[must_use]
pub fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not zero")
}

/// The CONNECT of client `c`: clean start, no keep alive, all properties absent.
#[must_use]
pub fn connect(version: Version) -> Connect {
    Connect::new(version, true, text("c"))
}

/// CONNACK without properties.
#[must_use]
pub fn connack(reason: ReasonCode) -> Packet {
    Packet::ConnAck(Box::new(ConnAck::new(reason)))
}

/// PUBLISH of a small message; `packet_id` as the QoS wants it.
#[must_use]
pub fn publish(topic_name: &str, payload: &str, qos: u8, packet_id: u16) -> Publish {
    Publish {
        dup: false,
        qos: QoS::new(qos).expect("0, 1 or 2"),
        retain: false,
        topic: (!topic_name.is_empty()).then(|| topic(topic_name)),
        packet_id: PacketId::new(packet_id),
        properties: PublishProperties::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// PUBACK.
#[must_use]
pub fn puback(packet_id: u16, reason: ReasonCode) -> Packet {
    Packet::PubAck(Ack::new(id(packet_id), reason))
}

/// PUBREC.
#[must_use]
pub fn pubrec(packet_id: u16, reason: ReasonCode) -> Packet {
    Packet::PubRec(Ack::new(id(packet_id), reason))
}

/// PUBREL.
#[must_use]
pub fn pubrel(packet_id: u16, reason: ReasonCode) -> Packet {
    Packet::PubRel(Ack::new(id(packet_id), reason))
}

/// PUBCOMP.
#[must_use]
pub fn pubcomp(packet_id: u16, reason: ReasonCode) -> Packet {
    Packet::PubComp(Ack::new(id(packet_id), reason))
}

/// SUBSCRIBE to one filter at QoS 2.
#[must_use]
pub fn subscribe(packet_id: u16, filter: &str) -> Packet {
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        ..SubscriptionOptions::default()
    };
    Packet::Subscribe(Subscribe {
        packet_id: id(packet_id),
        subscription_id: None,
        user_properties: Vec::new(),
        filters: vec![(TopicFilter::new(text(filter)).expect("a valid filter"), options)],
    })
}

/// SUBACK without properties.
#[must_use]
pub fn suback(packet_id: u16, reasons: &[ReasonCode]) -> SubAck {
    SubAck {
        packet_id: id(packet_id),
        reason_string: None,
        user_properties: Vec::new(),
        reasons: reasons.to_vec(),
    }
}

/// UNSUBSCRIBE of one filter.
#[must_use]
pub fn unsubscribe(packet_id: u16, filter: &str) -> Packet {
    Packet::Unsubscribe(Unsubscribe {
        packet_id: id(packet_id),
        user_properties: Vec::new(),
        filters: vec![TopicFilter::new(text(filter)).expect("a valid filter")],
    })
}

/// UNSUBACK without properties.
#[must_use]
pub fn unsuback(packet_id: u16, reasons: &[ReasonCode]) -> UnsubAck {
    UnsubAck {
        packet_id: id(packet_id),
        reason_string: None,
        user_properties: Vec::new(),
        reasons: reasons.to_vec(),
    }
}

/// DISCONNECT without properties.
#[must_use]
pub fn disconnect(reason: ReasonCode) -> Packet {
    Packet::Disconnect(Disconnect::new(reason))
}

/// AUTH with a method and data.
#[must_use]
pub fn auth(reason: ReasonCode, method: &str, data: &str) -> Packet {
    Packet::Auth(Auth {
        reason,
        method: Some(text(method)),
        data: Some(Bytes::copy_from_slice(data.as_bytes())),
        reason_string: None,
        user_properties: Vec::new(),
    })
}

impl From<Publish> for Packet {
    fn from(publish: Publish) -> Self {
        Self::Publish(publish)
    }
}

impl From<Connect> for Packet {
    fn from(connect: Connect) -> Self {
        Self::Connect(Box::new(connect))
    }
}

impl From<ConnAck> for Packet {
    fn from(connack: ConnAck) -> Self {
        Self::ConnAck(Box::new(connack))
    }
}

impl From<SubAck> for Packet {
    fn from(suback: SubAck) -> Self {
        Self::SubAck(suback)
    }
}

impl From<UnsubAck> for Packet {
    fn from(unsuback: UnsubAck) -> Self {
        Self::UnsubAck(unsuback)
    }
}

impl From<Disconnect> for Packet {
    fn from(disconnect: Disconnect) -> Self {
        Self::Disconnect(disconnect)
    }
}
