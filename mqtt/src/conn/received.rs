//! One PUBLISH from the client, from unjudged to acknowledged: `Received → Accepted | Refused → Receipt`.

use crate::message::{Message, MessageParts, expires_at};
use crate::packet::{PacketId, PublishProperties, QoS};
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
    dup: bool,
    payload_too_large: bool,
    packet_too_large: bool,
    slot: Slot,
    guard: Guard,
}

#[derive(Debug)]
struct Content {
    topic: TopicName,
    payload: Bytes,
    properties: PublishProperties,
    qos: QoS,
    retain: bool,
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
    pub(super) reason_string: Option<Text>,
}

/// The right to acknowledge a PUBLISH, on the connection it came from.
#[must_use = "the client waits for its acknowledgement: Connection::acknowledge"]
#[derive(Debug)]
pub struct Receipt {
    pub(super) slot: Slot,
    pub(super) reason: ReasonCode,
}

/// Which PUBLISH of its connection, and what it is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Counts the PUBLISHes with QoS 1 and 2 of the connection.
    pub(super) number: u64,
    /// `None`: QoS 0, not answered.
    pub(super) packet_id: Option<PacketId>,
    /// As received: a content policy that changes the message does not change the exchange.
    pub(super) qos: QoS,
}

/// Notices a [`Received`] that is dropped before it was judged.
#[derive(Debug)]
pub(super) struct Guard {
    dropped: Arc<AtomicU32>,
    judged: bool,
}

impl Guard {
    fn judged(mut self) {
        self.judged = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.judged {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the decoder and the connection know of a PUBLISH.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) topic: TopicName,
    pub(super) publish: crate::packet::Publish,
    pub(super) payload_too_large: bool,
    pub(super) packet_too_large: bool,
    pub(super) slot: Slot,
}

impl Received {
    pub(super) fn new(arrival: Arrival, dropped: &Arc<AtomicU32>) -> Self {
        let Arrival {
            topic,
            publish,
            payload_too_large,
            packet_too_large,
            slot,
        } = arrival;
        Self {
            content: Content {
                topic,
                payload: publish.payload,
                properties: publish.properties,
                qos: publish.qos,
                retain: publish.retain,
            },
            dup: publish.dup,
            payload_too_large,
            packet_too_large,
            slot,
            guard: Guard {
                dropped: Arc::clone(dropped),
                judged: false,
            },
        }
    }

    /// Topic, without a mount point.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.content.topic
    }

    /// Quality of service.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.content.qos
    }

    /// RETAIN.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.content.retain
    }

    /// DUP. It is no reason to treat the message otherwise [MQTT-4.3.2-5].
    #[must_use]
    pub fn dup(&self) -> bool {
        self.dup
    }

    /// Present exactly when QoS is above 0.
    #[must_use]
    pub fn packet_id(&self) -> Option<PacketId> {
        self.slot.packet_id
    }

    /// Application message.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.content.payload
    }

    /// Properties.
    #[must_use]
    pub fn properties(&self) -> &PublishProperties {
        &self.content.properties
    }

    /// Whether the payload is above the client's `payload_bytes_max`: refuse it with Quota exceeded (0x97).
    ///
    /// Packet too large (0x95) ends a connection and is for packets above the announced Maximum Packet Size only.
    #[must_use]
    pub fn payload_too_large(&self) -> bool {
        self.payload_too_large
    }

    /// Whether the whole packet is above what [`super::Connection::set_packet_bytes_max`] lowered the maximum to since
    /// CONNACK announced it: refuse it with Quota exceeded (0x97).
    #[must_use]
    pub fn packet_too_large(&self) -> bool {
        self.packet_too_large
    }

    /// It may be routed.
    pub fn accept(self) -> Accepted {
        self.guard.judged();
        Accepted {
            content: self.content,
            slot: self.slot,
        }
    }

    /// It may not; `reason` is 0x80 or above.
    pub fn refuse(self, reason: ReasonCode) -> Refused {
        debug_assert!(reason.is_error(), "a refusal with {reason}");
        self.guard.judged();
        Refused {
            slot: self.slot,
            reason,
            reason_string: None,
        }
    }

    /// It is not routed, and the client is told that it was received.
    pub fn discard(self) -> Receipt {
        self.guard.judged();
        Receipt {
            slot: self.slot,
            reason: ReasonCode::SUCCESS,
        }
    }

    /// Another message in its place, which is to be judged again; `forwarded` are its encoded properties.
    pub fn replace(mut self, topic: TopicName, payload: Bytes, forwarded: Bytes, retain: bool) -> Self {
        self.content.topic = topic;
        self.content.payload = payload;
        self.content.properties.forwarded = forwarded;
        self.content.retain = retain;
        self
    }
}

impl Accepted {
    /// The message to route, detached from the read buffer, and the right to acknowledge it.
    ///
    /// `publisher` is the number of the session, for No Local. The message's expiry counts from `now`.
    pub fn into_message(self, mountpoint: &str, publisher: u64, now: Instant) -> (Message, Receipt) {
        let Content {
            topic,
            payload,
            properties,
            qos,
            retain,
        } = self.content;
        let message = Message::new(MessageParts {
            mountpoint,
            topic: &topic,
            payload: &payload,
            forwarded: &properties.forwarded,
            qos,
            retain,
            publisher,
            expires_at: expires_at(&properties, now),
        });
        (
            message,
            Receipt {
                slot: self.slot,
                reason: ReasonCode::SUCCESS,
            },
        )
    }
}

impl Refused {
    /// With an explanation, for clients that can be given one.
    pub fn explain(mut self, reason_string: Text) -> Self {
        self.reason_string = Some(reason_string);
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
