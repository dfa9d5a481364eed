//! What the server sends: acknowledgements and deliveries.

use super::Connection;
use super::alias::Naming;
use super::received::{Receipt, Received, Refused, Slot, Witness};
use super::refusal::{self, listed};
use crate::message::Message;
use crate::packet::{Ack, Packet, PacketId, PacketType, QoS, SubAck, UnsubAck, Version};
use crate::reason::ReasonCode;
use crate::session::{Delivery, Outgoing};
use crate::text::Text;
use crate::wire::{self, PublishHead};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// References to the witness that are kept for the PUBLISHes to come: as many as wait for their verdicts together.
const WITNESSES_MAX: usize = 64;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivered {
    /// It is in the output.
    Sent,
    /// It cannot be sent to this client: it is above its Maximum Packet Size (or, a fault of the caller, its topic
    /// is outside the mount point). It counts as delivered [MQTT-3.1.2-25].
    TooLarge,
}

impl Connection {
    /// Acknowledges a PUBLISH that was routed or discarded.
    pub fn acknowledge(&mut self, receipt: Receipt) {
        let reason = match self.hello.version {
            Version::V5 => receipt.reason,
            Version::V31 | Version::V311 => ReasonCode::SUCCESS,
        };
        self.answer(receipt.slot, reason, None);
    }

    /// Answers a PUBLISH that was refused, in the way of `conn::refusal`. Its packet identifier is free: the
    /// session has to forget it.
    pub fn refuse_publish(&mut self, refused: Refused) {
        let reason = refusal::publish(self.hello.version, refused.reason);
        self.answer(refused.slot, reason, refused.reason_string);
    }

    /// Whether a PUBLISH of QoS 1 or 2 can be refused without being acknowledged; before 5.0 it cannot.
    #[must_use]
    pub fn can_refuse_publish(&self) -> bool {
        self.hello.version == Version::V5
    }

    /// Acknowledges a QoS 2 PUBLISH that the session has already [MQTT-4.3.3-10].
    pub fn acknowledge_duplicate(&mut self, received: Received) {
        self.acknowledge(received.discard());
    }

    fn answer(&mut self, slot: Slot, reason: ReasonCode, reason_string: Option<Box<Text>>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.keep(slot.witness);
        let Some(packet_id) = slot.packet_id else { return };
        self.inbound.answer(packet_id, slot.number, reason, reason_string);
        while let Some(answer) = self.inbound.next_answer() {
            let packet = if answer.qos == QoS::AtLeastOnce {
                PacketType::PubAck
            } else {
                PacketType::PubRec
            };
            self.send_ack(packet, answer.packet_id, answer.reason, answer.reason_string);
        }
    }

    #[inline]
    fn keep(&mut self, witness: Option<Witness>) {
        let own = witness.filter(|witness| Arc::ptr_eq(witness, &self.unjudged));
        if self.witness.is_none() {
            self.witness = own;
        } else if let Some(witness) = own
            && self.witnesses.len() < WITNESSES_MAX
        {
            self.witnesses.reserve_exact(WITNESSES_MAX - self.witnesses.len());
            self.witnesses.push(witness);
        }
    }

    /// Gives back the room that only many PUBLISHes at once need: for when those that came together are answered.
    #[inline]
    pub fn rest(&mut self) {
        if self.witnesses.capacity() > 0 {
            self.witnesses = Vec::new();
        }
    }

    /// Releases a QoS 2 message that the client received.
    pub fn pubrel(&mut self, packet_id: PacketId, reason: ReasonCode) {
        self.send_ack(PacketType::PubRel, packet_id, reason, None);
    }

    /// Completes a QoS 2 message of the client; 0x92 if it was not known.
    pub fn pubcomp(&mut self, packet_id: PacketId, reason: ReasonCode) {
        self.inbound.completed(packet_id);
        self.send_ack(PacketType::PubComp, packet_id, reason, None);
    }

    fn send_ack(
        &mut self,
        packet: PacketType,
        packet_id: PacketId,
        reason: ReasonCode,
        reason_string: Option<Box<Text>>,
    ) {
        if !self.is_established() {
            return;
        }
        // Nearly all say no more than which.
        let bare = reason_string.is_none() && reason == ReasonCode::SUCCESS;
        if bare && self.hello.packet_bytes_max >= wire::BARE_ACK_BYTES {
            return wire::encode_bare_ack(packet, packet_id, &mut self.output);
        }
        let ack = Ack {
            reason_string: reason_string.map(|text| *text),
            ..Ack::new(packet_id, reason)
        };
        self.send(match packet {
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        });
    }

