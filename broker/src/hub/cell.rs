//! One session as the hub holds it: the protocol's [`Session`], its subscriptions, and whoever drives its socket.

use super::bans::Caller;
use super::key::SessionKey;
use crate::policy::Gate;
use crate::policy::verdict::Budget;
use parking_lot::{Mutex, MutexGuard};
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::{QoS, SubscriptionOptions, Will};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{Delivery, Enqueued, Place, Session, SubscriptionIds};
use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::Waker;
use std::time::{Duration, Instant};

/// A session shared by its driver, the publishers that feed it and the hub's timers.
///
/// Lock order: the hub's registry, then its routes, then one cell; never two cells at once.
pub struct SessionCell {
    /// Never reused; the subscriber's key in the routes and the publisher's mark for No Local.
    pub number: u64,
    /// What names the session.
    pub key: SessionKey,
    /// Whether a store keeps it. It does until the session ends, even if its client asks for less later.
    pub durable: bool,
    state: Mutex<SessionState>,
}

/// What changes about a session.
pub struct SessionState {
    /// In-flight messages and the queue.
    pub session: Session,
    /// The filters as the client wrote them. The routes know all else: a million subscriptions are held twice.
    pub subscriptions: BTreeSet<Box<str>>,
    /// Most subscriptions it may hold.
    pub subscriptions_max: u32,
    /// The number by which policies know the session since its last CONNECT.
    pub judged: u64,
    /// Counts attachments; a driver whose number is not this one has been taken over.
    pub connection: u64,
    /// Who opened it last, for bans.
    pub caller: Caller,
    /// Whether a socket is attached.
    pub phase: Phase,
    /// Whether messages are being fetched from the store.
    pub fetching: bool,
    /// Whether it was opened to end with its connection.
    pub ends_with_connection: bool,
    /// Set once the session has ended: nothing may be added any more.
    pub ended: bool,
    /// Work for the driver, other than messages.
    pub orders: Orders,
    /// What its connection has moved, as of the driver's last turn.
    pub usage: Usage,
    waker: Option<Waker>,
    /// Whether a message is a reason to wake the driver: not while it is held back for other reasons.
    wants_messages: bool,
}

/// What a connection has moved and how long it was made to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wire bytes from the client.
    pub bytes_in: u64,
    /// Wire bytes to the client.
    pub bytes_out: u64,
    /// PUBLISH packets from the client.
    pub messages_in: u64,
    /// PUBLISH packets to the client.
    pub messages_out: u64,
    /// For how long its socket was left unread.
    pub throttled_in: Duration,
    /// For how long what it was to be sent was held back.
    pub throttled_out: Duration,
}

/// Whether a session has a connection.
pub enum Phase {
    /// A driver owns its socket, its gate and its will.
    Online,
    /// Waiting for the client to come back; `None` while its will is being published.
    Offline(Option<Box<Offline>>),
}

/// What is kept of a connection that ended before its session.
pub struct Offline {
    /// The policy side of the session; judges it at a swap, and the will.
    pub gate: Gate,
    /// A will whose delay is running.
    pub will: Option<Will>,
    /// When the will is due.
    pub will_at: Option<Instant>,
    /// When the session ends; `None`: never.
    pub expires_at: Option<Instant>,
}

impl Offline {
    /// The next moment at which something happens.
    pub fn deadline(&self) -> Option<Instant> {
        [self.will_at, self.expires_at].into_iter().flatten().min()
    }
}

/// Orders a driver finds when it wakes.
#[derive(Default)]
pub struct Orders {
    /// End the connection.
    pub stop: Option<Stop>,
    /// What policies ask for, the last word of each; obeyed if it judges the session.
    pub asked: Vec<(Arc<str>, Asked)>,
    /// Limits that concern this client alone have changed.
    pub limits_changed: bool,
    /// Tell what is enforced, and who says so.
    pub account: Option<SyncSender<Account>>,
}

/// What is enforced for a client.
#[derive(Clone, Debug)]
pub struct Account {
    /// The outcome.
    pub budget: Budget,
    /// Everybody who has a say, by name, in order.
    pub says: Vec<(String, Budget)>,
    /// Seconds since CONNECT.
    pub connected_seconds: u64,
    /// Address and port.
    pub peer: String,
    /// Name of the listener.
    pub listener: String,
    /// Who the policies say it is.
    pub principal: Option<String>,
    /// Bytes read from its socket and not handled yet: a packet whose end has not come, or what a limit holds back.
    pub read_buffer_bytes: usize,
    /// Bytes encoded for it that its socket has not taken yet. Messages that are not encoded are in the queue.
    pub write_buffer_bytes: usize,
}

/// What a policy asks for outside of a decision.
#[derive(Clone, Debug)]
pub enum Asked {
    /// End the connection.
    Stop(Stop),
    /// Enforce another budget of this policy.
    Budget(Budget),
}

