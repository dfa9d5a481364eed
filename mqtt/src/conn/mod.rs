//! The protocol state of one socket. Pull model, no I/O, no clock.
//!
//! The driver of a socket appends what it reads to `input` and calls [`Connection::next`] until it gives `None`; it
//! writes what is in [`Connection::output`]; it calls [`Connection::timeout`] when [`Connection::deadline`] has
//! come. Everything else it calls is its answer to an [`Event`]. After any call there may be output, another
//! deadline, or the end: [`Connection::is_closed`].
//!
//! ```text
//!                 CONNECT                       accept
//!   AwaitingConnect ─────► Deciding ───────────────────────────► Established ◄─┐ every packet
//!         │                 │   ▲                                  │  │  └──────┘
//!         │       challenge │   │ AUTH                             │  │ AUTH 0x19 ─► Judging ─┬─► reauthenticated
//!         │                 ▼   │ (same method)                    │  │                 ▲     │
//!         │               Challenged                               │  │            AUTH │     ▼ challenge
//!         │                 │                                      │  │               Challenged
//!         │ timeout,        │ timeout, refuse,                     │ DISCONNECT of either side, keep alive,
//!         │ no CONNECT      │ anything but AUTH                    │ broken rules
//!         └─────────────────┴──────────────► Closed ◄──────────────┘
//! ```
//!
//! * Packets that come right behind CONNECT wait in `input` until there is a decision. If it is "no", they are
//!   never looked at [MQTT-3.1.4-6]; nothing is processed after the end either.
//! * A PUBLISH comes out as [`Received`] and goes back as [`Receipt`] or [`Refused`], see [`received`]. In which
//!   order they come back does not matter: the client gets its acknowledgements in the order of its PUBLISHes.
//! * Rules broken by the client end the connection: [`Event::Closed`] says which, and 5.0 clients get a DISCONNECT,
//!   but only after CONNACK [MQTT-3.14.0-1]. Before that, CONNACK says it.
//! * What the client must not be sent because it is above its Maximum Packet Size is made smaller (reason string,
//!   then user properties) or, failing that, not sent. A CONNACK that cannot be sent ends the connection.

mod alias;
mod close;
mod content;
mod handshake;
mod inbound;
mod keepalive;
mod outbound;
mod receive;
pub mod received;
mod refusal;
#[cfg(test)]
mod tests;

pub use close::{Breach, CloseCause};
pub use handshake::{ConnAckTooLarge, ConnectionConfig, Terms};
pub use outbound::Delivered;
pub use received::{Accepted, Receipt, Received, Refused};

use crate::packet::{Auth, Connect, Disconnect, PacketId, Subscribe, Unsubscribe, Version};
use crate::reason::ReasonCode;
use crate::wire::{DecodeLimits, Output};
use alias::OutboundAliases;
use bytes::BytesMut;
use handshake::Hello;
use inbound::Inbound;
use keepalive::KeepAlive;
use received::Witness;
use std::time::Instant;

/// What a client did, or what happened to the connection.
#[derive(Debug)]
pub enum Event {
    /// CONNECT: to be answered with [`Connection::accept`], [`Connection::refuse`] or [`Connection::challenge`].
    Connect(Box<Connect>),
    /// The answer to a challenge, before CONNACK or during re-authentication.
    AuthResponse(Box<Auth>),
    /// Re-authentication (section 4.12.1): to be answered with [`Connection::reauthenticated`],
    /// [`Connection::challenge`] or [`Connection::disconnect`].
    Reauthenticate(Box<Auth>),
    /// PUBLISH.
    Publish(Received),
    /// The client releases a QoS 2 message: to be answered with [`Connection::pubcomp`].
    PubRel(PacketId),
    /// PUBACK.
    PubAck {
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// 0x80 and above: refused.
        reason: ReasonCode,
    },
    /// PUBREC: to be answered with [`Connection::pubrel`].
    PubRec {
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// 0x80 and above: refused.
        reason: ReasonCode,
    },
    /// PUBCOMP.
    PubComp {
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// 0x00 or 0x92.
        reason: ReasonCode,
    },
    /// SUBSCRIBE: to be answered with [`Connection::suback`].
    Subscribe(Subscribe),
    /// UNSUBSCRIBE: to be answered with [`Connection::unsuback`].
    Unsubscribe(Unsubscribe),
    /// The client's DISCONNECT: the connection is closed.
    Disconnect(Disconnect),
    /// The connection closed itself; write what is left in the output.
    Closed(CloseCause),
}

/// See the module's diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AwaitingConnect,
    Deciding,
    Challenged,
    Established(Reauth),
    Closed,
}

/// How far a re-authentication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reauth {
    None,
    Judging,
    Challenged,
}

