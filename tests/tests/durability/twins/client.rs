//! A client that does as it is told, and writes down what it sees.

use sluice_tests::broker::Broker;
use sluice_tests::packet::{
    Ack, PINGREQ, V5, V311, Version, connect, disconnect, puback, pubcomp, publish, pubrec, pubrel,
    subscribe, unsubscribe,
};
use sluice_tests::peer::Peer;
use sluice_tests::reply::{Delivered, Reply};
use std::collections::{BTreeMap, HashSet};

/// A client with what it keeps over its connections.
pub struct Client {
    /// Before every topic and in its client identifier, so that conversations have nothing in common.
    prefix: String,
    index: usize,
    version: Version,
    peer: Option<Peer>,
    last_identifier: u16,
    /// QoS 2 messages that it has taken and the broker has not released.
    unreleased: HashSet<u16>,
    withholds: bool,
    /// Acknowledgements that it has withheld on this connection.
    owed: Vec<Ack>,
    /// A QoS 2 message of its own for which PUBREC came: identifier, topic, payload.
    begun: Option<(u16, String, String)>,
    seen: BTreeMap<String, Vec<Message>>,
}

/// A message as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    payload: String,
    qos: u8,
    retain: bool,
    dup: bool,
}

/// What a client has seen, by topics.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen(BTreeMap<String, Vec<Message>>);

impl Seen {
    /// Without messages of QoS 1 that came before, and without DUP, which may be lost with the knowledge that something
    /// was sent.
    pub fn without_repeats(&self) -> Self {
        let mut topics = self.0.clone();
        for messages in topics.values_mut() {
            let mut known = HashSet::new();
            messages.retain(|message| {
                message.qos != 1 || known.insert((message.payload.clone(), message.retain))
            });
            messages.iter_mut().for_each(|message| message.dup = false);
        }
        Self(topics)
    }
}

impl Client {
    /// One that has not connected yet.
    pub fn new(conversation: &str, index: usize) -> Self {
        Self {
            prefix: format!("{conversation}/"),
            index,
            version: if index == 1 { V311 } else { V5 },
            peer: None,
            last_identifier: 0,
            unreleased: HashSet::new(),
            withholds: false,
            owed: Vec::new(),
            begun: None,
            seen: BTreeMap::new(),
        }
    }

    /// What it has seen.
    pub fn seen(&self) -> Seen {
        Seen(self.seen.clone())
    }

    /// Connects; Session Present.
    pub fn connect(&mut self, broker: &Broker, clean_start: bool, lasting: bool) -> bool {
        self.settle();
        let packet = connect(self.version, format!("{}{}", self.prefix, self.index));
        // Before 5.0 a session that is to last is one that is resumed.
        let lasts = if self.version == V5 { lasting } else { !clean_start };
        let mut packet = if lasts { packet.lasting() } else { packet };
        packet.clean_start = clean_start;
        let (peer, connack) = broker.join(&packet);
        if let Some(mut earlier) = self.peer.replace(peer) {
            earlier.skip_to_end();
        }
        self.owed.clear();
        if !connack.session_present {
            self.unreleased.clear();
            self.begun = None;
        }
        self.go_on();
        connack.session_present
    }

    /// Finishes what it has begun on an earlier connection, as if it had not seen the PUBREC.
    fn go_on(&mut self) {
        let Some((identifier, topic, payload)) = self.begun.take() else {
            return;
        };
        let again = publish(topic, payload).qos(2).id(identifier).dup();
        self.send(again);
        self.until(|reply| matches!(reply, Reply::PubRec(acked) if acked.packet_id == identifier));
        self.send(pubrel(identifier));
        self.until(|reply| matches!(reply, Reply::PubComp(acked) if acked.packet_id == identifier));
    }

    /// Says goodbye, if it is connected.
    pub fn leave(&mut self) {
        self.settle();
        self.part();
    }

    /// The same for one that has settled.
    pub fn part(&mut self) {
        if let Some(mut peer) = self.peer.take() {
            peer.send(disconnect(0));
            peer.skip_to_end();
        }
    }

    /// Its connection is gone.
    pub fn is_cut_off(&mut self) {
        self.peer = None;
    }

    /// Subscribes; the answer.
    pub fn subscribe(&mut self, filter: &str, options: u8) -> String {
        if self.peer.is_none() {
            return String::new();
        }
        let options = if self.version == V5 { options } else { options & 3 };
        let identifier = self.next_identifier();
        self.send(subscribe(identifier).filter(format!("{}{filter}", self.prefix), options));
        self.until(|reply| matches!(reply, Reply::SubAck(_)))
    }

    /// Unsubscribes; the answer.
    pub fn unsubscribe(&mut self, filter: &str) -> String {
        if self.peer.is_none() {
            return String::new();
        }
        let identifier = self.next_identifier();
        self.send(unsubscribe(identifier).filter(format!("{}{filter}", self.prefix)));
        self.until(|reply| matches!(reply, Reply::UnsubAck(_)))
    }

