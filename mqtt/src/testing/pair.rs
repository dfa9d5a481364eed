//! A scripted client, and a server small enough to be obvious: no hub, no policy, one session.

use super::start;
use crate::conn::{CloseCause, Connection, ConnectionConfig, Delivered, Event, Receipt, Received, Terms};
use crate::message::{Message, MessageParts};
use crate::packet::{ConnAck, Connect, Disconnect, Packet, PacketId, QoS, SubAck, UnsubAck, Version};
use crate::reason::ReasonCode;
use crate::session::{
    Delivery, Outgoing, Overflow, PubRecOutcome, Received2, Session, SessionLimits, SubscriptionIds,
};
use crate::wire::{self, DecodeLimits};
use bytes::BytesMut;
use std::io::IoSlice;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

/// What the server does with a CONNECT.
#[derive(Clone, Debug)]
pub enum Welcome {
    /// Lets the client in.
    Accept,
    /// Lets the client in with a CONNACK that says more.
    AcceptWith(Box<ConnAck>),
    /// Turns it away.
    Refuse(ReasonCode),
    /// Asks for more with this data; [`Pair::conn`] takes the next step.
    Challenge(&'static str),
    /// Nothing yet.
    Wait,
}

/// What the server does with a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Routes and acknowledges it.
    Accept,
    /// Routes it and keeps the receipt in [`Pair::receipts`].
    Hold,
    /// Refuses it.
    Refuse(ReasonCode),
    /// Acknowledges it and forgets it.
    Discard,
}

/// Both ends of a connection.
///
/// The server side is driven at once: what the client sends is processed and answered before `send` returns.
#[derive(Debug)]
pub struct Pair {
    /// The virtual clock.
    pub now: Instant,
    /// The server's end of the connection.
    pub conn: Connection,
    /// The server's session.
    pub session: Session,
    /// What CONNECT is answered with.
    pub welcome: Welcome,
    /// What accepted clients are bound to.
    pub terms: Terms,
    /// What PUBLISHes are answered with.
    pub verdict: Verdict,
    /// Receipts of PUBLISHes with [`Verdict::Hold`].
    pub receipts: Vec<Receipt>,
    /// Payloads of the messages that were routed.
    pub routed: Vec<String>,
    /// Other events, as they came.
    pub events: Vec<Event>,
    /// How the connection ended.
    pub closed: Option<CloseCause>,
    /// The client's DISCONNECT.
    pub disconnected: Option<Disconnect>,
    /// How often a session was begun.
    pub sessions: u32,
    /// Bytes of the packet the client read last.
    pub last_packet_bytes: usize,
    client: Connect,
    to_server: BytesMut,
    to_client: BytesMut,
}

impl Pair {
    /// A connection on which nothing was sent yet; the client is described by its CONNECT.
    #[must_use]
    pub fn new(client: Connect) -> Self {
        Self {
            now: start(),
            conn: Connection::new(config(), start()),
            session: Session::new(limits()),
            welcome: Welcome::Accept,
            terms: terms(),
            verdict: Verdict::Accept,
            receipts: Vec::new(),
            routed: Vec::new(),
            events: Vec::new(),
            closed: None,
            disconnected: None,
            sessions: 0,
            last_packet_bytes: 0,
            client,
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
        }
    }

    /// A client of this version that has been let in and has read its CONNACK.
    #[must_use]
    pub fn connected(version: Version) -> Self {
        Self::connected_as(super::connect(version))
    }

    /// A client with this CONNECT that has been let in and has read its CONNACK.
    #[must_use]
    pub fn connected_as(client: Connect) -> Self {
        let mut pair = Self::new(client);
        pair.handshake();
        pair
    }

    /// Sends CONNECT and expects to be let in.
    pub fn handshake(&mut self) -> ConnAck {
        self.send(self.client.clone());
        match self.receive() {
            Some(Packet::ConnAck(connack)) if connack.reason == ReasonCode::SUCCESS => *connack,
            other => panic!("not let in: {other:?}"),
        }
    }

    /// The connection breaks; another one, with this CONNECT, resumes the session.
    pub fn reconnect(&mut self, client: Connect) -> ConnAck {
        self.begin(client);
        self.handshake()
    }

    /// The connection breaks, and there is another one on which nothing was sent yet.
    pub fn begin(&mut self, client: Connect) {
        self.session.detach();
        self.conn = Connection::new(config(), self.now);
        self.client = client;
        self.closed = None;
        self.to_server.clear();
        self.to_client.clear();
    }

    /// The client sends a packet, and the server does what it does.
    pub fn send(&mut self, packet: impl Into<Packet>) {
        self.queue(packet);
        self.serve();
    }

    /// The client sends a packet that the server does not look at yet; returns how many bytes it has.
    pub fn queue(&mut self, packet: impl Into<Packet>) -> usize {
        let mut output = wire::Output::default();
        wire::encode(&packet.into(), self.client.version, &mut output);
        let bytes = output.len();
        drain(&mut output, &mut self.to_server);
        bytes
    }

