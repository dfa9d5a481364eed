//! Bytes to packets and back, for all three versions.
//!
//! [`decode`] takes exactly one packet off the front of a buffer, or nothing. Every rule that one packet can break is
//! checked here, so what comes out is valid by construction; rules that need the connection's state are `conn`'s.

mod ack;
mod auth;
mod connack;
mod connect;
mod direction;
mod disconnect;
mod encode;
mod error;
mod forwarded;
mod header;
mod incoming;
mod output;
mod primitive;
pub mod property;
mod publish;
pub(crate) mod reasons;
mod subscribe;
mod unsubscribe;
mod user;

pub use direction::check_from_client;
pub(crate) use encode::{BARE_ACK_BYTES, encode_bare_ack};
pub use encode::{encode, encode_within};
pub use error::{ConnectAnswer, ConnectError, Malformed, Violation, WireError};
pub(crate) use header::Header;
pub(crate) use incoming::{Incoming, Layout};
pub use output::Output;
pub use publish::{PublishHead, encode_publish, encode_publish_copied, publish_bytes};

use crate::limits::PACKET_BYTES_MAX_DEFAULT;
use crate::packet::{Connect, Packet, PacketType, Version};
use bytes::{Bytes, BytesMut};
use primitive::Cursor;

/// Limits in force for the next packet; they may change from one call to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of a whole packet, fixed header included. A larger one is refused as soon as its fixed header is there.
    pub packet_bytes_max: u32,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            packet_bytes_max: PACKET_BYTES_MAX_DEFAULT,
        }
    }
}

/// Takes one packet off `input`. `None`: more bytes are needed, and nothing was taken.
///
/// The packet's strings and payload are slices of the buffer. A PUBLISH without subscription identifiers is decoded
/// without allocating. Packets of either direction are decoded: see [`check_from_client`].
///
/// # Errors
/// The first rule that is broken. The input is then no longer in step and must be thrown away.
pub fn decode(
    input: &mut BytesMut,
    version: Version,
    limits: &DecodeLimits,
) -> Result<Option<Packet>, WireError> {
    let Some(header) = peek(input, version, limits)? else {
        return Ok(None);
    };
    take(input, header, version).map(Some)
}

/// The fixed header of the packet at the front of `input`, once all of the packet is there.
#[inline]
pub(crate) fn peek(
    input: &BytesMut,
    version: Version,
    limits: &DecodeLimits,
) -> Result<Option<Header>, WireError> {
    let header = header::peek(input, version, limits.packet_bytes_max)?;
    Ok(header.filter(|header| header.packet_bytes <= input.len()))
}

/// Takes the packet that [`peek`] found off `input`.
#[inline]
pub(crate) fn take(input: &mut BytesMut, header: Header, version: Version) -> Result<Packet, WireError> {
    decode_frame(header, take_frame(input, header), version)
}

/// Takes the first packet of a connection off `input`: CONNECT, of any version. `None`: more bytes are needed.
///
/// # Errors
/// The first rule that is broken and what to tell the client before closing.
pub fn decode_connect(
    input: &mut BytesMut,
    limits: &DecodeLimits,
) -> Result<Option<Box<Connect>>, ConnectError> {
    if input.first().is_some_and(|first| first >> 4 != 1) {
        return Err(ConnectError {
            cause: Violation::FirstPacketNotConnect.into(),
            answer: ConnectAnswer::Close,
        });
    }
    // No version has flags or an exact length for CONNECT, so any will do here.
    let header = match header::peek(input, Version::V5, limits.packet_bytes_max) {
        Ok(Some(header)) => header,
        Ok(None) => return Ok(None),
        Err(cause) => {
            let version = connect::announced_version(input);
            return Err(connect::refusal(cause, version));
        }
    };
    if input.len() < header.packet_bytes {
        return Ok(None);
    }
    connect::decode(&take_frame(input, header)).map(|connect| Some(Box::new(connect)))
}

/// The body of the packet, all of which is there.
#[inline]
pub(crate) fn take_frame(input: &mut BytesMut, header: Header) -> Bytes {
    let mut frame = input.split_to(header.packet_bytes).freeze();
    bytes::Buf::advance(&mut frame, header.header_bytes);
    frame
}

fn decode_frame(header: Header, frame: Bytes, version: Version) -> Result<Packet, WireError> {
    let packet_type = header.packet_type;
    Ok(match packet_type {
        PacketType::Publish => Packet::Publish(publish::decode(header.flags, frame, version)?),
        PacketType::PubAck => Packet::PubAck(ack::decode(&frame, packet_type, version)?),
        PacketType::PubRec => Packet::PubRec(ack::decode(&frame, packet_type, version)?),
        PacketType::PubRel => Packet::PubRel(ack::decode(&frame, packet_type, version)?),
        PacketType::PubComp => Packet::PubComp(ack::decode(&frame, packet_type, version)?),
        PacketType::PingReq => empty(&frame, Packet::PingReq)?,
        PacketType::PingResp => empty(&frame, Packet::PingResp)?,
        PacketType::Subscribe => Packet::Subscribe(subscribe::decode(&frame, version)?),
        PacketType::SubAck => Packet::SubAck(subscribe::decode_suback(&frame, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe::decode(&frame, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(unsubscribe::decode_unsuback(&frame, version)?),
        PacketType::Disconnect => Packet::Disconnect(disconnect::decode(&frame, version)?),
        PacketType::Auth => Packet::Auth(auth::decode(&frame)?),
        PacketType::ConnAck => Packet::ConnAck(Box::new(connack::decode(&frame, version)?)),
        PacketType::Connect => {
            Packet::Connect(Box::new(connect::decode(&frame).map_err(|error| error.cause)?))
        }
    })
}

fn empty(frame: &Bytes, packet: Packet) -> Result<Packet, WireError> {
    Cursor::new(frame).end()?;
    Ok(packet)
}
