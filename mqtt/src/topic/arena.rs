//! Values addressed by a small index that stays the same for as long as they live.

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// Slots in chunks: growing never moves what is there, and a chunk whose last value leaves gives its memory back.
pub(super) struct Arena<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks with room.
    open: Vec<usize>,
    len: usize,
}

struct Chunk<T> {
    slots: Vec<Slot<T>>,
    /// The first slot of the list of free ones, or `slots.len()`.
    free: usize,
    used: usize,
}

enum Slot<T> {
    Used(T),
    /// The next free slot of the chunk.
    Free(u16),
}

impl<T> Arena<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All indices are below.
    pub(super) fn end(&self) -> u32 {
        index(self.chunks.len(), 0)
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        let number = self.open.last().copied().unwrap_or(self.chunks.len());
        if number == self.chunks.len() {
            // 4 billion nodes are 160 GiB; the broker's limits on subscriptions and messages are far below.
            assert!(number < CHUNKS_MAX, "no index is left");
            self.chunks.push(Chunk {
                slots: Vec::new(),
                free: 0,
                used: 0,
            });
            self.open.push(number);
        }
        let Some(chunk) = self.chunks.get_mut(number) else {
            return NONE;
        };
        let slot = chunk.insert(value);
        if chunk.used == CHUNK_SLOTS {
            self.open.pop();
        }
        self.len += 1;
        index(number, slot)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<T> {
        let (number, slot) = position(id);
        let chunk = self.chunks.get_mut(number)?;
        let was_full = chunk.used == CHUNK_SLOTS;
        let value = chunk.remove(slot)?;
        if was_full {
            self.open.push(number);
        }
        self.len -= 1;
        Some(value)
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        let (number, slot) = position(id);
        match self.chunks.get(number)?.slots.get(slot)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let (number, slot) = position(id);
        match self.chunks.get_mut(number)?.slots.get_mut(slot)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            open: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Chunk<T> {
    fn insert(&mut self, value: T) -> usize {
        let slot = self.free;
        self.used += 1;
        match self.slots.get_mut(slot) {
            Some(free) => {
                self.free = match std::mem::replace(free, Slot::Used(value)) {
                    Slot::Free(next) => usize::from(next),
                    Slot::Used(_) => self.slots.len(),
                };
            }
            None => {
                self.slots.push(Slot::Used(value));
                self.free = self.slots.len();
            }
        }
        slot
    }

    fn remove(&mut self, slot: usize) -> Option<T> {
        let found = self.slots.get_mut(slot)?;
        let next = u16::try_from(self.free).ok()?;
        match std::mem::replace(found, Slot::Free(next)) {
            Slot::Used(value) => {
                self.free = slot;
                self.used -= 1;
                if self.used == 0 {
                    *self = Self {
                        slots: Vec::new(),
                        free: 0,
                        used: 0,
                    };
                }
                Some(value)
            }
            free @ Slot::Free(_) => {
                *found = free;
                None
            }
        }
    }
}

/// The index of a slot of a chunk.
fn index(chunk: usize, slot: usize) -> u32 {
    u32::try_from(chunk * CHUNK_SLOTS + slot).unwrap_or(NONE)
}

/// The chunk and slot of an index.
fn position(id: u32) -> (usize, usize) {
    (id as usize / CHUNK_SLOTS, id as usize % CHUNK_SLOTS)
}

const CHUNK_SLOTS: usize = 1 << 12;
/// One less than fits, so that `NONE` and the end are no index.
const CHUNKS_MAX: usize = (1 << 20) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_stays_and_a_freed_one_is_used_again() {
        let mut arena = Arena::default();
        let ids: Vec<u32> = (0..10_000).map(|value| arena.insert(value)).collect();
        assert_eq!(
            ids.iter().map(|id| *arena.get(*id).unwrap()).collect::<Vec<_>>(),
            (0..10_000).collect::<Vec<_>>()
        );
        for id in ids.iter().step_by(3) {
            assert!(arena.remove(*id).is_some());
            assert!(arena.remove(*id).is_none());
            assert!(arena.get(*id).is_none());
        }
        let removed = 10_000_usize.div_ceil(3);
        assert_eq!(arena.len(), 10_000 - removed);
        let end = arena.end();
        let again: Vec<u32> = (0..removed).map(|_| arena.insert(0)).collect();
        assert_eq!((arena.end(), arena.len()), (end, 10_000));
        assert!(again.iter().all(|id| id % 3 == 0));
        assert_eq!(arena.get(ids[1]), Some(&1));
    }

    #[test]
    fn a_chunk_that_empties_gives_its_memory_back() {
        let mut arena = Arena::default();
        let ids: Vec<u32> = (0..3 * CHUNK_SLOTS).map(|value| arena.insert(value)).collect();
        for id in &ids[..2 * CHUNK_SLOTS] {
            arena.remove(*id);
        }
        let held: Vec<usize> = arena.chunks.iter().map(|chunk| chunk.slots.capacity()).collect();
        assert_eq!(held, [0, 0, CHUNK_SLOTS]);
        assert_eq!(arena.get(ids[2 * CHUNK_SLOTS]), Some(&(2 * CHUNK_SLOTS)));
        for value in 0..2 * CHUNK_SLOTS {
            arena.insert(value);
        }
        assert_eq!(arena.chunks.len(), 3);
    }
}
