//! The policies in force: an immutable set per generation.

use super::actions::Actions;
use super::health::Health;
use super::holdings::Holdings;
use super::notice::{Fault, FaultKind, Hook, PolicyErrorKind, PolicyNotice};
use super::pace::Pace;
use super::portion::Portion;
use super::spec::PolicySpec;
use super::wasm::{Instance, Program, Surroundings};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long a load spends on spare instances.
const STOCKING_TIME: Duration = Duration::from_millis(200);

/// Every policy of one generation, and the chains of the listeners.
pub(super) struct PolicySet {
    pub(super) generation: u64,
    pub(super) policies: Vec<Arc<Policy>>,
    pub(super) chains: HashMap<String, Chain>,
    pub(super) default_chain: Chain,
}

/// Indices into `PolicySet::policies`, in the order in which they are asked.
pub(super) type Chain = Arc<[usize]>;

impl PolicySet {
    pub(super) fn chain(&self, listener: &str) -> &Chain {
        self.chains.get(listener).unwrap_or(&self.default_chain)
    }
}

/// One policy with one module, from its activation to its replacement.
pub(super) struct Policy {
    /// Differs between all modules ever activated; a session remembers who judged it by this.
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) spec: Arc<PolicySpec>,
    pub(super) program: Arc<Program>,
    pub(super) exports: Exports,
    pub(super) health: Health,
    pub(super) pace: Pace,
    pub(super) portion: Portion,
    /// Turns for calls that run on the blocking pool: as many at a time as there are cores.
    pub(super) turns: Arc<Semaphore>,
    settings: Arc<str>,
    around: Surroundings,
    instance_calls: (u32, u32),
    shelf: Mutex<Vec<Instance>>,
    shelf_max: usize,
    refill_wanted: AtomicBool,
    is_retired: AtomicBool,
}

/// The hooks a module has.
#[derive(Clone, Copy)]
pub(super) struct Exports {
    pub(super) connect: bool,
    pub(super) publish: bool,
    pub(super) publish_many: bool,
    pub(super) subscribe: bool,
    pub(super) content: bool,
    pub(super) events: bool,
}

impl Exports {
    fn of(program: &Program) -> Self {
        let has = |hook| program.inspection.hooks.contains(&hook);
        Self {
            connect: has("connect"),
            publish: has("publish"),
            publish_many: program.inspection.judges_many,
            subscribe: has("subscribe"),
            content: has("content"),
            events: has("events"),
        }
    }
}

/// What every policy of one host shares, and what is handed from module to module.
pub(super) struct Inheritance {
    pub(super) holdings: Arc<Holdings>,
    pub(super) actions: Arc<Actions>,
    pub(super) instance_calls: (u32, u32),
}

