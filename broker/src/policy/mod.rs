//! The gate: policies decide who enters, what they may do and what they may use.
//!
//! A policy is a WebAssembly component that exports hooks of `wit/`. Policies form a chain per listener: they are
//! asked in order, the first that denies ends it, and at least one must say yes. What goes wrong inside a policy (a
//! trap, a loop, too much memory, an answer that makes no sense) is a refusal, and reported to the
//! [`PolicyObserver`]; it never reaches the clients the policy does not judge.
//!
//! ```text
//! Policies --connect--> Judging --admits--> Gate --publish, subscribe, ...--> verdicts
//!    |                                       | rules (grant) -> cache -> a call (wasm), on the caller's thread
//!    +--load, reload, rollback--> PolicySet n+1, in force for every gate with its next question
//! ```

mod actions;
mod activation;
mod aside;
pub mod budget;
mod cache;
mod effects;
mod estate;
mod gate;
pub mod grant;
mod health;
mod holdings;
mod housekeeping;
mod judging;
mod kv;
mod local;
pub mod notice;
mod pace;
mod packed;
mod portion;
pub mod question;
mod reason;
mod refusal;
mod set;
mod shared;
pub mod spec;
mod tally;
mod terms;
pub mod verdict;
mod wasm;
mod watch;

pub use actions::SessionAction;
pub use activation::{LoadReport, LoadedPolicy, PolicyStatus};
pub use effects::{PasswordChecks, ServiceStatus};
pub use gate::{Gate, RecallError};
pub use judging::{Judging, Step};
pub use kv::KeyValueJournal;
pub use notice::{PolicyError, PolicyErrorKind, PolicyNotice, PolicyObserver};
pub use spec::{
    Capability, CapabilitySet, PoliciesConfig, PolicyLimits, PolicySource, PolicySpec, Resource, Resources,
};
pub use tally::Decisions;
pub use wasm::Inspection;
pub use watch::PolicyWatch;

use actions::Actions;
use activation::Registry;
use arc_swap::ArcSwap;
use effects::Effects;
use housekeeping::Errand;
use notice::{ActivationCause, Fault, Hook};
use set::{Policy, PolicySet};
use shared::Shared;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use tally::Tally;
use tokio::sync::mpsc;
use tokio::sync::watch as latest;
use verdict::ConnectRequest;

/// All policies of a broker. Clones share them.
#[derive(Clone)]
pub struct Policies {
    host: Arc<Host>,
}

/// What gates, judgings and loads share.
struct Host {
    /// Tells the hosts of one process apart, for the instances that threads keep.
    id: u64,
    current: ArcSwap<PolicySet>,
    /// That of `current`; written after it.
    generation: AtomicU64,
    generations: latest::Sender<u64>,
    observer: Arc<dyn PolicyObserver>,
    actions: Arc<Actions>,
    effects: Effects,
    shared: Shared,
    tally: Tally,
    registry: Registry,
    house: SyncSender<Errand>,
}

