//! The application message: what is routed, queued and retained.

use crate::limits::VECTORED_PAYLOAD_BYTES_MIN;
use crate::packet::{QoS, Will};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An application message: immutable, detached from the buffer it was read into, shared by all who are to get it.
///
/// Cloning counts a reference. Topic, properties and payload of up to 1 KiB in all lie in one allocation with all that
/// is known of them.
#[derive(Clone)]
pub struct Message(Arc<Body<[u8]>>);

struct Body<B: ?Sized> {
    head: Head,
    /// `[topic][forwarded properties][payload]` and zeros, unless `long` has them.
    bytes: B,
}

struct Head {
    expires_at: Option<Instant>,
    publisher: u64,
    long: Option<Box<Long>>,
    topic_bytes: u32,
    forwarded_bytes: u32,
    payload_bytes: u32,
    qos: QoS,
    retain: bool,
}

/// What is too long to lie in the body.
struct Long {
    /// `[topic][forwarded properties][payload, unless it is shared]`
    bytes: Box<[u8]>,
    shared_payload: Option<Bytes>,
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
        Self::with_topic(parts.topic.as_bytes(), &MessageParts { topic: "", ..parts })
    }

    /// A message with this topic, a string, instead of that of the parts.
    #[inline]
    pub(crate) fn with_topic(topic: &[u8], parts: &MessageParts<'_>) -> Self {
        let mountpoint = parts.mountpoint.as_bytes();
        // All are parts of packets, which are smaller than 256 MiB.
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let head = Head {
            expires_at: parts.expires_at,
            publisher: parts.publisher,
            long: None,
            topic_bytes: length(mountpoint.len() + topic.len()),
            forwarded_bytes: length(parts.forwarded.len()),
            payload_bytes: length(parts.payload.len()),
            qos: parts.qos,
            retain: parts.retain,
        };
        Self(body(head, [mountpoint, topic, parts.forwarded, parts.payload]))
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
        // It was a string in `new`; checked again rather than trusted with `unsafe`. What is done for each receiver
        // takes the bytes.
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// [`Message::topic`] as bytes.
    #[must_use]
    pub fn topic_bytes(&self) -> &[u8] {
        self.part(0, self.0.head.topic_bytes)
    }

    /// The application message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let head = &self.0.head;
        match self.large_payload() {
            Some(payload) => payload,
            None => self.part(head.topic_bytes + head.forwarded_bytes, head.payload_bytes),
        }
    }

    /// The application message, shared if it is large (from 4 KiB), else copied.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        match self.large_payload() {
            Some(payload) => payload.clone(),
            None => Bytes::copy_from_slice(self.payload()),
        }
    }

    /// A large payload, to be shared instead of copied.
    #[must_use]
    pub fn large_payload(&self) -> Option<&Bytes> {
        self.0.head.long.as_ref()?.shared_payload.as_ref()
    }

    /// Encoded properties that are passed on unchanged.
    #[must_use]
    pub fn forwarded(&self) -> &[u8] {
        self.part(self.0.head.topic_bytes, self.0.head.forwarded_bytes)
    }

    /// Quality of service it was published with.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.0.head.qos
    }

    /// RETAIN as published.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.0.head.retain
    }

    /// Number of the publishing session, for No Local; 0 for the broker itself.
    #[must_use]
    pub fn publisher(&self) -> u64 {
        self.0.head.publisher
    }

    /// When it expires; `None`: never.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        self.0.head.expires_at
    }

    /// Whether it has expired (section 3.3.2.3.3).
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.0.head.expires_at.is_some_and(|at| at <= now)
    }

    /// Bytes it is accounted with: its parts and what keeping it costs, so that empty messages are not free.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        let head = &self.0.head;
        let parts = [head.topic_bytes, head.forwarded_bytes, head.payload_bytes];
        KEEPING_BYTES + parts.into_iter().map(|bytes| bytes as usize).sum::<usize>()
    }

    /// Whether both are the same message, not only equal ones.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn part(&self, start: u32, bytes: u32) -> &[u8] {
        let all = match &self.0.head.long {
            None => &self.0.bytes,
            Some(long) => &*long.bytes,
        };
        let start = start as usize;
        all.get(start..start + bytes as usize).unwrap_or_default()
    }
}

/// Messages with longer parts than this in all have allocations of their own for them.
const INLINE_BYTES_MAX: usize = 1096;
/// What keeping a message costs beside its parts: its head and the counts of references.
const KEEPING_BYTES: usize = size_of::<Body<[u8; 0]>>() + 2 * size_of::<usize>();

/// Puts the pieces behind the head, in one allocation if they are not too long.
///
/// One allocation of any length takes `unsafe` or a library; one of many lengths takes an array that is then used as
/// a slice. The lengths are those that allocators round up to anyway.
fn body(head: Head, pieces: [&[u8]; 4]) -> Arc<Body<[u8]>> {
    macro_rules! shortest {
        ($bytes:expr; $($length:literal)*) => {
            match $bytes {
                $(..=$length => inline::<$length>(head, pieces),)*
                _ => long(head, pieces),
            }
        };
    }
    let bytes = pieces.iter().map(|piece| piece.len()).sum::<usize>();
    shortest!(bytes;
        24 40 56 72 88 104 120 136 152 168 184 200 216 232 248 264
        296 328 360 392 424 456 488 520 584 648 712 776 840 904 968 1032 1096
    )
}

fn inline<const N: usize>(head: Head, pieces: [&[u8]; 4]) -> Arc<Body<[u8]>> {
    const { assert!(N <= INLINE_BYTES_MAX) };
    let mut body = Body { head, bytes: [0; N] };
    let mut rest = body.bytes.as_mut_slice();
    // Most have neither mount point nor properties.
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        let Some((place, behind)) = rest.split_at_mut_checked(piece.len()) else {
            break;
        };
        place.copy_from_slice(piece);
        rest = behind;
    }
    Arc::new(body)
}

#[cold]
fn long(mut head: Head, [mountpoint, topic, forwarded, payload]: [&[u8]; 4]) -> Arc<Body<[u8]>> {
    let is_shared = payload.len() >= VECTORED_PAYLOAD_BYTES_MIN;
    let behind = if is_shared { &[] } else { payload };
    head.long = Some(Box::new(Long {
        bytes: [mountpoint, topic, forwarded, behind].concat().into_boxed_slice(),
        shared_payload: is_shared.then(|| Bytes::copy_from_slice(payload)),
    }));
    Arc::new(Body { head, bytes: [] })
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_bytes", &self.payload().len())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .field("publisher", &self.publisher())
            .field("expires_at", &self.expires_at())
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
        assert_eq!(message.wire_bytes(), KEEPING_BYTES + 7 + 4 + 2 + payload.len());
    }

    #[test]
    fn a_message_gives_back_its_parts_whatever_its_size() {
        for bytes in (0..1_300).chain([4_000, 4_095, 4_096, 100_000]) {
            check(&vec![7; bytes]);
        }
    }

    #[test]
    fn forwarded_properties_may_be_longer_than_all_else() {
        let message = Message::new(MessageParts {
            mountpoint: "",
            topic: "t",
            payload: b"p",
            forwarded: &[1; 70_000],
            qos: QoS::AtMostOnce,
            retain: false,
            publisher: 0,
            expires_at: None,
        });
        assert_eq!((message.topic(), message.payload()), ("t", &b"p"[..]));
        assert_eq!(message.forwarded(), [1; 70_000]);
    }

    #[test]
    fn a_message_is_small_beside_its_bytes() {
        assert_eq!(size_of::<Message>(), 16);
        assert_eq!(KEEPING_BYTES, 64);
    }
}
