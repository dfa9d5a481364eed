//! From modules to the set in force: everything is tried before anything is applied.

use super::actions::Actions;
use super::aside::stand_back;
use super::effects::Effects;
use super::estate::Estate;
use super::holdings::Holdings;
use super::kv::KeyValueJournal;
use super::notice::{ActivationCause, PolicyError, PolicyErrorKind, PolicyNotice, PolicyObserver};
use super::set::{Chain, Inheritance, Policy, PolicySet};
use super::shared::Shared;
use super::spec::{PoliciesConfig, PolicyLimits, PolicySource, PolicySpec};
use super::tally::Tally;
use super::wasm::{Loader, ModuleCache, digest};
use super::{Host, housekeeping};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::watch;

mod report;
mod trial;

pub use report::{LoadReport, LoadedPolicy, PolicyStatus};

/// Modules kept per policy to go back to.
const PREVIOUS_MAX: usize = 3;
/// The built-in policy, made by `build.rs`.
const STATIC_USERS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/static_users.wasm"));
/// Most policies.
const POLICIES_MAX: usize = 256;

/// What was configured and loaded, and what came before it.
pub(super) struct Registry {
    /// Held while a load is under way: there is one at a time.
    loading: Mutex<Loader>,
    shelf: Mutex<Shelf>,
    estate: Estate,
}

/// Held only to look at or to change.
struct Shelf {
    config: PoliciesConfig,
    slots: Vec<Slot>,
}

#[derive(Clone)]
struct Slot {
    policy: Arc<Policy>,
    /// The newest last.
    previous: VecDeque<Arc<Policy>>,
    activated: u64,
    last_error: Option<String>,
    /// Not in the configuration: it came with a load.
    added: bool,
}