    /// Answers SUBSCRIBE. The connection ends if the answer is above the client's Maximum Packet Size.
    pub fn suback(&mut self, mut suback: SubAck) {
        for reason in &mut suback.reasons {
            *reason = listed(PacketType::SubAck, *reason);
        }
        self.send(Packet::SubAck(suback));
    }

    /// Answers UNSUBSCRIBE. The connection ends if the answer is above the client's Maximum Packet Size.
    pub fn unsuback(&mut self, mut unsuback: UnsubAck) {
        for reason in &mut unsuback.reasons {
            *reason = listed(PacketType::UnsubAck, *reason);
        }
        self.send(Packet::UnsubAck(unsuback));
    }

    /// Nothing is sent once the connection has ended [MQTT-3.14.4-1]. An answer that may not be sent [MQTT-3.1.2-24] is
    /// one the client would wait for in vain.
    fn send(&mut self, packet: Packet) {
        if self.is_established() && !self.write(packet) {
            self.disconnect(ReasonCode::PACKET_TOO_LARGE, None, None);
        }
    }

    /// Writes what the session has to send. The first `mount_bytes` of the topic are not the client's to see.
    ///
    /// On a closed connection nothing is written: what was in flight is sent again on the next one.
    pub fn deliver(&mut self, outgoing: &Outgoing<'_>, mount_bytes: usize, now: Instant) -> Delivered {
        if !self.is_established() {
            return Delivered::Sent;
        }
        match outgoing {
            Outgoing::PubRel(packet_id) => {
                self.pubrel(*packet_id, ReasonCode::SUCCESS);
                Delivered::Sent
            }
            Outgoing::Publish {
                delivery,
                packet_id,
                dup,
            } => {
                let Some(topic) = delivery
                    .message
                    .topic_bytes()
                    .get(mount_bytes..)
                    .filter(|topic| !topic.is_empty())
                else {
                    debug_assert!(false, "the topic lies outside the mount point");
                    return Delivered::TooLarge;
                };
                let head = PublishHead {
                    dup: *dup,
                    qos: delivery.qos,
                    retain: delivery.retain,
                    packet_id: *packet_id,
                    topic,
                    alias: None,
                    expiry_seconds: None,
                    subscription_ids: &[],
                    forwarded: &[],
                };
                match self.hello.version {
                    Version::V5 => self.deliver_v5(head, delivery, now),
                    Version::V31 | Version::V311 => {
                        self.write_publish(&head, &delivery.message);
                        Delivered::Sent
                    }
                }
            }
        }
    }

    fn deliver_v5<'a>(
        &mut self,
        mut head: PublishHead<'a>,
        delivery: &'a Delivery,
        now: Instant,
    ) -> Delivered {
        let message = &delivery.message;
        head.expiry_seconds = message.expires_at().map(|at| remaining_seconds(at, now)); // [MQTT-3.3.2-6]
        head.subscription_ids = delivery.subscription_ids.as_slice();
        head.forwarded = message.forwarded();
        let topic = head.topic;
        let naming = self.aliases.name(topic);
        match naming {
            Naming::Topic => {}
            Naming::Introduce(alias) => head.alias = Some(alias),
            Naming::Alias(alias) => {
                head.alias = Some(alias);
                head.topic = &[];
            }
        }
        if !self.fits(&head, message) {
            let Naming::Introduce(_) = naming else {
                return Delivered::TooLarge;
            };
            head.alias = None;
            if !self.fits(&head, message) {
                return Delivered::TooLarge;
            }
        } else if let Naming::Introduce(alias) = naming {
            self.aliases.learn(alias, topic);
        }
        self.write_publish(&head, message);
        Delivered::Sent
    }

    fn fits(&self, head: &PublishHead<'_>, message: &Message) -> bool {
        let bytes = wire::publish_bytes(head, message.payload().len(), self.hello.version);
        bytes <= self.hello.packet_bytes_max as usize // [MQTT-3.1.2-24]
    }

    fn write_publish(&mut self, head: &PublishHead<'_>, message: &Message) {
        let version = self.hello.version;
        match message.large_payload() {
            Some(payload) => wire::encode_publish(head, payload, version, &mut self.output),
            None => wire::encode_publish_copied(head, message.payload(), version, &mut self.output),
        }
    }
}

/// Whole seconds left, so rounded that a message that was not delayed keeps its expiry.
fn remaining_seconds(expires_at: Instant, now: Instant) -> u32 {
    let remaining = expires_at.saturating_duration_since(now);
    let seconds = remaining.as_secs() + u64::from(remaining > Duration::from_secs(remaining.as_secs()));
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
