//! Random conversations: a script of operations for both ends, and a client that knows what it is owed.
//!
//! Bytes are read as operations, any bytes at all, so that proptest and a fuzzer can write scripts and old scripts
//! can be played again. After each operation the client reads everything there is and checks it.

use super::client::Client;
use super::words::{
    auth, connect, disconnect, puback, pubcomp, publish, pubrec, pubrel, subscribe, unsubscribe,
};
use super::{Pair, Verdict, Welcome, text};
use crate::message::MessageParts;
use crate::packet::{ConnAck, Connect, Disconnect, Packet, Publish, QoS, Version};
use crate::reason::ReasonCode;
use crate::session::Counters;
use std::num::NonZeroU16;
use std::time::Duration;

/// Plays the script that `bytes` encode.
///
/// # Panics
/// When an invariant does not hold.
pub fn play(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut stage = Stage::new(&mut script);
    while !script.bytes.is_empty() {
        stage.step(&mut script);
        stage.check();
    }
}

/// Bytes read as choices; zeros behind the end.
struct Script<'a> {
    bytes: &'a [u8],
}

impl<'a> Script<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// A packet identifier from a few, so that they collide.
    fn id(&mut self) -> u16 {
        u16::from(self.below(6)) + 1
    }

    fn some(&mut self, end: u8) -> Option<u16> {
        let value = self.below(end);
        (value > 0).then_some(u16::from(value))
    }
}

struct Stage {
    pair: Pair,
    client: Client,
    /// Messages offered to the session.
    offered: u64,
    /// How many sessions there were.
    sessions: u32,
}

const TOPICS: [&str; 4] = [
    "t",
    "a/long/topic",
    "another/long/topic",
    "a/third/topic/for/aliases",
];
const PAYLOAD: &str = "0123456789012345678901234567890123456789";

impl Stage {
    fn new(script: &mut Script<'_>) -> Self {
        let connect = hello(script);
        let pair = Pair::new(connect.clone());
        let mut stage = Self {
            pair,
            client: Client::new(&connect),
            offered: 0,
            sessions: 0,
        };
        stage.enter(script, connect);
        stage.check();
        stage
    }

    /// A CONNECT on a new connection, with terms for it.
    fn enter(&mut self, script: &mut Script<'_>, connect: Connect) {
        let terms = &mut self.pair.terms;
        terms.receive_max = script
            .some(5)
            .and_then(NonZeroU16::new)
            .unwrap_or(NonZeroU16::MAX);
        terms.topic_alias_max = u16::from(script.below(3));
        terms.packet_bytes_max = if script.coin() { u32::MAX } else { 60 };
        terms.payload_bytes_max = if script.coin() { u32::MAX } else { 20 };
        terms.keep_alive_seconds = u16::from(script.below(3)) * 10;
        self.pair.receipts.clear();
        self.client = Client::new(&connect);
        self.client.server_receive_max = self.pair.terms.receive_max.get();
        self.pair.welcome = match connect.auth_method {
            Some(_) if script.coin() => Welcome::Challenge("prove it"),
            _ => Welcome::Accept,
        };
        self.pair.begin(connect.clone());
        self.pair.send(connect);
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let operation = script.below(20);
        // Little happens after the end.
        let operation = if self.pair.conn.is_closed() && !operation.is_multiple_of(4) {
            0
        } else {
            operation
        };
        match operation {
            0 => {
                let connect = hello(script);
                self.enter(script, connect);
            }
            1..=4 => self.publish(script),
            5 => self.send(puback(script.id(), reason(script))),
            6 => self.send(pubrec(script.id(), reason(script))),
            7 => self.send(pubcomp(script.id(), ReasonCode::SUCCESS)),
            8 => self.answer(script),
            9 => self.send(pubrel(script.id(), ReasonCode::SUCCESS)),
            10..=12 => self.deliver(script),
            13 => {
                self.pair.verdict = match script.below(4) {
                    0 => Verdict::Accept,
                    1 => Verdict::Refuse(ReasonCode::NOT_AUTHORIZED),
                    2 => Verdict::Discard,
                    _ => Verdict::Hold,
                }
            }
            14 => {
                let held = self.pair.receipts.len();
                if held > 0 {
                    self.pair.acknowledge(usize::from(script.byte()) % held);
                }
            }
            15 => self.pair.wait(Duration::from_secs(u64::from(script.below(20)))),
            16 => self.request(script),
            17 => self.noise(script),
            18 => self.limit(script),
            _ => {
                let end = usize::from(script.below(30));
                self.client.split_at = Some(end);
            }
        }
    }

    fn send(&mut self, packet: impl Into<Packet>) {
        let packet = packet.into();
        self.client.sends(&packet);
        self.pair.queue(packet);
        match self.client.split_at.take() {
            Some(end) => self.pair.serve_split(end),
            None => self.pair.serve(),
        }
    }

    fn publish(&mut self, script: &mut Script<'_>) {
        let qos = script.below(3);
        let topic = TOPICS[usize::from(script.below(4))];
        let payload = &PAYLOAD[..usize::from(script.below(40))];
        let packet_id = if qos == 0 { 0 } else { script.id() };
        let mut publish: Publish = publish(topic, payload, qos, packet_id);
        publish.dup = qos > 0 && script.coin();
        publish.retain = script.coin();
        if self.client.version == Version::V5 {
            publish.properties.topic_alias = script.some(4);
            publish.properties.message_expiry_seconds = script.some(10).map(u32::from);
            if publish.properties.topic_alias.is_some() && script.coin() {
                publish.topic = None;
            }
        }
        self.send(publish);
    }

