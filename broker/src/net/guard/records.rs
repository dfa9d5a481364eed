//! How much has happened lately, reckoned in two ways, and a bounded memory for many who are reckoned with.

use crate::config::Threshold;
use crate::policy::budget::Rate;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// How full a rate is: it drains as time passes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    value: f64,
    drained_at: Option<Instant>,
}

impl Level {
    /// Whether one more is within the rate.
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53, and a rate above is none"
    )]
    pub(super) fn fits(&mut self, rate: Rate, now: Instant) -> bool {
        self.drain(rate.per_second as f64, now);
        self.value + 1.0 <= rate.burst.max(1) as f64
    }

    /// One more.
    pub(super) fn fill(&mut self) {
        self.value += 1.0;
    }

    fn drain(&mut self, per_second: f64, now: Instant) {
        let before = self.drained_at.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(before);
        self.value = (self.value - passed.as_secs_f64() * per_second).max(0.0);
    }
}

/// What happened within a window: exact for what began with it, while the window before fades out in proportion.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    began_at: Option<Instant>,
    count: u32,
    before: u32,
}

impl Tally {
    /// One more; true: that is too many, and counting begins anew.
    pub(super) fn exceeds(&mut self, threshold: Threshold, now: Instant) -> bool {
        let Threshold { count, window } = threshold;
        let mut began_at = self.began_at.unwrap_or(now);
        let passed = now.saturating_duration_since(began_at);
        if passed >= 2 * window {
            *self = Self::default();
            began_at = now;
        } else if passed >= window {
            self.before = std::mem::take(&mut self.count);
            began_at += window;
        }
        self.began_at = Some(began_at);
        self.count = self.count.saturating_add(1);
        let into = now.saturating_duration_since(began_at).as_secs_f64() / window.as_secs_f64();
        let lately = f64::from(self.count) + f64::from(self.before) * (1.0 - into).max(0.0);
        let is_too_many = lately >= f64::from(count);
        if is_too_many {
            *self = Self::default();
        }
        is_too_many
    }
}

/// What is remembered by name. When there are too many names, those that were not asked for longest are forgotten, half
/// of them at once: a name that keeps coming stays.
#[derive(Debug)]
pub(super) struct Records<K, V> {
    recent: Half<K, V>,
    older: Half<K, V>,
}

type Half<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

impl<K, V> Default for Records<K, V> {
    fn default() -> Self {
        Self {
            recent: Half::default(),
            older: Half::default(),
        }
    }
}

impl<K: Eq + Hash + Copy, V: Default> Records<K, V> {
    /// What is remembered of this name: nothing if it is new or forgotten.
    pub(super) fn of(&mut self, name: K) -> &mut V {
        if self.recent.len() >= RECORDS_MAX / 2 && !self.recent.contains_key(&name) {
            // What was asked for just now is not among those that go.
            let kept = self.older.remove(&name);
            self.older = std::mem::take(&mut self.recent);
            self.older.extend(kept.map(|kept| (name, kept)));
        }
        let older = &mut self.older;
        self.recent
            .entry(name)
            .or_insert_with(|| older.remove(&name).unwrap_or_default())
    }
}

impl<K, V> Records<K, V> {
    pub(super) fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }
}

/// Of one kind; about 60 B each.
pub(super) const RECORDS_MAX: usize = 65_536;
