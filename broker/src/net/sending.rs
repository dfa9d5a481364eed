//! From the session to the socket: orders first, then as many messages as the client's limits and its window allow.

use super::driver::{Client, End};
use super::enforced;
use super::held::{Held, must_wait};
use super::link::{OUTPUT_FILL_BYTES, Socket};
use crate::hub::{Account, Asked, Room, SessionCell, SessionState, Stop, Usage};
use sluice_mqtt::conn::Delivered;
use sluice_mqtt::packet::PacketId;
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{Counters, Outgoing};
use sluice_store::Ticket;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

/// Retained messages put into the queue at once, and the queue length below which the next ones follow.
const REPLAY_MESSAGES: usize = 128;

/// Deliveries encoded under one lock of the session: whoever has a message for it meanwhile waits for so many at most,
/// some microseconds, and not for all that fits into one write.
const TURN_DELIVERIES: u32 = 64;

/// What filling the output came to.
struct Filled {
    /// There is more than fits now.
    has_more: bool,
    /// It ended for the sake of others, not for want of room or messages.
    gave_way: bool,
    /// When the next message may be taken, if a limit holds it back.
    until: Option<Instant>,
}

/// What was taken from a session's queue.
struct Taken {
    messages: u32,
    /// What must wait for the store, in order.
    held: Vec<Held>,
    /// Until this is durable.
    ticket: Ticket,
    rest: Rest,
}

/// What a session has left to send.
enum Rest {
    Nothing,
    /// There is more.
    More,
    /// There may be more, once what is held back has gone.
    Waits,
}