impl Policy {
    pub(super) fn new(spec: Arc<PolicySpec>, program: Arc<Program>, inheritance: &Inheritance) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let cores = available_parallelism().map_or(2, usize::from);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: Arc::clone(&inheritance.holdings.policy),
            exports: Exports::of(&program),
            program,
            health: Health::new(Instant::now()),
            pace: Pace::new(),
            portion: Portion::new(),
            turns: Arc::new(Semaphore::new(cores)),
            settings: spec.settings.to_string().into(),
            around: Surroundings {
                holdings: Arc::clone(&inheritance.holdings),
                actions: Arc::clone(&inheritance.actions),
                limits: spec.limits,
            },
            instance_calls: inheritance.instance_calls,
            shelf: Mutex::new(Vec::new()),
            // Those that connect calls use at a time, and a spare for a thread that loses its own.
            shelf_max: cores + 1,
            refill_wanted: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
            spec,
        }
    }

    /// The same module once more, with a clean record: for going back to it.
    pub(super) fn revived(&self) -> Self {
        let inheritance = Inheritance {
            holdings: Arc::clone(&self.around.holdings),
            actions: Arc::clone(&self.around.actions),
            instance_calls: self.instance_calls,
        };
        Self::new(Arc::clone(&self.spec), Arc::clone(&self.program), &inheritance)
    }

    pub(super) fn holdings(&self) -> &Arc<Holdings> {
        &self.around.holdings
    }

    /// An instance that is configured: a spare, or a fresh one.
    pub(super) fn instance(&self) -> Result<Instance, (Hook, Fault)> {
        match self.spare() {
            Some(instance) => Ok(instance),
            None => self.fresh_instance(),
        }
    }

    /// An instance that is configured, if one lies ready.
    pub(super) fn spare(&self) -> Option<Instance> {
        self.shelf.lock().pop()
    }

    /// Makes an instance for every thread that will soon want one, so that none has to make its own between two
    /// packets. Whoever configures slowly gets fewer.
    ///
    /// # Errors
    /// When not even one can be made.
    pub(super) fn stock(&self) -> Result<(), (Hook, Fault)> {
        let started = Instant::now();
        self.put_back(self.fresh_instance()?);
        while self.shelf.lock().len() < self.shelf_max && started.elapsed() < STOCKING_TIME {
            let Ok(instance) = self.fresh_instance() else {
                break;
            };
            self.put_back(instance);
        }
        Ok(())
    }

    fn fresh_instance(&self) -> Result<Instance, (Hook, Fault)> {
        let mut instance = Instance::new(&self.program, &self.around).map_err(|error| match error {
            PolicyErrorKind::Fault(hook, fault) => (hook, fault),
            other => (Hook::Instantiate, Fault::new(FaultKind::Host, other.to_string())),
        })?;
        // What `configure` has to say was logged when the module was tried; each further instance would say it again.
        instance.mute(true);
        let configured = instance.configure(&self.settings);
        instance.mute(false);
        match configured {
            Err(fault) => return Err((Hook::Configure, fault)),
            Ok(Err(text)) => {
                let detail = format!("refused the settings it took before: {text}");
                return Err((Hook::Configure, Fault::new(FaultKind::BadVerdict, detail)));
            }
            Ok(Ok(())) => {}
        }
        // At random, so that no policy comes to rely on living so long, and not all instances end at once.
        instance.calls_left = self.random_lifetime();
        Ok(instance)
    }

    fn random_lifetime(&self) -> u32 {
        let (least, most) = self.instance_calls;
        let mut bytes = [0; 4];
        // Without random numbers the shortest lifetime is as good.
        let random = getrandom::fill(&mut bytes).map_or(0, |()| u32::from_ne_bytes(bytes));
        let spread = most.saturating_sub(least).saturating_add(1);
        least.saturating_add(random % spread).max(1)
    }

    /// Takes an instance back for the next caller. What does not fit on the shelf is dropped.
    pub(super) fn put_back(&self, instance: Instance) {
        let mut shelf = self.shelf.lock();
        if shelf.len() < self.shelf_max && !self.is_retired.load(Ordering::Relaxed) {
            shelf.push(instance);
        }
    }

    /// Makes the spare when it is missing. Runs on the thread that keeps house.
    pub(super) fn refill(&self) {
        self.refill_wanted.store(false, Ordering::Relaxed);
        if !self.shelf.lock().is_empty() {
            return;
        }
        // A failure is reported by the call that next wants an instance.
        if let Ok(instance) = self.fresh_instance() {
            self.put_back(instance);
        }
    }

    /// Whether the caller is to ask for a refill; only one is.
    pub(super) fn wants_refill(&self) -> bool {
        self.shelf.lock().is_empty() && !self.refill_wanted.swap(true, Ordering::Relaxed)
    }

    /// Frees the spares of a module that is no longer in force.
    pub(super) fn retire(&self) {
        let mut shelf = self.shelf.lock();
        self.is_retired.store(true, Ordering::Relaxed);
        shelf.clear();
    }

    /// Accounts for a finished call. True when the module is to be quarantined.
    pub(super) fn report_fault(&self, generation: u64, hook: Hook, fault: &Fault) -> bool {
        self.around.holdings.observer.observe(&PolicyNotice::Fault {
            policy: Arc::clone(&self.name),
            generation,
            hook,
            fault: fault.clone(),
        });
        self.health.failed(fault.kind, Instant::now())
    }
}
