//! One end of a conversation with the broker, over plain TCP.

use crate::PATIENCE;
use crate::packet::{
    Ack, Encode, PINGREQ, Publish, Subscribe, V5, Version, puback, pubcomp, publish, pubrec, pubrel,
    subscribe,
};
use crate::reply::{Acked, Codes, ConnAck, Delivered, Notified, Reply};
use crate::unique;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A raw MQTT client. What it sends is up to the test; what it receives is checked strictly.
pub struct Peer {
    stream: TcpStream,
    version: Version,
    buffer: Vec<u8>,
    transcript: Vec<String>,
    last_packet_id: u16,
    marker: Option<String>,
}

/// What came from the broker.
enum Arrival {
    Reply(Reply),
    Closed,
    Nothing,
}

impl Peer {
    /// Opens a connection and sends nothing.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts connections");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a write timeout can be set");
        Self {
            stream,
            version,
            buffer: Vec::new(),
            transcript: Vec::new(),
            last_packet_id: 0,
            marker: None,
        }
    }

    /// The version it speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Ends the test, showing the conversation.
    ///
    /// # Panics
    /// Always.
    pub fn fail(&self, why: &str) -> ! {
        panic!(
            "{why}\nthe conversation ({:?}):\n{}",
            self.version,
            self.transcript.join("\n")
        );
    }

    /// Ends the test unless `holds`.
    pub fn assert(&self, holds: bool, what: &str) {
        if !holds {
            self.fail(&format!("not so: {what}"));
        }
    }

    fn note(&mut self, line: String) {
        const LINES_MAX: usize = 60;
        if self.transcript.len() == LINES_MAX {
            self.transcript.remove(1);
        }
        self.transcript.push(line);
    }

    // --- sending

    /// Sends a packet, or any bytes. A connection that the broker has closed already is no failure here.
    pub fn send(&mut self, packet: impl Encode) {
        let bytes = packet.bytes(self.version);
        self.note(format!("  sent {}", hex(&bytes)));
        let _ = self.stream.write_all(&bytes);
    }

    /// Sends several packets in one write.
    pub fn send_all(&mut self, packets: &[&dyn Encode]) {
        let bytes: Vec<u8> = packets
            .iter()
            .flat_map(|packet| packet.bytes(self.version))
            .collect();
        self.send(bytes);
    }

    /// A packet identifier that this peer has not used yet.
    pub fn next_packet_id(&mut self) -> u16 {
        self.last_packet_id += 1;
        self.last_packet_id
    }

    /// Closes the connection without a DISCONNECT.
    pub fn vanish(self) {
        drop(self);
    }

    /// Sends DISCONNECT (0x00) and waits until the broker has closed the connection: it has then dealt with it.
    pub fn leave(mut self) {
        self.send(crate::packet::disconnect(0));
        self.expect_closed();
    }

    /// Closes the sending half only.
    pub fn shut_down_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    // --- receiving

    fn arrival(&mut self, patience: Duration) -> Arrival {
        let deadline = Instant::now() + patience;
        loop {
            match Reply::decode(&mut self.buffer, self.version) {
                Err(why) => self.fail(&format!(
                    "the broker sent a malformed packet: {why}; {}",
                    hex(&self.buffer)
                )),
                Ok(Some(reply)) => {
                    self.note(format!("  got  {}", short(&reply)));
                    return Arrival::Reply(reply);
                }
                Ok(None) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Arrival::Nothing;
            }
            self.stream
                .set_read_timeout(Some(left))
                .expect("a read timeout can be set");
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return self.ended("closed"),
                Ok(count) => self.buffer.extend(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.ended(&format!("closed ({error})")),
            }
        }
    }

    fn ended(&mut self, how: &str) -> Arrival {
        self.note(format!("  {how} by the broker"));
        if !self.buffer.is_empty() {
            self.fail(&format!(
                "closed in the middle of a packet: {}",
                hex(&self.buffer)
            ));
        }
        Arrival::Closed
    }

    /// The next packet.
    pub fn receive(&mut self) -> Reply {
        match self.arrival(PATIENCE) {
            Arrival::Reply(reply) => reply,
            Arrival::Closed => self.fail("the connection was closed instead of a packet"),
            Arrival::Nothing => self.fail("no packet came"),
        }
    }

    /// The connection must be closed without a further packet.
    pub fn expect_closed(&mut self) {
        match self.arrival(PATIENCE) {
            Arrival::Closed => {}
            Arrival::Reply(reply) => {
                self.fail(&format!("a packet came instead of the end: {}", short(&reply)))
            }
            Arrival::Nothing => self.fail("the connection was not closed"),
        }
    }

    /// The broker must end the connection for this reason: in 5.0 with a DISCONNECT that says so, before without.
    pub fn expect_disconnected(&mut self, reason: u8) {
        if self.version == V5 {
            let notice = self.expect_disconnect();
            if notice.reason != reason {
                self.fail(&format!(
                    "DISCONNECT 0x{:02X} instead of 0x{reason:02X}",
                    notice.reason
                ));
            }
        }
        self.expect_closed();
    }

    /// CONNACK comes next.
    pub fn expect_connack(&mut self) -> ConnAck {
        match self.receive() {
            Reply::ConnAck(connack) => connack,
            _ => self.fail("expected CONNACK"),
        }
    }

    /// A PUBLISH comes next.
    pub fn expect_publish(&mut self) -> Delivered {
        match self.receive() {
            Reply::Publish(delivered) => delivered,
            _ => self.fail("expected PUBLISH"),
        }
    }

    /// A PUBLISH with this topic and payload comes next. It is not acknowledged.
    pub fn expect_message(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Delivered {
        let delivered = self.expect_publish();
        let payload = payload.as_ref();
        if delivered.topic != topic || delivered.payload != payload {
            self.fail(&format!(
                "expected PUBLISH {topic:?} with {:?}",
                String::from_utf8_lossy(payload)
            ));
        }
        delivered
    }

    /// PUBACK with this identifier comes next.
    pub fn expect_puback(&mut self, packet_id: u16) -> Acked {
        match self.receive() {
            Reply::PubAck(acked) if acked.packet_id == packet_id => acked,
            _ => self.fail(&format!("expected PUBACK {packet_id}")),
        }
    }

    /// PUBREC with this identifier comes next.
    pub fn expect_pubrec(&mut self, packet_id: u16) -> Acked {
        match self.receive() {
            Reply::PubRec(acked) if acked.packet_id == packet_id => acked,
            _ => self.fail(&format!("expected PUBREC {packet_id}")),
        }
    }

    /// PUBREL with this identifier comes next.
    pub fn expect_pubrel(&mut self, packet_id: u16) -> Acked {
        match self.receive() {
            Reply::PubRel(acked) if acked.packet_id == packet_id => acked,
            _ => self.fail(&format!("expected PUBREL {packet_id}")),
        }
    }

    /// PUBCOMP with this identifier comes next.
    pub fn expect_pubcomp(&mut self, packet_id: u16) -> Acked {
        match self.receive() {
            Reply::PubComp(acked) if acked.packet_id == packet_id => acked,
            _ => self.fail(&format!("expected PUBCOMP {packet_id}")),
        }
    }

    /// SUBACK with this identifier comes next.
    pub fn expect_suback(&mut self, packet_id: u16) -> Codes {
        match self.receive() {
            Reply::SubAck(codes) if codes.packet_id == packet_id => codes,
            _ => self.fail(&format!("expected SUBACK {packet_id}")),
        }
    }

    /// UNSUBACK with this identifier comes next.
    pub fn expect_unsuback(&mut self, packet_id: u16) -> Codes {
        match self.receive() {
            Reply::UnsubAck(codes) if codes.packet_id == packet_id => codes,
            _ => self.fail(&format!("expected UNSUBACK {packet_id}")),
        }
    }

    /// DISCONNECT comes next.
    pub fn expect_disconnect(&mut self) -> Notified {
        match self.receive() {
            Reply::Disconnect(notified) => notified,
            _ => self.fail("expected DISCONNECT"),
        }
    }

    /// AUTH comes next.
    pub fn expect_auth(&mut self) -> Notified {
        match self.receive() {
            Reply::Auth(notified) => notified,
            _ => self.fail("expected AUTH"),
        }
    }

    // --- whole exchanges

    /// The connection lives, and nothing else was on its way.
    pub fn ping(&mut self) {
        self.send(PINGREQ);
        if self.receive() != Reply::PingResp {
            self.fail("expected PINGRESP and nothing before it");
        }
    }

    /// No message is on its way to this client. A message to itself, sent now, is the next to arrive: the broker has
    /// queued nothing before it. Publishers must have been acknowledged, or have had a ping answered, before.
    pub fn expect_silence(&mut self) {
        let topic = match &self.marker {
            Some(topic) => topic.clone(),
            None => {
                let topic = unique("marker/");
                self.subscribe(&topic, 0);
                self.marker = Some(topic.clone());
                topic
            }
        };
        let payload = unique("quiet");
        self.send(publish(&topic, &payload));
        self.expect_message(&topic, payload);
    }

    /// Subscribes to one filter, which must be granted as asked.
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        let packet_id = self.next_packet_id();
        let codes = self.request_subscription(subscribe(packet_id).filter(filter, options));
        if codes != [options & 3] {
            self.fail(&format!("subscribing to {filter:?} was answered {codes:02X?}"));
        }
    }

    /// Sends a SUBSCRIBE and returns the codes of its SUBACK, which must come next.
    pub fn request_subscription(&mut self, packet: Subscribe) -> Vec<u8> {
        let packet_id = packet.packet_id;
        self.send(packet);
        self.expect_suback(packet_id).codes
    }

    /// Unsubscribes from one filter.
    pub fn unsubscribe(&mut self, filter: &str) -> Codes {
        let packet_id = self.next_packet_id();
        self.send(crate::packet::unsubscribe(packet_id).filter(filter));
        self.expect_unsuback(packet_id)
    }

    /// Publishes and completes the exchange, whatever its QoS; the broker has then routed the message. Returns the
    /// reason of its PUBACK or PUBREC, which must not be a refusal.
    pub fn publish(&mut self, packet: Publish) -> u8 {
        let reason = self.try_publish(packet);
        self.assert(reason < 0x80, "the message was accepted");
        reason
    }

    /// The same, whatever the reason.
    pub fn try_publish(&mut self, mut packet: Publish) -> u8 {
        if packet.qos == 0 {
            self.send(packet);
            self.ping();
            return 0;
        }
        let packet_id = *packet.packet_id.get_or_insert_with(|| self.next_packet_id());
        let qos = packet.qos;
        self.send(packet);
        if qos == 1 {
            return self.expect_puback(packet_id).reason;
        }
        let reason = self.expect_pubrec(packet_id).reason;
        if reason < 0x80 {
            self.release(packet_id);
        }
        reason
    }

    /// Sends PUBREL and expects PUBCOMP.
    pub fn release(&mut self, packet_id: u16) {
        self.send(pubrel(packet_id));
        let reason = self.expect_pubcomp(packet_id).reason;
        self.assert(reason == 0, "PUBCOMP says success");
    }

    /// Receives and acknowledges a message with this topic, payload and QoS.
    pub fn take(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: u8) -> Delivered {
        let delivered = self.expect_message(topic, payload);
        if delivered.qos != qos {
            self.fail(&format!("delivered with QoS {} instead of {qos}", delivered.qos));
        }
        self.acknowledge(&delivered);
        delivered
    }

    /// Completes the exchange of a received message.
    pub fn acknowledge(&mut self, delivered: &Delivered) {
        match delivered.qos {
            0 => {}
            1 => self.send(puback(delivered.packet_id)),
            _ => {
                self.send(pubrec(delivered.packet_id));
                self.expect_pubrel(delivered.packet_id);
                self.send(pubcomp(delivered.packet_id));
            }
        }
    }

    /// Acknowledges with a chosen packet, then makes sure that it was taken.
    pub fn answer(&mut self, ack: Ack) {
        self.send(ack);
        self.ping();
    }
}

/// Bytes for people: hexadecimal, cut when long.
fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let mut text: Vec<String> = bytes
        .iter()
        .take(SHOWN)
        .map(|byte| format!("{byte:02X}"))
        .collect();
    if bytes.len() > SHOWN {
        text.push(format!("... ({} bytes)", bytes.len()));
    }
    text.join(" ")
}

/// A packet for people: cut when long, so that a large payload does not drown the rest.
fn short(reply: &Reply) -> String {
    const SHOWN: usize = 400;
    let text = match reply {
        Reply::Publish(delivered) if delivered.payload.len() > SHOWN => {
            let first = delivered.payload.iter().take(8).copied().collect();
            format!(
                "{:?}, {} bytes",
                Reply::Publish(Delivered {
                    payload: first,
                    ..delivered.clone()
                }),
                delivered.payload.len()
            )
        }
        _ => format!("{reply:?}"),
    };
    text.chars().take(SHOWN * 2).collect()
}
