//! What belongs to a policy by name and outlives its modules: its store, its counters, its log budget.

use super::kv::{KeyValueJournal, Kv};
use super::notice::{LogLevel, PolicyNotice, PolicyObserver, printable};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

/// Most counters of one policy.
const COUNTERS_MAX: usize = 64;
/// Longest name of a counter.
const COUNTER_NAME_BYTES_MAX: usize = 64;
/// Log lines of one policy per second, in the long run.
const LOG_LINES_PER_SECOND: f64 = 10.0;
/// Log lines at once.
const LOG_LINES_BURST: f64 = 20.0;

/// The lasting possessions of one policy.
pub(super) struct Holdings {
    pub(super) policy: Arc<str>,
    pub(super) kv: Kv,
    pub(super) observer: Arc<dyn PolicyObserver>,
    /// Instances of its modules that exist now.
    pub(super) instances: AtomicUsize,
    counters: Mutex<BTreeMap<String, u64>>,
    log: Mutex<LogBudget>,
}

struct LogBudget {
    lines: f64,
    refilled_at: Instant,
    suppressed: u64,
}

impl Holdings {
    /// With nothing in them; `journal` is told of all that changes in the store.
    pub(super) fn new(
        policy: Arc<str>,
        kv_bytes_max: usize,
        observer: Arc<dyn PolicyObserver>,
        journal: Option<Arc<dyn KeyValueJournal>>,
    ) -> Self {
        Self {
            kv: Kv::new(Arc::clone(&policy), kv_bytes_max, journal),
            policy,
            observer,
            instances: AtomicUsize::new(0),
            counters: Mutex::default(),
            log: Mutex::new(LogBudget {
                lines: LOG_LINES_BURST,
                refilled_at: Instant::now(),
                suppressed: 0,
            }),
        }
    }

    /// Passes a line on, unless the policy has said too much lately.
    pub(super) fn write_log(&self, level: LogLevel, message: &str, now: Instant) {
        let Some(suppressed) = self.log.lock().admit(now) else {
            return;
        };
        self.observer.observe(&PolicyNotice::Log {
            policy: Arc::clone(&self.policy),
            level,
            message: printable(message),
            suppressed,
        });
    }

    /// Adds to a counter. A bad name, or one too many, is logged and ignored.
    pub(super) fn count(&self, name: String, delta: u64) {
        let mut counters = self.counters.lock();
        if let Some(count) = counters.get_mut(&name) {
            *count = count.saturating_add(delta);
            return;
        }
        let problem = if !is_counter_name(&name) {
            "is no name for a counter: [a-z_][a-z0-9_]*, at most 64 bytes"
        } else if counters.len() >= COUNTERS_MAX {
            "is one counter too many: a policy may have 64"
        } else {
            counters.insert(name, delta);
            return;
        };
        drop(counters);
        self.write_log(
            LogLevel::Warn,
            &format!("`{}` {problem}", printable(&name)),
            Instant::now(),
        );
    }

    /// All counters by name.
    pub(super) fn counters(&self) -> Vec<(String, u64)> {
        self.counters
            .lock()
            .iter()
            .map(|(name, count)| (name.clone(), *count))
            .collect()
    }
}

impl LogBudget {
    /// Lines kept back since the last one, if this one may pass.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let elapsed = now.saturating_duration_since(self.refilled_at).as_secs_f64();
        self.lines = (self.lines + elapsed * LOG_LINES_PER_SECOND).min(LOG_LINES_BURST);
        self.refilled_at = now;
        if self.lines < 1.0 {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.lines -= 1.0;
        Some(std::mem::take(&mut self.suppressed))
    }
}

fn is_counter_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= COUNTER_NAME_BYTES_MAX
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
