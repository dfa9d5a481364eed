//! UNSUBSCRIBE and UNSUBACK (sections 3.10 and 3.11).

use super::error::{Violation, WireError};
use super::primitive::{Cursor, Sink};
use super::property::{self, Carrier, Properties, Property};
use super::subscribe::{take_filter, take_reasons};
use super::user;
use crate::packet::{PacketType, UnsubAck, Unsubscribe, Version};
use crate::text::Text;
use bytes::Bytes;

pub(crate) fn decode(frame: &Bytes, version: Version) -> Result<Unsubscribe, WireError> {
    let mut cursor = Cursor::new(frame);
    let mut unsubscribe = Unsubscribe {
        packet_id: cursor.take_packet_id()?,
        user_properties: Vec::new(),
        filters: Vec::new(),
    };
    if version == Version::V5 {
        let mut properties = Properties::take(&mut cursor, Carrier::UNSUBSCRIBE)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::User(pair) => user::push(&mut unsubscribe.user_properties, frame, pair)?,
                other => return Err(other.misplaced()),
            }
        }
    }
    while !cursor.is_empty() {
        let filter = take_filter(&mut cursor, frame, unsubscribe.filters.len())?;
        unsubscribe.filters.push(filter);
    }
    if unsubscribe.filters.is_empty() {
        return Err(Violation::NoFilters.into());
    }
    Ok(unsubscribe)
}

pub(crate) fn put<S: Sink>(unsubscribe: &Unsubscribe, version: Version, sink: &mut S) {
    sink.put_u16(unsubscribe.packet_id.get());
    if version == Version::V5 {
        property::put_block(sink, &[], &|put| {
            user::each(None, &unsubscribe.user_properties, put);
        });
    }
    for filter in &unsubscribe.filters {
        sink.put_field(filter.as_str().as_bytes());
    }
}

pub(crate) fn decode_unsuback(frame: &Bytes, version: Version) -> Result<UnsubAck, WireError> {
    let mut cursor = Cursor::new(frame);
    let mut unsuback = UnsubAck {
        packet_id: cursor.take_packet_id()?,
        reason_string: None,
        user_properties: Vec::new(),
        reasons: Vec::new(),
    };
    if version < Version::V5 {
        cursor.end()?;
        return Ok(unsuback);
    }
    let mut properties = Properties::take(&mut cursor, Carrier::UNSUBACK)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::ReasonString(text) => unsuback.reason_string = Some(Text::part_of(frame, text)),
            Property::User(pair) => user::push(&mut unsuback.user_properties, frame, pair)?,
            other => return Err(other.misplaced()),
        }
    }
    unsuback.reasons = take_reasons(cursor, PacketType::UnsubAck, version)?;
    Ok(unsuback)
}

pub(crate) fn put_unsuback<S: Sink>(unsuback: &UnsubAck, version: Version, sink: &mut S) {
    sink.put_u16(unsuback.packet_id.get());
    if version < Version::V5 {
        return;
    }
    property::put_block(sink, &[], &|put| {
        user::each(unsuback.reason_string.as_ref(), &unsuback.user_properties, put);
    });
    for reason in &unsuback.reasons {
        sink.put_u8(reason.code());
    }
}
