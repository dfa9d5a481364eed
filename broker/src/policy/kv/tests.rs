//! What a policy's store takes, keeps, and tells.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn kv(bytes_max: usize) -> Kv {
    Kv::new("p".into(), bytes_max, None)
}

/// Keeps the last word on each key, as a store does.
#[derive(Default)]
struct Mirror(Mutex<BTreeMap<String, Vec<u8>>>);

impl KeyValueJournal for Mirror {
    fn changed(&self, policy: &str, key: &str, value: Option<&[u8]>) {
        assert_eq!(policy, "p");
        let mut entries = self.0.lock();
        match value {
            Some(value) => drop(entries.insert(key.to_owned(), value.to_vec())),
            None => assert!(entries.remove(key).is_some(), "{key} was there"),
        }
    }
}

/// A store and what its journal knows.
fn mirrored(bytes_max: usize) -> (Kv, Arc<Mirror>) {
    let mirror = Arc::new(Mirror::default());
    let kv = Kv::new("p".into(), bytes_max, Some(Arc::clone(&mirror) as _));
    (kv, mirror)
}

/// A store as the next process has it, so much later.
fn after_restart(mirror: &Mirror, bytes_max: usize, later: Duration) -> (Kv, Arc<Mirror>, Vec<Restored>) {
    let (kv, next) = mirrored(bytes_max);
    let written = mirror.0.lock().clone();
    *next.0.lock() = written.clone();
    let wall = SystemTime::now() + later;
    let restored = written
        .iter()
        .map(|(key, value)| kv.restore(key, value, Instant::now(), wall))
        .collect();
    (kv, next, restored)
}

#[test]
fn a_value_is_gone_when_its_ttl_is_over() {
    let (kv, now) = (kv(1024), Instant::now());
    assert!(kv.put("k".into(), b"v".to_vec(), 10, now));
    assert_eq!(kv.get("k", now + Duration::from_secs(9)), Some(b"v".to_vec()));
    assert_eq!(kv.get("k", now + Duration::from_secs(10)), None);
}

#[test]
fn a_full_store_refuses_and_takes_again_what_expired_entries_leave() {
    let (kv, now) = (kv(2 * (ENTRY_BYTES + 2)), Instant::now());
    assert!(kv.put("a".into(), b"1".to_vec(), 1, now));
    assert!(kv.put("b".into(), b"1".to_vec(), 0, now));
    assert!(!kv.put("c".into(), b"1".to_vec(), 0, now));
    assert!(kv.put("c".into(), b"1".to_vec(), 0, now + Duration::from_secs(1)));
    assert_eq!(kv.get("b", now), Some(b"1".to_vec()));
}

#[test]
fn replacing_and_deleting_keep_the_account() {
    let (kv, now) = (kv(4096), Instant::now());
    assert!(kv.put("a".into(), vec![0; 100], 0, now));
    assert!(kv.put("a".into(), vec![0; 10], 0, now));
    assert_eq!(kv.bytes(), ENTRY_BYTES + 11);
    kv.delete("a");
    kv.delete("a");
    assert_eq!(kv.bytes(), 0);
}

#[test]
fn too_long_keys_and_values_are_refused() {
    let (kv, now) = (kv(1 << 20), Instant::now());
    assert!(!kv.put("k".repeat(KEY_BYTES_MAX + 1), vec![], 0, now));
    assert!(!kv.put("k".into(), vec![0; VALUE_BYTES_MAX + 1], 0, now));
    assert_eq!(kv.increment("k".repeat(KEY_BYTES_MAX + 1), 1, 0, now), None);
}

#[test]
fn counters_saturate_and_a_value_is_no_counter() {
    let (kv, now) = (kv(1024), Instant::now());
    assert_eq!(kv.increment("n".into(), i64::MAX, 0, now), Some(i64::MAX));
    assert_eq!(kv.increment("n".into(), 1, 0, now), Some(i64::MAX));
    assert!(kv.put("v".into(), b"7".to_vec(), 0, now));
    assert_eq!(kv.increment("v".into(), 1, 0, now), None);
}

#[derive(Clone, Debug)]
enum Change {
    Put(String, Vec<u8>, u32),
    Delete(String),
    Increment(String, i64, u32),
    /// Of the time until then, everything with a ttl has expired.
    Wait,
}

