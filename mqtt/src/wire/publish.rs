//! PUBLISH (section 3.3): decoded without allocating, encoded per subscriber without allocating.

use super::error::{Malformed, Violation, WireError};
use super::forwarded::take_message_properties;
use super::output::Output;
use super::primitive::{Cursor, Sink, varint_bytes};
use super::property::{Carrier, Property, SubscriptionId};
use crate::limits::VECTORED_PAYLOAD_BYTES_MIN;
use crate::packet::{PacketId, PacketType, Publish, PublishProperties, QoS, Version};
use crate::text;
use crate::topic::{NameError, TopicName};
use bytes::{Buf, Bytes};
use std::num::{NonZeroU16, NonZeroU32};

const DUP: u8 = 0b1000;
const QOS_SHIFT: u8 = 1;
const RETAIN: u8 = 0b0001;

pub(crate) fn decode(flags: u8, mut frame: Bytes, version: Version) -> Result<Publish, WireError> {
    let head = Head::take(flags, &frame, version)?;
    let mut properties = PublishProperties::default();
    if !head.block.is_empty() {
        let found = take_message_properties(head.block, Carrier::PUBLISH)?;
        properties = PublishProperties {
            forwarded: found.forwarded.into_bytes(&frame, head.block),
            message_expiry_seconds: found.expiry_seconds,
            topic_alias: found.alias,
            subscription_ids: found.subscription_ids,
        };
    }
    head.check_topic(properties.topic_alias.is_some(), version)?;
    let topic = match head.topic {
        [] => None,
        topic => TopicName::part_of(&frame, topic),
    };
    let Head {
        dup,
        qos,
        retain,
        packet_id,
        payload_start,
        ..
    } = head;
    frame.advance(payload_start);
    Ok(Publish {
        dup,
        qos,
        retain,
        topic,
        packet_id,
        properties,
        payload: frame,
    })
}

/// The head of a PUBLISH in its frame. Its properties are still to be read, and then its topic to be checked.
pub(super) struct Head<'a> {
    pub(super) dup: bool,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// A string; empty where an alias stands for it.
    pub(super) topic: &'a [u8],
    /// The topic is a name whatever the properties are.
    is_plain: bool,
    pub(super) packet_id: Option<PacketId>,
    /// The encoded properties.
    pub(super) block: &'a [u8],
    pub(super) payload_start: usize,
}

impl<'a> Head<'a> {
    #[inline]
    pub(super) fn take(flags: u8, frame: &'a [u8], version: Version) -> Result<Self, WireError> {
        let qos = QoS::new(flags >> QOS_SHIFT & 0b11).ok_or(Malformed::PublishQos3)?;
        let dup = flags & DUP != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(Malformed::DupAtQos0.into());
        }
        let mut cursor = Cursor::new(frame);
        let topic = cursor.take_binary()?;
        // One look instead of three.
        let is_plain = TopicName::is_plain(topic);
        if !is_plain {
            text::check(topic).map_err(Malformed::from)?;
        }
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(cursor.take_packet_id()?),
        };
        let block = match version {
            Version::V31 | Version::V311 => &[],
            Version::V5 => cursor.take_block()?,
        };
        Ok(Self {
            dup,
            qos,
            retain: flags & RETAIN != 0,
            topic,
            is_plain,
            packet_id,
            block,
            payload_start: frame.len() - cursor.len(),
        })
    }

    #[inline]
    pub(super) fn check_topic(&self, has_alias: bool, version: Version) -> Result<(), WireError> {
        if self.is_plain {
            return Ok(());
        }
        match TopicName::check(self.topic) {
            Ok(()) => Ok(()),
            Err(NameError::Empty) if has_alias => Ok(()),
            Err(NameError::Empty) if version == Version::V5 => Err(Violation::EmptyTopicWithoutAlias.into()),
            Err(error) => Err(Malformed::TopicName(error).into()),
        }
    }
}

/// Everything of a PUBLISH but its payload, for one receiver.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// Re-delivery.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Present exactly when QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// The topic name, which is UTF-8; may be empty with an alias.
    pub topic: &'a [u8],
    /// Topic Alias (5.0 only), not 0.
    pub alias: Option<u16>,
    /// Message Expiry Interval that is left (5.0 only).
    pub expiry_seconds: Option<u32>,
    /// Subscription Identifiers (5.0 only), not 0.
    pub subscription_ids: &'a [u32],
    /// [`PublishProperties::forwarded`] (5.0 only).
    pub forwarded: &'a [u8],
}

