//! Verdicts on publishes that the policies allow to be reused: a few per session.
//!
//! The key holds everything a hook was told, compared in full; never a hash alone. A generation that ends takes all
//! its verdicts with it, and so does a change of the session's terms.

use super::verdict::PublishVerdict;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Verdicts of one session.
const ENTRIES_MAX: usize = 8;
/// Verdicts on longer topics are not kept: bounds a session's cache to about 3 KiB.
const TOPIC_BYTES_MAX: usize = 256;

/// A small cache, searched from end to end. When full, the entry that was stored longest ago gives way.
#[derive(Debug, Default)]
pub(super) struct VerdictCache {
    entries: Vec<Entry>,
    /// The next to be overwritten once full.
    oldest: usize,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    topic: String,
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

impl VerdictCache {
    /// The verdict, if there is one that may still be used.
    pub(super) fn get(&self, topic: &str, key: Key) -> Option<&PublishVerdict> {
        if self.entries.is_empty() {
            return None;
        }
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.key == key && entry.topic == topic)?;
        (coarse_now() < entry.expires_at).then_some(&entry.verdict)
    }

    /// Keeps a verdict for a while.
    pub(super) fn put(&mut self, topic: &str, key: Key, verdict: &PublishVerdict, ttl: Duration) {
        if topic.len() > TOPIC_BYTES_MAX || ttl.is_zero() {
            return;
        }
        let expires_at = coarse_now() + ttl;
        let same = self
            .entries
            .iter()
            .position(|entry| entry.key == key && entry.topic == topic);
        if same.is_none() && self.entries.len() < ENTRIES_MAX {
            self.entries.push(Entry {
                key,
                topic: topic.to_owned(),
                expires_at,
                verdict: verdict.clone(),
            });
            return;
        }
        let index = same.unwrap_or(self.oldest);
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        entry.key = key;
        entry.topic.clear();
        entry.topic.push_str(topic);
        entry.expires_at = expires_at;
        entry.verdict = verdict.clone();
        if same.is_none() {
            self.oldest = (self.oldest + 1) % ENTRIES_MAX;
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.oldest = 0;
    }
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
    const LONG: Duration = Duration::from_secs(3600);

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
        assert_eq!(
            cache.get(
                "a",
                Key {
                    payload_bytes: 11,
                    ..KEY
                }
            ),
            None
        );
    }

    #[test]
    fn a_verdict_is_used_no_longer_than_its_lifetime() {
        let mut cache = VerdictCache::default();
        cache.put("a", KEY, &allow(0), Duration::from_nanos(1));
        cache.put("b", KEY, &allow(0), Duration::ZERO);
        let started = coarse_now();
        while coarse_now() == started {
            std::hint::spin_loop();
        }
        assert_eq!(cache.get("a", KEY), None);
        assert_eq!(cache.get("b", KEY), None);
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
