//! One PUBLISH from the client, from unjudged to acknowledged: `Received → Accepted | Refused → Receipt`.

use super::content::Content;
use crate::message::{Message, MessageParts, expires_at};
use crate::packet::{PacketId, QoS};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::topic::TopicName;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// A PUBLISH nobody has judged. Its alias is resolved, its topic valid.
///
/// It can only be judged: accepted, refused, discarded or, by a content policy, replaced and then judged. What routes
/// messages takes an [`Accepted`], so an unjudged one does not compile:
/// ```compile_fail,E0308
/// use sluice_mqtt::conn::{Accepted, Received};
/// fn route(_: Accepted) {}
/// fn publish(unjudged: Received) {
///     route(unjudged);
/// }
/// ```
/// Judging it makes it fit:
/// ```
/// use sluice_mqtt::conn::{Accepted, Received};
/// fn route(_: Accepted) {}
/// fn publish(unjudged: Received) {
///     route(unjudged.accept());
/// }
/// ```
/// One that is dropped unjudged is never acknowledged, and its connection goes no further.
#[must_use = "a PUBLISH must be judged: accept, refuse or discard it"]
#[derive(Debug)]
pub struct Received {
    content: Content,
    /// See [`Slot`].
    number: u32,
    too_large: TooLarge,
    guard: Guard,
}

/// What is above the client's limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLarge {
    pub(super) payload: bool,
    pub(super) packet: bool,
}

/// A PUBLISH that may be routed.
#[must_use = "an accepted PUBLISH must be routed and acknowledged"]
#[derive(Debug)]
pub struct Accepted {
    content: Content,
    slot: Slot,
}

/// A PUBLISH that is not routed, and why.
#[must_use = "the client must be told: Connection::refuse_publish"]
#[derive(Debug)]
pub struct Refused {
    pub(super) slot: Slot,
    pub(super) reason: ReasonCode,
    pub(super) reason_string: Option<Box<Text>>,
}

/// The right to acknowledge a PUBLISH, on the connection it came from.
#[must_use = "the client waits for its acknowledgement: Connection::acknowledge"]
#[derive(Debug)]
pub struct Receipt {
    pub(super) slot: Slot,
    pub(super) reason: ReasonCode,
}

/// Which PUBLISH of its connection, and what it is answered with.
#[derive(Debug)]
pub(super) struct Slot {
    /// Counts the PUBLISHes with QoS 1 and 2 of the connection.
    pub(super) number: u32,
    /// `None`: QoS 0, not answered.
    pub(super) packet_id: Option<PacketId>,
    /// The connection gets it back for the next PUBLISH.
    pub(super) witness: Option<Witness>,
}

/// Counts the PUBLISHes of a connection that were dropped before they were judged.
pub(super) type Witness = Arc<AtomicU32>;

