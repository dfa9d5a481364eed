//! The message in a PUBLISH, where it lies: in the packet, in the table of aliases, or in what a policy made of it.

use crate::packet::QoS;
use crate::topic::TopicName;
use crate::wire::{Incoming, Layout};
use bytes::Bytes;
use std::sync::Arc;

/// What is judged and routed of a PUBLISH.
#[derive(Debug)]
pub(super) struct Content {
    packet: Incoming,
    /// What its alias stands for.
    aliased: Option<Arc<str>>,
    replaced: Option<Box<Replaced>>,
}

#[derive(Debug)]
struct Replaced {
    topic: TopicName,
    payload: Bytes,
    forwarded: Bytes,
}

impl Content {
    /// `aliased` is the topic of a packet that has none.
    #[inline]
    pub(super) fn new(packet: Incoming, aliased: Option<Arc<str>>) -> Self {
        debug_assert!(aliased.is_none() == packet.layout.has_topic());
        Self {
            packet,
            aliased,
            replaced: None,
        }
    }

    /// The packet as received: what the exchange with the client is about.
    pub(super) fn layout(&self) -> &Layout {
        &self.packet.layout
    }

    pub(super) fn topic(&self) -> &str {
        match (&self.replaced, &self.aliased) {
            (None, None) => self.packet.topic(),
            (None, Some(topic)) => topic,
            (Some(replaced), _) => &replaced.topic,
        }
    }

    pub(super) fn topic_bytes(&self) -> &[u8] {
        match (&self.replaced, &self.aliased) {
            (None, None) => self.packet.topic_bytes(),
            (None, Some(topic)) => topic.as_bytes(),
            (Some(replaced), _) => replaced.topic.as_bytes(),
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        match &self.replaced {
            None => self.packet.payload(),
            Some(replaced) => &replaced.payload,
        }
    }

    pub(super) fn payload_shared(&self) -> Bytes {
        match &self.replaced {
            None => self.packet.payload_shared(),
            Some(replaced) => replaced.payload.clone(),
        }
    }

    pub(super) fn forwarded(&self) -> &[u8] {
        match &self.replaced {
            None => self.packet.forwarded(),
            Some(replaced) => &replaced.forwarded,
        }
    }

    pub(super) fn qos(&self) -> QoS {
        self.packet.layout.qos
    }

    pub(super) fn retain(&self) -> bool {
        self.packet.layout.retain
    }

    pub(super) fn replace(&mut self, topic: TopicName, payload: Bytes, forwarded: Bytes, retain: bool) {
        self.replaced = Some(Box::new(Replaced {
            topic,
            payload,
            forwarded,
        }));
        self.packet.layout.retain = retain;
    }
}