/// The protocol state of one socket.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    config: ConnectionConfig,
    connect_deadline: Instant,
    hello: Hello,
    session_expiry_seconds: u32,
    limits: DecodeLimits,
    /// What CONNACK promised to take; 0 before 5.0, which cannot promise.
    announced_bytes_max: u32,
    /// What the client may send now; above it but within the promise a PUBLISH is refused.
    packet_bytes_max: u32,
    payload_bytes_max: u32,
    /// See [`Connection::packet_bytes`].
    packet_bytes: u32,
    keep_alive: KeepAlive,
    /// Reading stopped because too many PUBLISHes wait for their answers.
    held_back: bool,
    inbound: Inbound,
    /// PUBLISHes handed out and not yet returned.
    unanswered: u32,
    /// PUBLISHes dropped without a verdict.
    unjudged: Witness,
    /// A reference to that which a PUBLISH has brought back, for the next one: counting each anew is felt.
    witness: Option<Witness>,
    /// More of them, when many PUBLISHes wait for their verdicts together.
    witnesses: Vec<Witness>,
    aliases: OutboundAliases,
    output: Output,
}

impl Connection {
    /// The state of a socket that was just opened.
    #[must_use]
    pub fn new(config: ConnectionConfig, now: Instant) -> Self {
        let hello = Hello::unknown();
        Self {
            phase: Phase::AwaitingConnect,
            connect_deadline: now + config.connect_timeout,
            session_expiry_seconds: 0,
            limits: DecodeLimits {
                packet_bytes_max: config.connect_bytes_max,
            },
            announced_bytes_max: 0,
            packet_bytes_max: config.connect_bytes_max,
            payload_bytes_max: config.connect_bytes_max,
            packet_bytes: 0,
            keep_alive: KeepAlive::new(0, now),
            held_back: false,
            inbound: Inbound::new(hello.nothing_announced()),
            unanswered: 0,
            unjudged: Witness::default(),
            witness: None,
            witnesses: Vec::new(),
            aliases: OutboundAliases::default(),
            output: Output::default(),
            config,
            hello,
        }
    }

    /// The next event in `input`, from at most one packet that has one.
    ///
    /// `None`: more bytes are needed, a decision is awaited, answers must leave first, or the connection is closed.
    pub fn next(&mut self, input: &mut BytesMut, now: Instant) -> Option<Event> {
        match self.next_publish(input, now) {
            Some(Ok(received)) => Some(Event::Publish(received)),
            Some(Err(cause)) => Some(self.fail(cause)),
            None => match self.receive(input, now) {
                Ok(event) => event,
                Err(cause) => Some(self.fail(cause)),
            },
        }
    }

    /// Bytes, fixed header included, of the packet that the last event of [`Connection::next`] came from.
    ///
    /// 0 for an [`Event::Closed`] whose packet was judged by its fixed header, or that came from no packet.
    #[must_use]
    pub fn packet_bytes(&self) -> u32 {
        self.packet_bytes
    }

    /// What is to be written to the socket.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// When to call [`Connection::timeout`]. It moves with every packet.
    ///
    /// While the server is the one to act (a decision, answers to PUBLISHes) the client has no deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::AwaitingConnect | Phase::Challenged => Some(self.connect_deadline),
            Phase::Established(_) if !self.held_back => self.keep_alive.deadline(),
            Phase::Established(_) | Phase::Deciding | Phase::Closed => None,
        }
    }

    /// Closes the connection if its deadline has come.
    pub fn timeout(&mut self, now: Instant) -> Option<Event> {
        if self.deadline()? > now {
            return None;
        }
        let cause = match self.phase {
            Phase::Established(_) => CloseCause::KeepAliveTimeout,
            _ => CloseCause::ConnectTimeout,
        };
        Some(self.fail(cause))
    }

    /// The driver has left the socket unread until `now`, so the silence was not the client's.
    pub fn excuse_silence(&mut self, now: Instant) {
        self.keep_alive.heard(now);
    }

    /// The largest packet the client may send from now on, fixed header included.
    ///
    /// A 5.0 client cannot be told: what CONNACK announced stays acceptable. A PUBLISH within that and above `bytes`
    /// is marked [`Received::packet_too_large`], other packets pass. Before 5.0 a larger packet ends the connection.
    pub fn set_packet_bytes_max(&mut self, bytes: u32) {
        if self.is_established() {
            self.limits.packet_bytes_max = bytes.max(self.announced_bytes_max);
            self.packet_bytes_max = bytes;
        }
    }

    /// The largest payload the client may publish from now on.
    pub fn set_payload_bytes_max(&mut self, bytes: u32) {
        if self.is_established() {
            self.payload_bytes_max = bytes;
        }
    }

    /// The protocol version; 5.0 until CONNECT came.
    #[must_use]
    pub fn version(&self) -> Version {
        self.hello.version
    }

    /// Seconds the session is to outlive this connection, as CONNACK said; `u32::MAX`: for ever. A DISCONNECT may
    /// say otherwise.
    #[must_use]
    pub fn session_expiry_seconds(&self) -> u32 {
        self.session_expiry_seconds
    }

    /// Whether so many PUBLISHes wait for their answers that no packet is looked at before some have left. What `input`
    /// holds stays there: call [`Connection::next`] again then, also if nothing more was read.
    #[must_use]
    pub fn awaits_answers(&self) -> bool {
        self.is_established() && self.inbound.is_full()
    }

    /// Whether it is over: write the output, close the socket.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// PUBLISHes handed out as [`Event::Publish`] and not returned.
    #[must_use]
    pub fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// QoS 1 and 2 PUBLISHes whose acknowledgement has not left.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.inbound.waiting_len()
    }

    fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established(_))
    }
}
