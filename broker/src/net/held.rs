//! What a client may be told only once it is on disk: acknowledgements, and the packets of QoS 2 exchanges.
//!
//! ```text
//!  change ──► store, batch n          batch n is durable
//!  answer ──► held back, ticket n ───────────────────────► output ──► socket
//! ```
//!
//! Everything else passes by, except messages that come behind one of QoS 2 that waits: the order of a topic holds
//! whatever QoS its messages have.

use super::driver::Client;
use super::link::Socket;
use crate::hub::Stop;
use sluice_mqtt::conn::Receipt;
use sluice_mqtt::packet::{PacketId, QoS, SubAck, UnsubAck};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{Delivery, Outgoing};
use sluice_store::Ticket;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::task::{Poll, Waker};
use std::time::Instant;

/// Answers held back above which the client is not read: those to PUBLISHes are bounded by its Receive Maximum anyway.
const HELD_MAX: usize = 4096;
/// Bytes of messages held back above which no more are taken from the session's queue.
const HELD_BYTES_MAX: usize = 1 << 20;

/// Something to say.
pub(super) enum Held {
    /// PUBACK or PUBREC.
    Acknowledge(Receipt),
    PubRel(PacketId),
    PubComp(PacketId, ReasonCode),
    SubAck(SubAck),
    UnsubAck(UnsubAck),
    /// A QoS 2 message: its identifier is on disk before the client sees it, so that a crash does not double it. Or one
    /// that must not overtake such a message.
    Publish {
        delivery: Delivery,
        packet_id: Option<PacketId>,
        dup: bool,
    },
}

/// What is held back, in the order in which it may be said.
#[derive(Default)]
pub(super) struct HeldBack {
    waiting: VecDeque<(Ticket, Held)>,
    /// Of them, messages.
    messages: usize,
    /// Bytes of those.
    bytes: usize,
}

impl HeldBack {
    /// Whether the client is to be read.
    pub(super) fn may_read(&self) -> bool {
        self.waiting.len() < HELD_MAX
    }

    /// Whether messages to the client wait, so that others must not overtake them.
    pub(super) fn has_messages(&self) -> bool {
        self.messages > 0
    }

    /// Whether another message may join them, with so many bytes that are about to.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes < HELD_BYTES_MAX && self.waiting.len() < HELD_MAX
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn push(&mut self, ticket: Ticket, held: Held) {
        self.messages += usize::from(held.is_message());
        self.bytes += held.bytes();
        self.waiting.push_back((ticket, held));
    }

    fn pop(&mut self) -> Option<Held> {
        let (_, held) = self.waiting.pop_front()?;
        self.messages -= usize::from(held.is_message());
        self.bytes -= held.bytes();
        Some(held)
    }
}

impl Held {
    /// Whether it is a message to the client.
    pub(super) fn is_message(&self) -> bool {
        matches!(self, Self::Publish { .. })
    }

    /// Bytes of the message; 0 for anything else.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Publish { delivery, .. } => delivery.message.wire_bytes(),
            _ => 0,
        }
    }
}

impl<S: Socket> Client<S> {
    /// Says something when this ticket is durable.
    pub(super) fn say_when(&mut self, ticket: Ticket, held: Held, now: Instant) {
        if ticket.is_none() {
            self.say(held, now);
        } else {
            self.held_back.push(ticket, held);
        }
    }

    /// Says what is durable by now; the rest wakes the client.
    ///
    /// # Errors
    /// The store cannot tell whether what is held back is on disk. The client is neither told that it is nor that it
    /// is not, but sent away: it sends again what was not acknowledged.
    pub(super) fn say_durable(&mut self, waker: &Waker, now: Instant) -> Result<(), Stop> {
        while let Some((ticket, _)) = self.held_back.waiting.front() {
            match self.shared.hub.store().poll_durable(*ticket, waker) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => {
                    return Err(Stop {
                        reason: ReasonCode::SERVER_UNAVAILABLE,
                        text: "what it is owed an answer to could not be stored",
                    });
                }
                Poll::Ready(Ok(())) => {}
            }
            if let Some(held) = self.held_back.pop() {
                self.say(held, now);
            }
        }
        Ok(())
    }

    fn say(&mut self, held: Held, now: Instant) {
        let conn = &mut self.link.conn;
        match held {
            Held::Acknowledge(receipt) => conn.acknowledge(receipt),
            Held::PubRel(packet_id) => conn.pubrel(packet_id, ReasonCode::SUCCESS),
            Held::PubComp(packet_id, reason) => conn.pubcomp(packet_id, reason),
            Held::SubAck(suback) => conn.suback(suback),
            Held::UnsubAck(unsuback) => conn.unsuback(unsuback),
            Held::Publish {
                delivery,
                packet_id,
                dup,
            } => {
                let outgoing = Outgoing::Publish {
                    delivery: Cow::Owned(delivery),
                    packet_id,
                    dup,
                };
                let mount_bytes = self.cell.key.mountpoint.len();
                if let Some(packet_id) = self.deliver(&outgoing, mount_bytes, now) {
                    self.cell.lock().session.oversized(packet_id); // [MQTT-3.1.2-25]
                }
            }
        }
    }
}

/// What of this a durable session may not send before the store has what it notes, or may not send `behind` messages
/// that wait for it; `None`: it may.
pub(super) fn must_wait(outgoing: &Outgoing<'_>, behind: bool) -> Option<Held> {
    match outgoing {
        Outgoing::PubRel(packet_id) => Some(Held::PubRel(*packet_id)),
        Outgoing::Publish {
            delivery,
            packet_id,
            dup,
        } => {
            let is_stored = delivery.place.is_some() && delivery.qos == QoS::ExactlyOnce;
            (is_stored || behind).then(|| Held::Publish {
                delivery: Delivery::clone(delivery),
                packet_id: *packet_id,
                dup: *dup,
            })
        }
    }
}
