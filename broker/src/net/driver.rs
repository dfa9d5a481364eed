//! The life of one connection: bytes to events, events to the policies and the hub, messages back to bytes.

use super::handshake::{self, Entered};
use super::link::{Link, OUTPUT_FILL_BYTES, Read, Socket};
use super::terms::{self, Effective, Identity};
use super::{Shared, requests};
use crate::event::Event as Fact;
use crate::hub::{Asked, Detach, Replay, Room, SessionCell, Stop};
use crate::policy::verdict::{Peer, RefreshCause, RefreshVerdict};
use crate::policy::{Gate, Judging};
use crate::report;
use sluice_mqtt::conn::{CloseCause, Connection, Delivered, Event};
use sluice_mqtt::packet::Will;
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{Counters, Outgoing};
use sluice_mqtt::will::Ending;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long a client may take to read its last packet.
const FAREWELL: Duration = Duration::from_secs(2);
/// Retained messages put into the queue at once, and the queue length below which the next ones follow.
const REPLAY_MESSAGES: usize = 128;

/// Serves one accepted socket until it is closed.
pub(super) async fn serve<S: Socket>(socket: S, shared: Shared, peer: Arc<Peer>) {
    let config = shared.connection_config(&peer.listener);
    let conn = Connection::new(config, Instant::now());
    let mut link = Link::new(socket, conn, Arc::clone(&shared.metrics));
    let mut stopping = shared.stopping.clone();
    let entered = tokio::select! {
        entered = handshake::enter(&mut link, &shared, &peer) => entered,
        // Whoever is not in yet is not waited for.
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    let Some(entered) = entered else {
        return link.close(FAREWELL).await;
    };
    let mut client = Client::new(link, shared, peer, entered);
    // A client that comes in while the others are being told to go would not be told.
    let end = if *stopping.borrow() {
        End::Broker(Stop::shutting_down())
    } else {
        client.run().await
    };
    client.leave(end).await;
}

/// An admitted client with its socket.
pub(super) struct Client<S> {
    pub(super) link: Link<S>,
    pub(super) shared: Shared,
    pub(super) peer: Arc<Peer>,
    pub(super) cell: Arc<SessionCell>,
    pub(super) connection: u64,
    pub(super) gate: Gate,
    pub(super) will: Option<Will>,
    pub(super) effective: Effective,
    pub(super) identity: Identity,
    /// A re-authentication that waits for the client's answer.
    pub(super) judging: Option<Judging>,
    pub(super) replays: VecDeque<Replay>,
    /// Nothing is read before; set by a policy that throttles.
    pub(super) paused_until: Option<Instant>,
    refresh_at: Option<Instant>,
    limits_version: u64,
    /// What the session's counters said when they were last passed on.
    reported: Counters,
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
    End(End),
}

impl<S: Socket> Client<S> {
    fn new(link: Link<S>, shared: Shared, peer: Arc<Peer>, entered: Entered) -> Self {
        let Entered {
            attached,
            gate,
            will,
            effective,
            identity,
        } = entered;
        let limits_version = shared.hub.limits_version();
        let reported = attached.cell.lock().session.counters();
        let refresh_at = gate.refresh_after().map(|after| Instant::now() + after);
        Self {
            link,
            shared,
            peer,
            cell: attached.cell,
            connection: attached.connection,
            gate,
            will,
            effective,
            identity,
            judging: None,
            replays: VecDeque::new(),
            paused_until: None,
            refresh_at,
            limits_version,
            reported,
        }
    }

    async fn run(&mut self) -> End {
        loop {
            // Packets that came right behind CONNECT, or with the last read.
            if let Some(end) = self.handle_input().await {
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
                Turn::Timer => {
                    if let Some(Event::Closed(cause)) = self.link.conn.timeout(Instant::now()) {
                        return End::Protocol(cause);
                    }
                }
            }
        }
    }

    async fn handle_input(&mut self) -> Option<End> {
        let now = Instant::now();
        while self.link.may_read() {
            let Some(event) = self.link.next(now) else { break };
            if let Some(end) = requests::handle(self, event, now).await {
                return Some(end);
            }
        }
        self.link.give_back();
        None
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
            self.apply_limits();
        }
        loop {
            let more = match self.fill_output(cx.waker(), now) {
                Ok(more) => more,
                Err(stop) => return Poll::Ready(Turn::End(End::Broker(stop))),
            };
            match self.link.poll_write(cx) {
                Poll::Ready(Ok(_)) if more => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Turn::End(End::Socket(Some(error)))),
                Poll::Ready(Ok(_)) | Poll::Pending => break,
            }
        }
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.link.conn.excuse_silence(now);
        }
        let paused = self.paused_until;
        if paused.is_none() && self.link.may_read() {
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(Read::Bytes)) => return Poll::Ready(Turn::Input),
                Poll::Ready(Ok(Read::End)) => return Poll::Ready(Turn::End(End::Socket(None))),
                Poll::Ready(Err(error)) => return Poll::Ready(Turn::End(End::Socket(Some(error)))),
                Poll::Pending => {}
            }
        }
        let deadline = [self.link.conn.deadline(), paused, self.refresh_at]
            .into_iter()
            .flatten()
            .min();
        self.link.poll_timer(deadline, cx).map(|()| Turn::Timer)
    }

    /// Moves what the session has to send into the output; true if there is more than fits now.
    fn fill_output(&mut self, waker: &Waker, now: Instant) -> Result<bool, Stop> {
        self.feed_replays(now);
        let mut state = self.cell.lock();
        if state.connection != self.connection || state.ended {
            return Err(Stop {
                reason: ReasonCode::SESSION_TAKEN_OVER,
                text: "another connection of this client",
            });
        }
        if let Some(stop) = state.orders.stop.take() {
            return Err(stop);
        }
        if let Some((policy, asked)) = state.orders.asked.take() {
            drop(state);
            match asked {
                Asked::Stop(stop) if self.gate.is_judged_by(&policy) => return Err(stop),
                Asked::Stop(_) => {}
                Asked::Budget(budget) => {
                    if self.gate.set_budget(&policy, budget).is_some() {
                        self.apply_limits();
                    }
                }
            }
            return Ok(true);
        }
        let mount_bytes = self.cell.key.mountpoint.len();
        while self.link.conn.output().len() < OUTPUT_FILL_BYTES {
            let Some(outgoing) = state.session.next(now) else {
                let counters = state.session.counters();
                state.park(waker);
                drop(state);
                self.report_lost(counters);
                return Ok(self.replay_room().is_some());
            };
            match self.link.conn.deliver(&outgoing, mount_bytes, now) {
                Delivered::Sent => self.shared.count_sent(&outgoing),
                Delivered::TooLarge => {
                    if let Outgoing::Publish {
                        packet_id: Some(packet_id),
                        ..
                    } = outgoing
                    {
                        state.session.oversized(packet_id); // [MQTT-3.1.2-25]
                    }
                    self.shared.metrics.messages_dropped_too_large.inc();
                }
            }
        }
        Ok(true)
    }

    /// Moves retained messages into the queue as it drains.
    fn feed_replays(&mut self, now: Instant) {
        while let Some(room) = self.replay_room() {
            let Some(replay) = self.replays.front_mut() else {
                return;
            };
            let deliveries = self.shared.hub.replay_next(replay, room, now);
            if replay.is_empty() {
                self.replays.pop_front();
            }
            let mut state = self.cell.lock();
            for delivery in deliveries {
                state.push(delivery);
            }
        }
    }

    /// Room for retained messages that are still to come: half of the queue at most, so that live messages find room
    /// beside them.
    fn replay_room(&self) -> Option<Room> {
        if self.replays.is_empty() {
            return None;
        }
        let limits = self.effective.session_limits();
        let state = self.cell.lock();
        let messages = REPLAY_MESSAGES.min(limits.queue_messages_max as usize / 2 + 1);
        let messages = messages.saturating_sub(state.session.queue_len());
        let bytes = (limits.queue_bytes_max / 2).saturating_sub(state.session.queue_bytes());
        (messages > 0 && bytes > 0).then_some(Room { messages, bytes })
    }

    fn report_lost(&mut self, counters: Counters) {
        let dropped = counters.dropped - self.reported.dropped;
        if dropped > 0 {
            self.gate.overflowed(dropped);
        }
        self.shared
            .metrics
            .messages_dropped_expired
            .add(counters.expired - self.reported.expired);
        self.reported = counters;
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
        self.apply_limits();
        self.shared.hub.judge_subscriptions(&self.cell, &mut self.gate);
        None
    }

    /// Puts the limits of the configuration and the budget in force on the live connection.
    pub(super) fn apply_limits(&mut self) {
        self.effective = Effective::new(&self.shared.hub.limits(), &self.gate);
        self.link
            .conn
            .set_packet_bytes_max(self.effective.packet_bytes_max);
        self.link
            .conn
            .set_payload_bytes_max(self.effective.payload_bytes_max);
        let mut state = self.cell.lock();
        state.session.set_limits(self.effective.session_limits());
        state.subscriptions_max = self.effective.subscriptions_max;
    }

    /// Tells the client why, leaves the session and closes the socket.
    async fn leave(mut self, end: End) {
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
                    expiry_seconds = seconds.min(self.effective.session_expiry_seconds_max);
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
        let left = Detach {
            gate: self.gate,
            will: self.will,
            ending,
            expiry_seconds,
            reason,
        };
        self.shared
            .hub
            .detach(&self.cell, self.connection, left, Instant::now());
        self.link.close(FAREWELL).await;
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
