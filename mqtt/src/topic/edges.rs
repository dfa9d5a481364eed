//! From a node and the name of a level to the child with that name, for all nodes of a tree together.

use super::table::Table;
use std::hash::{BuildHasher, RandomState};

/// One hash index over all named children, about 16 bytes each.
///
/// It is split so that growing rehashes a small part at a time: with a million children no insertion moves more than
/// some ten thousand entries. The hash is keyed: a client that chooses names cannot choose collisions.
pub(super) struct Edges {
    shards: Box<[Table]>,
    keys: [u64; 2],
}

/// The hash of the name of a level, computed once however many nodes it is looked up in.
#[derive(Clone, Copy)]
pub(super) struct LevelHash(u64);

impl LevelHash {
    /// One of so many places, a power of two, for what was hashed.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are as good as any")]
    pub(super) fn slot(self, places: usize) -> usize {
        self.0 as usize & (places - 1)
    }
}

impl Edges {
    /// Names are short, and each level of each topic is hashed: two multiplications for up to 16 bytes, with secret
    /// keys.
    #[inline]
    pub(super) fn hash(&self, level: &[u8]) -> LevelHash {
        let [key, state] = self.keys;
        let (words, rest) = level.as_chunks::<16>();
        // Not just the length: a name could make up for that with its bytes.
        let mut state = state ^ key.wrapping_mul(level.len() as u64);
        for word in words {
            state = mix(*word, key, state);
        }
        if !rest.is_empty() {
            let (low, high) = ends(rest);
            state = fold(low ^ key, high ^ state);
        }
        LevelHash(fold(state ^ key, MULTIPLE))
    }

    /// What `look` finds behind a child, among those with the same hash.
    pub(super) fn find<T>(
        &self,
        parent: u32,
        level: LevelHash,
        look: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let (shard, hash) = place(parent, level);
        self.shards.get(shard)?.find(hash, look)
    }

    pub(super) fn insert(&mut self, parent: u32, level: LevelHash, child: u32) {
        let (shard, hash) = place(parent, level);
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.insert(hash, child);
        }
    }

    pub(super) fn remove(&mut self, parent: u32, level: LevelHash, child: u32) {
        let (shard, hash) = place(parent, level);
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.remove(hash, child);
        }
    }
}

#[cfg(test)]
impl Edges {
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(Table::len).sum()
    }
}

impl Default for Edges {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Table::default()).collect(),
            keys: [RandomState::new().hash_one(0), RandomState::new().hash_one(1)],
        }
    }
}

/// Takes 16 bytes in: what they are multiplied with nobody outside knows.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each half is taken")]
fn mix(word: [u8; 16], key: u64, state: u64) -> u64 {
    let word = u128::from_le_bytes(word);
    let (low, high) = (word as u64, (word >> 64) as u64);
    fold(low ^ key, high ^ state)
}

/// Both ends of a name of up to 15 bytes, which overlap or leave nothing out between them: with the length, every name
/// has its own. Reading it in one piece would first have to put it together byte by byte.
#[inline]
fn ends(name: &[u8]) -> (u64, u64) {
    fn both<const N: usize>(name: &[u8]) -> Option<([u8; N], [u8; N])> {
        Some((*name.first_chunk()?, *name.last_chunk()?))
    }
    if let Some((first, last)) = both::<8>(name) {
        return (u64::from_le_bytes(first), u64::from_le_bytes(last));
    }
    if let Some((first, last)) = both::<4>(name) {
        return (u32::from_le_bytes(first).into(), u32::from_le_bytes(last).into());
    }
    if let Some((first, last)) = both::<2>(name) {
        return (u16::from_le_bytes(first).into(), u16::from_le_bytes(last).into());
    }
    (name.first().copied().unwrap_or_default().into(), 0)
}

/// The two halves of the product, on each other.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each half is taken")]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product >> 64) as u64 ^ product as u64
}

/// Odd, its bits without a pattern.
const MULTIPLE: u64 = 0x9E37_79B9_7F4A_7C15;

/// The shard, and the hash within it.
fn place(parent: u32, level: LevelHash) -> (usize, u32) {
    // The level's hash is keyed already; the multiplications spread the parents.
    let mixed =
        (level.0 ^ u64::from(parent).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    ((mixed >> 58) as usize, (mixed >> 26 & 0xFFFF_FFFF) as u32)
}

const SHARDS: usize = 1 << 6;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_byte_of_a_name_counts() {
        let edges = Edges::default();
        for length in 0..50 {
            let name = vec![b'x'; length];
            let mut hashes = HashSet::from([edges.hash(&name).0]);
            assert!(hashes.insert(edges.hash(&vec![b'x'; length + 1]).0));
            for at in 0..length {
                let mut other = name.clone();
                other[at] = b'y';
                assert!(hashes.insert(edges.hash(&other).0), "byte {at} of {length}");
            }
        }
    }

    #[test]
    fn a_tree_of_its_own_has_hashes_of_its_own() {
        assert_ne!(Edges::default().hash(b"a").0, Edges::default().hash(b"a").0);
    }
}
