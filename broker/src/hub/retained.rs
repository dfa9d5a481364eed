//! Retained messages: the last one of each topic, bounded in number and bytes.

use super::Hub;
use super::cell::{Copy, SessionCell};
use super::filing::Filing;
use crate::config::Limits;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::SubscriptionOptions;
use sluice_mqtt::session::{Delivery, SubscriptionIds};
use sluice_mqtt::topic::{RetainedTree, TopicFilter};
use sluice_store::Change;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::time::Instant;

/// How many topics one sweep for expired messages looks at before it lets others go on.
const SWEEP_TOPICS: usize = 1_000;

/// The retained messages of all topics.
pub(super) struct Retained {
    tree: RetainedTree<Message>,
    bytes: u64,
    messages_max: u64,
    bytes_max: u64,
}

/// What a retained PUBLISH did.
pub(super) enum Kept {
    /// It is the topic's retained message now.
    Stored,
    /// It was empty and removed one [MQTT-3.3.1-6].
    Cleared,
    /// It was empty and there was none.
    Nothing,
    /// The limit is reached: delivered, but not retained.
    Full,
    /// The same, and the one that was there is gone.
    FullAndCleared,
}

impl Retained {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut retained = Self {
            tree: RetainedTree::default(),
            bytes: 0,
            messages_max: 0,
            bytes_max: 0,
        };
        retained.set_limits(limits);
        retained
    }

    /// A lower limit keeps what is there and takes nothing new.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.messages_max = limits.retained_messages_max;
        self.bytes_max = limits.retained_bytes_max;
    }

    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn store(&mut self, message: &Message, now: Instant) -> Kept {
        let topic = message.topic();
        if message.payload().is_empty() {
            return self.clear(topic);
        }
        let bytes = message.wire_bytes() as u64;
        let (messages_max, bytes_max) = (self.messages_max, self.bytes_max);
        let expired = message.is_expired(now);
        let (messages, bytes_before) = (self.tree.len() as u64, self.bytes);
        // Nearly all retained messages replace one: that needs one way through the tree.
        if let Some(kept) = self.tree.get_mut(topic) {
            let others = bytes_before.saturating_sub(kept.wire_bytes() as u64);
            if messages <= messages_max && others + bytes <= bytes_max && !expired {
                *kept = message.clone();
                self.bytes = others + bytes;
                return Kept::Stored;
            }
            let cleared = self.clear(topic);
            return if expired { cleared } else { Kept::FullAndCleared };
        }
        if messages >= messages_max || bytes_before + bytes > bytes_max {
            return Kept::Full;
        }
        if expired {
            return Kept::Nothing;
        }
        self.tree.insert(topic, message.clone());
        self.bytes += bytes;
        Kept::Stored
    }

    fn clear(&mut self, topic: &str) -> Kept {
        let Some(old) = self.tree.remove(topic) else {
            return Kept::Nothing;
        };
        self.bytes = self.bytes.saturating_sub(old.wire_bytes() as u64);
        Kept::Cleared
    }

    /// Whether this very message is still its topic's retained one.
    fn holds(&self, message: &Message) -> bool {
        self.tree
            .get(message.topic())
            .is_some_and(|kept| kept.is(message))
    }

    fn matching(&self, filter: &TopicFilter) -> Vec<Message> {
        let mut found = Vec::new();
        self.each(filter, |message| {
            found.push(message.clone());
            ControlFlow::Continue(())
        });
        found
    }

    /// Shows every message whose topic matches, expired ones too.
    pub(super) fn each(&self, filter: &TopicFilter, mut visit: impl FnMut(&Message) -> ControlFlow<()>) {
        self.tree.matches(filter.filter(), &mut visit);
    }

    pub(super) fn remove(&mut self, topic: &str) {
        self.clear(topic);
    }
}

/// Retained messages on their way to a new subscription.
///
/// They enter the session's queue as it drains, so that a subscription to very many never overflows it. One
/// pointer per message; the messages themselves are shared with the store.
pub struct Replay {
    messages: std::vec::IntoIter<Message>,
    options: SubscriptionOptions,
    id: Option<NonZeroU32>,
}

impl Replay {
    /// Messages still to come.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether all have been sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a session's queue can take of a replay.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Bytes; one message may exceed it.
    pub bytes: u64,
}

impl Hub {
    /// The retained messages a new subscription is to be sent, if any.
    pub(super) fn replay(
        &self,
        full: &TopicFilter,
        options: SubscriptionOptions,
        id: Option<NonZeroU32>,
    ) -> Option<Replay> {
        let messages = self.inner.retained.lock().matching(full);
        (!messages.is_empty()).then(|| Replay {
            messages: messages.into_iter(),
            options,
            id,
        })
    }

    /// Puts the next messages of a replay into the queue: as many as the room allows, the first one in any case.
    ///
    /// A message that was replaced meanwhile is skipped: its successor went to the subscription as a live message,
    /// and an older value must not follow it.
    pub fn replay_next(&self, replay: &mut Replay, cell: &SessionCell, room: Room, now: Instant) {
        let deliveries = self.replayed(replay, room, now);
        for delivery in deliveries {
            self.queue(cell, delivery);
        }
    }

    fn replayed(&self, replay: &mut Replay, room: Room, now: Instant) -> Vec<Delivery> {
        let retained = self.inner.retained.lock();
        let ids = replay
            .id
            .map_or(SubscriptionIds::None, |id| SubscriptionIds::One(id.get()));
        let mut deliveries = Vec::new();
        let mut bytes = 0;
        while deliveries.len() < room.messages && bytes < room.bytes {
            let Some(message) = replay.messages.next() else {
                break;
            };
            if !retained.holds(&message) || message.is_expired(now) {
                continue;
            }
            bytes += message.wire_bytes() as u64;
            deliveries.push(Delivery {
                qos: replay.options.qos.min(message.qos()),
                retain: true, // [MQTT-3.3.1-9]
                subscription_ids: ids.clone(),
                place: None,
                message,
            });
        }
        deliveries
    }

    /// Queues a delivery for one session alone, and tells the store of it if it keeps the session.
    fn queue(&self, cell: &SessionCell, mut delivery: Delivery) {
        let mut filing = Filing::new(&self.inner.store);
        let seq = filing.seq(cell, delivery.qos);
        let message = delivery.message.clone();
        let copy = Copy {
            qos: delivery.qos,
            retain_as_published: true,
            ids: delivery.subscription_ids.clone(),
        };
        let mut state = cell.lock();
        delivery.place = seq.and_then(|seq| state.session.place(seq));
        let place = delivery.place;
        let (_, is_taken) = state.queue(delivery);
        state.wake();
        drop(state);
        if let Some(place) = place.filter(|_| is_taken) {
            filing.taken(cell, &copy, copy.qos, true, place);
        }
        filing.end(&message);
    }

    /// Removes expired retained messages, a slice of the topics at a time; true when the sweep came round.
    pub fn sweep_retained(&self, now: Instant) -> bool {
        let mut retained = self.inner.retained.lock();
        let mut freed = 0;
        let done = retained.tree.sweep(SWEEP_TOPICS, &mut |message: &Message| {
            let keep = message.expires_at().is_none_or(|at| at > now);
            if !keep {
                freed += message.wire_bytes() as u64;
                let topic = message.topic().to_owned();
                self.inner.store.submit(Change::RetainedCleared(topic));
            }
            keep
        });
        retained.bytes = retained.bytes.saturating_sub(freed);
        if freed > 0 {
            self.report_retained(&retained);
        }
        done
    }
}
