//! The life of one connection: bytes to events, events to the policies and the hub, messages back to bytes.

use super::enforced::Enforced;
use super::handshake::{self, Entered};
use super::held::HeldBack;
use super::limit_hits::LimitHits;
use super::link::{Link, Read, Socket};
use super::reauth::{Judgement, Reauth};
use super::terms::{self, Identity};
use super::{Shared, publishing, requests};
use crate::event::Event as Fact;
use crate::hub::{Detach, Replay, SessionCell, SessionState, Stop};
use crate::policy::Gate;
use crate::policy::verdict::{Limit, Peer, RefreshCause, RefreshVerdict};
use crate::report;
use crate::throttle::Governor;
use sluice_mqtt::conn::{CloseCause, Connection, Event, Received};
use sluice_mqtt::packet::Will;
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::Counters;
use sluice_mqtt::will::Ending;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Longest pause of a publisher when memory is short; then it is looked at anew.
const MEMORY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a publisher is left unread when the store has more to write than it may; then it is looked at anew.
const CONGESTION_PAUSE: Duration = Duration::from_millis(10);
/// How long a client may take to read its last packet.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves one accepted socket until it is closed. The CONNECT must be complete at `connect_by`.
///
/// What only the beginning and the end need is boxed, so that an idle connection does not hold room for it.
pub(super) async fn serve<S: Socket>(socket: S, shared: Arc<Shared>, peer: Arc<Peer>, connect_by: Instant) {
    let Some(mut client) = Box::pin(enter(socket, shared, peer, connect_by)).await else {
        return;
    };
    // A client that comes in while the others are being told to go would not be told.
    let end = if *client.shared.stopping.borrow() {
        End::Broker(Stop::shutting_down())
    } else {
        client.run().await
    };
    Box::pin(client.leave(end)).await;
}