/// Why a connection is ended from inside the broker.
#[derive(Clone, Debug)]
pub struct Stop {
    /// For DISCONNECT.
    pub reason: ReasonCode,
    /// For the log and the reason string.
    pub text: &'static str,
}

impl Stop {
    /// The broker is going down.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self {
            reason: ReasonCode::SERVER_SHUTTING_DOWN,
            text: "the broker is shutting down",
        }
    }
}

/// A subscription as the routes hold it.
pub(super) struct Route {
    /// Who receives.
    pub cell: Arc<SessionCell>,
    /// Granted QoS and the client's options.
    pub options: SubscriptionOptions,
    /// Subscription Identifier.
    pub id: Option<NonZeroU32>,
}

/// One copy for one session, possibly for several overlapping subscriptions.
pub(super) struct Copy {
    /// Maximum granted QoS of the subscriptions.
    pub qos: QoS,
    /// Whether one of them wants the retain flag as published.
    pub retain_as_published: bool,
    /// All their identifiers.
    pub ids: SubscriptionIds,
}

/// What became of a copy offered to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// In the queue.
    Queued {
        /// How full it is in percent, if it is more than half full, a connection empties it, and the message is not one
        /// that may be lost; else 0.
        crowding: u8,
    },
    /// Queue full: this many messages, this one or older ones, were dropped.
    Dropped(u32),
    /// The session does not take it: ended, or offline and QoS 0.
    NotTaken,
}

impl SessionCell {
    /// A session with no connection yet.
    pub fn new(number: u64, key: SessionKey, session: Session) -> Self {
        let durable = session.is_durable();
        let state = SessionState {
            session,
            subscriptions: BTreeSet::new(),
            subscriptions_max: 0,
            judged: number,
            connection: 0,
            caller: Caller::default(),
            phase: Phase::Online,
            fetching: false,
            ends_with_connection: true,
            ended: false,
            orders: Orders::default(),
            usage: Usage::default(),
            waker: None,
            wants_messages: true,
        };
        Self {
            number,
            key,
            durable,
            state: Mutex::new(state),
        }
    }

    /// The state, for a few lines without `await`.
    pub fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    /// Hands a message to the session and wakes its driver. `seq`: by which the store knows the message; then its
    /// place is returned if the session has taken it.
    pub(super) fn offer(
        &self,
        message: &Message,
        copy: &Copy,
        seq: Option<NonZeroU64>,
    ) -> (Offered, Option<Place>) {
        let mut state = self.state.lock();
        let qos = copy.qos.min(message.qos());
        if state.ended || (qos == QoS::AtMostOnce && !state.is_online()) {
            return (Offered::NotTaken, None);
        }
        let retain = copy.retain_as_published && message.retain();
        let place = seq.and_then(|seq| state.session.place(seq));
        let (offered, is_taken) = state.queue(Delivery {
            message: message.clone(),
            qos,
            retain,
            subscription_ids: copy.ids.clone(),
            place,
        });
        // A driver on another thread that wakes at once finds the session free.
        let waker = state.waker_for_messages();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        (offered, place.filter(|_| is_taken))
    }
}

impl SessionState {
    /// Whether a driver is attached.
    pub fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online)
    }

    /// Whom to wake for a message.
    fn waker_for_messages(&mut self) -> Option<Waker> {
        self.waker.take_if(|_| self.wants_messages)
    }

    /// Also returns whether the delivery is in the queue now.
    pub(super) fn queue(&mut self, delivery: Delivery) -> (Offered, bool) {
        let qos = delivery.qos;
        let offered = match self.session.enqueue(delivery) {
            Enqueued::Queued if qos > QoS::AtMostOnce && self.is_online() => Offered::Queued {
                crowding: self.session.crowding(),
            },
            Enqueued::Queued => Offered::Queued { crowding: 0 },
            Enqueued::DroppedNew => Offered::Dropped(1),
            Enqueued::DroppedOldest(count) => return (Offered::Dropped(count), true),
            Enqueued::Overflow => {
                self.orders.stop = Some(Stop {
                    reason: ReasonCode::QUOTA_EXCEEDED,
                    text: "the session's queue is full",
                });
                self.wake();
                Offered::Dropped(1)
            }
        };
        let is_taken = matches!(offered, Offered::Queued { .. });
        (offered, is_taken)
    }

    /// Wakes the driver if there is one and it waits; false: there is none.
    pub fn wake_driver(&mut self) -> bool {
        self.wake();
        self.is_online()
    }

    /// Wakes the driver if it waits.
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Remembers whom to wake; the caller has found nothing to do under the same lock. A driver that may not send, or
    /// whose socket takes nothing, is woken for orders but not for each message.
    pub fn park(&mut self, waker: &Waker, wants_messages: bool) {
        self.wants_messages = wants_messages;
        match &mut self.waker {
            Some(kept) => kept.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}