    /// The client answers what it has been sent, as it should.
    fn answer(&mut self, script: &mut Script<'_>) {
        if let Some(answer) = self.client.answer(usize::from(script.byte())) {
            self.send(answer);
        }
    }

    fn deliver(&mut self, script: &mut Script<'_>) {
        let expires_at = script
            .some(10)
            .map(|seconds| self.pair.now + Duration::from_secs(u64::from(seconds)));
        let parts = MessageParts {
            mountpoint: "",
            topic: TOPICS[usize::from(script.below(4))],
            payload: &PAYLOAD.as_bytes()[..usize::from(script.below(40))],
            forwarded: &[],
            qos: QoS::new(script.below(3)).unwrap_or_default(),
            retain: script.coin(),
            publisher: 99,
            expires_at,
        };
        self.offered += 1;
        self.pair.deliver_parts(&parts);
    }

    fn request(&mut self, script: &mut Script<'_>) {
        match script.below(9) {
            0 => self.send(Packet::PingReq),
            1 => self.send(subscribe(script.id(), "a/#")),
            2 => self.send(unsubscribe(script.id(), "a/#")),
            3 => self.send(Disconnect {
                session_expiry_seconds: script.some(3).map(u32::from),
                ..Disconnect::new(ReasonCode::SUCCESS)
            }),
            4 => self.send(disconnect(ReasonCode::DISCONNECT_WITH_WILL)),
            5 => self.authenticate(ReasonCode::RE_AUTHENTICATE, script.coin()),
            6 => self.authenticate(ReasonCode::CONTINUE_AUTHENTICATION, script.coin()),
            7 => self.send(connect(Version::V5)),
            _ => {
                self.pair
                    .conn
                    .disconnect(ReasonCode::SERVER_SHUTTING_DOWN, Some("bye"), None);
                self.pair.serve();
            }
        }
    }

    fn authenticate(&mut self, reason: ReasonCode, satisfied: bool) {
        self.send(auth(reason, "m", "data"));
        let asked = self.pair.events.pop().is_some() && !self.pair.conn.is_closed();
        match (asked, satisfied) {
            (false, _) => {}
            (true, false) => self.pair.conn.challenge(Some("more".into())),
            (true, true) if self.client.is_connected => self.pair.conn.reauthenticated(None),
            (true, true) => self.pair.let_in(ConnAck::new(ReasonCode::SUCCESS)),
        }
        self.pair.serve();
    }

    /// Bytes that are no packet, or any packet.
    fn noise(&mut self, script: &mut Script<'_>) {
        let len = usize::from(script.below(40)).min(script.bytes.len());
        let (noise, rest) = script.bytes.split_at(len);
        script.bytes = rest;
        self.client.is_wild = true;
        self.pair.send_bytes(noise);
    }

    fn limit(&mut self, script: &mut Script<'_>) {
        match script.below(3) {
            0 => self.pair.conn.set_packet_bytes_max(u32::from(script.byte()) + 10),
            1 => self.pair.conn.set_payload_bytes_max(u32::from(script.below(40))),
            _ => self.pair.conn.excuse_silence(self.pair.now),
        }
    }

    fn check(&mut self) {
        while let Some(packet) = self.pair.receive() {
            let bytes = self.pair.last_packet_bytes;
            self.client.reads(&packet, bytes);
        }
        let held = u32::try_from(self.pair.receipts.len()).unwrap_or(u32::MAX);
        assert_eq!(
            self.pair.conn.unanswered(),
            held,
            "PUBLISHes that nobody answers for"
        );
        if self.sessions != self.pair.sessions {
            // The earlier one has ended, and with it whatever it held.
            self.sessions = self.pair.sessions;
            self.offered = 0;
        }
        let session = &self.pair.session;
        let mut ids: Vec<_> = session.inflight_ids().collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(
            ids.len(),
            session.inflight_len(),
            "a packet identifier is used twice"
        );
        let Counters {
            completed,
            refused,
            dropped,
            expired,
            oversized,
            undeliverable,
            lost,
        } = session.counters();
        let ended = completed + refused + dropped + expired + oversized + undeliverable + lost;
        let there = session.queue_len() + session.inflight_len();
        assert_eq!(
            ended + there as u64,
            self.offered,
            "a message was lost or doubled"
        );
    }
}

fn hello(script: &mut Script<'_>) -> Connect {
    let version = [Version::V5, Version::V311, Version::V31, Version::V5][usize::from(script.below(4))];
    let mut connect = connect(version);
    connect.clean_start = script.coin();
    connect.keep_alive_seconds = u16::from(script.below(3)) * 10;
    if version == Version::V5 {
        connect.receive_max = script.some(4).and_then(NonZeroU16::new);
        connect.packet_bytes_max = script.some(3).map(|choice| u32::from(choice) * 30);
        connect.topic_alias_max = u16::from(script.below(3));
        connect.session_expiry_seconds = script.some(3).map(u32::from);
        connect.request_problem_information = script.coin();
        connect.auth_method = script.coin().then(|| text("m"));
    }
    connect
}

fn reason(script: &mut Script<'_>) -> ReasonCode {
    if script.coin() {
        ReasonCode::SUCCESS
    } else {
        ReasonCode::UNSPECIFIED_ERROR
    }
}
