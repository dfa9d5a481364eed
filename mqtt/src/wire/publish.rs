//! PUBLISH (section 3.3): decoded without allocating, encoded per subscriber without allocating.

use super::error::{Malformed, Violation, WireError};
use super::forwarded::{Forwarded, MessageProperties, take_message_properties};
use super::output::Output;
use super::primitive::{Cursor, Sink, varint_bytes};
use super::property::{Carrier, Property, SUBSCRIPTION_ID, SubscriptionId};
use crate::limits::VECTORED_PAYLOAD_BYTES_MIN;
use crate::packet::{PacketId, PacketType, Publish, PublishProperties, QoS, Version};
use crate::text::{self, Text};
use crate::topic::{NameError, TopicName};
use bytes::{Buf, Bytes};
use std::num::{NonZeroU16, NonZeroU32};

const DUP: u8 = 0b1000;
const QOS_SHIFT: u8 = 1;
const RETAIN: u8 = 0b0001;
/// Bytes of the length in front of a string.
const STRING_LEN_BYTES: usize = 2;

/// A PUBLISH as a connection takes it in: one shared frame and where its parts are in it.
///
/// A message is handed on several times before it is routed. This is small beside [`Publish`], and one count of
/// references instead of three.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The packet without its fixed header.
    pub(crate) frame: Bytes,
    pub(crate) layout: Layout,
    /// Only where the properties to forward are not one part of the frame.
    pub(crate) copied: Option<Box<Bytes>>,
}

/// What the frame of a PUBLISH says and where, by every rule that one packet can break. Nothing in it must be dropped,
/// so that it is put together in registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    forwarded_start: u32,
    forwarded_bytes: u32,
    payload_start: u32,
    expiry_seconds: u32,
    has_expiry: bool,
    topic_bytes: u16,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) alias: Option<NonZeroU16>,
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl Layout {
    /// Reads the frame of a PUBLISH; with it the properties to forward, if they had to be copied together.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "receive_speed: a copy of it through memory costs more than reading it"
    )]
    pub(crate) fn read(
        flags: u8,
        frame: &[u8],
        version: Version,
    ) -> Result<(Self, Option<Box<Bytes>>), WireError> {
        let head = Head::take(flags, frame, version)?;
        let mut layout = Self {
            forwarded_start: 0,
            forwarded_bytes: 0,
            payload_start: place(head.payload_start),
            expiry_seconds: 0,
            has_expiry: false,
            topic_bytes: u16::try_from(head.topic.len()).unwrap_or(u16::MAX),
            packet_id: head.packet_id,
            alias: None,
            dup: head.dup,
            qos: head.qos,
            retain: flags & RETAIN != 0,
        };
        if head.block.is_empty() {
            head.check_topic(false, version)?;
            return Ok((layout, None));
        }
        let properties = take_message_properties(head.block, Carrier::PUBLISH)?;
        head.check_topic(properties.alias.is_some(), version)?;
        // [MQTT-3.3.4-6]
        if !properties.subscription_ids.is_empty() {
            return Err(Violation::ServerProperty(PacketType::Publish, SUBSCRIPTION_ID).into());
        }
        let copied = layout.add(head.payload_start - head.block.len(), properties);
        Ok((layout, copied))
    }

    fn add(&mut self, block_start: usize, properties: MessageProperties) -> Option<Box<Bytes>> {
        if let Some(seconds) = properties.expiry_seconds {
            self.expiry_seconds = seconds;
            self.has_expiry = true;
        }
        self.alias = properties.alias.and_then(NonZeroU16::new);
        match properties.forwarded {
            Forwarded::None => None,
            Forwarded::Part(part) => {
                self.forwarded_start = place(block_start + part.start);
                self.forwarded_bytes = place(part.len());
                None
            }
            Forwarded::Copied(bytes) => Some(Box::new(bytes)),
        }
    }

    /// The topic; empty where an alias stands for it.
    pub(crate) fn topic<'a>(&self, frame: &'a [u8]) -> &'a str {
        let end = STRING_LEN_BYTES + usize::from(self.topic_bytes);
        let topic = frame.get(STRING_LEN_BYTES..end).unwrap_or_default();
        // It was a string when the layout was read; checked again rather than trusted with `unsafe`.
        std::str::from_utf8(topic).unwrap_or_default()
    }

    /// False: an alias stands for it.
    pub(crate) fn has_topic(&self) -> bool {
        self.topic_bytes > 0
    }

    pub(crate) fn payload_bytes(&self, frame: &[u8]) -> usize {
        frame.len() - self.payload_start as usize
    }

    pub(crate) fn expiry_seconds(&self) -> Option<u32> {
        self.has_expiry.then_some(self.expiry_seconds)
    }
}

impl Incoming {
    /// The topic; empty where an alias stands for it.
    pub(crate) fn topic(&self) -> &str {
        self.layout.topic(&self.frame)
    }

    pub(crate) fn payload(&self) -> &[u8] {
        let start = self.layout.payload_start as usize;
        self.frame.get(start..).unwrap_or_default()
    }

    /// The payload, shared with the frame.
    pub(crate) fn payload_shared(&self) -> Bytes {
        self.frame.slice_ref(self.payload())
    }

    /// See [`PublishProperties::forwarded`].
    pub(crate) fn forwarded(&self) -> &[u8] {
        if let Some(copied) = &self.copied {
            return copied;
        }
        let start = self.layout.forwarded_start as usize;
        let end = start + self.layout.forwarded_bytes as usize;
        self.frame.get(start..end).unwrap_or_default()
    }
}

/// A place in a frame, which is smaller than 256 MiB.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

pub(crate) fn decode(flags: u8, mut frame: Bytes, version: Version) -> Result<Publish, WireError> {
    let head = Head::take(flags, &frame, version)?;
    let found = take_message_properties(head.block, Carrier::PUBLISH)?;
    head.check_topic(found.alias.is_some(), version)?;
    let properties = PublishProperties {
        forwarded: found.forwarded.into_bytes(&frame, head.block),
        message_expiry_seconds: found.expiry_seconds,
        topic_alias: found.alias,
        subscription_ids: found.subscription_ids,
    };
    let topic = match head.topic {
        [] => None,
        topic => {
            let text = Text::new(frame.slice_ref(topic)).map_err(Malformed::from)?;
            Some(TopicName::new(text).map_err(Malformed::TopicName)?)
        }
    };
    let Head {
        dup,
        qos,
        packet_id,
        payload_start,
        ..
    } = head;
    frame.advance(payload_start);
    Ok(Publish {
        dup,
        qos,
        retain: flags & RETAIN != 0,
        topic,
        packet_id,
        properties,
        payload: frame,
    })
}

/// The head of a PUBLISH in its frame. Its properties are still to be read, and then its topic to be checked.
struct Head<'a> {
    dup: bool,
    qos: QoS,
    /// A string; empty where an alias stands for it.
    topic: &'a [u8],
    /// The topic is a name whatever the properties are.
    is_plain: bool,
    packet_id: Option<PacketId>,
    /// The encoded properties.
    block: &'a [u8],
    payload_start: usize,
}

impl<'a> Head<'a> {
    #[inline]
    fn take(flags: u8, frame: &'a [u8], version: Version) -> Result<Self, WireError> {
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
            topic,
            is_plain,
            packet_id,
            block,
            payload_start: frame.len() - cursor.len(),
        })
    }

    #[inline]
    fn check_topic(&self, has_alias: bool, version: Version) -> Result<(), WireError> {
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
    /// The topic name; may be empty with an alias.
    pub topic: &'a str,
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
        sink.put_field(self.topic.as_bytes());
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
