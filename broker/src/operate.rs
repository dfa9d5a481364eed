//! A broker from start to stop: builds the parts, reloads them on SIGHUP, drains them on SIGTERM.

use crate::admin::{self, Commands};
use crate::config::{Config, InForce, Problem};
use crate::confinement::Confinement;
use crate::encryption;
use crate::event::{Event, Events};
use crate::exposition;
use crate::gating::Observer;
use crate::hub::{Asked, Hub, RestoreBansError, Stop};
use crate::log;
use crate::memory::{Memory, Pressure};
use crate::metrics::Metrics;
use crate::net::{Health, ListenError, Listeners, Shared, Workers, tls};
use crate::policy::{Policies, PolicyError, PolicyWatch, SessionAction};
use crate::service;
use crate::storing;
use sluice_mqtt::reason::ReasonCode;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How long clients have to take their farewell when the broker stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the log tells how many lines were kept back.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Why a broker could not start.
#[derive(Debug)]
pub enum RunError {
    /// The policies: no listener opens without a gate.
    Policies(Vec<PolicyError>),
    /// What the last process left.
    Store(sluice_store::OpenError),
    /// The bans that the last process left.
    Bans(RestoreBansError),
    /// The files for encryption.
    Tls(Vec<Problem>),
    /// A listener, or the health endpoint.
    Listen(ListenError),
    /// The admin socket that is configured.
    Admin(admin::BindError),
    /// The threads, the signals.
    System(&'static str, io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policies(errors) => f.write_str(&lines(errors)),
            Self::Store(error) => write!(f, "data_dir: {error}"),
            Self::Bans(error) => write!(f, "data_dir: {error}"),
            Self::Tls(problems) => f.write_str(&lines(problems)),
            Self::Listen(error) => error.fmt(f),
            Self::Admin(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

pub(crate) fn lines(errors: &[impl ToString]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Reads the configuration again, for SIGHUP; the error says everything that is wrong.
pub type ReadConfig = Box<dyn Fn() -> Result<Config, String>>;

/// Runs a broker until SIGTERM or SIGINT, in a process that was confined for this configuration.
///
/// # Errors
/// See [`RunError`]; nothing listens then.
pub fn run(config: &Config, read_again: &ReadConfig, confinement: &Confinement) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::System("the event loop cannot start", error))?;
    runtime.block_on(operate(config, read_again, confinement))
}

/// What everything else is built on, and must be there first.
struct Ground {
    acceptors: tls::Acceptors,
    events: Events,
    hub: Hub,
    policies: Policies,
    _watched: Option<PolicyWatch>,
}

/// Reads, opens and starts it. Blocks.
fn ground(config: &Config, events: Events) -> Result<Ground, RunError> {
    let acceptors = tls::Acceptors::load(config, SystemTime::now(), &tls::Acceptors::default());
    let acceptors = acceptors.complete().map_err(RunError::Tls)?;
    let opened_at = Instant::now();
    let (store, recovered) = storing::open(config, &events).map_err(RunError::Store)?;
    let observer = Arc::new(Observer(events.clone()));
    let policies = storing::start_policies(config.policies_config(), observer, &store, &recovered)
        .map_err(RunError::Policies)?;
    let watched = config
        .policy_dir
        .as_deref()
        .map(|dir| PolicyWatch::start(&policies, dir));
    let watched = watched.transpose().map_err(RunError::Policies)?;
    let metrics = Arc::clone(events.metrics());
    let hub = Hub::new(config.limits.clone(), store, metrics, events.clone());
    storing::take_over(&hub, &policies, recovered, opened_at).map_err(RunError::Bans)?;
    Ok(Ground {
        acceptors,
        events,
        hub,
        policies,
        _watched: watched,
    })
}

async fn operate(
    config: &Config,
    read_again: &ReadConfig,
    confinement: &Confinement,
) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::default());
    let events = Events::new(Arc::clone(&metrics));
    confinement.report(&events);
    let health = start_health(config, &events)?;
    // Before the files are read, so that no change falls between the two.
    let files = tls::FileWatch::start(config)
        .map_err(|error| RunError::System("the files for encryption cannot be watched", error))?;
    let Ground {
        acceptors,
        events,
        hub,
        policies,
        _watched,
    } = ground(config, events)?;
    let (stop, stopping) = watch::channel(false);
    let mut shared = Shared::new(
        config,
        &acceptors,
        hub.clone(),
        policies.clone(),
        events.clone(),
        stopping.clone(),
    );
    shared.pulse = service::pulse();
    let mut workers = Workers::start(worker_count(config), &shared)
        .map_err(|error| RunError::System("a worker thread cannot start", error))?;
    // Before the log says that it listens: whoever reads that may send a signal at once.
    let signals = Signals::new().map_err(|error| RunError::System("signals cannot be watched", error))?;
    let listeners = Listeners::bind(&config.listeners, &shared).map_err(RunError::Listen)?;
    let admin = admin::Server::bind(&config.admin.socket, events.clone()).map_err(RunError::Admin)?;
    start_tasks(config, &shared);
    let (orders, waiting) = admin::orders();
    if let Some(admin) = admin {
        let commands = Arc::new(Commands {
            hub: hub.clone(),
            orders,
            policies: policies.clone(),
            metrics: Arc::clone(&metrics),
            data_dir: config.data_dir.clone(),
        });
        tokio::spawn(admin.serve(commands));
    }
    let accepting = tokio::spawn({
        let shared = shared.clone();
        async move {
            listeners.accept(&shared, &mut workers, stopping).await;
            workers
        }
    });

