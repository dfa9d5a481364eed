//! The key-value store of one policy: capability `kv`. Shared by all its instances and generations.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

mod entry;
#[cfg(test)]
mod tests;

use entry::{Entry, Expiry, Value};

/// Longest key.
const KEY_BYTES_MAX: usize = 256;
/// Longest value.
const VALUE_BYTES_MAX: usize = 4096;
/// What an entry is charged beyond its key and value, so that many tiny entries are bounded too.
const ENTRY_BYTES: usize = 96;

/// Is told of each change in the key-value data of policies, so that it can outlive the process.
///
/// It is called while a publish may wait for it, with the data of the policy locked: it must be quick, must not block,
/// and must not call policies. What changes often (a counter, with each publish) it is told as often: only the last
/// word on a key counts, and writing that down once for many changes is its part.
pub trait KeyValueJournal: Send + Sync {
    /// A policy has another value under this key, or (`None`) has it no more. The value is for
    /// [`super::Policies::resume`], and at most 4 KiB and 18 bytes long.
    fn changed(&self, policy: &str, key: &str, value: Option<&[u8]>);
}

/// A small map, bounded in bytes. At the limit `put` fails: nothing that is still valid is evicted.
pub(super) struct Kv {
    policy: Arc<str>,
    bytes_max: AtomicUsize,
    journal: Option<Arc<dyn KeyValueJournal>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<String, Entry, foldhash::fast::RandomState>,
    bytes: usize,
    /// No sweep before this: a full store is not searched for expired entries at each `put`.
    next_sweep: Option<Instant>,
    /// For writing entries down without asking for memory each time.
    scratch: Vec<u8>,
}

/// What became of an entry that was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// It is there again.
    Taken,
    /// Its time was over.
    Expired,
    /// It no longer fits, or never could have.
    Refused,
    /// It is not what was written.
    Damaged,
}

impl Kv {
    pub(super) fn new(policy: Arc<str>, bytes_max: usize, journal: Option<Arc<dyn KeyValueJournal>>) -> Self {
        Self {
            policy,
            bytes_max: AtomicUsize::new(bytes_max),
            journal,
            inner: Mutex::default(),
        }
    }