impl<S: Socket> Client<S> {
    /// Obeys orders, then sends what may be sent. `Some`: when to go on, if a limit holds something back.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Option<Instant>, End> {
        loop {
            let allowed = self.governor.may_write(now);
            let filled = loop {
                let filled = self
                    .fill_output(cx.waker(), allowed.is_ok(), now)
                    .map_err(End::Broker)?;
                if !filled.gave_way || self.link.conn.output().len() >= OUTPUT_FILL_BYTES {
                    break filled;
                }
            };
            let bytes_max = match allowed {
                Ok(bytes_max) => bytes_max,
                Err(at) => return Ok((!self.link.conn.output().is_empty() || filled.has_more).then_some(at)),
            };
            let written = self
                .link
                .write(bytes_max, cx)
                .map_err(|error| End::Socket(Some(error)))?;
            self.governor.sent(written.bytes, now);
            let is_empty = self.link.conn.output().is_empty();
            if written.is_blocked || (is_empty && !filled.has_more) {
                return Ok(filled.until);
            }
        }
    }

    /// Moves what the session has to send into the output, if there is room and a limit does not forbid it.
    fn fill_output(&mut self, waker: &Waker, may_write: bool, now: Instant) -> Result<Filled, Stop> {
        self.feed_replays(now);
        let may_deliver = match self.governor.may_deliver(now) {
            Ok(messages) if may_write => Ok(messages),
            Ok(_) => Ok(0),
            Err(at) => Err(at),
        };
        let cell = Arc::clone(&self.cell);
        let mut state = cell.lock();
        state.usage = self.usage();
        self.obey(&mut state, now)?;
        let may_take = may_deliver.unwrap_or(0).min(TURN_DELIVERIES);
        let taken = self.take_from_queue(&cell, &mut state, may_take, now);
        self.shared.hub.fetch(&cell, &mut state);
        // Whoever is held back, or has more to send than its socket takes, comes back by itself.
        state.park(waker, matches!(taken.rest, Rest::Nothing));
        let counters = state.session.counters();
        drop(state);
        if !taken.held.is_empty() {
            for held in taken.held {
                self.say_when(taken.ticket, held, now);
            }
            // The store wakes those who have asked it, and nobody else comes by to ask.
            self.say_durable(waker, now)?;
        }
        self.governor.delivered(taken.messages, now);
        self.report_lost(counters);
        let has_more = match taken.rest {
            Rest::Nothing => false,
            Rest::More => true,
            Rest::Waits => self.held_back.is_empty(),
        };
        Ok(Filled {
            gave_way: has_more && taken.messages == TURN_DELIVERIES,
            has_more: has_more && may_deliver.is_ok() || self.replay_room().is_some(),
            until: may_deliver.err().filter(|_| has_more),
        })
    }

    /// Takes up to so many messages from the session: into the output, or aside if they must wait for the store.
    fn take_from_queue(
        &mut self,
        cell: &SessionCell,
        state: &mut SessionState,
        messages_max: u32,
        now: Instant,
    ) -> Taken {
        let mount_bytes = cell.key.mountpoint.len();
        let mut messages = 0;
        let mut held: Vec<Held> = Vec::new();
        let mut held_bytes = 0;
        let mut behind = self.held_back.has_messages();
        let rest = loop {
            if messages == messages_max {
                break match state.session.has_next() {
                    true => Rest::More,
                    false => Rest::Nothing,
                };
            }
            if self.link.conn.output().len() >= OUTPUT_FILL_BYTES {
                break Rest::More;
            }
            if !self.held_back.has_room(held_bytes) {
                break Rest::Waits;
            }
            let Some(outgoing) = state.session.next(now) else {
                break Rest::Nothing;
            };
            messages += 1;
            if cell.durable
                && let Some(waits) = must_wait(&outgoing, behind)
            {
                behind |= waits.is_message();
                held_bytes += waits.bytes();
                held.push(waits);
                continue;
            }
            let too_large = self.deliver(&outgoing, mount_bytes, now);
            if let Some(packet_id) = too_large {
                state.session.oversized(packet_id); // [MQTT-3.1.2-25]
            }
        };
        let hub = &self.shared.hub;
        let ticket = match held.is_empty() {
            true => hub.save(cell, state),
            false => hub.settled(cell, state),
        };
        Taken {
            messages,
            held,
            ticket,
            rest,
        }
    }

    /// Encodes one packet; `Some`: a message in flight that is too large for the client.
    pub(super) fn deliver(
        &mut self,
        outgoing: &Outgoing<'_>,
        mount_bytes: usize,
        now: Instant,
    ) -> Option<PacketId> {
        let delivered = self.link.conn.deliver(outgoing, mount_bytes, now);
        let Outgoing::Publish {
            delivery, packet_id, ..
        } = outgoing
        else {
            return None;
        };
        match delivered {
            Delivered::Sent => {
                self.messages_out += 1;
                self.shared.metrics.messages_sent.inc(delivery.qos as u8);
                None
            }
            Delivered::TooLarge => {
                self.shared.metrics.messages_dropped_too_large.inc();
                *packet_id
            }
        }
    }

    /// What others want of this connection: operators, policies, another connection of the client.
    fn obey(&mut self, state: &mut SessionState, now: Instant) -> Result<(), Stop> {
        let taken_over = state.connection != self.connection;
        if let Some(stop) = state.orders.stop.take_if(|_| !taken_over) {
            return Err(stop);
        }
        if taken_over || state.ended {
            return Err(Stop {
                reason: ReasonCode::SESSION_TAKEN_OVER,
                text: "another connection of this client",
            });
        }
        let mut limits_changed = std::mem::take(&mut state.orders.limits_changed);
        for (policy, asked) in std::mem::take(&mut state.orders.asked) {
            match asked {
                Asked::Stop(stop) if self.gate.is_judged_by(&policy) => return Err(stop),
                Asked::Stop(_) => {}
                Asked::Budget(budget) => limits_changed |= self.gate.set_budget(&policy, budget).is_some(),
            }
        }
        if limits_changed {
            self.enforce(state, now);
        }
        if let Some(reply) = state.orders.account.take() {
            // Whoever asked may have stopped waiting.
            let _ = reply.try_send(self.account());
        }
        Ok(())
    }

    fn account(&mut self) -> Account {
        let mut says = Vec::new();
        let budget = enforced::budget(
            &self.shared,
            &self.peer.listener,
            &self.cell.key.client_id,
            &self.gate,
            self.authenticated_after,
            |who, budget| says.push((who.to_string(), *budget)),
        );
        Account {
            budget,
            says,
            connected_seconds: self.connected_at.elapsed().as_secs(),
            peer: format!("{}:{}", self.peer.address, self.peer.port),
            listener: self.peer.listener.clone(),
            principal: self.gate.principal().map(str::to_owned),
            read_buffer_bytes: self.link.input_bytes(),
            write_buffer_bytes: self.link.conn.output().len(),
        }
    }

    fn usage(&self) -> Usage {
        let moved = self.link.moved();
        let throttled = self.governor.throttled();
        Usage {
            bytes_in: moved.read,
            bytes_out: moved.written,
            messages_in: self.messages_in,
            messages_out: self.messages_out,
            throttled_in: throttled.inward,
            throttled_out: throttled.outward,
        }
    }

    /// Moves retained messages into the queue as it drains.
    fn feed_replays(&mut self, now: Instant) {
        while let Some(room) = self.replay_room() {
            let Some(replay) = self.replays.front_mut() else {
                return;
            };
            self.shared.hub.replay_next(replay, &self.cell, room, now);
            if replay.is_empty() {
                self.replays.pop_front();
            }
        }
    }

    /// Room for retained messages that are still to come: half of the queue at most, so that live messages find room
    /// beside them.
    fn replay_room(&self) -> Option<Room> {
        if self.replays.is_empty() {
            return None;
        }
        let limits = self.enforced.session_limits();
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
}
