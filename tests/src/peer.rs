//! One end of a conversation with the broker, over any transport.

use crate::PATIENCE;
use crate::packet::{
    Ack, Connect, Encode, PINGREQ, Publish, Subscribe, V5, Version, puback, pubcomp, publish, pubrec, pubrel,
    subscribe,
};
use crate::property::Property;
use crate::reply::{Acked, Codes, ConnAck, Delivered, Notified, Reply};
use crate::transport::Transport;
use crate::unique;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// A raw MQTT client. What it sends is up to the test; what it receives is checked strictly.
pub struct Peer {
    stream: Transport,
    version: Version,
    buffer: Vec<u8>,
    transcript: Vec<String>,
    /// Messages that came while something else was expected of the broker; see [`Peer::acknowledge`].
    set_aside: VecDeque<Reply>,
    last_packet_id: u16,
    packet_bytes_max: usize,
    problem_information: bool,
    last_bytes: usize,
}

/// What came from the broker.
enum Arrival {
    Reply(Reply),
    Closed,
    Nothing,
}

impl Peer {
    /// Opens a TCP connection and sends nothing.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn open(address: SocketAddr, version: Version) -> Self {
        Self::over(Transport::plain(address), version)
    }

    /// Takes a connection that is open.
    #[must_use]
    pub fn over(stream: Transport, version: Version) -> Self {
        Self {
            stream,
            version,
            buffer: Vec::new(),
            transcript: Vec::new(),
            set_aside: VecDeque::new(),
            last_packet_id: 0,
            packet_bytes_max: usize::MAX,
            problem_information: true,
            last_bytes: 0,
        }
    }

    /// What its bytes travel through.
    pub fn transport(&mut self) -> &mut Transport {
        &mut self.stream
    }

    /// From now on the broker must keep to what this CONNECT asks of it: [MQTT-3.1.2-24] and [MQTT-3.1.2-29].
    pub fn insist_on(&mut self, connect: &Connect) {
        for property in &connect.properties {
            match property {
                Property::MaximumPacketSize(bytes) => self.packet_bytes_max = *bytes as usize,
                Property::RequestProblemInformation(0) => self.problem_information = false,
                _ => {}
            }
        }
    }

    /// Bytes of the last packet received, fixed header included.
    #[must_use]
    pub fn last_bytes(&self) -> usize {
        self.last_bytes
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
        let _ = self.stream.socket().shutdown(Shutdown::Write);
    }

    // --- receiving

    fn arrival(&mut self, patience: Duration) -> Arrival {
        match self.set_aside.pop_front() {
            Some(reply) => Arrival::Reply(reply),
            None => self.next_from_broker(patience),
        }
    }

    fn next_from_broker(&mut self, patience: Duration) -> Arrival {
        let deadline = Instant::now() + patience;
        loop {
            let buffered = self.buffer.len();
            match Reply::decode(&mut self.buffer, self.version) {
                Err(why) => self.fail(&format!(
                    "the broker sent a malformed packet: {why}; {}",
                    hex(&self.buffer)
                )),
                Ok(Some(reply)) => {
                    self.note(format!("  got  {}", short(&reply)));
                    self.last_bytes = buffered - self.buffer.len();
                    self.assert(
                        self.last_bytes <= self.packet_bytes_max,
                        "the packet is as small as asked for",
                    );
                    self.assert(
                        self.problem_information || !reply.explains(),
                        "no explanations, as asked for",
                    );
                    return Arrival::Reply(reply);
                }
                Ok(None) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Arrival::Nothing;
            }
            self.stream.set_read_timeout(left);
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

    /// The next packet, if one comes within so long.
    pub fn receive_within(&mut self, patience: Duration) -> Option<Reply> {
        match self.arrival(patience) {
            Arrival::Reply(reply) => Some(reply),
            Arrival::Closed => self.fail("the connection was closed"),
            Arrival::Nothing => None,
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

    /// Reads until the broker has closed the connection, whatever comes before that.
    pub fn skip_to_end(&mut self) {
        loop {
            match self.arrival(PATIENCE) {
                Arrival::Closed => return,
                Arrival::Reply(_) => {}
                Arrival::Nothing => self.fail("the connection was not closed"),
            }
        }
    }

    /// Whether the broker has closed the connection by now; a DISCONNECT before that is skipped.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.arrival(Duration::from_millis(1)) {
                Arrival::Closed => return true,
                Arrival::Nothing => return false,
                Arrival::Reply(Reply::Disconnect(_)) => {}
                Arrival::Reply(_) => self.fail("expected the end of the connection"),
            }
        }
    }

    /// The broker must end the connection for one of these reasons: in 5.0 with a DISCONNECT that says so, before
    /// that without a word.
    pub fn expect_disconnected(&mut self, reasons: &[u8]) {
        if self.version == V5 {
            let notice = self.expect_disconnect();
            if !reasons.contains(&notice.reason) {
                self.fail(&format!(
                    "DISCONNECT 0x{:02X} instead of one of {reasons:02X?}",
                    notice.reason
                ));
            }
        }
        self.expect_closed();
    }

    /// The broker must refuse what came instead of a proper CONNECT: by closing, or in 5.0 after a CONNACK with one of
    /// these reasons.
    pub fn expect_not_admitted(&mut self, reasons: &[u8]) {
        match self.arrival(PATIENCE) {
            Arrival::Closed => {}
            Arrival::Reply(Reply::ConnAck(connack))
                if self.version == V5 && reasons.contains(&connack.code) =>
            {
                self.expect_closed();
            }
            Arrival::Reply(_) => self.fail(&format!("neither closed nor refused with one of {reasons:02X?}")),
            Arrival::Nothing => self.fail("the connection was not closed"),
        }
    }

    /// Whether a CONNECT is answered by a CONNACK that admits; otherwise the connection must be closed.
    pub fn is_admitted(&mut self) -> bool {
        match self.arrival(PATIENCE) {
            Arrival::Reply(Reply::ConnAck(connack)) if connack.code == 0 => true,
            Arrival::Reply(Reply::ConnAck(_)) => {
                self.expect_closed();
                false
            }
            Arrival::Closed => false,
            Arrival::Reply(_) => self.fail("expected CONNACK or the end"),
            Arrival::Nothing => self.fail("the CONNECT is not answered"),
        }
    }

    /// PINGRESP comes next.
    pub fn expect_pingresp(&mut self) {
        if self.receive() != Reply::PingResp {
            self.fail("expected PINGRESP");
        }
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

    /// The messages that are on their way to this client, unacknowledged. A message to itself, sent now, marks the end:
    /// the broker has queued nothing before it. Publishers must have been acknowledged, or have had a ping answered.
    pub fn drain(&mut self) -> Vec<Delivered> {
        let end = unique("marker/");
        let packet_id = self.next_packet_id();
        self.send(subscribe(packet_id).filter(&end, 0));
        self.send(publish(&end, ""));
        let mut drained = Vec::new();
        loop {
            match self.receive() {
                Reply::SubAck(codes) if codes.packet_id == packet_id && codes.codes == [0] => {}
                Reply::Publish(delivered) if delivered.topic == end => return drained,
                Reply::Publish(delivered) => drained.push(delivered),
                _ => self.fail("expected messages only"),
            }
        }
    }

    /// No message is on its way to this client; see [`Peer::drain`].
    pub fn expect_silence(&mut self) {
        if !self.drain().is_empty() {
            self.fail("messages came that should not");
        }
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

    /// Completes the exchange of a received message. Other messages may come before a PUBREL; they wait their turn.
    pub fn acknowledge(&mut self, delivered: &Delivered) {
        match delivered.qos {
            0 => {}
            1 => self.send(puback(delivered.packet_id)),
            _ => {
                self.send(pubrec(delivered.packet_id));
                self.await_pubrel(delivered.packet_id);
                self.send(pubcomp(delivered.packet_id));
            }
        }
    }

    fn await_pubrel(&mut self, packet_id: u16) {
        let mut waiting = std::mem::take(&mut self.set_aside);
        loop {
            match self.receive() {
                Reply::PubRel(acked) if acked.packet_id == packet_id => break,
                reply @ Reply::Publish(_) => waiting.push_back(reply),
                _ => self.fail(&format!("expected PUBREL {packet_id}")),
            }
        }
        self.set_aside = waiting;
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
