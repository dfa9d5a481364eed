//! Verdicts on publishes that the policies allow to be reused: a few per session.
//!
//! The key holds everything a hook was told, compared in full; never a hash alone. Only the size of the payload does
//! not count where every policy that was asked said so. A generation that ends takes all its verdicts with it, and so
//! does a change of the session's terms.

use super::verdict::{PublishFacts, PublishVerdict};
use rustix::time::{ClockId, clock_gettime};
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// Verdicts of one session.
const ENTRIES_MAX: usize = 8;
/// Verdicts on longer topics are not kept: bounds a session's cache to about 3 KiB.
const TOPIC_BYTES_MAX: usize = 256;

/// A small cache, searched from end to end. When full, the entry that was stored longest ago gives way.
#[derive(Debug, Default)]
pub(super) struct VerdictCache {
    /// Of the entry at the same place: tells most of those apart that are not meant, without looking at them.
    marks: [u32; ENTRIES_MAX],
    entries: Vec<Entry>,
    /// The next to be overwritten once full.
    oldest: usize,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    whatever_size: bool,
    topic: Box<str>,
    expires_at: Duration,
    verdict: PublishVerdict,
}

/// What a hook is told of a publish besides session, tag and topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) payload_bytes: u32,
}

impl Key {
    pub(super) fn of(message: &PublishFacts<'_>) -> Self {
        Self {
            qos: message.qos,
            retain: message.retain,
            payload_bytes: message.payload_bytes,
        }
    }
}

/// How far a verdict may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reuse {
    /// For how long, in 100 ms; 0: not at all.
    pub(super) ticks: u16,
    /// For payloads of any size.
    pub(super) whatever_size: bool,
}

impl Reuse {
    pub(super) const NOT: Self = Self {
        ticks: 0,
        whatever_size: false,
    };

    /// What both allow.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            ticks: self.ticks.min(other.ticks),
            whatever_size: self.whatever_size && other.whatever_size,
        }
    }

    fn lifetime(self) -> Duration {
        Duration::from_millis(u64::from(self.ticks) * 100)
    }
}

impl Entry {
    fn fits(&self, topic: &str, key: Key) -> bool {
        self.key.qos == key.qos
            && self.key.retain == key.retain
            && (self.whatever_size || self.key.payload_bytes == key.payload_bytes)
            && *self.topic == *topic
    }
}

impl VerdictCache {
    /// The verdict, if there is one that may still be used.
    pub(super) fn get(&self, topic: &str, key: Key) -> Option<&PublishVerdict> {
        let mark = mark(topic, key);
        let now = coarse_now();
        let usable = |(marked, entry): &(&u32, &Entry)| {
            **marked == mark && entry.fits(topic, key) && now < entry.expires_at
        };
        let (_, entry) = self.marks.iter().zip(&self.entries).find(usable)?;
        Some(&entry.verdict)
    }

    /// Keeps a verdict as long and for what it may be reused.
    pub(super) fn put(&mut self, topic: &str, key: Key, verdict: &PublishVerdict, reuse: Reuse) {
        if topic.len() > TOPIC_BYTES_MAX || reuse.ticks == 0 {
            return;
        }
        let mark = mark(topic, key);
        let entry = Entry {
            key,
            whatever_size: reuse.whatever_size,
            topic: topic.into(),
            expires_at: coarse_now() + reuse.lifetime(),
            verdict: verdict.clone(),
        };
        // It was not found, or it would not have been asked for: what is here for the same key has expired.
        let same = self.entries.iter().position(|old| old.fits(topic, key));
        let index = match same {
            Some(index) => index,
            None if self.entries.len() < ENTRIES_MAX => self.entries.len(),
            None => {
                let oldest = self.oldest;
                self.oldest = (oldest + 1) % ENTRIES_MAX;
                oldest
            }
        };
        if let Some(kept) = self.marks.get_mut(index) {
            *kept = mark;
        }
        match self.entries.get_mut(index) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }
}