/// The lengths in front of a PUBLISH.
struct Lengths {
    /// What the properties' length prefix says; not present before 5.0.
    properties: usize,
    /// What the Remaining Length says.
    remaining: usize,
}

impl PublishHead<'_> {
    fn each_property(&self, mut put: impl FnMut(Property<'_>)) {
        if let Some(alias) = self.alias.and_then(NonZeroU16::new) {
            put(Property::TopicAlias(alias));
        }
        if let Some(seconds) = self.expiry_seconds {
            put(Property::MessageExpiry(seconds));
        }
        for id in self.subscription_ids {
            if let Some(id) = NonZeroU32::new(*id) {
                put(Property::SubscriptionId(SubscriptionId(id)));
            }
        }
    }

    fn lengths(&self, payload_len: usize, version: Version) -> Lengths {
        let mut properties = 0;
        let mut remaining = 2 + self.topic.len() + payload_len + if self.packet_id.is_some() { 2 } else { 0 };
        if version == Version::V5 {
            let mut counter = super::primitive::Counter::default();
            self.each_property(|property| property.put(&mut counter));
            properties = counter.0 + self.forwarded.len();
            remaining += varint_bytes(properties).unwrap_or(4) + properties;
        }
        Lengths {
            properties,
            remaining,
        }
    }

    fn put(&self, lengths: &Lengths, version: Version, sink: &mut impl Sink) {
        let flags = u8::from(self.dup) << 3 | (self.qos as u8) << QOS_SHIFT | u8::from(self.retain);
        sink.put_u8((PacketType::Publish as u8) << 4 | flags);
        sink.put_varint(u32::try_from(lengths.remaining).unwrap_or(u32::MAX));
        sink.put_field(self.topic);
        if let Some(id) = self.packet_id {
            sink.put_u16(id.get());
        }
        if version == Version::V5 {
            sink.put_varint(u32::try_from(lengths.properties).unwrap_or(u32::MAX));
            self.each_property(|property| property.put(sink));
            sink.put(self.forwarded);
        }
    }
}

/// Bytes of the packet that [`encode_publish`] would write: compare with the receiver's Maximum Packet Size
/// [MQTT-3.1.2-24].
#[must_use]
pub fn publish_bytes(head: &PublishHead<'_>, payload_len: usize, version: Version) -> usize {
    let remaining = head.lengths(payload_len, version).remaining;
    1 + varint_bytes(remaining).unwrap_or(4) + remaining
}

/// Appends a PUBLISH; a payload from [`VECTORED_PAYLOAD_BYTES_MIN`] on is shared, not copied.
///
/// Writes nothing when the packet is larger than [`crate::limits::PACKET_BYTES_MAX`], which nobody may send.
pub fn encode_publish(head: &PublishHead<'_>, payload: &Bytes, version: Version, out: &mut Output) {
    if payload.len() < VECTORED_PAYLOAD_BYTES_MIN {
        encode_publish_copied(head, payload, version, out);
    } else if put_head(head, payload.len(), 0, version, out) {
        out.put_shared(payload.clone());
    }
}

/// [`encode_publish`] for a payload that is copied whatever its size.
pub fn encode_publish_copied(head: &PublishHead<'_>, payload: &[u8], version: Version, out: &mut Output) {
    if put_head(head, payload.len(), payload.len(), version, out) {
        out.put_slice(payload);
    }
}

/// Writes all but the payload, with room for `reserve` more bytes. False: the packet cannot be expressed.
fn put_head(
    head: &PublishHead<'_>,
    payload_len: usize,
    reserve: usize,
    version: Version,
    out: &mut Output,
) -> bool {
    let lengths = head.lengths(payload_len, version);
    let Some(len_bytes) = varint_bytes(lengths.remaining) else {
        return false;
    };
    let head_bytes = 1 + len_bytes + lengths.remaining - payload_len;
    let tail = out.tail();
    tail.reserve(head_bytes + reserve);
    head.put(&lengths, version, tail);
    true
}
