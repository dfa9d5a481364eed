//! The key-value store of one policy: capability `kv`. Shared by all its instances and generations.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longest key.
const KEY_BYTES_MAX: usize = 256;
/// Longest value.
const VALUE_BYTES_MAX: usize = 4096;
/// What an entry is charged beyond its key and value, so that many tiny entries are bounded too.
const ENTRY_BYTES: usize = 96;

/// A small map, bounded in bytes. At the limit `put` fails: nothing that is still valid is evicted.
#[derive(Debug)]
pub(super) struct Kv {
    bytes_max: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<String, Entry, foldhash::fast::RandomState>,
    bytes: usize,
    /// No sweep before this: a full store is not searched for expired entries at each `put`.
    next_sweep: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    expires_at: Option<Instant>,
}

#[derive(Debug)]
enum Value {
    Bytes(Box<[u8]>),
    Counter(i64),
}

impl Value {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Counter(_) => size_of::<i64>(),
        }
    }
}

impl Kv {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: AtomicUsize::new(bytes_max),
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
            expires_at: expiry(ttl_seconds, now),
        };
        self.insert(&mut self.inner.lock(), key, entry, now)
    }

    pub(super) fn delete(&self, key: &str) {
        self.inner.lock().remove(key);
    }

    /// Adds, saturating, to the counter under the key. `None`: the store is full or the value is no counter.
    pub(super) fn increment(&self, key: String, delta: i64, ttl_seconds: u32, now: Instant) -> Option<i64> {
        let mut inner = self.inner.lock();
        if let Some(entry) = inner.entries.get_mut(&key).filter(|entry| entry.is_live(now)) {
            let Value::Counter(count) = &mut entry.value else {
                return None;
            };
            *count = count.saturating_add(delta);
            return Some(*count);
        }
        let entry = Entry {
            value: Value::Counter(delta),
            expires_at: expiry(ttl_seconds, now),
        };
        self.insert(&mut inner, key, entry, now).then_some(delta)
    }

    fn insert(&self, inner: &mut Inner, key: String, entry: Entry, now: Instant) -> bool {
        if key.len() > KEY_BYTES_MAX {
            return false;
        }
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let replaced = inner.entries.get(&key).map_or(0, |old| cost(&key, &old.value));
        let added = cost(&key, &entry.value);
        if inner.bytes - replaced + added > bytes_max {
            inner.sweep(now);
        }
        // The sweep may have removed the old value itself.
        let replaced = inner.entries.get(&key).map_or(0, |old| cost(&key, &old.value));
        if inner.bytes - replaced + added > bytes_max {
            return false;
        }
        inner.bytes = inner.bytes - replaced + added;
        inner.entries.insert(key, entry);
        true
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

impl Inner {
    fn remove(&mut self, key: &str) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.bytes -= cost(&key, &entry.value);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.next_sweep.is_some_and(|at| now < at) {
            return;
        }
        self.next_sweep = Some(now + Duration::from_millis(100));
        let mut freed = 0;
        self.entries.retain(|key, entry| {
            let live = entry.is_live(now);
            if !live {
                freed += cost(key, &entry.value);
            }
            live
        });
        self.bytes -= freed;
    }
}

impl Entry {
    fn is_live(&self, now: Instant) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

fn cost(key: &str, value: &Value) -> usize {
    ENTRY_BYTES + key.len() + value.len()
}

fn expiry(ttl_seconds: u32, now: Instant) -> Option<Instant> {
    (ttl_seconds > 0).then(|| now + Duration::from_secs(ttl_seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_gone_when_its_ttl_is_over() {
        let (kv, now) = (Kv::new(1024), Instant::now());
        assert!(kv.put("k".into(), b"v".to_vec(), 10, now));
        assert_eq!(kv.get("k", now + Duration::from_secs(9)), Some(b"v".to_vec()));
        assert_eq!(kv.get("k", now + Duration::from_secs(10)), None);
    }

    #[test]
    fn a_full_store_refuses_and_takes_again_what_expired_entries_leave() {
        let (kv, now) = (Kv::new(2 * (ENTRY_BYTES + 2)), Instant::now());
        assert!(kv.put("a".into(), b"1".to_vec(), 1, now));
        assert!(kv.put("b".into(), b"1".to_vec(), 0, now));
        assert!(!kv.put("c".into(), b"1".to_vec(), 0, now));
        assert!(kv.put("c".into(), b"1".to_vec(), 0, now + Duration::from_secs(1)));
        assert_eq!(kv.get("b", now), Some(b"1".to_vec()));
    }

    #[test]
    fn replacing_and_deleting_keep_the_account() {
        let (kv, now) = (Kv::new(4096), Instant::now());
        assert!(kv.put("a".into(), vec![0; 100], 0, now));
        assert!(kv.put("a".into(), vec![0; 10], 0, now));
        assert_eq!(kv.bytes(), ENTRY_BYTES + 11);
        kv.delete("a");
        kv.delete("a");
        assert_eq!(kv.bytes(), 0);
    }

    #[test]
    fn too_long_keys_and_values_are_refused() {
        let (kv, now) = (Kv::new(1 << 20), Instant::now());
        assert!(!kv.put("k".repeat(KEY_BYTES_MAX + 1), vec![], 0, now));
        assert!(!kv.put("k".into(), vec![0; VALUE_BYTES_MAX + 1], 0, now));
        assert_eq!(kv.increment("k".repeat(KEY_BYTES_MAX + 1), 1, 0, now), None);
    }

    #[test]
    fn counters_saturate_and_a_value_is_no_counter() {
        let (kv, now) = (Kv::new(1024), Instant::now());
        assert_eq!(kv.increment("n".into(), i64::MAX, 0, now), Some(i64::MAX));
        assert_eq!(kv.increment("n".into(), 1, 0, now), Some(i64::MAX));
        assert!(kv.put("v".into(), b"7".to_vec(), 0, now));
        assert_eq!(kv.increment("v".into(), 1, 0, now), None);
    }
}