/// Differs between nearly all topics; the size of the payload has no part in it.
fn mark(topic: &str, key: Key) -> u32 {
    // Not seeded: a client that finds topics with the same mark slows down its own eight entries.
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(topic.as_bytes());
    hasher.write_u8(key.qos << 1 | u8::from(key.retain));
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Monotonic time that is cheap to read and at most some milliseconds old. Lifetimes are multiples of 100 ms.
fn coarse_now() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::MonotonicCoarse;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key {
        qos: 1,
        retain: false,
        payload_bytes: 10,
    };
    const LARGER: Key = Key {
        payload_bytes: 11,
        ..KEY
    };
    const LONG: Reuse = Reuse {
        ticks: u16::MAX,
        whatever_size: false,
    };
    const FOR_ANY_SIZE: Reuse = Reuse {
        whatever_size: true,
        ..LONG
    };

    fn allow(throttle_ms: u16) -> PublishVerdict {
        PublishVerdict::Allow { throttle_ms }
    }

    #[test]
    fn a_verdict_fits_only_what_it_was_given_for() {
        let mut cache = VerdictCache::default();
        cache.put("a", KEY, &allow(0), LONG);
        assert_eq!(cache.get("a", KEY), Some(&allow(0)));
        assert_eq!(cache.get("b", KEY), None);
        assert_eq!(cache.get("a", Key { qos: 2, ..KEY }), None);
        assert_eq!(cache.get("a", Key { retain: true, ..KEY }), None);
        assert_eq!(cache.get("a", LARGER), None);
    }

    #[test]
    fn a_verdict_for_any_size_fits_every_size_and_nothing_else() {
        let mut cache = VerdictCache::default();
        cache.put("a", KEY, &allow(0), FOR_ANY_SIZE);
        assert_eq!(cache.get("a", KEY), Some(&allow(0)));
        assert_eq!(cache.get("a", LARGER), Some(&allow(0)));
        assert_eq!(cache.get("b", KEY), None);
        assert_eq!(cache.get("a", Key { qos: 2, ..LARGER }), None);
        assert_eq!(
            cache.get(
                "a",
                Key {
                    retain: true,
                    ..LARGER
                }
            ),
            None
        );
    }

    #[test]
    fn of_several_policies_all_must_say_that_the_size_does_not_matter() {
        let short = Reuse {
            ticks: 1,
            whatever_size: true,
        };
        assert_eq!(short.and(FOR_ANY_SIZE), short);
        assert!(!FOR_ANY_SIZE.and(LONG).whatever_size && !LONG.and(FOR_ANY_SIZE).whatever_size);
        assert_eq!(FOR_ANY_SIZE.and(Reuse::NOT), Reuse::NOT);
    }

    #[test]
    fn a_verdict_is_used_no_longer_than_its_lifetime() {
        let mut cache = VerdictCache::default();
        let shortest = Reuse { ticks: 1, ..LONG };
        cache.put("a", KEY, &allow(0), shortest);
        cache.put("b", KEY, &allow(0), Reuse::NOT);
        assert_eq!(cache.get("b", KEY), None);
        let expired_at = coarse_now() + shortest.lifetime();
        while coarse_now() < expired_at {
            std::thread::yield_now();
        }
        assert_eq!(cache.get("a", KEY), None);
        // One that has expired does not hide one that has not.
        cache.put("a", LARGER, &allow(1), FOR_ANY_SIZE);
        assert_eq!(cache.get("a", KEY), Some(&allow(1)));
    }

    #[test]
    fn when_full_the_oldest_gives_way() {
        let mut cache = VerdictCache::default();
        for n in 0..u16::try_from(ENTRIES_MAX).unwrap() + 2 {
            cache.put(&n.to_string(), KEY, &allow(n), LONG);
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX);
        assert_eq!(cache.get("0", KEY), None);
        assert_eq!(cache.get("1", KEY), None);
        assert_eq!(cache.get("2", KEY), Some(&allow(2)));
        assert_eq!(cache.get("9", KEY), Some(&allow(9)));
        cache.put("9", KEY, &allow(99), LONG);
        assert_eq!(cache.get("9", KEY), Some(&allow(99)));
        assert_eq!(cache.get("2", KEY), Some(&allow(2)));
    }

    #[test]
    fn long_topics_are_not_kept() {
        let mut cache = VerdictCache::default();
        let topic = "x".repeat(TOPIC_BYTES_MAX + 1);
        cache.put(&topic, KEY, &allow(0), LONG);
        assert_eq!(cache.get(&topic, KEY), None);
    }
}
