//! Sessions and routing: what is published reaches every session that subscribed.
//!
//! The hub accepts judged messages only: [`Hub::publish`] takes an `Accepted`, and an unjudged `Received` does not
//! fit. It knows no sockets and no versions; drivers feed it and are woken by it.

mod banning;
mod bans;
mod cell;
mod durable;
mod filing;
mod keeping;
mod key;
mod live;
mod overrides;
mod paging;
mod policy_bans;
mod recovery;
mod refresh;
mod registry;
mod retained;
mod routes;
mod sys;
#[cfg(test)]
mod testing;
mod timers;
mod walk;
mod wills;

pub use crate::network::Network;
pub use banning::{BanJournal, RestoreBansError};
pub use bans::{BANS_MAX, BadBan, Ban, BanError, BannedBy, Bans, Caller, Placed, REASON_BYTES_MAX, Subject};
pub use cell::{Account, Asked, Offered, Offline, Orders, Phase, SessionCell, SessionState, Stop, Usage};
pub use keeping::{SessionSummary, SubscriptionSummary};
pub use key::SessionKey;
pub use live::ClientSummary;
pub use policy_bans::{Banned, PolicyBans};
pub use refresh::option_bits;
pub use registry::{Attach, AttachError, Attached, Detach};
pub use retained::{Replay, Room};
pub use routes::{SubscribeError, Subscribed};

use crate::config::Limits;
use crate::event::{Event, Events};
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use banning::Banlist;
use filing::Filing;
use overrides::Overrides;
use parking_lot::{Mutex, RwLock};
use registry::Registry;
use retained::Retained;
use routes::Routed;
use sluice_mqtt::conn::{Accepted, Receipt};
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::{PacketId, QoS};
use sluice_mqtt::topic::SubscriptionTree;
use sluice_store::{Change, Store, Ticket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use timers::Timers;

/// A cheap handle on all sessions, routes and retained messages of this broker.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

/// A message that was routed.
#[must_use]
pub struct Published {
    /// The right to acknowledge it.
    pub receipt: Receipt,
    /// Percent, of the fullest queue it joined that is more than half full and is being emptied; else 0. Whoever
    /// publishes on at the same speed will see messages dropped.
    pub crowding: u8,
    /// When this is durable, the message may be acknowledged.
    pub ticket: Ticket,
}

/// Who subscribed to what, by the numbers of sessions.
type Routes = SubscriptionTree<u64, cell::Route>;

struct Inner {
    registry: Mutex<Registry>,
    routes: RwLock<Routes>,
    retained: Mutex<Retained>,
    timers: Timers,
    overrides: Overrides,
    banlist: Banlist,
    numbers: AtomicU64,
    limits: ArcSwap<Limits>,
    limits_version: AtomicU64,
    store: Store,
    metrics: Arc<Metrics>,
    events: Events,
}

impl Hub {
    /// An empty hub; see [`Hub::recover_session`].
    pub fn new(limits: Limits, store: Store, metrics: Arc<Metrics>, events: Events) -> Self {
        let retained = Retained::new(&limits);
        let inner = Inner {
            registry: Mutex::new(Registry::default()),
            routes: RwLock::new(SubscriptionTree::default()),
            retained: Mutex::new(retained),
            timers: Timers::default(),
            overrides: Overrides::default(),
            banlist: Banlist::default(),
            numbers: AtomicU64::new(1),
            limits: ArcSwap::from_pointee(limits),
            limits_version: AtomicU64::new(0),
            store,
            metrics,
            events,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A number for a CONNECT and the session it may open; never given twice.
    pub fn new_number(&self) -> u64 {
        self.inner.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The limits in force.
    pub fn limits(&self) -> Arc<Limits> {
        self.inner.limits.load_full()
    }

    /// Puts other limits in force for what comes from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.retained.lock().set_limits(&limits);
        self.inner.limits.store(Arc::new(limits));
        self.inner.limits_version.fetch_add(1, Ordering::Release);
        self.wake_all();
    }

    /// Changes whenever [`Hub::limits`] does: connections look at it to know when to look there.
    pub fn limits_version(&self) -> u64 {
        self.inner.limits_version.load(Ordering::Acquire)
    }

    /// The broker's counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// Where facts are reported.
    pub fn events(&self) -> &Events {
        &self.inner.events
    }

    /// Routes a judged message of `publisher` and returns the right to acknowledge it.
    ///
    /// An unjudged message does not fit:
    /// ```compile_fail,E0308
    /// fn route(hub: &sluice::hub::Hub, unjudged: sluice_mqtt::conn::Received, who: &sluice::hub::SessionCell) {
    ///     let _ = hub.publish(unjudged, who, std::time::Instant::now());
    /// }
    /// ```
    pub fn publish(&self, accepted: Accepted, publisher: &SessionCell, now: Instant) -> Published {
        let (message, receipt) = accepted.into_message(&publisher.key.mountpoint, publisher.number, now);
        let exactly_once = receipt.packet_id().filter(|_| message.qos() == QoS::ExactlyOnce);
        let sender = exactly_once.map(|packet_id| (publisher, packet_id));
        let routed = self.route(&message, sender, None, now);
        let receipt = match routed.sessions {
            0 => receipt.no_subscribers(),
            _ => receipt,
        };
        Published {
            receipt,
            crowding: routed.crowding,
            ticket: routed.ticket,
        }
    }

    /// Stores what is retained and gives every matching session its copy; `with`, and the identifier that its sender gave
    /// it if it has QoS 2, are stored with it or not at all.
    fn route(
        &self,
        message: &Message,
        exactly_once: Option<(&SessionCell, PacketId)>,
        with: Option<Change>,
        now: Instant,
    ) -> Routed {
        let mut filing = Filing::new(&self.inner.store);
        if message.retain() {
            filing.wait_for(self.retain(message, now));
        }
        let mut routed = self.dispatch(message, &mut filing);
        if let Some((publisher, packet_id)) = exactly_once {
            filing.received_from(publisher, packet_id);
        }
        if let Some(change) = with {
            filing.with(change);
        }
        routed.ticket = filing.end(message);
        routed
    }

    /// Keeps a retained message; what to wait for before its publisher is told.
    fn retain(&self, message: &Message, now: Instant) -> Ticket {
        let mut retained = self.inner.retained.lock();
        let kept = retained.store(message, now);
        self.report_retained(&retained);
        // Under the lock: the store is to hear of the messages of a topic in their order.
        let ticket = match kept {
            retained::Kept::Stored => self.inner.store.submit(Change::Retained(message.clone())),
            retained::Kept::Cleared | retained::Kept::FullAndCleared => {
                let topic = message.topic().to_owned();
                self.inner.store.submit(Change::RetainedCleared(topic))
            }
            retained::Kept::Nothing | retained::Kept::Full => Ticket::NONE,
        };
        drop(retained);
        if let retained::Kept::Full | retained::Kept::FullAndCleared = kept {
            self.inner.events.emit(Event::RetainedFull {
                topic: message.topic(),
            });
        }
        ticket
    }

    /// Keeps a retained message of the broker's own: the next process has its own.
    fn keep_own(&self, message: &Message, now: Instant) {
        let mut retained = self.inner.retained.lock();
        let _ = retained.store(message, now);
        self.report_retained(&retained);
    }

    fn report_retained(&self, retained: &Retained) {
        self.inner.metrics.retained_current.set(retained.len() as u64);
        self.inner.metrics.retained_bytes.set(retained.bytes());
    }
}
