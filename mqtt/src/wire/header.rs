//! The fixed header (section 2.1): judged before a byte of the body is looked at or waited for.

use super::error::{Malformed, Violation, WireError};
use super::primitive::varint;
use crate::limits::ACK_BYTES_MAX;
use crate::packet::{PacketType, Version};

/// The fixed header of a packet that is within every limit.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) packet_type: PacketType,
    /// The low four bits of the first byte; only PUBLISH has free ones.
    pub(crate) flags: u8,
    /// Bytes of the fixed header.
    pub(crate) header_bytes: usize,
    /// Bytes of the whole packet.
    pub(crate) packet_bytes: usize,
}

/// Reads the fixed header at the start of `input`; `None` while it is incomplete.
pub(crate) fn peek(
    input: &[u8],
    version: Version,
    packet_bytes_max: u32,
) -> Result<Option<Header>, WireError> {
    let Some((&first, rest)) = input.split_first() else {
        return Ok(None);
    };
    let packet_type = packet_type(first, version)?;
    let (remaining, len_bytes) = match varint(rest) {
        Ok(Some(len)) => len,
        Ok(None) => return Ok(None),
        Err(Malformed::VarintTooLong) => return Err(Malformed::RemainingLength.into()),
        Err(other) => return Err(other.into()),
    };
    let header_bytes = 1 + len_bytes;
    let remaining = usize::try_from(remaining).map_err(|_| Violation::PacketTooLarge)?;
    let packet_bytes = header_bytes + remaining;
    if body_bytes_exact(packet_type, version).is_some_and(|exact| remaining > exact) {
        return Err(Malformed::BodyTooLong(packet_type).into());
    }
    let cap = match packet_type {
        PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubRel
        | PacketType::PubComp
        | PacketType::Disconnect => packet_bytes_max.min(ACK_BYTES_MAX),
        _ => packet_bytes_max,
    };
    if u32::try_from(packet_bytes).map_or(true, |bytes| bytes > cap) {
        return Err(Violation::PacketTooLarge.into());
    }
    Ok(Some(Header {
        packet_type,
        flags: first & 0x0F,
        header_bytes,
        packet_bytes,
    }))
}

/// Checks the first byte: the type exists in this version and its reserved flags are as listed.
fn packet_type(first: u8, version: Version) -> Result<PacketType, Malformed> {
    let packet_type = match PacketType::new(first >> 4) {
        Some(PacketType::Auth) if version < Version::V5 => None,
        other => other,
    };
    let packet_type = packet_type.ok_or(Malformed::PacketType(first >> 4))?;
    let flags = first & 0x0F;
    let expected = match packet_type {
        PacketType::Publish => return Ok(packet_type),
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        _ => 0,
    };
    // In 3.1 these three have QoS 1, and a client that sends one again sets DUP.
    let dup_of_31 = version == Version::V31 && expected != 0 && flags == 0b1010;
    if flags == expected || dup_of_31 {
        Ok(packet_type)
    } else {
        // [MQTT-2.1.3-1]
        Err(Malformed::FixedHeaderFlags(first))
    }
}

/// The Remaining Length of packets that have only one.
fn body_bytes_exact(packet_type: PacketType, version: Version) -> Option<usize> {
    match packet_type {
        PacketType::PingReq | PacketType::PingResp => Some(0),
        _ if version == Version::V5 => None,
        PacketType::Disconnect => Some(0),
        PacketType::ConnAck
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubRel
        | PacketType::PubComp
        | PacketType::UnsubAck => Some(2),
        _ => None,
    }
}
