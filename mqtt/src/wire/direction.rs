//! What only servers send. The codec decodes both directions; a server asks here before it believes a client.

use super::error::Violation;
use super::{property, reasons};
use crate::packet::{Packet, PacketType};
use crate::reason::ReasonCode;

/// Checks that a packet is one that clients send, with properties and a reason code that clients send.
///
/// # Errors
/// [`Violation::ServerPacket`], [`Violation::ServerProperty`] and [`Violation::ServerReasonCode`].
pub fn check_from_client(packet: &Packet) -> Result<(), Violation> {
    let packet_type = packet.packet_type();
    match packet {
        Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
            Err(Violation::ServerPacket(packet_type))
        }
        // [MQTT-3.3.4-6]
        Packet::Publish(publish) if !publish.properties.subscription_ids.is_empty() => {
            Err(Violation::ServerProperty(packet_type, property::SUBSCRIPTION_ID))
        }
        Packet::Disconnect(disconnect) if disconnect.server_reference.is_some() => {
            Err(Violation::ServerProperty(packet_type, property::SERVER_REFERENCE))
        }
        Packet::Disconnect(disconnect) => check_reason(packet_type, disconnect.reason),
        Packet::Auth(auth) => check_reason(packet_type, auth.reason),
        Packet::PubAck(ack) | Packet::PubRec(ack) => check_reason(packet_type, ack.reason),
        _ => Ok(()),
    }
}

fn check_reason(packet: PacketType, reason: ReasonCode) -> Result<(), Violation> {
    if reasons::from_client(packet, reason.code()) {
        Ok(())
    } else {
        Err(Violation::ServerReasonCode(packet, reason.code()))
    }
}
