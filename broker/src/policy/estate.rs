//! What belongs to policies by name: also to those that are gone, or have yet to come.
//!
//! A policy that is taken out of the configuration, or whose file is missing at a start, may be back with the next
//! reload; what it had stored must not be gone by then.

use super::holdings::Holdings;
use super::kv::{KeyValueJournal, Restored};
use super::notice::{PolicyNotice, PolicyObserver};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Names that are remembered: twice as many as there may be policies.
const NAMES_MAX: usize = 512;

/// The holdings of every policy of one host.
pub(super) struct Estate {
    holdings: Mutex<BTreeMap<Arc<str>, Arc<Holdings>>>,
    observer: Arc<dyn PolicyObserver>,
    journal: Option<Arc<dyn KeyValueJournal>>,
}

impl Estate {
    pub(super) fn new(observer: Arc<dyn PolicyObserver>, journal: Option<Arc<dyn KeyValueJournal>>) -> Self {
        Self {
            holdings: Mutex::default(),
            observer,
            journal,
        }
    }

    /// What the policy of this name has, or will have from now on.
    pub(super) fn of(&self, policy: &str, kv_bytes_max: usize) -> Arc<Holdings> {
        let mut holdings = self.holdings.lock();
        if let Some(known) = holdings.get(policy) {
            return Arc::clone(known);
        }
        if holdings.len() >= NAMES_MAX {
            self.forget_one(&mut holdings);
        }
        let policy: Arc<str> = policy.into();
        let observer = Arc::clone(&self.observer);
        let new = Holdings::new(Arc::clone(&policy), kv_bytes_max, observer, self.journal.clone());
        let new = Arc::new(new);
        holdings.insert(policy, Arc::clone(&new));
        new
    }

    /// What a policy is tried with: nothing, and none of it is kept.
    pub(super) fn scratch(&self, policy: &str, kv_bytes_max: usize) -> Arc<Holdings> {
        let observer = Arc::clone(&self.observer);
        Arc::new(Holdings::new(policy.into(), kv_bytes_max, observer, None))
    }

    /// Bounds the key-value data of each.
    pub(super) fn set_kv_bytes_max(&self, kv_bytes_max: usize) {
        for holdings in self.holdings.lock().values() {
            holdings.kv.set_bytes_max(kv_bytes_max);
        }
    }

    /// Takes key-value data of an earlier process: policy, key, value. What cannot be taken is reported, and so is data
    /// of more names than are remembered; those that [`Estate::of`] was asked for are.
    pub(super) fn restore(
        &self,
        stored: impl IntoIterator<Item = (String, String, Vec<u8>)>,
        kv_bytes_max: usize,
    ) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let (mut refused, mut damaged) = (0u64, 0u64);
        for (policy, key, value) in stored {
            if self.is_full_for(&policy) {
                refused += 1;
                if let Some(journal) = &self.journal {
                    journal.changed(&policy, &key, None);
                }
                continue;
            }
            let holdings = self.of(&policy, kv_bytes_max);
            match holdings.kv.restore(&key, &value, now, wall) {
                Restored::Taken | Restored::Expired => {}
                Restored::Refused => refused += 1,
                Restored::Damaged => damaged += 1,
            }
        }
        if refused + damaged > 0 {
            self.tell(format!(
                "of the key-value data that policies had stored, {refused} entries find no room \
                 (policy_kv_bytes_max) and {damaged} are damaged; they are forgotten"
            ));
        }
    }

    fn is_full_for(&self, policy: &str) -> bool {
        let holdings = self.holdings.lock();
        holdings.len() >= NAMES_MAX && !holdings.contains_key(policy)
    }

    /// Makes room for one more name: that of a policy that is not there, and has least to lose.
    fn forget_one(&self, holdings: &mut BTreeMap<Arc<str>, Arc<Holdings>>) {
        let idle = holdings
            .iter()
            .filter(|(_, holdings)| Arc::strong_count(holdings) == 1);
        let name = idle
            .min_by_key(|(_, holdings)| !holdings.kv.is_empty())
            .map(|(name, _)| Arc::clone(name));
        let Some(forgotten) = name.and_then(|name| holdings.remove(&name)) else {
            return;
        };
        if !forgotten.kv.is_empty() {
            self.tell(format!(
                "too many policies have come and gone; the key-value data of {} is forgotten",
                forgotten.policy
            ));
        }
        forgotten.kv.clear();
    }

    fn tell(&self, message: String) {
        self.observer.observe(&PolicyNotice::Host { message });
    }
}
