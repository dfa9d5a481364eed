//! A hash index: from a hash to ids of things kept elsewhere.

use super::arena::NONE;

/// Open addressing with linear probing, 8 bytes a slot, at most three quarters full.
///
/// What an id stands for is known to the caller, who passes the hash and compares. Removing moves later entries up
/// instead of leaving marks, and a table mostly empty shrinks, so it costs what it holds.
#[derive(Default)]
pub(super) struct Table {
    /// A power of two of slots, or none.
    slots: Vec<Entry>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    /// `NONE` where the slot is empty.
    id: u32,
}

impl Table {
    /// What `look` finds behind the first id with this hash where it finds something.
    pub(super) fn find<T>(&self, hash: u32, mut look: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let mut at = self.home(hash)?;
        loop {
            let entry = self.slots.get(at)?;
            if entry.id == NONE {
                return None;
            }
            if entry.hash == hash
                && let Some(found) = look(entry.id)
            {
                return Some(found);
            }
            at = self.after(at);
        }
    }

    /// Adds an id that is not there yet.
    pub(super) fn insert(&mut self, hash: u32, id: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(SLOTS_MIN));
        }
        self.place(Entry { hash, id });
        self.len += 1;
    }

    /// Puts another id in the place of one.
    pub(super) fn replace(&mut self, hash: u32, old: u32, new: u32) {
        if let Some(entry) = self.slot_of(hash, old).and_then(|at| self.slots.get_mut(at)) {
            entry.id = new;
        }
    }

    /// Removes an id.
    pub(super) fn remove(&mut self, hash: u32, id: u32) {
        let Some(mut hole) = self.slot_of(hash, id) else {
            return;
        };
        let mut at = hole;
        loop {
            at = self.after(at);
            let Some(entry) = self.slots.get(at).copied() else {
                return;
            };
            let Some(home) = self.home(entry.hash).filter(|_| entry.id != NONE) else {
                break;
            };
            // It may move up into the hole if its probing starts at or before the hole.
            if self.distance(home, at) >= self.distance(hole, at) {
                self.set(hole, entry);
                hole = at;
            }
        }
        self.set(hole, EMPTY);
        self.len -= 1;
        if self.slots.len() > SLOTS_MIN && self.len * 8 < self.slots.len() {
            self.resize(self.slots.len() / 2);
        } else if self.len == 0 {
            self.slots = Vec::new();
        }
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        for entry in old {
            if entry.id != NONE {
                self.place(entry);
            }
        }
    }

    fn place(&mut self, entry: Entry) {
        let Some(mut at) = self.home(entry.hash) else {
            return;
        };
        while self.slots.get(at).is_some_and(|slot| slot.id != NONE) {
            at = self.after(at);
        }
        self.set(at, entry);
    }

    fn slot_of(&self, hash: u32, id: u32) -> Option<usize> {
        let mut at = self.home(hash)?;
        loop {
            match self.slots.get(at)?.id {
                NONE => return None,
                found if found == id => return Some(at),
                _ => at = self.after(at),
            }
        }
    }

    fn set(&mut self, at: usize, entry: Entry) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = entry;
        }
    }

    /// Where probing for a hash starts; `None` in a table without slots.
    fn home(&self, hash: u32) -> Option<usize> {
        Some(hash as usize & self.slots.len().checked_sub(1)?)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & self.slots.len().saturating_sub(1)
    }

    /// Steps from one slot on to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.slots.len().saturating_sub(1)
    }
}

#[cfg(test)]
impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

const EMPTY: Entry = Entry { hash: 0, id: NONE };
const SLOTS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn it_shrinks_as_it_empties() {
        let mut table = Table::default();
        for id in 0_u32..100_000 {
            table.insert(id.wrapping_mul(0x9E37_79B9), id);
        }
        for id in 0_u32..100_000 {
            table.remove(id.wrapping_mul(0x9E37_79B9), id);
            assert!(table.slots.len() <= SLOTS_MIN || table.len * 8 >= table.slots.len());
        }
        assert_eq!(table.slots.capacity(), 0);
    }

    proptest! {
        /// Few hashes, so that probing sequences overlap and wrap around.
        #[test]
        fn it_holds_what_was_put_and_not_removed(ops in prop::collection::vec((0_u32..40, prop::bool::ANY), 0..200)) {
            let hash = |id: u32| [7, u32::MAX, 6, 14][id as usize % 4];
            let mut table = Table::default();
            let mut model = HashSet::new();
            for (id, put) in ops {
                if put && model.insert(id) {
                    table.insert(hash(id), id);
                } else if !put {
                    model.remove(&id);
                    table.remove(hash(id), id);
                }
                prop_assert_eq!(table.len, model.len());
                for id in 0..40 {
                    let found = table.find(hash(id), |found| (found == id).then_some(())).is_some();
                    prop_assert_eq!(found, model.contains(&id));
                }
            }
        }
    }
}
