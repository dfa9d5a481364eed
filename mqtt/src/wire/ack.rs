//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7).

use super::error::WireError;
use super::primitive::{Cursor, Sink};
use super::property::{self, Carrier, Properties, Property};
use super::{reasons, user};
use crate::packet::{Ack, PacketType, Version};
use crate::reason::ReasonCode;
use crate::text::Text;
use bytes::Bytes;

pub(crate) fn decode(frame: &Bytes, packet: PacketType, version: Version) -> Result<Ack, WireError> {
    let mut cursor = Cursor::new(frame);
    let mut ack = Ack::new(cursor.take_packet_id()?, ReasonCode::SUCCESS);
    if version == Version::V5 && !cursor.is_empty() {
        ack.reason = reasons::take(packet, version, cursor.take_u8()?)?;
        // Sections 3.4.2.2.1 and its like: without properties their length may be left out.
        if !cursor.is_empty() {
            take_properties(&mut cursor, frame, carrier(packet), &mut ack)?;
        }
    }
    cursor.end()?;
    Ok(ack)
}

fn take_properties(
    cursor: &mut Cursor<'_>,
    frame: &Bytes,
    carrier: Carrier,
    ack: &mut Ack,
) -> Result<(), WireError> {
    let mut properties = Properties::take(cursor, carrier)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::ReasonString(text) => ack.reason_string = Some(Text::part_of(frame, text)),
            Property::User(pair) => user::push(&mut ack.user_properties, frame, pair)?,
            other => return Err(other.misplaced()),
        }
    }
    Ok(())
}

fn carrier(packet: PacketType) -> Carrier {
    match packet {
        PacketType::PubAck => Carrier::PUBACK,
        PacketType::PubRec => Carrier::PUBREC,
        PacketType::PubRel => Carrier::PUBREL,
        _ => Carrier::PUBCOMP,
    }
}

pub(crate) fn put<S: Sink>(ack: &Ack, version: Version, sink: &mut S) {
    sink.put_u16(ack.packet_id.get());
    let bare = ack.reason_string.is_none() && ack.user_properties.is_empty();
    if version < Version::V5 || (bare && ack.reason == ReasonCode::SUCCESS) {
        return;
    }
    sink.put_u8(ack.reason.code());
    if !bare {
        property::put_block(sink, &[], &|put| {
            user::each(ack.reason_string.as_ref(), &ack.user_properties, put);
        });
    }
}
