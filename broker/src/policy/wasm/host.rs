//! What a policy can call: the state of one store and the host's functions.

use super::bindings::sluice::policy::{bans, clock, kv, log, metrics, random, services, sessions, types};
use super::convert;
use super::engine::thread_cpu_time;
use super::ticker::Ticker;
use crate::policy::actions::{Actions, SessionAction};
use crate::policy::bans::{BanOrder, BanTarget};
use crate::policy::holdings::Holdings;
use crate::policy::notice::{LogLevel, printable};
use crate::policy::reason::disconnect_reason;
use crate::policy::spec::{Capability, CapabilitySet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder, UpdateDeadline};

/// Tables, memories and core instances of one component. A wasip2 component has about a dozen instances.
const TABLES_MAX: usize = 32;
const MEMORIES_MAX: usize = 8;
const INSTANCES_MAX: usize = 64;
/// Entries of one table: function pointers, for a large policy some thousands.
const TABLE_ELEMENTS_MAX: usize = 20_000;

/// What one store knows of its policy.
pub(super) struct HostState {
    pub(super) holdings: Arc<Holdings>,
    actions: Arc<Actions>,
    pub(super) ticker: Arc<Ticker>,
    pub(super) limiter: Limiter,
    pub(super) deadline: Deadline,
    pub(super) is_muted: bool,
    /// What the guest said just before it trapped.
    pub(super) panic_text: Option<String>,
}

impl HostState {
    pub(super) fn new(
        holdings: Arc<Holdings>,
        actions: Arc<Actions>,
        ticker: Arc<Ticker>,
        memory_bytes_max: usize,
    ) -> Self {
        let limits = StoreLimitsBuilder::new()
            .memory_size(memory_bytes_max)
            .table_elements(TABLE_ELEMENTS_MAX)
            .tables(TABLES_MAX)
            .memories(MEMORIES_MAX)
            .instances(INSTANCES_MAX)
            .build();
        holdings.instances.fetch_add(1, Ordering::Relaxed);
        Self {
            holdings,
            actions,
            ticker,
            limiter: Limiter {
                limits,
                memory_bytes_max,
                memory_bytes: 0,
                refused: None,
            },
            deadline: Deadline::default(),
            is_muted: false,
            panic_text: None,
        }
    }
}

impl Drop for HostState {
    fn drop(&mut self) {
        self.holdings.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `StoreLimits` that bounds the memories of a component together and remembers what it refused, so that the trap
/// that follows can be explained.
pub(super) struct Limiter {
    limits: StoreLimits,
    memory_bytes_max: usize,
    memory_bytes: usize,
    pub(super) refused: Option<usize>,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let granted =
            total <= self.memory_bytes_max && self.limits.memory_growing(current, desired, maximum)?;
        if granted {
            self.memory_bytes = total;
        } else {
            self.refused = Some(desired);
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}

/// Epochs until a call is looked at.
pub(super) const NEXT_TICK: u64 = 1;

/// The deadline of the call under way.
///
/// Epochs measure the wall, and a preempted thread is not a guilty policy. So they only say when to look: at the first
/// tick the thread's CPU clock is noted, and the call is ended at the first one at which that clock has advanced by the
/// whole deadline since. A spinning guest thus dies within its deadline and two ticks, an innocent one survives any
/// preemption, and most calls are over before anybody looks.
#[derive(Default)]
pub(super) struct Deadline {
    allowed: Duration,
    cpu_noted: Option<Duration>,
}

/// The error that ends a call whose time is up.
#[derive(Debug)]
pub(super) struct DeadlineExceeded(pub(super) Duration);

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "still running after its {:?} of CPU time", self.0)
    }
}

impl std::error::Error for DeadlineExceeded {}

impl Deadline {
    /// Starts a call.
    pub(super) fn start(&mut self, allowed: Duration) {
        self.allowed = allowed;
        self.cpu_noted = None;
    }

    /// A tick has come while the call is under way.
    pub(super) fn look(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let now = thread_cpu_time();
        let used = now.saturating_sub(*self.cpu_noted.get_or_insert(now));
        if used >= self.allowed && !used.is_zero() {
            return Err(wasmtime::Error::new(DeadlineExceeded(self.allowed)));
        }
        Ok(UpdateDeadline::Continue(NEXT_TICK))
    }
}

