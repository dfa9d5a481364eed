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

impl RecentTopics {
    /// The audiences of a topic, some of them `NONE`: remembered, or found by `walk`. `None`: they cannot be kept here.
    #[inline]
    pub(super) fn audiences(
        &mut self,
        topic: &[u8],
        hash: LevelHash,
        version: u64,
        walk: impl FnOnce(&mut dyn FnMut(u32)),
    ) -> Option<[u32; AUDIENCES]> {
        let length = u8::try_from(topic.len()).ok()?;
        if topic.len() > TOPIC_BYTES_MAX {
            return None;
        }
        if self.places.is_empty() {
            self.places = vec![EMPTY; PLACES];
        }
        let place = self.places.get_mut(hash.slot(PLACES))?;
        if place.version != version || place.length != length || !place.is_about(topic) {
            return place.learn(topic, length, version, walk);
        }
        Some(place.audiences)
    }
}

impl Place {
    #[inline]
    fn is_about(&self, topic: &[u8]) -> bool {
        self.topic.get(..topic.len()) == Some(topic)
    }

    fn learn(
        &mut self,
        topic: &[u8],
        length: u8,
        version: u64,
        walk: impl FnOnce(&mut dyn FnMut(u32)),
    ) -> Option<[u32; AUDIENCES]> {
        let mut audiences = [NONE; AUDIENCES];
        let mut count = 0;
        walk(&mut |audience| {
            if let Some(place) = audiences.get_mut(count) {
                *place = audience;
            }
            count += 1;
        });
        if count > AUDIENCES {
            return None;
        }
        self.version = version;
        self.audiences = audiences;
        self.length = length;
        if let Some(text) = self.topic.get_mut(..topic.len()) {
            text.copy_from_slice(topic);
        }
        Some(audiences)
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