    /// The client sends bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.to_server.extend_from_slice(bytes);
        self.serve();
    }

    /// The next packet the client reads.
    pub fn receive(&mut self) -> Option<Packet> {
        drain(self.conn.output(), &mut self.to_client);
        let limits = DecodeLimits {
            packet_bytes_max: u32::MAX,
        };
        let before = self.to_client.len();
        let packet = wire::decode(&mut self.to_client, self.client.version, &limits);
        self.last_packet_bytes = before - self.to_client.len();
        packet.unwrap_or_else(|error| panic!("the server sent nonsense: {error}"))
    }

    /// Bytes the client has not read.
    pub fn unread(&mut self) -> &[u8] {
        drain(self.conn.output(), &mut self.to_client);
        &self.to_client
    }

    /// The next packet the client reads is this one.
    pub fn expect(&mut self, expected: impl Into<Packet>) {
        assert_eq!(self.receive(), Some(expected.into()));
    }

    /// The client has read everything, and the connection goes on.
    pub fn expect_silence(&mut self) {
        assert_eq!(self.receive(), None);
        assert!(!self.conn.is_closed(), "closed: {:?}", self.closed);
    }

    /// The client has read everything, and the server has closed for this reason.
    pub fn expect_closed(&mut self, cause: CloseCause) {
        assert_eq!(self.receive(), None);
        assert_eq!(self.closed, Some(cause));
        assert!(self.conn.is_closed());
    }

    /// Time passes; if a deadline comes the server keeps it.
    pub fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.conn.deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            match self.conn.timeout(self.now) {
                Some(Event::Closed(cause)) => self.closed = Some(cause),
                other => panic!("a deadline that did nothing: {other:?}"),
            }
        }
        self.now = end;
        self.serve();
    }

    /// A message for the client comes, and is sent if it may be.
    pub fn deliver(&mut self, topic: &str, payload: &str, qos: u8) {
        self.deliver_parts(&MessageParts {
            mountpoint: "",
            topic,
            payload: payload.as_bytes(),
            forwarded: &[],
            qos: QoS::new(qos).expect("0, 1 or 2"),
            retain: false,
            publisher: 99,
            expires_at: None,
        });
    }

    /// A message for the client comes, and is sent if it may be.
    pub fn deliver_parts(&mut self, parts: &MessageParts<'_>) {
        let _ = self.session.enqueue(Delivery {
            message: Message::new(*parts),
            qos: parts.qos,
            retain: false,
            subscription_ids: SubscriptionIds::None,
            place: None,
        });
        self.pump();
    }

    /// The server processes what has come and sends what it may.
    pub fn serve(&mut self) {
        while let Some(event) = self.conn.next(&mut self.to_server, self.now) {
            self.handle(event);
        }
        self.pump();
    }

    /// The server processes what has come in two parts: all but the last `bytes`, then those.
    pub fn serve_split(&mut self, bytes: usize) {
        let at = self.to_server.len().saturating_sub(bytes);
        let rest = self.to_server.split_off(at);
        self.serve();
        self.to_server.extend_from_slice(&rest);
        self.serve();
    }

    /// The server gets to see what has come byte by byte.
    pub fn serve_bytewise(&mut self) {
        for byte in std::mem::take(&mut self.to_server) {
            self.send_bytes(&[byte]);
        }
    }

    /// The next event, for the test to deal with.
    pub fn next_event(&mut self) -> Option<Event> {
        self.conn.next(&mut self.to_server, self.now)
    }

    /// Acknowledges the PUBLISH whose receipt was taken in n-th.
    pub fn acknowledge(&mut self, n: usize) {
        let receipt = self.receipts.remove(n);
        self.conn.acknowledge(receipt);
        self.serve();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connect(_) => self.welcome(),
            Event::Publish(received) => self.publish(received),
            Event::PubRel(packet_id) => {
                let known = self.session.release(packet_id);
                self.conn.pubcomp(packet_id, found(known));
            }
            Event::PubAck { packet_id, reason } => {
                self.session.puback(packet_id, reason);
            }
            Event::PubRec { packet_id, reason } => match self.session.pubrec(packet_id, reason) {
                PubRecOutcome::SendPubRel => self.conn.pubrel(packet_id, ReasonCode::SUCCESS),
                PubRecOutcome::Ended => {}
                PubRecOutcome::Unknown => self.conn.pubrel(packet_id, found(false)),
            },
            Event::PubComp { packet_id, .. } => {
                self.session.pubcomp(packet_id);
            }
            Event::Subscribe(subscribe) => {
                let reasons = subscribe
                    .filters
                    .iter()
                    .map(|(_, options)| granted(options.qos))
                    .collect();
                self.conn.suback(SubAck {
                    packet_id: subscribe.packet_id,
                    reason_string: None,
                    user_properties: Vec::new(),
                    reasons,
                });
            }
            Event::Unsubscribe(unsubscribe) => self.conn.unsuback(UnsubAck {
                packet_id: unsubscribe.packet_id,
                reason_string: None,
                user_properties: Vec::new(),
                reasons: vec![ReasonCode::SUCCESS; unsubscribe.filters.len()],
            }),
            Event::Disconnect(disconnect) => self.disconnected = Some(disconnect),
            Event::Closed(cause) => self.closed = Some(cause),
            Event::AuthResponse(_) | Event::Reauthenticate(_) => self.events.push(event),
        }
    }

    fn welcome(&mut self) {
        let connack = match &self.welcome {
            Welcome::Accept => ConnAck::new(ReasonCode::SUCCESS),
            Welcome::AcceptWith(connack) => (**connack).clone(),
            Welcome::Refuse(reason) => return self.conn.refuse(ConnAck::new(*reason)),
            Welcome::Challenge(data) => return self.conn.challenge(Some(data.as_bytes().into())),
            Welcome::Wait => return,
        };
        self.let_in(connack);
    }

    /// The decision on a CONNECT that waits.
    pub fn let_in(&mut self, mut connack: ConnAck) {
        if self.client.clean_start {
            self.session = Session::new(limits());
            self.sessions += 1;
        } else {
            connack.session_present = !self.session.is_empty();
        }
        self.session.attach(
            self.client.receive_max.map_or(u16::MAX, NonZeroU16::get),
            self.now,
        );
        if self.conn.accept(self.terms.clone(), connack, self.now).is_err() {
            self.conn
                .refuse(ConnAck::new(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR));
        }
    }

    fn publish(&mut self, received: Received) {
        let exactly_once = received
            .packet_id()
            .filter(|_| received.qos() == QoS::ExactlyOnce);
        if exactly_once.is_some_and(|packet_id| self.session.receive_qos2(packet_id) == Received2::Duplicate)
        {
            return self.conn.acknowledge_duplicate(received);
        }
        match self.verdict {
            _ if received.payload_too_large() || received.packet_too_large() => {
                self.refuse(received, exactly_once, ReasonCode::QUOTA_EXCEEDED);
            }
            Verdict::Accept => {
                let receipt = self.route(received);
                self.conn.acknowledge(receipt);
            }
            Verdict::Hold => {
                let receipt = self.route(received);
                self.receipts.push(receipt);
            }
            Verdict::Refuse(reason) => self.refuse(received, exactly_once, reason),
            Verdict::Discard => self.conn.acknowledge(received.discard()),
        }
    }

    fn refuse(&mut self, received: Received, exactly_once: Option<PacketId>, reason: ReasonCode) {
        self.conn
            .refuse_publish(received.refuse(reason).explain(super::text("no")));
        if let Some(packet_id) = exactly_once {
            self.session.forget_qos2(packet_id);
        }
    }

    fn route(&mut self, received: Received) -> Receipt {
        let (message, receipt) = received.accept().into_message("", 1, self.now);
        let payload = String::from_utf8_lossy(message.payload());
        self.routed.push(format!("{}={payload}", message.topic()));
        receipt
    }

    fn pump(&mut self) {
        while !self.conn.is_closed()
            && let Some(outgoing) = self.session.next(self.now)
        {
            if self.conn.deliver(&outgoing, 0, self.now) == Delivered::TooLarge
                && let Outgoing::Publish {
                    packet_id: Some(packet_id),
                    ..
                } = outgoing
            {
                self.session.oversized(packet_id);
            }
        }
    }
}

