//! What the store is told of sessions: translations, and the moments at which it is told.

use super::Hub;
use super::cell::{Offline, SessionCell, SessionState};
use crate::policy::Gate;
use sluice_mqtt::packet::{QoS, SubscriptionOptions, Will};
use sluice_mqtt::session;
use sluice_store::{Change, Phase, QueueLimits, SessionRecord, Ticket, WillRecord};
use std::num::NonZeroU32;
use std::time::{Instant, SystemTime};

/// What a store has to be told of a session whose connection begins or ends.
struct Saved<'a> {
    /// Seconds it outlives its connection.
    expiry_seconds: u32,
    phase: Phase,
    will: Option<&'a Will>,
    /// When the will is due; `None` while the client is connected.
    will_at: Option<Instant>,
    gate: Option<&'a Gate>,
}

impl Hub {
    /// Where everything is kept that outlives the process.
    #[must_use]
    pub fn store(&self) -> &sluice_store::Store {
        &self.inner.store
    }

    /// Tells the store what a session has noted; what to wait for before the client may know of it.
    ///
    /// The caller holds the session: what is noted later is told later.
    pub fn save(&self, cell: &SessionCell, state: &mut SessionState) -> Ticket {
        let mut ticket = Ticket::NONE;
        if cell.durable {
            for change in state.session.take_changes() {
                ticket = self.inner.store.submit(record(cell.number, change));
            }
        }
        ticket
    }

    /// What to wait for until all that the session has ever noted is on disk, earlier things included.
    ///
    /// The caller holds the session.
    pub fn settled(&self, cell: &SessionCell, state: &mut SessionState) -> Ticket {
        self.save(cell, state);
        match cell.durable {
            true => self.inner.store.latest(),
            false => Ticket::NONE,
        }
    }

    /// [`Hub::save`] for a session without a connection: nobody else tells the store what a full queue has dropped.
    pub(super) fn save_offline_changes(&self, cell: &SessionCell) {
        let mut state = cell.lock();
        if !state.is_online() {
            self.save(cell, &mut state);
        }
    }

    /// Tells the store that a session has a connection. The caller holds it.
    pub(super) fn save_online(
        &self,
        cell: &SessionCell,
        state: &mut SessionState,
        expiry_seconds: u32,
        (gate, will): (Option<&Gate>, Option<&Will>),
    ) -> Ticket {
        if !cell.durable {
            return Ticket::NONE;
        }
        // What expired while the client was away.
        self.save(cell, state);
        let saved = Saved {
            expiry_seconds,
            phase: Phase::Online,
            will,
            will_at: None,
            gate,
        };
        self.inner.store.submit(session_record(cell, state, &saved))
    }

    /// Tells the store that a session has no connection any more. The caller holds it.
    pub(super) fn save_offline(&self, cell: &SessionCell, state: &SessionState, offline: &Offline) -> Ticket {
        if !cell.durable {
            return Ticket::NONE;
        }
        let saved = Saved {
            expiry_seconds: u32::MAX,
            phase: offline_until(offline.expires_at),
            will: offline.will.as_ref(),
            will_at: offline.will_at,
            gate: Some(&offline.gate),
        };
        self.inner.store.submit(session_record(cell, state, &saved))
    }

    /// Tells the store of a subscription.
    pub(super) fn save_subscription(
        &self,
        cell: &SessionCell,
        filter: &str,
        subscription: Option<(SubscriptionOptions, Option<NonZeroU32>)>,
    ) -> Ticket {
        if !cell.durable {
            return Ticket::NONE;
        }
        let (session, filter) = (cell.number, filter.to_owned());
        self.inner.store.submit(match subscription {
            Some((options, id)) => Change::Subscribed {
                session,
                filter,
                options: options.to_byte(),
                id: id.map_or(0, NonZeroU32::get),
            },
            None => Change::Unsubscribed { session, filter },
        })
    }
}

/// For a session without a connection whose will is sent now: that there is none any more. `None`: no store keeps it.
pub(super) fn without_will(cell: &SessionCell, expires_at: Option<Instant>, gate: &Gate) -> Option<Change> {
    let saved = Saved {
        expiry_seconds: u32::MAX,
        phase: offline_until(expires_at),
        will: None,
        will_at: None,
        gate: Some(gate),
    };
    cell.durable.then(|| session_record(cell, &cell.lock(), &saved))
}

fn session_record(cell: &SessionCell, state: &SessionState, saved: &Saved<'_>) -> Change {
    let limits = state.session.limits();
    let will = saved.will.map(|will| WillRecord {
        topic: will.topic.to_string(),
        payload: will.payload.to_vec(),
        qos: will.qos as u8,
        retain: will.retain,
        delay_seconds: will.delay_seconds,
        expiry_seconds: will.properties.message_expiry_seconds,
        forwarded: will.properties.forwarded.to_vec(),
        due_at: saved.will_at.map(wall_clock),
    });
    Change::SessionOpened(Box::new(SessionRecord {
        number: cell.number,
        mountpoint: cell.key.mountpoint.to_string(),
        client_id: cell.key.client_id.to_string(),
        username: state.caller.username.as_deref().map(str::to_owned),
        address: state.caller.address.map(|address| address.to_string()),
        expiry_seconds: saved.expiry_seconds,
        phase: saved.phase,
        will,
        limits: QueueLimits {
            messages_max: limits.queue_messages_max,
            bytes_max: limits.queue_bytes_max,
            overflow: limits.overflow as u8,
            inflight_max: limits.inflight_max,
            subscriptions_max: state.subscriptions_max,
        },
        gate: saved.gate.map(Gate::remember).unwrap_or_default(),
    }))
}

/// Without a connection, until then; `None`: for ever.
fn offline_until(expires_at: Option<Instant>) -> Phase {
    Phase::Offline {
        expires_at: expires_at.map(wall_clock),
    }
}

/// What a session noted, as the store takes it.
pub(super) fn record(session: u64, change: session::Change) -> Change {
    match change {
        session::Change::Sent {
            place,
            packet_id,
            qos,
        } => Change::Sent {
            session,
            position: place.position,
            seq: place.seq.get(),
            packet_id: packet_id.get(),
            qos2: qos == QoS::ExactlyOnce,
        },
        session::Change::Skipped(place) => Change::Skipped {
            session,
            position: place.position,
            seq: place.seq.get(),
        },
        session::Change::Acknowledged(packet_id) => Change::Acknowledged {
            session,
            packet_id: packet_id.get(),
        },
        session::Change::Received(packet_id) => Change::Received {
            session,
            packet_id: packet_id.get(),
        },
        session::Change::InboundReceived(packet_id) => Change::InboundReceived {
            session,
            packet_id: packet_id.get(),
        },
        session::Change::InboundReleased(packet_id) => Change::InboundReleased {
            session,
            packet_id: packet_id.get(),
        },
    }
}

/// The moment on the wall's clock.
fn wall_clock(at: Instant) -> SystemTime {
    SystemTime::now() + at.saturating_duration_since(Instant::now())
}
