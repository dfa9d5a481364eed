//! One message on its way to one client.

use super::stored::Place;
use crate::message::Message;
use crate::packet::{PacketId, QoS};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// A copy of a message for one session.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What is delivered.
    pub message: Message,
    /// The lower of the published and the granted QoS [MQTT-3.8.4-8].
    pub qos: QoS,
    /// RETAIN as it is to be sent.
    pub retain: bool,
    /// Of all subscriptions of the session that match.
    pub subscription_ids: SubscriptionIds,
    /// Where a store keeps it, if one does.
    pub place: Option<Place>,
}

impl Delivery {
    pub(crate) fn bytes(&self) -> u64 {
        self.message.wire_bytes() as u64
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.message.is_expired(now)
    }
}

/// Subscription Identifiers of a delivery; most have none or one, which takes no memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionIds {
    /// No subscription has one.
    #[default]
    None,
    /// Exactly one.
    One(u32),
    /// Several.
    Many(Arc<Box<[u32]>>),
}

impl SubscriptionIds {
    /// The identifiers.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

impl From<Vec<u32>> for SubscriptionIds {
    fn from(ids: Vec<u32>) -> Self {
        match ids.as_slice() {
            [] => Self::None,
            [id] => Self::One(*id),
            _ => Self::Many(Arc::new(ids.into_boxed_slice())),
        }
    }
}

/// What a session wants to be sent to its client next.
#[derive(Clone, Debug)]
pub enum Outgoing<'a> {
    /// A PUBLISH.
    Publish {
        /// What. The session keeps what the client has to acknowledge, and lends it.
        delivery: Cow<'a, Delivery>,
        /// Present exactly when QoS is above 0.
        packet_id: Option<PacketId>,
        /// Sent before, on an earlier connection.
        dup: bool,
    },
    /// A PUBREL that the client may have missed: its PUBREC was received on an earlier connection.
    PubRel(PacketId),
}