    warn(&config.warnings, &events);
    encryption::begun(&files, &acceptors, &events);
    health.ready(measured(&hub, &policies, &metrics));
    service::ready(&events);
    obey(config, read_again, &shared, (signals, waiting, files)).await;
    health.stopping();
    service::stopping(&events);
    events.emit(Event::ShuttingDown {
        connections: metrics.connections_current.get(),
    });
    // Nobody receives if accepting has failed; then there is nothing to stop.
    let _ = stop.send(true);
    if let Ok(workers) = accepting.await {
        hub.stop_all(&Stop::shutting_down());
        // Whoever does not take its farewell in time is cut off.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, workers.drained()).await;
    }
    // What clients were told is on disk already; the rest is written now.
    hub.store().close();
    events.emit(Event::Stopped);
    events.flush();
    Ok(())
}

/// Before the policies are loaded: whoever watches the start sees that it goes on.
fn start_health(config: &Config, events: &Events) -> Result<Health, RunError> {
    let health = Health::default();
    if let Some(address) = config.health {
        health.serve(address, events).map_err(RunError::Listen)?;
    }
    Ok(health)
}

/// Gives all metrics as text.
fn measured(hub: &Hub, policies: &Policies, metrics: &Arc<Metrics>) -> impl Fn() -> String + use<> {
    let (hub, policies, metrics) = (hub.clone(), policies.clone(), Arc::clone(metrics));
    move || exposition::text(&hub, &policies, &metrics)
}

/// Carries out what signals and commands ask, until one says stop. It alone changes the configuration in force.
async fn obey(
    config: &Config,
    read_again: &ReadConfig,
    shared: &Shared,
    (mut signals, mut orders, mut files): (Signals, mpsc::Receiver<admin::Order>, tls::FileWatch),
) {
    let mut in_force = InForce::new(config.clone());
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asking::Reload => {
                    service::reloading(&shared.events);
                    // The log has said why not.
                    let _ = reload(&mut in_force, read_again, shared, &mut files).await;
                    service::ready(&shared.events);
                }
                Asking::Stop => return,
            },
            Some(order) = orders.recv() => match order.if_reload() {
                Ok(answer) => answer.give(reload(&mut in_force, read_again, shared, &mut files).await),
                Err(order) => order.obey(&mut in_force, |config| shared.apply_limits(config)),
            },
            () = files.changed() => encryption::renew(in_force.now(), shared).await,
        }
    }
}

/// As configured, else one per processor.
fn worker_count(config: &Config) -> usize {
    config
        .workers
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// What goes on beside the connections.
fn start_tasks(config: &Config, shared: &Shared) {
    let (hub, policies, events) = (&shared.hub, &shared.policies, &shared.events);
    let house = hub.clone();
    tokio::spawn(async move { house.keep_house().await });
    if let Some(every) = config.sys_interval {
        let hub = hub.clone();
        tokio::spawn(async move { hub.publish_sys(every).await });
    }
    tokio::spawn(watch_memory(Arc::clone(&shared.memory), events.clone()));
    tokio::spawn(report_suppressed(events.clone()));
    if let Some(checkup) = shared.pulse.checkup() {
        tokio::spawn(service::keep_alive(
            checkup,
            events.clone(),
            shared.stopping.clone(),
        ));
    }
    let workers = worker_count(config);
    tokio::spawn(judge_after_swaps(hub.clone(), policies.clone(), workers));
    tokio::spawn(act_for_policies(hub.clone(), policies.actions()));
    let (bans, banned) = hub.policy_bans();
    policies.keep_bans(Arc::new(bans));
    tokio::spawn(hub.clone().end_banned(banned));
}

/// Looks at the memory in use, often when it is limited, and tells when the limit comes near.
async fn watch_memory(memory: Arc<Memory>, events: Events) {
    let mut told = Pressure::None;
    loop {
        let next = memory.look();
        let metrics = events.metrics();
        metrics.memory_used.set(memory.used());
        metrics.memory_limit.set(memory.limit().unwrap_or(0));
        let pressure = memory.pressure();
        if pressure != told {
            events.emit(Event::MemoryPressure {
                pressure: pressure.name(),
                used: memory.used(),
            });
            told = pressure;
        }
        tokio::time::sleep(next).await;
    }
}

/// Tells of log lines that were kept back, also when no further one comes.
async fn report_suppressed(events: Events) {
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        events.flush();
    }
}