/// All versions, CONNECT within 10 seconds and 1 KiB.
#[must_use]
pub(super) fn config() -> ConnectionConfig {
    ConnectionConfig {
        versions: vec![Version::V31, Version::V311, Version::V5],
        connect_bytes_max: 1024,
        connect_timeout: Duration::from_secs(10),
    }
}

/// Generous terms, all of them at the protocol's defaults, so that CONNACK has no properties.
#[must_use]
pub(super) fn terms() -> Terms {
    Terms {
        receive_max: NonZeroU16::MAX,
        topic_alias_max: 0,
        packet_bytes_max: u32::MAX,
        payload_bytes_max: u32::MAX,
        keep_alive_seconds: 0,
        session_expiry_seconds: 0,
    }
}

fn limits() -> SessionLimits {
    SessionLimits {
        queue_messages_max: 1000,
        queue_bytes_max: 1 << 20,
        overflow: Overflow::DropNew,
        inflight_max: 100,
    }
}

fn found(known: bool) -> ReasonCode {
    if known {
        ReasonCode::SUCCESS
    } else {
        ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
    }
}

fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::SUCCESS,
        QoS::AtLeastOnce => ReasonCode::GRANTED_QOS_1,
        QoS::ExactlyOnce => ReasonCode::GRANTED_QOS_2,
    }
}

fn drain(output: &mut wire::Output, into: &mut BytesMut) {
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = output.chunks_vectored(&mut slices);
        let mut bytes = 0;
        for slice in slices.iter().take(count) {
            into.extend_from_slice(slice);
            bytes += slice.len();
        }
        output.advance(bytes);
    }
}
