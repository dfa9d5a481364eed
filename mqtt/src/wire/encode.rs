//! Packets to bytes.

use super::output::Output;
use super::primitive::{Counter, Sink, varint_bytes};
use super::publish::{PublishHead, encode_publish};
use super::{ack, auth, connack, connect, disconnect, subscribe, unsubscribe};
use crate::packet::{Packet, PacketId, PacketType, Publish, UserProperties, Version};
use crate::text::Text;

/// Appends `packet` as this version has it; a CONNECT names its own.
///
/// Parts that the version lacks are left out, as are values that the specification forbids to send (a subscription
/// identifier 0, a maximum packet size 0, session present on a refusal). Binary data is cut at 65,535 bytes. Nothing
/// is written for a packet above [`crate::limits::PACKET_BYTES_MAX`], and for AUTH before 5.0.
pub fn encode(packet: &Packet, version: Version, out: &mut Output) {
    encode_up_to(packet, version, usize::MAX, out);
}

/// Appends `packet` unless it would exceed the receiver's Maximum Packet Size; false when it does so even bare.
///
/// Before giving up drops the reason string, then the user properties [MQTT-3.2.2-19], [MQTT-3.4.2-2] and their
/// like. Without `problem_information` drops both from all but PUBLISH, CONNACK and DISCONNECT [MQTT-3.1.2-29].
pub fn encode_within(
    mut packet: Packet,
    version: Version,
    bytes_max: u32,
    problem_information: bool,
    out: &mut Output,
) -> bool {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if !problem_information
        && !matches!(packet, Packet::ConnAck(_) | Packet::Disconnect(_))
        && let Some((reason_string, user_properties)) = optional_parts(&mut packet)
    {
        *reason_string = None;
        user_properties.clear();
    }
    if encode_up_to(&packet, version, bytes_max, out) {
        return true;
    }
    if let Some((reason_string, _)) = optional_parts(&mut packet)
        && reason_string.take().is_some()
        && encode_up_to(&packet, version, bytes_max, out)
    {
        return true;
    }
    match optional_parts(&mut packet) {
        Some((_, user_properties)) if !user_properties.is_empty() => {
            user_properties.clear();
            encode_up_to(&packet, version, bytes_max, out)
        }
        _ => false,
    }
}

/// Bytes of an acknowledgement that says success and nothing else: the same in all versions.
pub(crate) const BARE_ACK_BYTES: u32 = 4;

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP that says success and nothing else.
pub(crate) fn encode_bare_ack(packet: PacketType, packet_id: PacketId, out: &mut Output) {
    let [high, low] = packet_id.get().to_be_bytes();
    out.put_slice(&[first_byte(packet), 2, high, low]);
}

/// What may be left out of an answer to make it fit.
fn optional_parts(packet: &mut Packet) -> Option<(&mut Option<Text>, &mut UserProperties)> {
    match packet {
        Packet::ConnAck(connack) => Some((&mut connack.reason_string, &mut connack.user_properties)),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            Some((&mut ack.reason_string, &mut ack.user_properties))
        }
        Packet::SubAck(suback) => Some((&mut suback.reason_string, &mut suback.user_properties)),
        Packet::UnsubAck(unsuback) => Some((&mut unsuback.reason_string, &mut unsuback.user_properties)),
        Packet::Disconnect(disconnect) => {
            Some((&mut disconnect.reason_string, &mut disconnect.user_properties))
        }
        Packet::Auth(auth) => Some((&mut auth.reason_string, &mut auth.user_properties)),
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::PingResp => None,
    }
}

/// Appends the packet if it has at most `bytes_max` bytes, else nothing.
fn encode_up_to(packet: &Packet, version: Version, bytes_max: usize, out: &mut Output) -> bool {
    if let Packet::Publish(publish) = packet {
        let head = head(publish);
        let fits = super::publish_bytes(&head, publish.payload.len(), version) <= bytes_max;
        if fits {
            encode_publish(&head, &publish.payload, version, out);
        }
        return fits;
    }
    if version < Version::V5 && matches!(packet, Packet::Auth(_)) {
        return false;
    }
    let mut counter = Counter::default();
    put_body(packet, version, &mut counter);
    let Some(len_bytes) = varint_bytes(counter.0) else {
        return false;
    };
    let packet_bytes = 1 + len_bytes + counter.0;
    if packet_bytes > bytes_max {
        return false;
    }
    let tail = out.tail();
    tail.reserve(packet_bytes);
    tail.put_u8(first_byte(packet.packet_type()));
    tail.put_varint(u32::try_from(counter.0).unwrap_or(u32::MAX));
    put_body(packet, version, tail);
    true
}

fn head(publish: &Publish) -> PublishHead<'_> {
    PublishHead {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        packet_id: publish.packet_id,
        topic: publish.topic.as_deref().unwrap_or_default().as_bytes(),
        alias: publish.properties.topic_alias,
        expiry_seconds: publish.properties.message_expiry_seconds,
        subscription_ids: &publish.properties.subscription_ids,
        forwarded: &publish.properties.forwarded,
    }
}

fn first_byte(packet: PacketType) -> u8 {
    let flags = match packet {
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        _ => 0,
    };
    (packet as u8) << 4 | flags
}

fn put_body<S: Sink>(packet: &Packet, version: Version, sink: &mut S) {
    match packet {
        Packet::Connect(connect) => connect::put(connect, sink),
        Packet::ConnAck(connack) => connack::put(connack, version, sink),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack::put(ack, version, sink);
        }
        Packet::Subscribe(subscribe) => subscribe::put(subscribe, version, sink),
        Packet::SubAck(suback) => subscribe::put_suback(suback, version, sink),
        Packet::Unsubscribe(unsubscribe) => unsubscribe::put(unsubscribe, version, sink),
        Packet::UnsubAck(unsuback) => unsubscribe::put_unsuback(unsuback, version, sink),
        Packet::Disconnect(disconnect) => disconnect::put(disconnect, version, sink),
        Packet::Auth(auth) => auth::put(auth, sink),
        // A PUBLISH goes through `encode_publish`; the pings have no body.
        Packet::Publish(_) | Packet::PingReq | Packet::PingResp => {}
    }
}
