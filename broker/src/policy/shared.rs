//! What many sessions have in common is held once: rules, budgets and whole terms that are equal.
//!
//! A [`Pool`] knows a bounded number of values, and holds none: a value ends with the last session that has it. What
//! the pool has forgotten is merely held twice.

use super::budget::Budget;
use super::grant::Grants;
use super::terms::Terms;
use parking_lot::Mutex;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, Weak};

/// Groups of slots; a value has its place in one of them.
const GROUPS: usize = 128;
/// Slots of a group.
const SLOTS: usize = 8;

/// Everything that sessions share.
pub(super) struct Shared {
    pub(super) terms: Pool<Terms>,
    pub(super) grants: Pool<Grants>,
    pub(super) budgets: Pool<Budget>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            terms: Pool::new(),
            grants: Pool::new(),
            budgets: Pool::new(),
        }
    }
}

/// Finds the one copy of a value.
pub(super) struct Pool<T> {
    groups: Box<[Mutex<[Slot<T>; SLOTS]>]>,
    /// Seeded: clients choose names that become part of rules.
    hasher: foldhash::fast::RandomState,
}

struct Slot<T> {
    hash: u64,
    known: Weak<T>,
}

impl<T: Hash + Eq> Pool<T> {
    fn new() -> Self {
        let group = |_| {
            Mutex::new(std::array::from_fn(|_| Slot {
                hash: 0,
                known: Weak::new(),
            }))
        };
        Self {
            groups: (0..GROUPS).map(group).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    /// The value as others have it already, or as others may have it from now on.
    pub(super) fn share(&self, value: T) -> Arc<T> {
        let hash = self.hasher.hash_one(&value);
        let [index, ..] = hash.to_be_bytes();
        let Some(group) = self.groups.get(usize::from(index) % GROUPS) else {
            return Arc::new(value);
        };
        let mut slots = group.lock();
        for slot in slots.iter().filter(|slot| slot.hash == hash) {
            if let Some(known) = slot.known.upgrade()
                && *known == value
            {
                return known;
            }
        }
        let value = Arc::new(value);
        // What nobody has any more gives way first, then what fewest have: a flood of values that differ cannot push
        // out one that is common.
        if let Some(slot) = slots.iter_mut().min_by_key(|slot| slot.known.strong_count()) {
            *slot = Slot {
                hash,
                known: Arc::downgrade(&value),
            };
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_held_once_and_others_apart() {
        let pool = Pool::new();
        let first = pool.share("a".to_owned());
        assert!(Arc::ptr_eq(&first, &pool.share("a".to_owned())));
        let other = pool.share("b".to_owned());
        assert_eq!((first.as_str(), other.as_str()), ("a", "b"));
    }

    #[test]
    fn a_value_ends_with_its_last_owner() {
        let pool = Pool::new();
        let first = pool.share("a".to_owned());
        let second = pool.share("a".to_owned());
        let watch = Arc::downgrade(&first);
        drop(first);
        assert!(watch.upgrade().is_some());
        drop(second);
        assert!(watch.upgrade().is_none());
        assert_eq!(*pool.share("a".to_owned()), "a");
    }

    #[test]
    fn a_flood_of_rare_values_does_not_push_out_a_common_one() {
        let pool = Pool::new();
        let common = [pool.share(u64::MAX), pool.share(u64::MAX)];
        let rare: Vec<_> = (0..100_000).map(|value| pool.share(value)).collect();
        assert!(Arc::ptr_eq(&common[0], &pool.share(u64::MAX)));
        // It knows some of them and holds none.
        assert!(rare.iter().all(|value| Arc::strong_count(value) == 1));
        let known = rare.iter().filter(|value| Arc::weak_count(value) > 0).count();
        assert!(known <= GROUPS * SLOTS, "{known}");
    }
}