/// Everything a policy with these capabilities may call.
pub(super) fn link(linker: &mut Linker<HostState>, capabilities: CapabilitySet) -> wasmtime::Result<()> {
    type Own = HasSelf<HostState>;
    types::add_to_linker::<_, Own>(linker, |state| state)?;
    services::add_to_linker::<_, Own>(linker, |state| state)?;
    log::add_to_linker::<_, Own>(linker, |state| state)?;
    for capability in capabilities.iter() {
        match capability {
            Capability::Clock => clock::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Random => random::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Metrics => metrics::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Kv => kv::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Sessions => sessions::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Bans => bans::add_to_linker::<_, Own>(linker, |state| state)?,
        }
    }
    Ok(())
}

impl types::Host for HostState {}

impl services::Host for HostState {}

impl log::Host for HostState {
    fn write(&mut self, level: log::Level, message: String) {
        if self.is_muted {
            return;
        }
        let level = match level {
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug => LogLevel::Debug,
        };
        self.holdings.write_log(level, &message, Instant::now());
    }

    fn panic(&mut self, message: String) {
        self.panic_text = Some(printable(&message));
    }
}

impl clock::Host for HostState {
    fn now_unix_milliseconds(&mut self) -> u64 {
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
    }
}

impl random::Host for HostState {
    fn next_u64(&mut self) -> wasmtime::Result<u64> {
        random_u64()
    }
}

/// From the operating system's generator.
///
/// # Errors
/// When it has none; the guest is trapped then rather than given something guessable.
pub(super) fn random_u64() -> wasmtime::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| wasmtime::Error::msg(format!("no random numbers: {error}")))?;
    Ok(u64::from_ne_bytes(bytes))
}

impl metrics::Host for HostState {
    fn increment(&mut self, name: String, delta: u64) {
        self.holdings.count(name, delta);
    }
}

impl kv::Host for HostState {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.holdings.kv.get(&key, Instant::now())
    }

    fn put(&mut self, key: String, value: Vec<u8>, ttl_seconds: u32) -> bool {
        self.holdings.kv.put(key, value, ttl_seconds, Instant::now())
    }

    fn delete(&mut self, key: String) {
        self.holdings.kv.delete(&key);
    }

    fn increment(&mut self, key: String, delta: i64, ttl_seconds: u32) -> Option<i64> {
        self.holdings
            .kv
            .increment(key, delta, ttl_seconds, Instant::now())
    }
}

impl sessions::Host for HostState {
    fn disconnect(&mut self, session: u64, reason: u8) {
        let policy = Arc::clone(&self.holdings.policy);
        let reason = disconnect_reason(reason);
        self.actions.send(SessionAction::Disconnect {
            session,
            policy,
            reason,
        });
    }

    fn set_budget(&mut self, session: u64, budget: types::Budget) {
        let policy = Arc::clone(&self.holdings.policy);
        let budget = convert::budget(&budget);
        self.actions.send(SessionAction::SetBudget {
            session,
            policy,
            budget,
        });
    }
}

impl bans::Host for HostState {
    fn ban(&mut self, what: bans::Target, seconds: u32, why: String) -> bool {
        let order = BanOrder {
            target: ban_target(what),
            seconds,
            why: printable(&why),
        };
        self.actions.ban(&self.holdings.policy, order)
    }

    fn unban(&mut self, what: bans::Target) -> bool {
        self.actions.unban(&self.holdings.policy, ban_target(what))
    }
}

fn ban_target(what: bans::Target) -> BanTarget {
    match what {
        bans::Target::ClientId(id) => BanTarget::ClientId(id),
        bans::Target::UserName(name) => BanTarget::UserName(name),
        bans::Target::Address(text) => BanTarget::Address(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Duration = Duration::from_millis(2);

    fn burn(time: Duration) {
        let until = thread_cpu_time() + time;
        while thread_cpu_time() < until {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_call_that_was_only_preempted_goes_on() {
        let mut deadline = Deadline::default();
        deadline.start(ALLOWED);
        // It is looked at again and again, while the thread has hardly run.
        for _ in 0..20 {
            assert!(matches!(deadline.look(), Ok(UpdateDeadline::Continue(1))));
        }
    }

    #[test]
    fn a_call_that_used_its_cpu_time_is_ended() {
        let mut deadline = Deadline::default();
        deadline.start(ALLOWED);
        assert!(deadline.look().is_ok());
        burn(ALLOWED / 2);
        assert!(deadline.look().is_ok());
        burn(ALLOWED);
        let error = deadline.look().err().unwrap();
        assert!(error.downcast_ref::<DeadlineExceeded>().is_some());
        // The next call begins with its whole time.
        deadline.start(ALLOWED);
        assert!(deadline.look().is_ok());
        assert!(deadline.look().is_ok());
    }
}