/// Notices a [`Received`] that is dropped before it was judged.
#[derive(Debug)]
struct Guard(Option<Witness>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(witness) = &self.0 {
            witness.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Received {
    #[inline]
    pub(super) fn new(content: Content, number: u32, too_large: TooLarge, witness: Witness) -> Self {
        Self {
            content,
            number,
            too_large,
            guard: Guard(Some(witness)),
        }
    }

    /// Ends the watch over it.
    fn judged(&mut self) -> Slot {
        Slot {
            number: self.number,
            packet_id: self.packet_id(),
            witness: self.guard.0.take(),
        }
    }

    /// Topic, without a mount point.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.content.topic()
    }

    /// [`Received::topic`] as bytes, which need not be looked at for that.
    #[must_use]
    pub fn topic_bytes(&self) -> &[u8] {
        self.content.topic_bytes()
    }

    /// Quality of service.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.content.qos()
    }

    /// RETAIN.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.content.retain()
    }

    /// DUP. It is no reason to treat the message otherwise [MQTT-4.3.2-5].
    #[must_use]
    pub fn dup(&self) -> bool {
        self.content.layout().dup
    }

    /// Present exactly when QoS is above 0.
    #[must_use]
    pub fn packet_id(&self) -> Option<PacketId> {
        self.content.layout().packet_id
    }

    /// Application message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.content.payload()
    }

    /// Application message, shared with the read buffer.
    #[must_use]
    pub fn payload_shared(&self) -> Bytes {
        self.content.payload_shared()
    }

    /// Encoded properties that are passed on unchanged, see [`crate::packet::PublishProperties::forwarded`].
    #[must_use]
    pub fn forwarded(&self) -> &[u8] {
        self.content.forwarded()
    }

    /// Message Expiry Interval in seconds.
    #[must_use]
    pub fn message_expiry_seconds(&self) -> Option<u32> {
        self.content.layout().expiry_seconds()
    }

    /// Whether the payload is above the client's `payload_bytes_max`: refuse it with Quota exceeded (0x97).
    ///
    /// Packet too large (0x95) ends a connection and is for packets above the announced Maximum Packet Size only.
    #[must_use]
    pub fn payload_too_large(&self) -> bool {
        self.too_large.payload
    }

    /// Whether the whole packet is above what [`super::Connection::set_packet_bytes_max`] lowered the maximum to since
    /// CONNACK announced it: refuse it with Quota exceeded (0x97).
    #[must_use]
    pub fn packet_too_large(&self) -> bool {
        self.too_large.packet
    }

    /// It may be routed.
    #[inline]
    pub fn accept(mut self) -> Accepted {
        Accepted {
            slot: self.judged(),
            content: self.content,
        }
    }

    /// It may not; `reason` is 0x80 or above.
    pub fn refuse(mut self, reason: ReasonCode) -> Refused {
        debug_assert!(reason.is_error(), "a refusal with {reason}");
        Refused {
            slot: self.judged(),
            reason,
            reason_string: None,
        }
    }

    /// It is not routed, and the client is told that it was received.
    pub fn discard(mut self) -> Receipt {
        Receipt {
            slot: self.judged(),
            reason: ReasonCode::SUCCESS,
        }
    }

    /// Another message in its place, which is to be judged again; `forwarded` are its encoded properties.
    pub fn replace(mut self, topic: TopicName, payload: Bytes, forwarded: Bytes, retain: bool) -> Self {
        self.content.replace(topic, payload, forwarded, retain);
        self
    }
}

impl Accepted {
    /// The message to route, detached from the read buffer, and the right to acknowledge it.
    ///
    /// `publisher` is the number of the session, for No Local. The message's expiry counts from `now`.
    pub fn into_message(self, mountpoint: &str, publisher: u64, now: Instant) -> (Message, Receipt) {
        let Self { content, slot } = self;
        let parts = MessageParts {
            mountpoint,
            topic: "",
            payload: content.payload(),
            forwarded: content.forwarded(),
            qos: content.qos(),
            retain: content.retain(),
            publisher,
            expires_at: expires_at(content.layout().expiry_seconds(), now),
        };
        let message = Message::with_topic(content.topic_bytes(), &parts);
        let reason = ReasonCode::SUCCESS;
        (message, Receipt { slot, reason })
    }
}

impl Refused {
    /// With an explanation, for clients that can be given one.
    pub fn explain(mut self, reason_string: Text) -> Self {
        self.reason_string = Some(Box::new(reason_string));
        self
    }

    /// Present exactly when QoS is above 0.
    #[must_use]
    pub fn packet_id(&self) -> Option<PacketId> {
        self.slot.packet_id
    }
}

impl Receipt {
    /// Nobody took the message: said to clients that can be told (reason 0x10).
    pub fn no_subscribers(mut self) -> Self {
        self.reason = ReasonCode::NO_MATCHING_SUBSCRIBERS;
        self
    }

    /// Present exactly when QoS is above 0.
    #[must_use]
    pub fn packet_id(&self) -> Option<PacketId> {
        self.slot.packet_id
    }
}
