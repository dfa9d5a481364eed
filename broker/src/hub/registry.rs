//! Which sessions exist, and how a connection takes one, leaves one and ends one.

use super::Hub;
use super::bans::Caller;
use super::cell::{Offline, Phase, SessionCell};
use super::durable::without_will;
use super::key::SessionKey;
use crate::event::Event;
use crate::policy::Gate;
use crate::report;
use sluice_mqtt::packet::Will;
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{Restored, Session, SessionLimits};
use sluice_mqtt::will::{self, Ending, Fate};
use sluice_store::{Change, Health, Ticket};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// All sessions, by name and by number.
#[derive(Default)]
pub(super) struct Registry {
    by_key: Map<SessionKey, Arc<SessionCell>>,
    /// In their order, for [`super::walk`].
    by_number: BTreeMap<u64, Arc<SessionCell>>,
    /// The session number that policies know, which changes with every CONNECT, to the session it belongs to.
    by_judged: Map<u64, Arc<SessionCell>>,
}

impl Registry {
    pub(super) fn by_number(&self, number: u64) -> Option<Arc<SessionCell>> {
        self.by_number.get(&number).cloned()
    }

    pub(super) fn by_judged(&self, judged: u64) -> Option<Arc<SessionCell>> {
        self.by_judged.get(&judged).cloned()
    }

    pub(super) fn by_key(&self, key: &SessionKey) -> Option<Arc<SessionCell>> {
        self.by_key.get(key).cloned()
    }

    /// The first sessions, at most so many, whose numbers are not below this one.
    pub(super) fn portion(&self, from: u64, count: usize) -> Vec<Arc<SessionCell>> {
        let cells = self.by_number.range(from..).take(count);
        cells.map(|(_, cell)| Arc::clone(cell)).collect()
    }

    fn create(&mut self, request: &Attach<'_>, is_stored: bool) -> Arc<SessionCell> {
        let limits = request.session_limits;
        // A session that ends with its connection is nothing to keep.
        let session = match is_stored && request.expiry_seconds > 0 {
            true => Session::durable(limits, Restored::default()),
            false => Session::new(limits),
        };
        let cell = Arc::new(SessionCell::new(request.judged, request.key.clone(), session));
        self.insert(&cell);
        cell
    }

    pub(super) fn insert(&mut self, cell: &Arc<SessionCell>) {
        self.by_key.insert(cell.key.clone(), Arc::clone(cell));
        self.by_number.insert(cell.number, Arc::clone(cell));
    }

    /// Notes the number by which policies know a session.
    pub(super) fn judge(&mut self, judged: u64, cell: &Arc<SessionCell>) {
        self.by_judged.insert(judged, Arc::clone(cell));
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    fn remove(&mut self, cell: &SessionCell) {
        self.by_number.remove(&cell.number);
        self.by_judged.remove(&cell.lock().judged);
        if self
            .by_key
            .get(&cell.key)
            .is_some_and(|kept| kept.number == cell.number)
        {
            self.by_key.remove(&cell.key);
        }
    }
}

/// A connection that asks for its session.
pub struct Attach<'a> {
    /// Whose session.
    pub key: SessionKey,
    /// What else is known of the client.
    pub caller: Caller,
    /// The number under which policies judged this CONNECT; from [`Hub::new_number`].
    pub judged: u64,
    /// Clean Start.
    pub clean_start: bool,
    /// Seconds the session is to outlive the connection.
    pub expiry_seconds: u32,
    /// The client's Receive Maximum.
    pub receive_max: u16,
    /// Bounds of the queue and the window.
    pub session_limits: SessionLimits,
    /// Most subscriptions the session may hold.
    pub subscriptions_max: u32,
    /// Whether the client may have a session if it has none yet.
    pub may_create: bool,
    /// The policy side, for the store; `None`: nobody needs to know it after a restart.
    pub gate: Option<&'a Gate>,
    /// The will, for the store.
    pub will: Option<&'a Will>,
}

/// A session with its new connection.
pub struct Attached {
    /// The session.
    pub cell: Arc<SessionCell>,
    /// The number of this attachment.
    pub connection: u64,
    /// Session Present.
    pub session_present: bool,
    /// When this is durable, the client may be told.
    pub ticket: Ticket,
}

/// Why a session cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The operator has banned the client, as this text says.
    Banned(String),
    /// The client has no session, and none may be created now.
    NoNewSessions,
    /// `limits.sessions_max` is reached.
    TooManySessions,
    /// The session would outlive its connection, and the store cannot write.
    NotStored,
}

/// How a connection leaves its session.
pub struct Detach {
    /// The policy side of the session.
    pub gate: Gate,
    /// The will.
    pub will: Option<Will>,
    /// How the connection ended, unless another one has taken over.
    pub ending: Ending,
    /// Seconds the session outlives the connection; `u32::MAX`: for ever.
    pub expiry_seconds: u32,
    /// Why the connection ended, for policies that listen to events.
    pub reason: ReasonCode,
}

