//! The application message: what is routed, queued and retained.

use crate::limits::VECTORED_PAYLOAD_BYTES_MIN;
use crate::packet::{QoS, Will};
use bytes::Bytes;
use std::fmt;
use std::time::{Duration, Instant};

/// An application message: immutable, detached from the buffer it was read into, shared by all who are to get it.
///
/// Topic, properties and a small payload lie in one allocation.
pub struct Message {
    /// `[topic][forwarded properties][payload, if small]`.
    bytes: Box<[u8]>,
    large_payload: Option<Bytes>,
    topic_bytes: u32,
    forwarded_bytes: u32,
    qos: QoS,
    retain: bool,
    publisher: u64,
    expires_at: Option<Instant>,
}

/// What a [`Message`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    /// Put before the topic; empty without a mount point.
    pub mountpoint: &'a str,
    /// Topic as the publisher wrote it.
    pub topic: &'a str,
    /// Application message.
    pub payload: &'a [u8],
    /// Encoded properties that are passed on unchanged.
    pub forwarded: &'a [u8],
    /// Quality of service it was published with.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// Number of the publishing session; 0 for the broker itself.
    pub publisher: u64,
    /// When it expires; `None`: never.
    pub expires_at: Option<Instant>,
}

impl Message {
    /// A message with copies of these parts.
    #[must_use]
    pub fn new(parts: MessageParts<'_>) -> Self {
        let large = parts.payload.len() >= VECTORED_PAYLOAD_BYTES_MIN;
        let inline: &[u8] = if large { &[] } else { parts.payload };
        let topic_bytes = parts.mountpoint.len() + parts.topic.len();
        let mut bytes = Vec::with_capacity(topic_bytes + parts.forwarded.len() + inline.len());
        bytes.extend_from_slice(parts.mountpoint.as_bytes());
        bytes.extend_from_slice(parts.topic.as_bytes());
        bytes.extend_from_slice(parts.forwarded);
        bytes.extend_from_slice(inline);
        Self {
            bytes: bytes.into_boxed_slice(),
            large_payload: large.then(|| Bytes::copy_from_slice(parts.payload)),
            // Both are parts of packets, which are smaller than 256 MiB.
            topic_bytes: u32::try_from(topic_bytes).unwrap_or(u32::MAX),
            forwarded_bytes: u32::try_from(parts.forwarded.len()).unwrap_or(u32::MAX),
            qos: parts.qos,
            retain: parts.retain,
            publisher: parts.publisher,
            expires_at: parts.expires_at,
        }
    }

    /// A message of the broker's own, without properties or expiry.
    #[must_use]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a large payload is shared once, not copied"
    )]
    pub fn own(topic: &str, payload: Bytes, qos: QoS, retain: bool) -> Self {
        Self::new(MessageParts {
            mountpoint: "",
            topic,
            payload: &payload,
            forwarded: &[],
            qos,
            retain,
            publisher: 0,
            expires_at: None,
        })
    }

    /// The message a will becomes when it is sent at `now`: its expiry counts from here (section 3.1.3.2.4).
    #[must_use]
    pub fn from_will(will: &Will, mountpoint: &str, publisher: u64, now: Instant) -> Self {
        Self::new(MessageParts {
            mountpoint,
            topic: &will.topic,
            payload: &will.payload,
            forwarded: &will.properties.forwarded,
            qos: will.qos,
            retain: will.retain,
            publisher,
            expires_at: expires_at(will.properties.message_expiry_seconds, now),
        })
    }

    /// The full topic: mount point and topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        let topic = self.bytes.get(..self.topic_bytes as usize).unwrap_or_default();
        // It was a string in `new`; checked again rather than trusted with `unsafe`.
        std::str::from_utf8(topic).unwrap_or_default()
    }

    /// The application message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.large_payload {
            Some(payload) => payload,
            None => self.bytes.get(self.payload_start()..).unwrap_or_default(),
        }
    }

    /// The application message, shared if it is large (from 4 KiB), else copied.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        match &self.large_payload {
            Some(payload) => payload.clone(),
            None => Bytes::copy_from_slice(self.payload()),
        }
    }

    /// A large payload, to be shared instead of copied.
    #[must_use]
    pub fn large_payload(&self) -> Option<&Bytes> {
        self.large_payload.as_ref()
    }

    /// Encoded properties that are passed on unchanged.
    #[must_use]
    pub fn forwarded(&self) -> &[u8] {
        self.bytes
            .get(self.topic_bytes as usize..self.payload_start())
            .unwrap_or_default()
    }

    /// Quality of service it was published with.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// RETAIN as published.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// Number of the publishing session, for No Local; 0 for the broker itself.
    #[must_use]
    pub fn publisher(&self) -> u64 {
        self.publisher
    }

    /// When it expires; `None`: never.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    /// Whether it has expired (section 3.3.2.3.3).
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Bytes it is accounted with: its parts and what keeping it costs, so that empty messages are not free.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + self.large_payload.as_ref().map_or(0, Bytes::len)
    }

    fn payload_start(&self) -> usize {
        self.topic_bytes as usize + self.forwarded_bytes as usize
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_bytes", &self.payload().len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("publisher", &self.publisher)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// When a message received at `now` expires.
pub(crate) fn expires_at(expiry_seconds: Option<u32>, now: Instant) -> Option<Instant> {
    now.checked_add(Duration::from_secs(u64::from(expiry_seconds?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &[u8]) {
        let message = Message::new(MessageParts {
            mountpoint: "tenant/",
            topic: "a/é",
            payload,
            forwarded: b"\x01\x01",
            qos: QoS::AtLeastOnce,
            retain: true,
            publisher: 7,
            expires_at: None,
        });
        assert_eq!(message.topic(), "tenant/a/é");
        assert_eq!(message.payload(), payload);
        assert_eq!(message.payload_bytes(), payload);
        assert_eq!(message.forwarded(), b"\x01\x01");
        assert_eq!(message.large_payload().is_some(), payload.len() >= 4096);
        assert_eq!(
            message.wire_bytes(),
            size_of::<Message>() + 7 + 4 + 2 + payload.len()
        );
    }

    #[test]
    fn a_message_gives_back_its_parts_whatever_its_size() {
        check(b"");
        check(b"x");
        check(&[1; 4095]);
        check(&[2; 4096]);
        check(&[3; 100_000]);
    }

    #[test]
    fn a_message_is_small_beside_its_bytes() {
        assert!(size_of::<Message>() <= 88, "{}", size_of::<Message>());
    }
}