    /// Publishes; the answer.
    pub fn publish(&mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> String {
        if self.peer.is_none() {
            return String::new();
        }
        let mut packet = publish(format!("{}{topic}", self.prefix), payload).qos(qos);
        packet.retain = retain;
        if qos == 0 {
            self.send(packet);
            self.send(PINGREQ);
            return self.until(|reply| matches!(reply, Reply::PingResp));
        }
        let identifier = self.next_identifier();
        self.send(packet.id(identifier));
        if qos == 1 {
            return self.until(|reply| matches!(reply, Reply::PubAck(_)));
        }
        let answer = self.until(|reply| matches!(reply, Reply::PubRec(_)));
        self.send(pubrel(identifier));
        answer + &self.until(|reply| matches!(reply, Reply::PubComp(_)))
    }

    /// Publishes with QoS 2 up to PUBREC; the answer.
    pub fn begin(&mut self, topic: &str, payload: &str) -> String {
        if self.peer.is_none() || self.begun.is_some() {
            return String::new();
        }
        let topic = format!("{}{topic}", self.prefix);
        let identifier = self.next_identifier();
        self.send(publish(&topic, payload).qos(2).id(identifier));
        self.begun = Some((identifier, topic, payload.to_owned()));
        self.until(|reply| matches!(reply, Reply::PubRec(_)))
    }

    /// Acknowledges nothing from now on.
    pub fn withhold(&mut self) {
        self.settle();
        self.withholds = true;
    }

    /// Acknowledges everything.
    pub fn acknowledge(&mut self) {
        self.withholds = false;
        for ack in std::mem::take(&mut self.owed) {
            self.send(ack);
        }
        self.settle();
    }

    /// Gets what is left, and ends its session.
    pub fn finish(&mut self, broker: &Broker) {
        self.withholds = false;
        if self.peer.is_none() {
            self.connect(broker, false, true);
        }
        self.acknowledge();
        self.go_on();
        self.settle();
        self.connect(broker, true, false);
        self.leave();
    }

    /// Receives all that is on its way. A QoS 2 message to itself marks the end: nothing overtakes it.
    pub fn settle(&mut self) {
        if self.peer.is_none() {
            return;
        }
        let end = self.end();
        let (subscribed, published) = (self.next_identifier(), self.next_identifier());
        self.send(subscribe(subscribed).filter(&end, 2));
        self.send(publish(&end, "").qos(2).id(published));
        let (mut is_sent, mut marker) = (false, None);
        while !is_sent || marker.is_none_or(|marker| self.unreleased.contains(&marker)) {
            match self.receive() {
                Reply::SubAck(_) => {}
                Reply::PubRec(acked) if acked.packet_id == published => self.send(pubrel(published)),
                Reply::PubComp(acked) if acked.packet_id == published => is_sent = true,
                Reply::Publish(delivered) => {
                    if delivered.topic == end {
                        marker = Some(delivered.packet_id);
                    }
                    self.take(delivered);
                }
                Reply::PubRel(acked) => self.released(acked.packet_id),
                other => self.fail(&other),
            }
        }
    }

    fn end(&self) -> String {
        format!("end/{}{}", self.prefix, self.index)
    }

    /// Receives until this comes, which is returned as text.
    fn until(&mut self, is_it: impl Fn(&Reply) -> bool) -> String {
        loop {
            match self.receive() {
                reply if is_it(&reply) => return format!("{reply:?}"),
                Reply::Publish(delivered) => self.take(delivered),
                Reply::PubRel(acked) => self.released(acked.packet_id),
                other => self.fail(&other),
            }
        }
    }

    fn take(&mut self, delivered: Delivered) {
        let ack = match delivered.qos {
            0 => None,
            1 => Some(puback(delivered.packet_id)),
            _ => Some(pubrec(delivered.packet_id)),
        };
        let is_marker = delivered.topic == self.end();
        if let Some(ack) = ack {
            if self.withholds && !is_marker {
                self.owed.push(ack);
            } else {
                self.send(ack);
            }
        }
        let is_new = delivered.qos < 2 || self.unreleased.insert(delivered.packet_id);
        if is_new && !is_marker {
            let message = Message {
                payload: String::from_utf8_lossy(&delivered.payload).into_owned(),
                qos: delivered.qos,
                retain: delivered.retain,
                dup: delivered.dup,
            };
            self.seen.entry(delivered.topic).or_default().push(message);
        }
    }

    fn released(&mut self, identifier: u16) {
        self.unreleased.remove(&identifier);
        self.send(pubcomp(identifier));
    }

    fn receive(&mut self) -> Reply {
        self.peer.as_mut().expect("it is connected").receive()
    }

    fn send(&mut self, packet: impl sluice_tests::packet::Encode) {
        if let Some(peer) = &mut self.peer {
            peer.send(packet);
        }
    }

    fn fail(&self, reply: &Reply) -> ! {
        match &self.peer {
            Some(peer) => peer.fail(&format!("unexpected {reply:?}")),
            None => panic!("unexpected {reply:?}"),
        }
    }

    fn next_identifier(&mut self) -> u16 {
        loop {
            self.last_identifier = self.last_identifier % 1_000 + 1;
            let is_begun = |begun: &(u16, String, String)| begun.0 == self.last_identifier;
            if !self.begun.as_ref().is_some_and(is_begun) {
                return self.last_identifier;
            }
        }
    }
}