/// What was left of an earlier connection when a new one came.
enum Earlier {
    None,
    Resumed(Arc<SessionCell>),
    Ended(Arc<SessionCell>, Option<Box<Offline>>),
}

impl Hub {
    /// Resumes or creates the session of a client that was admitted; an earlier connection of it is told to go
    /// [MQTT-3.1.4-3].
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(&self, request: Attach<'_>, now: Instant) -> Result<Attached, AttachError> {
        if request.expiry_seconds > 0 && self.inner.store.health() == Health::Failing {
            return Err(AttachError::NotStored);
        }
        self.do_what_is_due(&request.key, now);
        let mut registry = self.inner.registry.lock();
        // Under this lock: a ban is either seen here, or sees this connection.
        if let Some(text) = self.banned(&request.key.client_id, &request.caller) {
            return Err(AttachError::Banned(text));
        }
        let earlier = match registry.by_key(&request.key) {
            None => Earlier::None,
            Some(cell) => self.take_over(cell, request.clean_start, now),
        };
        let sessions_max = u64::from(self.limits().sessions_max);
        let (cell, session_present, ended) = match earlier {
            Earlier::Resumed(cell) => (cell, true, None),
            Earlier::None if !request.may_create => return Err(AttachError::NoNewSessions),
            Earlier::None if registry.by_key.len() as u64 >= sessions_max => {
                return Err(AttachError::TooManySessions);
            }
            Earlier::None => (
                registry.create(&request, self.inner.store.is_durable()),
                false,
                None,
            ),
            Earlier::Ended(old, offline) => {
                registry.remove(&old);
                let cell = registry.create(&request, self.inner.store.is_durable());
                (cell, false, Some((old, offline)))
            }
        };
        self.inner
            .metrics
            .sessions_current
            .set(registry.by_key.len() as u64);
        let (connection, mut ticket) = {
            let mut state = cell.lock();
            registry.by_judged.remove(&state.judged);
            registry.by_judged.insert(request.judged, Arc::clone(&cell));
            state.judged = request.judged;
            state.subscriptions_max = request.subscriptions_max;
            state.connection += 1;
            state.caller = request.caller;
            state.phase = Phase::Online;
            state.ends_with_connection = request.expiry_seconds == 0;
            state.session.set_limits(request.session_limits);
            state.session.attach(request.receive_max, now);
            state.wake(); // an earlier driver sees that it has been taken over
            let said = (request.gate, request.will);
            let ticket = self.save_online(&cell, &mut state, request.expiry_seconds, said);
            (state.connection, ticket)
        };
        drop(registry);
        if let Some((old, offline)) = ended {
            self.finish(&old, offline, now);
            if old.durable {
                // Or a crash would bring back what the client was told is gone.
                ticket = self.inner.store.latest();
            }
        }
        Ok(Attached {
            cell,
            connection,
            session_present,
            ticket,
        })
    }

    /// Decides what becomes of a session that a new connection finds.
    fn take_over(&self, cell: Arc<SessionCell>, clean_start: bool, now: Instant) -> Earlier {
        let mut state = cell.lock();
        let (offline, ends) = match std::mem::replace(&mut state.phase, Phase::Online) {
            Phase::Online => (None, state.ends_with_connection),
            Phase::Offline(offline) => (offline, false),
        };
        let mut ends = ends || clean_start || state.ended;
        if let Some(offline) = &offline {
            ends |= offline.expires_at.is_some_and(|at| at <= now);
            self.unschedule(offline, cell.number);
        }
        state.ended = ends;
        state.wake();
        drop(state);
        // Otherwise the client is back before its will was due: the will is not sent [MQTT-3.1.3-9].
        if ends {
            Earlier::Ended(cell, offline)
        } else {
            Earlier::Resumed(cell)
        }
    }

    /// Ends a connection's hold on its session; true if its will was published now.
    ///
    /// Nothing happens to a session that another connection has taken over meanwhile, except that a will without
    /// delay, or one whose session has ended, is published.
    pub fn detach(&self, cell: &Arc<SessionCell>, connection: u64, left: Detach, now: Instant) -> bool {
        let Detach {
            mut gate,
            will,
            ending,
            expiry_seconds,
            reason,
        } = left;
        let (taken_over, ended) = {
            let mut state = cell.lock();
            let taken_over = state.connection != connection;
            if !taken_over && !state.ended && expiry_seconds > 0 {
                state.session.detach();
                state.phase = Phase::Offline(None);
                self.save(cell, &mut state);
            }
            (taken_over, state.ended)
        };
        let ending = match (ending, ended, taken_over) {
            // A client that took its leave before it was taken over has deleted its will.
            (Ending::Disconnected(_), _, _) | (_, false, false) => ending,
            (_, true, _) => Ending::TakenOverClean,
            (_, false, true) => Ending::TakenOver,
        };
        let fate = will
            .as_ref()
            .map(|will| will::fate(will.delay_seconds, ending, expiry_seconds, now));
        let (due, will, will_at) = match fate {
            Some(Fate::PublishNow) => (will, None, None),
            Some(Fate::PublishAt(at)) => (None, will, Some(at)),
            Some(Fate::Discard) | None => (None, None, None),
        };
        let ends = ended || expiry_seconds == 0;
        let expires_at = after(now, expiry_seconds);
        let published = due.is_some_and(|will| {
            let stays = !taken_over && !ends;
            let with = stays.then(|| without_will(cell, expires_at, &gate)).flatten();
            self.publish_will(&will, &mut gate, cell, with, now)
        });
        gate.disconnected(reason.code(), published);
        if taken_over {
            return published;
        }
        if ends {
            self.end(cell, None, now);
        } else {
            let offline = Box::new(Offline {
                gate,
                will,
                will_at,
                expires_at,
            });
            self.settle(cell, connection, offline, now);
        }
        published
    }

