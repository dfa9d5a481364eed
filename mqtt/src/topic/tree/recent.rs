//! Where the latest topics led: devices publish to the same few topics over and over.

use crate::topic::arena::NONE;
use crate::topic::edges::LevelHash;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a thread remembers of the latest topics it asked a tree about: 512 places of 128 bytes.
///
/// Each topic has one place, by its hash; whoever comes later takes it. What is remembered holds until a filter gets
/// its first subscriber; after that the tree is asked again. Topics that are long, or match more than
/// two filters, are not remembered. The trees asked may differ: nothing is ever taken for an answer of another tree.
#[derive(Default)]
pub struct RecentTopics {
    /// None before the first topic.
    places: Vec<Place>,
}

/// Two cache lines, of which a short topic needs one.
#[derive(Clone)]
#[repr(align(64))]
struct Place {
    /// Of the tree when it was asked; no tree has 0.
    version: u64,
    audiences: [u32; AUDIENCES],
    length: u8,
    topic: [u8; TOPIC_BYTES_MAX],
}

/// The audiences that a walk has named so far, as far as they can be remembered.
pub(super) struct Named {
    audiences: [u32; AUDIENCES],
    count: usize,
}

impl Named {
    pub(super) fn none() -> Self {
        Self {
            audiences: [NONE; AUDIENCES],
            count: 0,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, audience: u32) {
        if let Some(place) = self.audiences.get_mut(self.count) {
            *place = audience;
        }
        self.count += 1;
    }
}

impl RecentTopics {
    /// The audiences of a topic, some of them `NONE`, if they are remembered.
    #[inline]
    pub(super) fn get(&self, topic: &[u8], hash: LevelHash, version: u64) -> Option<[u32; AUDIENCES]> {
        let place = self.places.get(hash.slot(PLACES))?;
        (place.version == version && place.is_about(topic)).then_some(place.audiences)
    }

    /// Remembers all that a walk named, if it can be kept here.
    pub(super) fn keep(&mut self, topic: &[u8], hash: LevelHash, version: u64, named: &Named) {
        let Ok(length) = u8::try_from(topic.len()) else {
            return;
        };
        if topic.len() > TOPIC_BYTES_MAX || named.count > AUDIENCES {
            return;
        }
        if self.places.is_empty() {
            self.places = vec![EMPTY; PLACES];
        }
        let Some(place) = self.places.get_mut(hash.slot(PLACES)) else {
            return;
        };
        place.version = version;
        place.audiences = named.audiences;
        place.length = length;
        if let Some(text) = place.topic.get_mut(..topic.len()) {
            text.copy_from_slice(topic);
        }
    }
}

impl Place {
    #[inline]
    fn is_about(&self, topic: &[u8]) -> bool {
        usize::from(self.length) == topic.len() && self.topic.get(..topic.len()) == Some(topic)
    }
}

/// A number no tree of this process has had.
pub(super) fn next_version() -> u64 {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    LATEST.fetch_add(1, Ordering::Relaxed) + 1
}

const PLACES: usize = 512;
const AUDIENCES: usize = 2;
const TOPIC_BYTES_MAX: usize = 111;
const EMPTY: Place = Place {
    version: 0,
    audiences: [NONE; AUDIENCES],
    length: 0,
    topic: [0; TOPIC_BYTES_MAX],
};
const _: () = assert!(size_of::<Place>() == 128);