impl Host {
    pub(super) fn start(
        config: PoliciesConfig,
        observer: Arc<dyn PolicyObserver>,
        journal: Option<Arc<dyn KeyValueJournal>>,
        stored: impl IntoIterator<Item = (String, String, Vec<u8>)>,
    ) -> Result<Arc<Self>, Vec<PolicyError>> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let broken = |error: String| {
            vec![PolicyError {
                policy: String::new(),
                kind: PolicyErrorKind::Host(error),
            }]
        };
        let started = Instant::now();
        let loader = Loader::start().map_err(broken)?;
        let (house, errands) = housekeeping::channel();
        let nothing = PolicySet {
            generation: 0,
            policies: Vec::new(),
            chains: HashMap::new(),
            default_chain: Chain::default(),
        };
        let host = Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            current: ArcSwap::from_pointee(nothing),
            generation: AtomicU64::new(0),
            generations: watch::Sender::new(0),
            observer: Arc::clone(&observer),
            actions: Arc::new(Actions::default()),
            effects: Effects::new(),
            shared: Shared::new(),
            tally: Tally::default(),
            registry: Registry {
                loading: Mutex::new(loader),
                shelf: Mutex::new(Shelf {
                    config: PoliciesConfig::default(),
                    slots: Vec::new(),
                }),
                estate: Estate::new(observer, journal),
            },
            house,
        });
        for spec in &config.policies {
            host.registry.estate.of(&spec.name, config.kv_bytes_max);
        }
        // Before the first instance is configured, which may look at it.
        host.registry.estate.restore(stored, config.kv_bytes_max);
        host.apply(config, started, ActivationCause::Start)?;
        housekeeping::start(&host, errands).map_err(|error| broken(error.to_string()))?;
        Ok(host)
    }

    pub(super) fn reload(&self, config: PoliciesConfig) -> Result<LoadReport, Vec<PolicyError>> {
        self.apply(config, Instant::now(), ActivationCause::Reload)
            .inspect_err(|errors| {
                for error in errors {
                    self.rejected(&error.policy, None, error);
                }
            })
    }

    /// Tries a whole configuration and puts it in force.
    fn apply(
        &self,
        mut config: PoliciesConfig,
        started: Instant,
        cause: ActivationCause,
    ) -> Result<LoadReport, Vec<PolicyError>> {
        let mut errors = check_names(&config);
        let mut loader = self.registry.loading.lock();
        loader.cache = self.open_cache(&config);
        let outside = self.effects.prepare(&config, &self.observer, &mut errors);
        let before = self.registry.shelf.lock().slots.clone();
        let same_instances = self.registry.shelf.lock().config.instance_calls == config.instance_calls;
        let mut slots = Vec::new();
        for spec in std::mem::take(&mut config.policies) {
            let name = spec.name.clone();
            let old = before.iter().find(|slot| *slot.policy.name == *name);
            match self.prepare(&loader, spec, old.filter(|_| same_instances), old, &config) {
                Ok(slot) => slots.push(slot),
                Err(kind) => errors.push(PolicyError { policy: name, kind }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let is_new = |slot: &&Slot| !before.iter().any(|old| old.policy.id == slot.policy.id);
        let changed: Vec<_> = slots
            .iter()
            .filter(is_new)
            .map(|slot| Arc::clone(&slot.policy))
            .collect();
        let mut shelf = self.registry.shelf.lock();
        self.effects.put_in_force(outside);
        self.registry.estate.set_kv_bytes_max(config.kv_bytes_max);
        let unchanged = changed.is_empty()
            && slots.len() == before.len()
            && shelf.config.chains == config.chains
            && shelf.config.default_chain == config.default_chain
            && cause != ActivationCause::Start;
        *shelf = Shelf { config, slots };
        if unchanged {
            return Ok(self.report(false, &[]));
        }
        self.put_in_force(&mut shelf, started, &changed, cause);
        drop(shelf);
        for old in before {
            if !self
                .current
                .load()
                .policies
                .iter()
                .any(|policy| policy.id == old.policy.id)
            {
                old.policy.retire();
            }
        }
        Ok(self.report(true, &changed))
    }

    /// A policy of a configuration: as it is in force, if nothing about it changed, or tried anew.
    fn prepare(
        &self,
        loader: &Loader,
        spec: PolicySpec,
        reusable: Option<&Slot>,
        old: Option<&Slot>,
        config: &PoliciesConfig,
    ) -> Result<Slot, PolicyErrorKind> {
        let wasm = read(&spec.source, spec.limits.module_bytes_max)?;
        if let Some(slot) = reusable
            && slot.policy.program.inspection.digest == digest(&wasm)
            && slot.policy.spec.settings == spec.settings
            && slot.policy.spec.capabilities == spec.capabilities
            && slot.policy.spec.resources == spec.resources
            && slot.policy.spec.limits == spec.limits
        {
            return Ok(slot.clone());
        }
        let holdings = self.registry.estate.of(&spec.name, config.kv_bytes_max);
        let policy = self.build(loader, spec, &wasm, holdings, config)?;
        let mut previous = VecDeque::new();
        if let Some(slot) = old {
            previous = slot.previous.clone();
            remember(&mut previous, Arc::clone(&slot.policy));
        }
        Ok(Slot {
            policy,
            previous,
            activated: 0,
            last_error: None,
            added: false,
        })
    }

    fn open_cache(&self, config: &PoliciesConfig) -> Option<ModuleCache> {
        match ModuleCache::open(config.cache_dir.as_deref()?) {
            Ok(cache) => Some(cache),
            Err(problem) => {
                let message = format!("{problem}; modules are compiled at each start");
                self.observer.observe(&PolicyNotice::Host { message });
                None
            }
        }
    }

    /// Compiles a module and tries it out. Once there may be clients, they come first.
    fn build(
        &self,
        loader: &Loader,
        spec: PolicySpec,
        wasm: &[u8],
        holdings: Arc<Holdings>,
        config: &PoliciesConfig,
    ) -> Result<Arc<Policy>, PolicyErrorKind> {
        let build = || self.build_here(loader, spec, wasm, holdings, config);
        if self.generation.load(Ordering::Relaxed) == 0 {
            return build();
        }
        stand_back(build).map_err(|error| {
            PolicyErrorKind::Host(format!("the thread that compiles cannot start: {error}"))
        })?
    }

    fn build_here(
        &self,
        loader: &Loader,
        spec: PolicySpec,
        wasm: &[u8],
        holdings: Arc<Holdings>,
        config: &PoliciesConfig,
    ) -> Result<Arc<Policy>, PolicyErrorKind> {
        let program = loader.load(wasm, spec.limits.module_bytes_max, spec.capabilities)?;
        if let Some(problem) = &program.cache_problem {
            self.observer.observe(&PolicyNotice::Host {
                message: problem.clone(),
            });
        }
        let scratch = self.registry.estate.scratch(&spec.name, config.kv_bytes_max);
        trial::run(&program, &spec, scratch)?;
        let inheritance = Inheritance {
            holdings,
            actions: Arc::clone(&self.actions),
            instance_calls: config.instance_calls,
        };
        let policy = Policy::new(Arc::new(spec), Arc::new(program), &inheritance);
        // What can be instantiated once will be again; one that cannot is not worth a swap.
        policy
            .stock()
            .map_err(|(hook, fault)| PolicyErrorKind::Fault(hook, fault))?;
        Ok(Arc::new(policy))
    }

    pub(super) fn load(&self, name: &str, wasm: Arc<[u8]>) -> Result<LoadReport, PolicyError> {
        let started = Instant::now();
        let digest = digest(&wasm);
        self.try_load(name, wasm, &digest, started).map_err(|kind| {
            let error = PolicyError {
                policy: name.to_owned(),
                kind,
            };
            self.rejected(name, Some(digest), &error);
            error
        })
    }

    pub(super) fn load_file(&self, name: &str, path: &Path) -> Result<LoadReport, PolicyError> {
        let limit = |slot: &Slot| slot.policy.spec.limits.module_bytes_max;
        let bytes_max = {
            let shelf = self.registry.shelf.lock();
            shelf
                .slots
                .iter()
                .find(|slot| &*slot.policy.name == name)
                .map(limit)
        };
        let bytes_max = bytes_max.unwrap_or(PolicyLimits::default().module_bytes_max);
        match read(&PolicySource::File(path.to_owned()), bytes_max) {
            Ok(wasm) => self.load(name, wasm),
            Err(kind) => {
                let error = PolicyError {
                    policy: name.to_owned(),
                    kind,
                };
                self.rejected(name, None, &error);
                Err(error)
            }
        }
    }

    fn try_load(
        &self,
        name: &str,
        wasm: Arc<[u8]>,
        digest: &str,
        started: Instant,
    ) -> Result<LoadReport, PolicyErrorKind> {
        let loader = self.registry.loading.lock();
        let (old, config) = {
            let shelf = self.registry.shelf.lock();
            (
                shelf
                    .slots
                    .iter()
                    .find(|slot| &*slot.policy.name == name)
                    .cloned(),
                shelf.config.clone(),
            )
        };
        if old
            .as_ref()
            .is_some_and(|slot| slot.policy.program.inspection.digest == digest)
        {
            return Ok(self.report(false, &[]));
        }
        let source = PolicySource::Bytes(Arc::clone(&wasm));
        let spec = match &old {
            Some(slot) => PolicySpec {
                source,
                ..(*slot.policy.spec).clone()
            },
            None => {
                check_name(name)?;
                // One load at a time: the count holds until this one ends.
                if self.registry.shelf.lock().slots.len() >= POLICIES_MAX {
                    return Err(PolicyErrorKind::Host(format!(
                        "there are {POLICIES_MAX} policies already"
                    )));
                }
                PolicySpec::new(name, source)
            }
        };
        let holdings = self.registry.estate.of(name, config.kv_bytes_max);
        let policy = self.build(&loader, spec, &wasm, holdings, &config)?;
        let mut shelf = self.registry.shelf.lock();
        match shelf.slots.iter_mut().find(|slot| &*slot.policy.name == name) {
            Some(slot) => {
                let before = std::mem::replace(&mut slot.policy, Arc::clone(&policy));
                before.retire();
                // What is forgotten cannot be gone back to, and neither can what was before it.
                slot.added &= slot.previous.len() < PREVIOUS_MAX;
                remember(&mut slot.previous, before);
                slot.last_error = None;
            }
            None => {
                let previous = VecDeque::new();
                shelf.slots.push(Slot {
                    policy: Arc::clone(&policy),
                    previous,
                    activated: 0,
                    last_error: None,
                    added: true,
                });
                shelf.config.default_chain.push(name.to_owned());
            }
        }
        let changed = [policy];
        self.put_in_force(&mut shelf, started, &changed, ActivationCause::Load);
        Ok(self.report(true, &changed))
    }

    /// Goes back to the module before; only from the module `only_from`, if one is named.
    pub(super) fn rollback(
        &self,
        name: &str,
        only_from: Option<u64>,
        cause: ActivationCause,
    ) -> Result<LoadReport, PolicyError> {
        let started = Instant::now();
        let error = |kind| PolicyError {
            policy: name.to_owned(),
            kind,
        };
        // A load that is under way comes first.
        let _loading = self.registry.loading.lock();
        let mut shelf = self.registry.shelf.lock();
        let Some(slot) = shelf.slots.iter_mut().find(|slot| &*slot.policy.name == name) else {
            return Err(error(PolicyErrorKind::NoSuchPolicy));
        };
        if only_from.is_some_and(|id| id != slot.policy.id) {
            return Ok(self.report(false, &[]));
        }
        let Some(previous) = slot.previous.pop_back() else {
            // Before its first module was loaded there was no such policy. Only the operator may go back to that: a
            // policy that fails must not vanish from the chain.
            if !slot.added || cause != ActivationCause::Rollback {
                return Err(error(PolicyErrorKind::NoPrevious));
            }
            slot.policy.retire();
            shelf.slots.retain(|slot| &*slot.policy.name != name);
            shelf.config.default_chain.retain(|listed| listed != name);
            self.put_in_force(&mut shelf, started, &[], cause);
            return Ok(self.report(true, &[]));
        };
        let policy = Arc::new(previous.revived());
        // It worked before; should it not now, its calls will say so and deny.
        let _ = policy.stock();
        std::mem::replace(&mut slot.policy, Arc::clone(&policy)).retire();
        let changed = [policy];
        self.put_in_force(&mut shelf, started, &changed, cause);
        Ok(self.report(true, &changed))
    }

    /// Builds the set of what is on the shelf and swaps it in.
    fn put_in_force(
        &self,
        shelf: &mut Shelf,
        started: Instant,
        changed: &[Arc<Policy>],
        cause: ActivationCause,
    ) {
        let generation = self.current.load().generation + 1;
        for slot in &mut shelf.slots {
            if changed.iter().any(|policy| policy.id == slot.policy.id) {
                slot.activated = generation;
            }
        }
        let policies: Vec<_> = shelf.slots.iter().map(|slot| Arc::clone(&slot.policy)).collect();
        let chain = |names: &Vec<String>| -> Chain {
            names
                .iter()
                .filter_map(|name| policies.iter().position(|policy| *policy.name == **name))
                .collect()
        };
        let chains = shelf
            .config
            .chains
            .iter()
            .map(|(name, names)| (name.clone(), chain(names)))
            .collect();
        let default_chain = chain(&shelf.config.default_chain);
        self.swap(PolicySet {
            generation,
            policies,
            chains,
            default_chain,
        });
        for policy in changed {
            self.observer.observe(&PolicyNotice::Activated {
                policy: Arc::clone(&policy.name),
                generation,
                digest: policy.program.inspection.digest.clone(),
                cause,
                took: started.elapsed(),
            });
        }
    }

    fn rejected(&self, name: &str, digest: Option<String>, error: &PolicyError) {
        let text = error.kind.to_string();
        let mut shelf = self.registry.shelf.lock();
        if let Some(slot) = shelf.slots.iter_mut().find(|slot| &*slot.policy.name == name) {
            slot.last_error = Some(text.clone());
        }
        drop(shelf);
        self.observer.observe(&PolicyNotice::Rejected {
            policy: name.into(),
            digest,
            error: text,
        });
    }

    /// The digest of a module while it is in force.
    pub(super) fn digest_of(&self, name: &str, id: u64) -> Option<String> {
        let shelf = self.registry.shelf.lock();
        let slot = shelf
            .slots
            .iter()
            .find(|slot| &*slot.policy.name == name && slot.policy.id == id)?;
        Some(slot.policy.program.inspection.digest.clone())
    }
}

fn remember(previous: &mut VecDeque<Arc<Policy>>, policy: Arc<Policy>) {
    previous.push_back(policy);
    if previous.len() > PREVIOUS_MAX {
        previous.pop_front();
    }
}

fn read(source: &PolicySource, bytes_max: usize) -> Result<Arc<[u8]>, PolicyErrorKind> {
    match source {
        PolicySource::Embedded => Ok(STATIC_USERS.into()),
        PolicySource::Bytes(bytes) => Ok(Arc::clone(bytes)),
        PolicySource::File(path) => {
            let unreadable =
                |error: std::io::Error| PolicyErrorKind::Unreadable(path.clone(), error.to_string());
            let bytes = usize::try_from(fs::metadata(path).map_err(unreadable)?.len()).unwrap_or(usize::MAX);
            if bytes > bytes_max {
                return Err(PolicyErrorKind::TooLarge { bytes, bytes_max });
            }
            fs::read(path).map(Arc::from).map_err(unreadable)
        }
    }
}

fn check_name(name: &str) -> Result<(), PolicyErrorKind> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        let rule = "the name of a policy has 1 to 64 letters, digits, `-`, `_` and `.`";
        return Err(PolicyErrorKind::Host(rule.into()));
    }
    Ok(())
}

fn check_names(config: &PoliciesConfig) -> Vec<PolicyError> {
    let mut errors = Vec::new();
    let mut error = |name: &str, kind| {
        errors.push(PolicyError {
            policy: name.to_owned(),
            kind,
        })
    };
    for (position, spec) in config.policies.iter().enumerate() {
        if let Err(kind) = check_name(&spec.name) {
            error(&spec.name, kind);
        }
        if config
            .policies
            .iter()
            .take(position)
            .any(|other| other.name == spec.name)
        {
            error(&spec.name, PolicyErrorKind::Duplicate);
        }
    }
    for name in config.chains.values().flatten().chain(&config.default_chain) {
        if !config.policies.iter().any(|spec| spec.name == *name) {
            error(name, PolicyErrorKind::UnknownPolicy(name.clone()));
        }
    }
    if config.policies.len() > POLICIES_MAX {
        error(
            "",
            PolicyErrorKind::Host(format!("more than {POLICIES_MAX} policies")),
        );
    }
    errors
}