    /// Leaves a session to itself, unless it was resumed or ended while a will of it was being published.
    pub(super) fn settle(
        &self,
        cell: &Arc<SessionCell>,
        connection: u64,
        mut offline: Box<Offline>,
        now: Instant,
    ) {
        let mut state = cell.lock();
        if state.connection == connection && !state.ended {
            if let Some(at) = offline.deadline() {
                self.inner.timers.schedule(at, cell.number);
            }
            self.save_offline(cell, &state, &offline);
            state.phase = Phase::Offline(Some(offline));
            return;
        }
        let ended = state.ended;
        drop(state);
        if let Some(will) = offline.will.take().filter(|_| ended) {
            self.publish_will(&will, &mut offline.gate, cell, None, now);
        }
    }

    /// Ends a session: its subscriptions and its queue are gone [MQTT-4.1.0-2].
    pub(super) fn end(&self, cell: &Arc<SessionCell>, offline: Option<Box<Offline>>, now: Instant) {
        {
            let mut registry = self.inner.registry.lock();
            registry.remove(cell);
            self.inner
                .metrics
                .sessions_current
                .set(registry.by_key.len() as u64);
        }
        let mut state = cell.lock();
        state.ended = true;
        state.wake();
        drop(state);
        self.finish(cell, offline, now);
    }

    /// Cleans up behind a session that was marked as ended; a will that still waits is due now.
    fn finish(&self, cell: &Arc<SessionCell>, offline: Option<Box<Offline>>, now: Instant) {
        let (subscriptions, ended) = {
            let mut state = cell.lock();
            let ended = cell.durable.then(|| {
                self.save(cell, &mut state);
                let session = cell.number;
                Change::SessionEnded { session }
            });
            (std::mem::take(&mut state.subscriptions), ended)
        };
        self.unsubscribe_all(cell, subscriptions);
        match offline.and_then(|mut offline| Some((offline.will.take()?, offline.gate))) {
            Some((will, mut gate)) => {
                self.publish_will(&will, &mut gate, cell, ended, now);
            }
            None => {
                if let Some(ended) = ended {
                    self.inner.store.submit(ended);
                }
            }
        }
    }

    /// Does what is due for a disconnected session: its delayed will, its end.
    pub(super) fn session_due(&self, number: u64, now: Instant) {
        let Some(cell) = self.inner.registry.lock().by_number(number) else {
            return;
        };
        let (mut offline, connection) = {
            let mut state = cell.lock();
            let Phase::Offline(offline) = &mut state.phase else {
                return;
            };
            let Some(offline) = offline.take() else { return };
            (offline, state.connection)
        };
        if offline.expires_at.is_some_and(|at| at <= now) {
            let client = report::session(&cell.key.client_id);
            self.inner.events.emit(Event::SessionExpired { client });
            self.end(&cell, Some(offline), now);
            return;
        }
        // One that was recovered may not have been judged yet.
        if !self.is_still_admitted(&cell, &mut offline) {
            self.end(&cell, Some(offline), now);
            return;
        }
        if offline.will_at.is_some_and(|at| at <= now) {
            offline.will_at = None;
            if let Some(will) = offline.will.take() {
                let with = without_will(&cell, offline.expires_at, &offline.gate);
                self.publish_will(&will, &mut offline.gate, &cell, with, now);
            }
        }
        self.settle(&cell, connection, offline, now);
    }

    /// A client that comes back just when something is due, as all do after a restart, does not undo it: a will whose
    /// delay has passed is sent [MQTT-3.1.2-8], whether or not the timer came to it.
    fn do_what_is_due(&self, key: &SessionKey, now: Instant) {
        let Some(cell) = self.inner.registry.lock().by_key(key) else {
            return;
        };
        let deadline = match &cell.lock().phase {
            Phase::Offline(Some(offline)) => offline.deadline(),
            Phase::Offline(None) | Phase::Online => None,
        };
        if deadline.is_some_and(|at| at <= now) {
            self.session_due(cell.number, now);
        }
    }

    pub(super) fn unschedule(&self, offline: &Offline, number: u64) {
        if let Some(at) = offline.deadline() {
            self.inner.timers.cancel(at, number);
        }
    }
}

pub(super) fn after(now: Instant, seconds: u32) -> Option<Instant> {
    (seconds != u32::MAX).then(|| now + Duration::from_secs(u64::from(seconds)))
}