/// Every swap of policies makes every session be judged again.
async fn judge_after_swaps(hub: Hub, policies: Policies, workers: usize) {
    let mut changes = policies.changes();
    loop {
        hub.metrics().policy_generation.set(policies.generation());
        // The first time: what the last process left.
        hub.judge_again(workers).await;
        if changes.changed().await.is_err() {
            return;
        }
        changes.mark_unchanged();
    }
}

/// What policies do to sessions through the `sessions` capability.
async fn act_for_policies(hub: Hub, mut actions: mpsc::Receiver<SessionAction>) {
    while let Some(action) = actions.recv().await {
        match action {
            SessionAction::Disconnect {
                session,
                reason,
                policy,
            } => {
                let reason = ReasonCode::new(reason).filter(|reason| reason.is_error());
                let reason = reason.unwrap_or(ReasonCode::ADMINISTRATIVE_ACTION);
                let text = "disconnected by a policy";
                hub.ask(session, policy, Asked::Stop(Stop { reason, text }));
            }
            SessionAction::SetBudget {
                session,
                policy,
                budget,
            } => {
                hub.ask(session, policy, Asked::Budget(budget));
            }
        }
    }
}

/// Reads the configuration again and puts in force what may change while running; all or nothing.
///
/// # Errors
/// Why nothing has changed; the log says it, too.
async fn reload(
    in_force: &mut InForce,
    read_again: &ReadConfig,
    shared: &Shared,
    files: &mut tls::FileWatch,
) -> Result<(), String> {
    let rejected = |error: String| {
        shared.events.emit(Event::ConfigRejected { error: &error });
        error
    };
    let read = read_again().map_err(rejected)?;
    let config = in_force.as_read().in_force_with(&read);
    files.follow(&config);
    // The listeners of the file, not those in force: one that was removed there keeps what it has.
    let acceptors = encryption::load(read, shared.acceptors()).await.complete();
    let acceptors = acceptors.map_err(|problems| {
        files.follow(in_force.now());
        rejected(lines(&problems))
    })?;
    let (policies, wanted) = (shared.policies.clone(), config.policies_config());
    // Compiling takes a while, in which clients connect.
    let reloaded = tokio::task::spawn_blocking(move || policies.reload(wanted)).await;
    let reloaded = match reloaded {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(errors)) => Err(lines(&errors)),
        Err(error) => Err(format!("the policies could not be loaded: {error}")),
    };
    reloaded.map_err(|error| {
        files.follow(in_force.now());
        rejected(error)
    })?;
    shared.apply(&config, &acceptors);
    log::set_level(config.log.level);
    warn(&config.warnings, &shared.events);
    encryption::begun(files, &acceptors, &shared.events);
    if let Some(file) = &config.file {
        shared.events.emit(Event::ConfigReloaded { file });
    }
    let replaced = in_force.replace(config);
    if !replaced.is_empty() {
        let text = &admin::replaced_text(&replaced);
        shared.events.emit(Event::LimitsReplaced { text });
    }
    Ok(())
}

/// Says what in a configuration deserves attention.
pub(crate) fn warn(warnings: &[Problem], events: &Events) {
    for warning in warnings {
        events.emit(Event::ConfigWarning {
            text: &warning.to_string(),
        });
    }
}

/// What a signal asks for.
enum Asking {
    Reload,
    Stop,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asking {
        tokio::select! {
            _ = self.terminate.recv() => Asking::Stop,
            _ = self.interrupt.recv() => Asking::Stop,
            _ = self.hangup.recv() => Asking::Reload,
        }
    }
}
