//! Topic aliases (section 3.3.2.3.4). They live as long as the connection [MQTT-3.3.2-7].

use super::Breach;
use std::sync::Arc;

/// The aliases the client has set. Memory at worst: `max` x (32 B + the longest topic).
#[derive(Debug, Default)]
pub(super) struct InboundAliases {
    max: u16,
    topics: Vec<Option<Arc<str>>>,
}

impl InboundAliases {
    pub(super) fn new(max: u16) -> Self {
        Self {
            max,
            topics: Vec::new(),
        }
    }

    /// What the alias stands for if there is no topic beside it; else learns it.
    pub(super) fn resolve(&mut self, topic: &str, alias: u16) -> Result<Option<Arc<str>>, Breach> {
        if alias > self.max {
            return Err(Breach::TopicAliasInvalid { alias, max: self.max }); // [MQTT-3.3.2-8], [MQTT-3.3.2-9]
        }
        let index = usize::from(alias) - 1;
        if topic.is_empty() {
            let kept = self.topics.get(index).cloned().flatten();
            return kept.map(Some).ok_or(Breach::TopicAliasUnknown { alias });
        }
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        if let Some(kept) = self.topics.get_mut(index)
            && kept.as_deref() != Some(topic)
        {
            *kept = Some(topic.into());
        }
        Ok(None)
    }
}

/// Most aliases used towards a client, whatever it offers.
const OUTBOUND_MAX: u16 = 32;
/// Shorter topics are not worth an alias, which takes three bytes itself.
const TOPIC_BYTES_MIN: usize = 8;

/// The aliases the server has set.
///
/// A table that is full gives up a topic that was not used since the table was last gone through; while all are in
/// use a new topic goes without alias. So topics used once do not displace those used all the time.
#[derive(Debug, Default)]
pub(super) struct OutboundAliases {
    max: u16,
    hand: u16,
    slots: Vec<Aliased>,
}

#[derive(Debug)]
struct Aliased {
    hash: u64,
    topic: Box<[u8]>,
    used: bool,
}

/// How a topic is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// The topic alone.
    Topic,
    /// The topic, and from now on this alias for it once [`OutboundAliases::learn`] was called.
    Introduce(u16),
    /// The alias alone.
    Alias(u16),
}

impl OutboundAliases {
    pub(super) fn new(client_max: u16) -> Self {
        Self {
            max: client_max.min(OUTBOUND_MAX),
            hand: 0,
            slots: Vec::new(),
        }
    }

    /// How to write the topic [MQTT-3.1.2-26], [MQTT-3.1.2-27].
    pub(super) fn name(&mut self, topic: &[u8]) -> Naming {
        if self.max == 0 || topic.len() < TOPIC_BYTES_MIN {
            return Naming::Topic;
        }
        let hash = hash(topic);
        for (alias, slot) in (1..).zip(&mut self.slots) {
            if slot.hash == hash && *slot.topic == *topic {
                slot.used = true;
                return Naming::Alias(alias);
            }
        }
        let len = u16::try_from(self.slots.len()).unwrap_or(u16::MAX);
        if len < self.max {
            return Naming::Introduce(len + 1);
        }
        let index = self.hand;
        self.hand = (self.hand + 1) % self.max;
        match self.slots.get_mut(usize::from(index)) {
            Some(slot) if slot.used => {
                slot.used = false;
                Naming::Topic
            }
            _ => Naming::Introduce(index + 1),
        }
    }

    /// The client has been sent this topic with this alias.
    pub(super) fn learn(&mut self, alias: u16, topic: &[u8]) {
        let hash = hash(topic);
        match self.slots.get_mut(usize::from(alias) - 1) {
            Some(slot) => {
                slot.hash = hash;
                slot.used = false;
                slot.topic = topic.into();
            }
            None => self.slots.push(Aliased {
                hash,
                topic: topic.into(),
                used: false,
            }),
        }
    }
}

/// Tells most topics apart. It need not be keyed: an alias is looked for among few.
fn hash(topic: &[u8]) -> u64 {
    let (words, rest) = topic.as_chunks::<8>();
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let hash = words.iter().fold(topic.len() as u64, |hash, word| {
        mix(hash, u64::from_le_bytes(*word))
    });
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}
