//! Which packet may carry which reason code (the tables of sections 3.2 to 3.15), and the return codes of 3.x.

use super::error::Violation;
use crate::packet::{PacketType, Version};
use crate::reason::ReasonCode;

/// The reason code of a byte in a packet of this version.
pub(crate) fn take(packet: PacketType, version: Version, code: u8) -> Result<ReasonCode, Violation> {
    let unlisted = Violation::ReasonCode(packet, code);
    match (version, packet) {
        (Version::V5, _) => ReasonCode::new(code)
            .filter(|_| lists(packet, code))
            .ok_or(unlisted),
        (_, PacketType::ConnAck) => connack_v3(code).ok_or(unlisted),
        _ => match code {
            // [MQTT-3.9.3-2] of 3.1.1
            0..=2 | 0x80 => ReasonCode::new(code).ok_or(unlisted),
            _ => Err(unlisted),
        },
    }
}

/// Section 3.2.2.3 of 3.1.1.
fn connack_v3(code: u8) -> Option<ReasonCode> {
    Some(match code {
        0 => ReasonCode::SUCCESS,
        1 => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        2 => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        3 => ReasonCode::SERVER_UNAVAILABLE,
        4 => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        5 => ReasonCode::NOT_AUTHORIZED,
        _ => return None,
    })
}

/// Whether 5.0 lists the code for this packet, in either direction.
pub(crate) fn lists(packet: PacketType, code: u8) -> bool {
    match packet {
        // [MQTT-3.2.2-8]
        PacketType::ConnAck => matches!(
            code,
            0 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
        ),
        // [MQTT-3.4.2-1], [MQTT-3.5.2-1]
        PacketType::PubAck | PacketType::PubRec => {
            matches!(code, 0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        // [MQTT-3.6.2-1], [MQTT-3.7.2-1]
        PacketType::PubRel | PacketType::PubComp => matches!(code, 0 | 0x92),
        // [MQTT-3.9.3-2]
        PacketType::SubAck => matches!(
            code,
            0..=2 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
        ),
        // [MQTT-3.11.3-2]
        PacketType::UnsubAck => matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
        // [MQTT-3.14.2-1]
        PacketType::Disconnect => matches!(
            code,
            0 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2
        ),
        // [MQTT-3.15.2-1]
        PacketType::Auth => matches!(code, 0 | 0x18 | 0x19),
        _ => false,
    }
}

/// Whether a client may send it in this packet, given that it is listed there.
pub(crate) fn from_client(packet: PacketType, code: u8) -> bool {
    match packet {
        PacketType::Disconnect => {
            matches!(code, 0 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
        }
        // Section 3.15.2.1: only the server says success.
        PacketType::Auth => code != 0,
        // Section 3.4.2.1: only a server knows whether there are subscribers.
        PacketType::PubAck | PacketType::PubRec => code != 0x10,
        _ => true,
    }
}