    /// Changes the bound; what is there stays.
    pub(super) fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// The value, unless expired. A counter reads as its decimal digits.
    pub(super) fn get(&self, key: &str, now: Instant) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        let entry = inner.entries.get(key).filter(|entry| entry.is_live(now))?;
        Some(match &entry.value {
            Value::Bytes(bytes) => bytes.to_vec(),
            Value::Counter(count) => count.to_string().into_bytes(),
        })
    }

    /// False when the key or value is too long or the store is full. A ttl of 0 keeps it for good.
    pub(super) fn put(&self, key: String, value: Vec<u8>, ttl_seconds: u32, now: Instant) -> bool {
        if value.len() > VALUE_BYTES_MAX {
            return false;
        }
        let entry = Entry {
            value: Value::Bytes(value.into_boxed_slice()),
            expiry: expiry(ttl_seconds, now),
        };
        self.insert(&mut self.inner.lock(), key, entry, now)
    }

    pub(super) fn delete(&self, key: &str) {
        let mut inner = self.inner.lock();
        if inner.remove(key) {
            // Under the lock, as always: the journal hears of changes in their order.
            self.tell_gone(key);
        }
    }

    /// Adds, saturating, to the counter under the key. `None`: the store is full or the value is no counter.
    pub(super) fn increment(&self, key: String, delta: i64, ttl_seconds: u32, now: Instant) -> Option<i64> {
        let mut inner = self.inner.lock();
        let Inner { entries, scratch, .. } = &mut *inner;
        if let Some(entry) = entries.get_mut(&key).filter(|entry| entry.is_live(now)) {
            let Value::Counter(count) = &mut entry.value else {
                return None;
            };
            let before = std::mem::replace(count, count.saturating_add(delta));
            let count = *count;
            if count != before {
                self.tell(&key, entry, scratch);
            }
            return Some(count);
        }
        let entry = Entry {
            value: Value::Counter(delta),
            expiry: expiry(ttl_seconds, now),
        };
        self.insert(&mut inner, key, entry, now).then_some(delta)
    }

    /// Takes an entry as it was written down, if there is room for it. The journal, which has it, is not told; but it
    /// is, if the entry is not taken.
    pub(super) fn restore(&self, key: &str, written: &[u8], now: Instant, wall: SystemTime) -> Restored {
        let mut inner = self.inner.lock();
        let restored = match Entry::read(written, now, wall) {
            None => Restored::Damaged,
            Some(entry) if !entry.is_live(now) => Restored::Expired,
            Some(entry) if entry.value.len() > VALUE_BYTES_MAX => Restored::Refused,
            Some(entry) => match self.make_room(&mut inner, key, &entry, now) {
                true => {
                    inner.entries.insert(key.to_owned(), entry);
                    return Restored::Taken;
                }
                false => Restored::Refused,
            },
        };
        self.tell_gone(key);
        restored
    }

    /// Whether it holds nothing, not even what has expired.
    pub(super) fn is_empty(&self) -> bool {
        self.inner.lock().entries.is_empty()
    }

    /// Removes everything.
    pub(super) fn clear(&self) {
        let mut inner = self.inner.lock();
        inner.bytes = 0;
        for (key, _) in inner.entries.drain() {
            self.tell_gone(&key);
        }
    }

    fn insert(&self, inner: &mut Inner, key: String, entry: Entry, now: Instant) -> bool {
        if !self.make_room(inner, &key, &entry, now) {
            return false;
        }
        self.tell(&key, &entry, &mut inner.scratch);
        inner.entries.insert(key, entry);
        true
    }

    /// Counts an entry in, in place of what is there under its key; false: there is no room.
    fn make_room(&self, inner: &mut Inner, key: &str, entry: &Entry, now: Instant) -> bool {
        if key.len() > KEY_BYTES_MAX {
            return false;
        }
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let added = cost(key, &entry.value);
        if inner.bytes_without(key) + added > bytes_max {
            inner.sweep(now, |key| self.tell_gone(key));
        }
        // The sweep may have removed the old value itself.
        let others = inner.bytes_without(key);
        if others + added > bytes_max {
            return false;
        }
        inner.bytes = others + added;
        true
    }

    fn tell(&self, key: &str, entry: &Entry, scratch: &mut Vec<u8>) {
        if let Some(journal) = &self.journal {
            entry.write(scratch);
            journal.changed(&self.policy, key, Some(scratch));
        }
    }

    fn tell_gone(&self, key: &str) {
        if let Some(journal) = &self.journal {
            journal.changed(&self.policy, key, None);
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

impl Inner {
    /// What all entries cost but the one under this key.
    fn bytes_without(&self, key: &str) -> usize {
        self.bytes - self.entries.get(key).map_or(0, |old| cost(key, &old.value))
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else {
            return false;
        };
        self.bytes -= cost(&key, &entry.value);
        true
    }

    fn sweep(&mut self, now: Instant, gone: impl Fn(&str)) {
        if self.next_sweep.is_some_and(|at| now < at) {
            return;
        }
        self.next_sweep = Some(now + Duration::from_millis(100));
        let mut freed = 0;
        self.entries.retain(|key, entry| {
            let live = entry.is_live(now);
            if !live {
                freed += cost(key, &entry.value);
                gone(key);
            }
            live
        });
        self.bytes -= freed;
    }
}

fn cost(key: &str, value: &Value) -> usize {
    ENTRY_BYTES + key.len() + value.len()
}

fn expiry(ttl_seconds: u32, now: Instant) -> Option<Expiry> {
    (ttl_seconds > 0).then(|| Expiry::after(Duration::from_secs(ttl_seconds.into()), now, SystemTime::now()))
}