/// From the first byte to an admitted client; `None`: it did not get in, and knows.
async fn enter<S: Socket>(
    socket: S,
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    connect_by: Instant,
) -> Option<Box<Client<S>>> {
    let now = Instant::now();
    let config = shared.connection_config(&peer.listener, connect_by.saturating_duration_since(now));
    let conn = Connection::new(config, now);
    let mut link = Link::new(socket, conn, Arc::clone(&shared.metrics));
    let mut stopping = shared.stopping.clone();
    let entered = tokio::select! {
        entered = handshake::enter(&mut link, &shared, &peer) => entered,
        // Whoever is not in yet is not waited for.
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    let Some(entered) = entered else {
        link.close(FAREWELL).await;
        return None;
    };
    Some(Box::new(Client::new(link, shared, peer, entered)))
}

/// An admitted client with its socket.
pub(super) struct Client<S> {
    pub(super) link: Link<S>,
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<Peer>,
    pub(super) cell: Arc<SessionCell>,
    pub(super) connection: u64,
    pub(super) gate: Gate,
    pub(super) will: Option<Box<Will>>,
    pub(super) enforced: Enforced,
    pub(super) identity: Identity,
    pub(super) reauth: Option<Reauth>,
    /// How long after CONNECT it was last authenticated.
    pub(super) authenticated_after: Duration,
    pub(super) replays: VecDeque<Replay>,
    pub(super) held_back: HeldBack,
    /// Messages that wait to be judged together, see [`publishing`]: of one read, and none when all of it was looked at,
    /// unless a verdict on those before made the client wait.
    pub(super) gathered: Vec<Received>,
    /// Nothing is read before, nor what was read looked at: a policy, or the state of the broker, makes it wait.
    paused_until: Option<Instant>,
    /// The same for a limit.
    held_until: Option<Instant>,
    /// Something that was read has not been looked at, though it is all there.
    is_unfinished: bool,
    /// Whether it was left unread when it was last looked at.
    is_unread: bool,
    was_waiting: bool,
    pub(super) limit_hits: LimitHits,
    /// Whether the log has told that it waits.
    is_known_to_wait: bool,
    pub(super) governor: Governor,
    pub(super) messages_in: u64,
    /// Of the fullest queue that a message of this batch joined, see [`crate::hub::Published`].
    pub(super) crowding: u8,
    /// Bytes of the messages of this batch.
    pub(super) published_bytes: u64,
    pub(super) messages_out: u64,
    pub(super) connected_at: Instant,
    /// When the connection has lasted as long as it may.
    ends_at: Option<Instant>,
    refresh_at: Option<Instant>,
    limits_version: u64,
    /// What the session's counters said when they were last passed on.
    pub(super) reported: Counters,
}

/// Why a connection ends.
pub(super) enum End {
    /// The client said DISCONNECT.
    Client(sluice_mqtt::packet::Disconnect),
    /// The protocol forbids going on; the client has been told.
    Protocol(CloseCause),
    /// The broker, a policy or another connection of the client ends it.
    Broker(Stop),
    /// The socket failed or was closed.
    Socket(Option<io::Error>),
}

/// What a turn of the loop found.
enum Turn {
    Input,
    Timer,
    Refresh,
    Reauth(Option<Judgement>),
    End(End),
}

impl<S: Socket> Client<S> {
    fn new(link: Link<S>, shared: Arc<Shared>, peer: Arc<Peer>, entered: Entered) -> Self {
        let Entered {
            attached,
            gate,
            will,
            enforced,
            identity,
        } = entered;
        let limits_version = shared.hub.limits_version();
        let reported = attached.cell.lock().session.counters();
        let now = Instant::now();
        let refresh_at = gate.refresh_after().map(|after| now + after);
        let mut governor = shared.governor(&peer.listener);
        governor.apply(&enforced.rates, enforced.over_limit, now);
        // What it took to come in counts as well.
        let moved = link.moved();
        let read = usize::try_from(moved.read).unwrap_or(usize::MAX);
        governor.received(read, now);
        governor.packets(read.saturating_sub(link.input_bytes()), now);
        governor.sent(usize::try_from(moved.written).unwrap_or(usize::MAX), now);
        let ends_at = enforced.connection_max.map(|max| now + max);
        Self {
            link,
            shared,
            peer,
            cell: attached.cell,
            connection: attached.connection,
            gate,
            will,
            enforced,
            identity,
            reauth: None,
            authenticated_after: Duration::ZERO,
            replays: VecDeque::new(),
            held_back: HeldBack::default(),
            gathered: Vec::new(),
            paused_until: None,
            held_until: None,
            is_unfinished: false,
            is_unread: false,
            was_waiting: false,
            limit_hits: LimitHits::default(),
            is_known_to_wait: false,
            governor,
            messages_in: 0,
            crowding: 0,
            published_bytes: 0,
            messages_out: 0,
            connected_at: now,
            ends_at,
            refresh_at,
            limits_version,
            reported,
        }
    }

    async fn run(&mut self) -> End {
        loop {
            // Packets that came right behind CONNECT, or with the last read.
            if let Some(end) = self.handle_input() {
                return end;
            }
            match std::future::poll_fn(|cx| self.poll_turn(cx)).await {
                Turn::Input => {}
                Turn::End(end) => return end,
                Turn::Refresh => {
                    if let Some(end) = self.refresh() {
                        return end;
                    }
                }
                Turn::Reauth(judgement) => {
                    if let Some(end) = self.reauthenticated(judgement) {
                        return end;
                    }
                }
                Turn::Timer => {
                    if let Some(Event::Closed(cause)) = self.link.conn.timeout(Instant::now()) {
                        return End::Protocol(cause);
                    }
                }
            }
        }
    }

    fn handle_input(&mut self) -> Option<End> {
        let now = Instant::now();
        let mut is_all = false;
        while self.may_read() && self.held_until.is_none() && !self.is_paused() {
            if publishing::is_gathered(self) {
                if let Some(end) = publishing::judge_gathered(self, now) {
                    return Some(end);
                }
                continue;
            }
            self.held_until = self.governor.next_packet_at(now);
            if self.held_until.is_some() {
                break;
            }
            let Some(event) = self.next_event(now) else {
                is_all = !self.link.conn.awaits_answers();
                break;
            };
            if let Some(end) = requests::handle(self, event, now) {
                // What came before is not lost for it.
                return publishing::judge_gathered(self, now).or(Some(end));
            }
        }
        if let Some(end) = publishing::judge_gathered(self, now) {
            return Some(end);
        }
        if self.gathered.is_empty() {
            // An idle connection holds no room for it.
            self.gathered = Vec::new();
        }
        self.is_unfinished = !is_all || !self.gathered.is_empty();
        self.governor.settle(now);
        self.link.conn.rest();
        self.link.give_back();
        self.spare_subscribers(now);
        self.spare_memory(now);
        None
    }

    /// Slows down a publisher whose messages fill up a queue: before it is full, so that none need be dropped.
    fn spare_subscribers(&mut self, now: Instant) {
        let crowding = std::mem::take(&mut self.crowding);
        if crowding > 50
            && let Some(longest) = self.enforced.backpressure_max
        {
            let beyond_half = f64::from(crowding - 50) / 50.0;
            self.pause(now + longest.mul_f64(beyond_half * beyond_half));
        }
    }

    /// Slows down a publisher when memory is short: the more it sends, the longer it waits.
    fn spare_memory(&mut self, now: Instant) {
        #[allow(clippy::cast_precision_loss, reason = "a batch is small")]
        let published = std::mem::take(&mut self.published_bytes) as f64;
        // The disk takes less than comes: more would only wait in memory.
        if published > 0.0 && self.shared.hub.store().is_congested() {
            self.pause(now + CONGESTION_PAUSE);
        }
        if published > 0.0
            && let Some(per_second) = self.shared.memory.publisher_rate()
        {
            self.pause(now + MEMORY_PAUSE_MAX.min(Duration::from_secs_f64(published / per_second)));
        }
    }

    /// The next event; packets that are never refused, those without an event included, are charged here.
    fn next_event(&mut self, now: Instant) -> Option<Event> {
        let before = self.link.input_bytes();
        let event = self.link.next(now);
        let judged = match &event {
            Some(Event::Publish(_) | Event::Subscribe(_)) => self.link.conn.packet_bytes() as usize,
            _ => 0,
        };
        let taken = before.saturating_sub(self.link.input_bytes());
        self.governor.packets(taken.saturating_sub(judged), now);
        event
    }

    /// Leaves the client unread until then, what has been read already included.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// Whether it is left unread for a while.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// One round: orders, deliveries, writing, reading, waiting; in this order, so that all that one read brought
    /// is answered with one write.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let now = Instant::now();
        if !self.gate.is_current() || self.refresh_at.is_some_and(|at| at <= now) {
            return Poll::Ready(Turn::Refresh);
        }
        if self.limits_version != self.shared.hub.limits_version() {
            self.limits_version = self.shared.hub.limits_version();
            self.apply_limits(now);
        }
        if self.ends_at.is_some_and(|at| at <= now) {
            return Poll::Ready(Turn::End(End::Broker(Stop {
                reason: ReasonCode::MAXIMUM_CONNECT_TIME,
                text: "the connection has lasted as long as it may",
            })));
        }
        if let Err(stop) = self.say_durable(cx.waker(), now) {
            return Poll::Ready(Turn::End(End::Broker(stop)));
        }
        if let Poll::Ready(judgement) = self.poll_reauth(cx) {
            return Poll::Ready(Turn::Reauth(judgement));
        }
        if self.link.conn.is_closed() {
            return Poll::Ready(Turn::End(End::Broker(Stop {
                reason: ReasonCode::PACKET_TOO_LARGE,
                text: "an answer it needs is above its Maximum Packet Size",
            })));
        }
        let send_at = match self.send(cx, now) {
            Ok(send_at) => send_at,
            Err(end) => return Poll::Ready(Turn::End(end)),
        };
        let read_at = match self.read(cx, now) {
            Ok(turn) => return Poll::Ready(turn),
            Err(read_at) => read_at,
        };
        self.note_waiting(read_at.is_some(), send_at.is_some(), now);
        let deadline = [
            self.link.conn.deadline(),
            read_at,
            send_at,
            self.refresh_at,
            self.ends_at,
        ]
        .into_iter()
        .flatten()
        .min();
        self.link.poll_timer(deadline, cx).map(|()| Turn::Timer)
    }

    /// Whether the client takes what it is sent, and waits for few enough answers, to be read from.
    fn may_read(&mut self) -> bool {
        self.link.may_read() && self.held_back.may_read()
    }

    /// Reads, if that is allowed.
    ///
    /// # Errors
    /// Nothing was read: when to try again, or `None` if the socket will tell.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Turn, Option<Instant>> {
        if let Some(at) = self.held_until.max(self.paused_until) {
            if at > now {
                return Err(Some(at));
            }
            self.held_until = None;
            self.paused_until = None;
        }
        // What wakes it then is that the client takes what it is sent, or that an answer is on disk.
        if !self.may_read() || self.link.conn.awaits_answers() {
            return Err(None);
        }
        // The socket would not tell of what was read already.
        if self.is_unfinished {
            return Ok(Turn::Input);
        }
        let bytes_max = self.governor.may_read(now).map_err(Some)?;
        match self.link.poll_read(bytes_max, cx) {
            Poll::Ready(Ok(Read::Bytes(bytes))) => {
                self.governor.received(bytes, now);
                Ok(Turn::Input)
            }
            Poll::Ready(Ok(Read::End)) => Ok(Turn::End(End::Socket(None))),
            Poll::Ready(Err(error)) => Ok(Turn::End(End::Socket(Some(error)))),
            Poll::Pending => Err(None),
        }
    }

    /// Accounts for the time that limits take, and does not hold the silence of a client against it that is not read.
    fn note_waiting(&mut self, inward: bool, outward: bool, now: Instant) {
        // Most connections never wait: they touch no more memory than this.
        if !(inward || outward || self.was_waiting) {
            return;
        }
        let began = !std::mem::replace(&mut self.was_waiting, inward || outward);
        // A policy knows that it has made the client wait, and memory is nobody's limit.
        if began && !self.is_paused() {
            let limit = if inward { Limit::Inward } else { Limit::Outward };
            self.limit_hit(limit, now);
        }
        // With much to send, and a limit that holds it back, nothing is read either.
        let is_unread = inward || (outward && !self.link.may_read());
        if is_unread || self.is_unread {
            self.link.conn.excuse_silence(now);
        }
        self.is_unread = is_unread;
        let before = self.governor.throttled();
        self.governor.note(inward, outward, now);
        let after = self.governor.throttled();
        let metrics = &self.shared.metrics;
        metrics.throttled_in.add_duration(after.inward - before.inward);
        metrics.throttled_out.add_duration(after.outward - before.outward);
        if (inward || outward) && !std::mem::replace(&mut self.is_known_to_wait, true) {
            self.shared.events.emit(Fact::ClientThrottled {
                client: report::client(&self.cell.key.client_id, &self.peer),
                text: match inward {
                    true => "it sends faster than it may, so its socket is read more slowly",
                    false => "it is to be sent more than it may get, so that waits in its queue",
                },
            });
        }
    }

    /// Judges the client again: a swap of the policies, or its time has come.
    fn refresh(&mut self) -> Option<End> {
        let swapped = !self.gate.is_current();
        let cause = if swapped {
            RefreshCause::Swap
        } else {
            RefreshCause::Interval
        };
        let verdict = self.gate.refresh(cause);
        self.refresh_at = self.gate.refresh_after().map(|after| Instant::now() + after);
        if let RefreshVerdict::Deny(refusal) = verdict {
            self.session_refused(&refusal);
            return Some(End::Broker(Stop {
                reason: terms::reason(&refusal),
                text: "no longer admitted by the policies",
            }));
        }
        self.apply_limits(Instant::now());
        self.shared.hub.judge_subscriptions(&self.cell, &mut self.gate);
        None
    }

    /// Puts in force what everybody who has a say wants enforced now.
    pub(super) fn apply_limits(&mut self, now: Instant) {
        let cell = Arc::clone(&self.cell);
        self.enforce(&mut cell.lock(), now);
    }

    /// [`Client::apply_limits`] for whoever holds the session already.
    pub(super) fn enforce(&mut self, state: &mut SessionState, now: Instant) {
        let listener = &self.peer.listener;
        let client_id = &self.cell.key.client_id;
        self.enforced = Enforced::new(
            &self.shared,
            listener,
            client_id,
            &self.gate,
            self.authenticated_after,
        );
        let enforced = &self.enforced;
        self.link.conn.set_packet_bytes_max(enforced.packet_bytes_max);
        self.link.conn.set_payload_bytes_max(enforced.payload_bytes_max);
        self.governor.apply(&enforced.rates, enforced.over_limit, now);
        self.ends_at = enforced.connection_max.map(|max| self.connected_at + max);
        // What it waits for is looked at anew, and what was read meanwhile with it.
        self.held_until = self.held_until.map(|until| until.min(now));
        state.session.set_limits(enforced.session_limits());
        state.subscriptions_max = enforced.subscriptions_max;
    }

    /// Tells the client why, leaves the session and closes the socket.
    async fn leave(mut self: Box<Self>, end: End) {
        if let End::Broker(stop) = &end {
            self.link.conn.disconnect(stop.reason, Some(stop.text), None);
        }
        let reason = match &end {
            End::Client(disconnect) => disconnect.reason,
            End::Protocol(cause) => cause.reason(),
            End::Broker(stop) => stop.reason,
            End::Socket(_) => ReasonCode::UNSPECIFIED_ERROR,
        };
        let mut expiry_seconds = self.link.conn.session_expiry_seconds();
        let ending = match &end {
            End::Client(disconnect) => {
                if let Some(seconds) = disconnect.session_expiry_seconds {
                    expiry_seconds = seconds.min(self.enforced.session_expiry_seconds_max);
                }
                Ending::Disconnected(disconnect.reason)
            }
            End::Protocol(_) | End::Broker(_) | End::Socket(_) => Ending::Lost,
        };
        let client = report::client(&self.cell.key.client_id, &self.peer);
        let (reason_code, text) = (reason.code(), &*end.to_string());
        self.shared.events.emit(match &end {
            End::Protocol(_) => Fact::ProtocolError {
                client,
                reason: reason_code,
                text,
            },
            _ => Fact::ClientDisconnected {
                client,
                reason: reason_code,
                text,
            },
        });
        let Self {
            link,
            shared,
            cell,
            connection,
            gate,
            will,
            ..
        } = *self;
        let left = Detach {
            gate,
            will: will.map(|will| *will),
            ending,
            expiry_seconds,
            reason,
        };
        shared.hub.detach(&cell, connection, left, Instant::now());
        link.close(FAREWELL).await;
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(_) => f.write_str("the client disconnected"),
            Self::Protocol(cause) => cause.fmt(f),
            Self::Broker(stop) => f.write_str(stop.text),
            Self::Socket(None) => f.write_str("the connection was closed"),
            Self::Socket(Some(error)) => write!(f, "the connection failed: {error}"),
        }
    }
}