fn change() -> impl Strategy<Value = Change> {
    let key = || "[a-d]";
    // Longer than any test takes.
    let ttl = || prop_oneof![Just(0u32), Just(100_000u32)];
    prop_oneof![
        4 => (key(), vec(any::<u8>(), 0..30), ttl()).prop_map(|(key, value, ttl)| Change::Put(key, value, ttl)),
        1 => key().prop_map(Change::Delete),
        4 => (key(), any::<i64>(), ttl()).prop_map(|(key, delta, ttl)| Change::Increment(key, delta, ttl)),
        1 => Just(Change::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_the_journal_was_told_last_is_what_there_was(changes in vec(change(), 0..40)) {
        const BYTES_MAX: usize = 3 * (ENTRY_BYTES + 16);
        let (kv, mirror) = mirrored(BYTES_MAX);
        let start = Instant::now();
        let mut now = start;
        for change in changes {
            match change {
                Change::Put(key, value, ttl) => drop(kv.put(key, value, ttl, now)),
                Change::Delete(key) => kv.delete(&key),
                Change::Increment(key, delta, ttl) => drop(kv.increment(key, delta, ttl, now)),
                Change::Wait => now += Duration::from_secs(200_000),
            }
        }
        // By the wall clock no time has passed: what expired meanwhile is compared as it was.
        let (again, _, restored) = after_restart(&mirror, BYTES_MAX, Duration::ZERO);
        prop_assert!(restored.iter().all(|restored| *restored == Restored::Taken));
        prop_assert_eq!(again.bytes(), kv.bytes());
        for key in ["a", "b", "c", "d"] {
            prop_assert_eq!(again.get(key, Instant::now()), kv.get(key, start));
        }
    }
}

#[test]
fn a_counter_goes_on_counting_after_a_restart_and_a_value_is_still_none() {
    let (kv, mirror) = mirrored(1024);
    let now = Instant::now();
    kv.increment("n".into(), 41, 0, now);
    assert!(kv.put("v".into(), b"41".to_vec(), 0, now));
    let (again, next, _) = after_restart(&mirror, 1024, Duration::ZERO);
    assert_eq!(again.increment("n".into(), 1, 0, now), Some(42));
    assert_eq!(again.increment("v".into(), 1, 0, now), None);
    assert_ne!(
        *mirror.0.lock(),
        *next.0.lock(),
        "the journal of the second process was told"
    );
}

#[test]
fn time_goes_on_while_there_is_no_broker() {
    let (kv, mirror) = mirrored(1024);
    assert!(kv.put("k".into(), b"v".to_vec(), 7200, Instant::now()));
    let hour = Duration::from_secs(3600);
    let (again, next, _) = after_restart(&mirror, 1024, hour);
    let now = Instant::now();
    assert_eq!(again.get("k", now), Some(b"v".to_vec()));
    assert_eq!(again.get("k", now + hour), None);
    assert_eq!(next.0.lock().len(), 1);
    let (again, next, restored) = after_restart(&mirror, 1024, 2 * hour);
    assert_eq!((restored, again.bytes()), (vec![Restored::Expired], 0));
    assert!(next.0.lock().is_empty(), "the journal is told to forget it");
}

#[test]
fn a_clock_that_was_set_back_does_not_make_an_entry_last_for_ages() {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let entry = Entry {
        value: Value::Counter(1),
        expiry: Some(Expiry::after(Duration::from_secs(u32::MAX.into()), now, wall)),
    };
    let mut written = Vec::new();
    entry.write(&mut written);
    let read = Entry::read(&written, now, SystemTime::UNIX_EPOCH).unwrap();
    assert!(!read.is_live(now + Duration::from_secs(u32::MAX.into())));
}

#[test]
fn what_no_longer_fits_is_refused_and_the_journal_told() {
    let (kv, mirror) = mirrored(4096);
    for key in ["a", "b", "c"] {
        assert!(kv.put(key.into(), vec![0; 10], 0, Instant::now()));
    }
    let (again, next, restored) = after_restart(&mirror, 2 * (ENTRY_BYTES + 11), Duration::ZERO);
    assert_eq!(restored, [Restored::Taken, Restored::Taken, Restored::Refused]);
    assert_eq!(again.bytes(), 2 * (ENTRY_BYTES + 11));
    assert_eq!(next.0.lock().keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn damaged_entries_are_not_taken() {
    let (kv, mirror) = mirrored(1 << 16);
    kv.increment("n".into(), 1, 0, Instant::now());
    let sound = mirror.0.lock()["n"].clone();
    // Of this form, as long as the format has this number.
    assert_eq!(sound, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let restore = |written: &[u8]| {
        mirror.0.lock().insert("x".into(), written.to_vec());
        kv.restore("x", written, Instant::now(), SystemTime::now())
    };
    for len in 0..sound.len() {
        assert_eq!(restore(&sound[..len]), Restored::Damaged, "{len} bytes");
    }
    for (at, byte) in [(0, 2), (1, 2)] {
        let mut other = sound.clone();
        other[at] = byte;
        assert_eq!(restore(&other), Restored::Damaged);
    }
    let mut long = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    long.extend([7; VALUE_BYTES_MAX + 1]);
    assert_eq!(restore(&long), Restored::Refused);
    assert_eq!(restore(&long[..long.len() - 1]), Restored::Taken);
}

#[test]
fn what_does_not_change_is_not_told() {
    let (kv, mirror) = mirrored(4096);
    let now = Instant::now();
    kv.increment("n".into(), i64::MAX, 0, now);
    mirror.0.lock().clear();
    kv.increment("n".into(), 1, 0, now);
    kv.increment("n".into(), 0, 0, now);
    kv.delete("x");
    assert!(!kv.put("y".into(), vec![0; VALUE_BYTES_MAX + 1], 0, now));
    assert!(mirror.0.lock().is_empty());
}
