//! The store at the broker's start and stop: what the last process left, and what the store notices.

use crate::config::Config;
use crate::event::{Event, Events, StoreEvent};
use crate::hub::{Hub, RestoreBansError};
use crate::policy::{KeyValueJournal, Policies, PoliciesConfig, PolicyError, PolicyObserver};
use sluice_store::{Change, Committed, Observer, OpenError, Options, Recovered, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sessions taken over between two looks at whether to tell how far it is.
const SESSIONS_PER_LOOK: usize = 1_000;
/// How often it is told how far taking over is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Opens what the configuration names. Blocks.
///
/// # Errors
/// See [`OpenError`].
pub(crate) fn open(config: &Config, events: &Events) -> Result<(Store, Recovered), OpenError> {
    let Some(data_dir) = &config.data_dir else {
        return Ok((Store::memory(), Recovered::default()));
    };
    let options = Options {
        durability: config.store.durability,
        commit_delay: config.store.commit_delay,
        commit_bytes: config.store.commit_bytes,
        commit_interval: config.store.commit_interval,
        backlog_bytes_max: config.store.backlog_bytes_max,
        ..Options::new(data_dir)
    };
    Store::open(options, Arc::new(Reporter(events.clone())))
}

/// Kinds of facts in the store. A number is never used for something else.
const BAN: u8 = 1;
const VALUE_OF_A_POLICY: u8 = 2;

/// Starts the policies with the values that they had. Blocks.
///
/// # Errors
/// As [`Policies::start`].
pub(crate) fn start_policies(
    config: PoliciesConfig,
    observer: Arc<dyn PolicyObserver>,
    store: &Store,
    recovered: &Recovered,
) -> Result<Policies, Vec<PolicyError>> {
    if !store.is_durable() {
        return Policies::start(config, observer);
    }
    let values = recovered.facts.iter().filter_map(|(kind, key, value)| {
        let key = std::str::from_utf8(key)
            .ok()
            .filter(|_| *kind == VALUE_OF_A_POLICY)?;
        let (policy, key) = key.split_once('\0')?;
        Some((policy.to_owned(), key.to_owned(), value.clone()))
    });
    let journal = Arc::new(Values(store.clone()));
    Policies::resume(config, observer, journal, values)
}

/// Stores the values of policies.
struct Values(Store);

impl KeyValueJournal for Values {
    fn changed(&self, policy: &str, key: &str, value: Option<&[u8]>) {
        self.0.submit(Change::Fact {
            kind: VALUE_OF_A_POLICY,
            // No policy's name has a NUL.
            key: [policy.as_bytes(), b"\0", key.as_bytes()].concat(),
            value: value.map(<[u8]>::to_vec),
        });
    }
}

/// Puts everything in its place that the last process left. Blocks.
///
/// # Errors
/// When a ban cannot be read: whoever starts without it lets somebody in who is banned.
pub(crate) fn take_over(
    hub: &Hub,
    policies: &Policies,
    recovered: Recovered,
    started: Instant,
) -> Result<(), RestoreBansError> {
    if !hub.store().is_durable() {
        return Ok(());
    }
    let now = Instant::now();
    hub.number_from(recovered.first_number);
    let bans = recovered.facts.into_iter().filter(|(kind, ..)| *kind == BAN);
    let store = hub.store().clone();
    let journal = move |key, value| {
        let kind = BAN;
        store.submit(Change::Fact { kind, key, value });
    };
    hub.restore_bans(bans.map(|(_, key, value)| (key, value)), Box::new(journal))?;
    let (sessions, retained) = (recovered.sessions.len(), recovered.retained.len());
    for message in &recovered.retained {
        hub.recover_retained(message, now);
    }
    let mut queued = 0;
    let mut told = Instant::now();
    for (index, session) in recovered.sessions.into_iter().enumerate() {
        queued += session.queue.len();
        hub.recover_session(session, policies, now);
        if index % SESSIONS_PER_LOOK == 0 && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let text = format!("{index} of {sessions} sessions are in place");
            hub.events().emit(Event::Store(StoreEvent::Progress(&text)));
        }
    }
    let text = format!(
        "{sessions} sessions with {queued} queued messages and {retained} retained messages in {} ms",
        started.elapsed().as_millis()
    );
    hub.events().emit(Event::Store(StoreEvent::Opened(&text)));
    Ok(())
}

/// Passes on what the store notices.
struct Reporter(Events);

impl Observer for Reporter {
    fn failing(&self, why: &str) {
        let error = format!(
            "{why}; nothing is acknowledged that has to be stored, until it works again: look at the disk of data_dir"
        );
        self.0.emit(Event::Store(StoreEvent::Failing(&error)));
    }

    fn recovered(&self) {
        self.0.emit(Event::Store(StoreEvent::Recovered));
    }

    fn unreadable(&self, seq: u64, why: &str) {
        let error = format!("message {seq}: {why}; stop the broker and see `sluice store check`");
        self.0.emit(Event::Store(StoreEvent::Damaged(&error)));
    }

    fn progress(&self, what: &str, done: u64, total: u64) {
        let text = format!("{what}: {done} of {total}");
        self.0.emit(Event::Store(StoreEvent::Progress(&text)));
    }

    fn committed(&self, commit: &Committed) {
        let store = &self.0.metrics().store;
        store.commits.inc();
        store.commit_time.add_duration(commit.duration);
        store.messages.add(commit.messages);
        store.bytes.add(commit.bytes);
    }
}
