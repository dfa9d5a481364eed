//! CONNACK (section 3.2).

use super::error::{Malformed, Violation, WireError};
use super::primitive::{Cursor, Sink};
use super::property::{self, Carrier, Properties, Property};
use super::{reasons, user};
use crate::packet::{ConnAck, PacketType, QoS, Version};
use crate::text::Text;
use bytes::Bytes;
use std::num::NonZeroU32;

pub(crate) fn decode(frame: &Bytes, version: Version) -> Result<ConnAck, WireError> {
    let mut cursor = Cursor::new(frame);
    let flags = cursor.take_u8()?;
    // [MQTT-3.2.2-1]; 3.1 has no session present.
    let known = if version == Version::V31 { 0 } else { 1 };
    if flags & !known != 0 {
        return Err(Malformed::ConnAckReservedFlags.into());
    }
    let mut connack = ConnAck::new(reasons::take(PacketType::ConnAck, version, cursor.take_u8()?)?);
    connack.session_present = flags == 1;
    if connack.session_present && connack.reason.code() != 0 {
        return Err(Violation::SessionPresentOnRefusal.into());
    }
    if version == Version::V5 {
        let mut properties = Properties::take(&mut cursor, Carrier::CONNACK)?;
        while let Some(property) = properties.next()? {
            set(&mut connack, frame, property)?;
        }
    }
    cursor.end()?;
    if connack.auth_data.is_some() && connack.auth_method.is_none() {
        return Err(Violation::AuthDataWithoutMethod.into());
    }
    Ok(connack)
}

fn set(connack: &mut ConnAck, frame: &Bytes, property: Property<'_>) -> Result<(), WireError> {
    let text = |text| Some(Text::part_of(frame, text));
    match property {
        Property::SessionExpiry(seconds) => connack.session_expiry_seconds = Some(seconds),
        Property::ReceiveMax(max) => connack.receive_max = Some(max),
        Property::QosMax(one) => {
            connack.qos_max = Some(if one { QoS::AtLeastOnce } else { QoS::AtMostOnce });
        }
        Property::RetainAvailable(yes) => connack.retain_available = yes,
        Property::PacketBytesMax(max) => connack.packet_bytes_max = Some(max.get()),
        Property::AssignedClientId(id) => connack.assigned_client_id = text(id),
        Property::TopicAliasMax(max) => connack.topic_alias_max = max,
        Property::ReasonString(reason) => connack.reason_string = text(reason),
        Property::User(pair) => user::push(&mut connack.user_properties, frame, pair)?,
        Property::WildcardAvailable(yes) => connack.wildcard_available = yes,
        Property::SubscriptionIdsAvailable(yes) => connack.subscription_ids_available = yes,
        Property::SharedAvailable(yes) => connack.shared_available = yes,
        Property::ServerKeepAlive(seconds) => connack.server_keep_alive_seconds = Some(seconds),
        Property::ResponseInformation(information) => connack.response_information = text(information),
        Property::ServerReference(reference) => connack.server_reference = text(reference),
        Property::AuthMethod(method) => connack.auth_method = text(method),
        Property::AuthData(data) => connack.auth_data = Some(frame.slice_ref(data)),
        other => return Err(other.misplaced()),
    }
    Ok(())
}

pub(crate) fn put<S: Sink>(connack: &ConnAck, version: Version, sink: &mut S) {
    // [MQTT-3.2.2-6]; 3.1 has no session present.
    let present = connack.session_present && connack.reason.code() == 0 && version > Version::V31;
    sink.put_u8(u8::from(present));
    if version == Version::V5 {
        sink.put_u8(connack.reason.code());
        property::put_block(sink, &[], &|put| each(connack, put));
    } else {
        sink.put_u8(connack.reason.connack_return_code_v3());
    }
}

/// Lists the properties that differ from their defaults.
fn each(connack: &ConnAck, put: &mut dyn FnMut(Property<'_>)) {
    if let Some(seconds) = connack.session_expiry_seconds {
        put(Property::SessionExpiry(seconds));
    }
    if let Some(max) = connack.receive_max {
        put(Property::ReceiveMax(max));
    }
    if let Some(max @ (QoS::AtMostOnce | QoS::AtLeastOnce)) = connack.qos_max {
        put(Property::QosMax(max == QoS::AtLeastOnce));
    }
    if let Some(max) = connack.packet_bytes_max.and_then(NonZeroU32::new) {
        put(Property::PacketBytesMax(max));
    }
    if connack.topic_alias_max > 0 {
        put(Property::TopicAliasMax(connack.topic_alias_max));
    }
    if let Some(seconds) = connack.server_keep_alive_seconds {
        put(Property::ServerKeepAlive(seconds));
    }
    let features = [
        (connack.retain_available, Property::RetainAvailable(false)),
        (connack.wildcard_available, Property::WildcardAvailable(false)),
        (
            connack.subscription_ids_available,
            Property::SubscriptionIdsAvailable(false),
        ),
        (connack.shared_available, Property::SharedAvailable(false)),
    ];
    for (available, property) in features {
        if !available {
            put(property);
        }
    }
    if let Some(id) = &connack.assigned_client_id {
        put(Property::AssignedClientId(id));
    }
    if let Some(information) = &connack.response_information {
        put(Property::ResponseInformation(information));
    }
    if let Some(reference) = &connack.server_reference {
        put(Property::ServerReference(reference));
    }
    if let Some(method) = &connack.auth_method {
        put(Property::AuthMethod(method));
    }
    if let Some(data) = &connack.auth_data {
        put(Property::AuthData(data));
    }
    user::each(connack.reason_string.as_ref(), &connack.user_properties, put);
}
