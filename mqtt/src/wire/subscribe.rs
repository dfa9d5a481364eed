//! SUBSCRIBE and SUBACK (sections 3.8 and 3.9).

use super::error::{Malformed, Violation, WireError};
use super::primitive::{Cursor, Sink};
use super::property::{self, Carrier, Properties, Property, SubscriptionId};
use super::{reasons, user};
use crate::limits::FILTERS_MAX;
use crate::packet::{PacketType, QoS, RetainHandling, SubAck, Subscribe, SubscriptionOptions, Version};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::topic::TopicFilter;
use bytes::Bytes;
use std::num::NonZeroU32;

pub(crate) fn decode(frame: &Bytes, version: Version) -> Result<Subscribe, WireError> {
    let mut cursor = Cursor::new(frame);
    let mut subscribe = Subscribe {
        packet_id: cursor.take_packet_id()?,
        subscription_id: None,
        user_properties: Vec::new(),
        filters: Vec::new(),
    };
    if version == Version::V5 {
        let mut properties = Properties::take(&mut cursor, Carrier::SUBSCRIBE)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SubscriptionId(id) => subscribe.subscription_id = Some(id.0.get()),
                Property::User(pair) => user::push(&mut subscribe.user_properties, frame, pair)?,
                other => return Err(other.misplaced()),
            }
        }
    }
    while !cursor.is_empty() {
        let filter = take_filter(&mut cursor, frame, subscribe.filters.len())?;
        let options = take_options(cursor.take_u8()?, version)?;
        if options.no_local && filter.share().is_some() {
            return Err(Violation::NoLocalOnShared.into());
        }
        subscribe.filters.push((filter, options));
    }
    if subscribe.filters.is_empty() {
        return Err(Violation::NoFilters.into());
    }
    Ok(subscribe)
}

/// One filter of a list that has `count` already.
pub(crate) fn take_filter(
    cursor: &mut Cursor<'_>,
    frame: &Bytes,
    count: usize,
) -> Result<TopicFilter, WireError> {
    if count >= FILTERS_MAX {
        return Err(Violation::TooManyFilters.into());
    }
    let text = Text::part_of(frame, cursor.take_str()?);
    Ok(TopicFilter::new(text).map_err(Malformed::TopicFilter)?)
}

fn take_options(byte: u8, version: Version) -> Result<SubscriptionOptions, WireError> {
    let reserved = if version == Version::V5 {
        0b1100_0000
    } else {
        0b1111_1100
    };
    if byte & reserved != 0 {
        return Err(Malformed::SubscriptionReservedBits.into());
    }
    Ok(SubscriptionOptions {
        qos: QoS::new(byte & 0b11).ok_or(Violation::SubscribeQos3)?,
        no_local: byte & 0b100 != 0,
        retain_as_published: byte & 0b1000 != 0,
        retain_handling: match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::Never,
            _ => return Err(Violation::RetainHandling3.into()),
        },
    })
}

pub(crate) fn put<S: Sink>(subscribe: &Subscribe, version: Version, sink: &mut S) {
    sink.put_u16(subscribe.packet_id.get());
    if version == Version::V5 {
        property::put_block(sink, &[], &|put| {
            if let Some(id) = subscribe.subscription_id.and_then(NonZeroU32::new) {
                put(Property::SubscriptionId(SubscriptionId(id)));
            }
            user::each(None, &subscribe.user_properties, put);
        });
    }
    for (filter, options) in &subscribe.filters {
        sink.put_field(filter.as_str().as_bytes());
        sink.put_u8(match version {
            Version::V5 => options.to_byte(),
            Version::V31 | Version::V311 => options.qos as u8,
        });
    }
}

pub(crate) fn decode_suback(frame: &Bytes, version: Version) -> Result<SubAck, WireError> {
    let mut cursor = Cursor::new(frame);
    let mut suback = SubAck {
        packet_id: cursor.take_packet_id()?,
        reason_string: None,
        user_properties: Vec::new(),
        reasons: Vec::new(),
    };
    if version == Version::V5 {
        let mut properties = Properties::take(&mut cursor, Carrier::SUBACK)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::ReasonString(text) => suback.reason_string = Some(Text::part_of(frame, text)),
                Property::User(pair) => user::push(&mut suback.user_properties, frame, pair)?,
                other => return Err(other.misplaced()),
            }
        }
    }
    suback.reasons = take_reasons(cursor, PacketType::SubAck, version)?;
    Ok(suback)
}

/// The reason codes that make up the rest of a SUBACK or UNSUBACK.
pub(crate) fn take_reasons(
    mut cursor: Cursor<'_>,
    packet: PacketType,
    version: Version,
) -> Result<Vec<ReasonCode>, WireError> {
    let mut list = Vec::new();
    while !cursor.is_empty() {
        if list.len() >= FILTERS_MAX {
            return Err(Violation::TooManyFilters.into());
        }
        list.push(reasons::take(packet, version, cursor.take_u8()?)?);
    }
    if list.is_empty() {
        return Err(Violation::NoReasonCodes.into());
    }
    Ok(list)
}

pub(crate) fn put_suback<S: Sink>(suback: &SubAck, version: Version, sink: &mut S) {
    sink.put_u16(suback.packet_id.get());
    if version == Version::V5 {
        property::put_block(sink, &[], &|put| {
            user::each(suback.reason_string.as_ref(), &suback.user_properties, put);
        });
    }
    for reason in &suback.reasons {
        sink.put_u8(match version {
            Version::V5 => reason.code(),
            Version::V31 | Version::V311 => reason.suback_return_code_v3(),
        });
    }
}
