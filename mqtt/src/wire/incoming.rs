//! A PUBLISH on its way from a client into the broker: the frame as it came, and where its parts are in it.

use super::error::{Violation, WireError};
use super::forwarded::{Forwarded, MessageProperties, take_message_properties};
use super::property::{Carrier, SUBSCRIPTION_ID};
use super::publish::Head;
use crate::packet::{PacketId, PacketType, QoS, Version};
use bytes::Bytes;
use std::num::NonZeroU16;

/// Bytes of the length in front of a string.
const STRING_LEN_BYTES: usize = 2;

/// A PUBLISH as a connection takes it in: one shared frame and where its parts are in it.
///
/// A message is handed on several times before it is routed. This is small beside a decoded packet, and one count of
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
    #[inline]
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
            retain: head.retain,
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
        // It was a string when the layout was read; checked again rather than trusted with `unsafe`.
        std::str::from_utf8(self.topic_bytes(frame)).unwrap_or_default()
    }

    pub(crate) fn topic_bytes<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let end = STRING_LEN_BYTES + usize::from(self.topic_bytes);
        frame.get(STRING_LEN_BYTES..end).unwrap_or_default()
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

    pub(crate) fn topic_bytes(&self) -> &[u8] {
        self.layout.topic_bytes(&self.frame)
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