impl Policies {
    /// Compiles, links, configures and tries every policy. Blocks; nothing is in force unless all succeed.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn start(
        config: PoliciesConfig,
        observer: Arc<dyn PolicyObserver>,
    ) -> Result<Self, Vec<PolicyError>> {
        Host::start(config, observer, None, []).map(|host| Self { host })
    }

    /// [`Policies::start`], with the key-value data that the journal of an earlier process was told last: policy, key
    /// and value of each entry. It is there before any instance is. What has expired, is damaged, or is beyond
    /// [`PoliciesConfig::kv_bytes_max`] is not taken, and the journal is told so; policies that are not there
    /// find theirs when they come.
    ///
    /// # Errors
    /// As there.
    pub fn resume(
        config: PoliciesConfig,
        observer: Arc<dyn PolicyObserver>,
        journal: Arc<dyn KeyValueJournal>,
        stored: impl IntoIterator<Item = (String, String, Vec<u8>)>,
    ) -> Result<Self, Vec<PolicyError>> {
        Host::start(config, observer, Some(journal), stored).map(|host| Self { host })
    }

    /// Takes a changed configuration: all of it or nothing. Modules are read again; a policy whose module, settings,
    /// capabilities and limits are the same goes on undisturbed. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong; then nothing has changed.
    pub fn reload(&self, config: PoliciesConfig) -> Result<LoadReport, Vec<PolicyError>> {
        self.host.reload(config)
    }

    /// Replaces the module of a policy. An unknown name is a new policy, without settings and capabilities, at the
    /// end of the default chain. Blocks.
    ///
    /// # Errors
    /// When the module is no policy, wants what it is not granted, or fails when tried; then nothing has changed.
    pub fn load(&self, name: &str, wasm: Vec<u8>) -> Result<LoadReport, PolicyError> {
        self.host.load(name, wasm.into())
    }

    /// [`Policies::load`] of a file.
    ///
    /// # Errors
    /// As there, and when the file cannot be read.
    pub fn load_file(&self, name: &str, path: &Path) -> Result<LoadReport, PolicyError> {
        self.host.load_file(name, path)
    }

    /// Goes back to the module before; a policy that came with its first load, rather than with the configuration,
    /// is gone again.
    ///
    /// # Errors
    /// When there is no module to go back to, or no such policy.
    pub fn rollback(&self, name: &str) -> Result<LoadReport, PolicyError> {
        self.host.rollback(name, None, ActivationCause::Rollback)
    }

    /// How every policy fares.
    #[must_use]
    pub fn list(&self) -> Vec<PolicyStatus> {
        self.host.list()
    }

    /// What a module is and wants, without running it.
    ///
    /// # Errors
    /// When no broker of this version could load it.
    pub fn inspect(wasm: &[u8]) -> Result<Inspection, PolicyError> {
        wasm::inspect(wasm).map_err(|kind| PolicyError {
            policy: String::new(),
            kind,
        })
    }

    /// Decisions on publishes and subscriptions, by what they needed.
    #[must_use]
    pub fn decisions(&self) -> Decisions {
        self.host.tally.total()
    }

    /// How the services that policies ask fare, by name.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.host.effects.services()
    }

    /// Passwords that were checked for policies, and that wait for it.
    #[must_use]
    pub fn password_checks(&self) -> PasswordChecks {
        self.host.effects.password_checks()
    }

    /// The generation in force: 1 after the start, one more with each swap.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.host.generation.load(Ordering::Relaxed)
    }

    /// Tells of each swap.
    #[must_use]
    pub fn changes(&self) -> latest::Receiver<u64> {
        self.host.generations.subscribe()
    }

    /// What policies want done to live sessions. There is one receiver: each call takes over from the one before.
    #[must_use]
    pub fn actions(&self) -> mpsc::Receiver<SessionAction> {
        self.host.actions.receiver()
    }

    /// Actions lost because nobody received them in time.
    #[must_use]
    pub fn actions_dropped(&self) -> u64 {
        self.host.actions.dropped()
    }

    /// The gate of a session that outlived the process, from what [`Gate::remember`] wrote; `session` is its number
    /// from now on. It takes the chain in force: a policy that is gone leaves, a new one comes without terms. It is not
    /// current, and denies everything until [`Gate::refresh`] with [`verdict::RefreshCause::Swap`] has let it pass.
    ///
    /// # Errors
    /// When the bytes are damaged, of an unknown format, or say that there was too much to remember. Then nobody can
    /// tell what the session may do, and it must end.
    pub fn recall(&self, bytes: &[u8], session: u64) -> Result<Gate, RecallError> {
        Gate::recall(Arc::clone(&self.host), bytes, session)
    }

    /// Begins to judge a client.
    #[must_use]
    pub fn connect(&self, request: Arc<ConnectRequest>) -> Judging {
        Judging::new(Arc::clone(&self.host), request)
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies")
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Reports a failed call; a module that fails too often is sent home.
    #[cold]
    fn fault(&self, policy: &Arc<Policy>, generation: u64, hook: Hook, fault: &Fault) {
        if policy.report_fault(generation, hook, fault) {
            self.request(Errand::Quarantine {
                name: Arc::clone(&policy.name),
                id: policy.id,
            });
        }
    }

    fn request_refill(&self, policy: &Arc<Policy>) {
        self.request(Errand::Refill(Arc::downgrade(policy)));
    }

    fn request(&self, errand: Errand) {
        // Each policy has at most one errand of a kind under way, and there is room for all of them.
        if self.house.try_send(errand).is_err() {
            let message = "the house keeper of policies does not keep up".to_owned();
            self.observer.observe(&PolicyNotice::Host { message });
        }
    }

    /// Puts a set in force.
    fn swap(&self, set: PolicySet) {
        let generation = set.generation;
        self.current.store(Arc::new(set));
        self.generation.store(generation, Ordering::Release);
        self.generations.send_replace(generation);
    }
}
