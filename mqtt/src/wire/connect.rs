//! CONNECT (section 3.1) of all versions.

use super::error::{ConnectAnswer, ConnectError, Malformed, Violation, WireError};
use super::forwarded::take_message_properties;
use super::primitive::{Cursor, Sink, varint};
use super::property::{self, Carrier, Properties, Property};
use super::user;
use crate::limits::CLIENT_ID_CHARS_MAX_V31;
use crate::packet::{Connect, PublishProperties, QoS, Version, Will};
use crate::text::Text;
use crate::topic::TopicName;
use bytes::Bytes;
use std::num::NonZeroU32;

const RESERVED: u8 = 0b0000_0001;
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USERNAME: u8 = 0b1000_0000;

pub(crate) fn decode(frame: &Bytes) -> Result<Connect, ConnectError> {
    let mut cursor = Cursor::new(frame);
    let version = take_version(&mut cursor)?;
    let connect = take_body(cursor, frame, version).map_err(|cause| refusal(cause, Some(version)))?;
    check_client_id(&connect).map_err(|violation| refusal(violation.into(), Some(version)))?;
    Ok(connect)
}

/// What to say for an error, once the client's version is known or not.
pub(crate) fn refusal(cause: WireError, version: Option<Version>) -> ConnectError {
    let answer = match (version, cause) {
        (Some(Version::V5), _) => ConnectAnswer::ConnAck(Version::V5, cause.reason()),
        // [MQTT-3.1.3-8], [MQTT-3.1.3-9] of 3.1.1; anything else is closed without CONNACK [MQTT-3.1.4-1].
        (Some(version), WireError::Violation(Violation::ClientIdLength | Violation::EmptyClientId)) => {
            ConnectAnswer::ConnAck(version, cause.reason())
        }
        _ => ConnectAnswer::Close,
    };
    ConnectError { cause, answer }
}

/// The version of a CONNECT that is refused on its fixed header, as far as it has arrived already.
pub(crate) fn announced_version(input: &[u8]) -> Option<Version> {
    let rest = input.get(1..)?;
    let (_, len_bytes) = varint(rest).ok()??;
    take_version(&mut Cursor::new(rest.get(len_bytes..)?)).ok()
}

fn take_version(cursor: &mut Cursor<'_>) -> Result<Version, ConnectError> {
    let close = |cause: Malformed| refusal(cause.into(), None);
    let name = cursor.take_binary().map_err(close)?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(close(Malformed::ProtocolName));
    }
    let level = cursor.take_u8().map_err(close)?;
    match (name, level) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        // [MQTT-3.1.2-2]: whoever knows a level above 5 understands a CONNACK of 5. Bit 7 marks bridges.
        _ => {
            let version = if level & 0x7F > 5 {
                Version::V5
            } else {
                Version::V311
            };
            let cause = WireError::from(Violation::ProtocolLevel(level));
            Err(ConnectError {
                cause,
                answer: ConnectAnswer::ConnAck(version, cause.reason()),
            })
        }
    }
}

fn take_body(mut cursor: Cursor<'_>, frame: &Bytes, version: Version) -> Result<Connect, WireError> {
    let flags = cursor.take_u8()?;
    check_flags(flags, version)?;
    let mut connect = Connect::new(version, flags & CLEAN_START != 0, Text::default());
    connect.keep_alive_seconds = cursor.take_u16()?;
    if version == Version::V5 {
        let mut properties = Properties::take(&mut cursor, Carrier::CONNECT)?;
        while let Some(property) = properties.next()? {
            set(&mut connect, frame, property)?;
        }
        if connect.auth_data.is_some() && connect.auth_method.is_none() {
            return Err(Violation::AuthDataWithoutMethod.into());
        }
    }
    connect.client_id = Text::part_of(frame, cursor.take_str()?);
    if flags & WILL != 0 {
        connect.will = Some(take_will(&mut cursor, frame, version, flags)?);
    }
    // 3.1 lets the remaining length win over the flags: a name or password that is not there is none.
    let present = |cursor: &Cursor<'_>| version > Version::V31 || !cursor.is_empty();
    if flags & USERNAME != 0 && present(&cursor) {
        connect.username = Some(Text::part_of(frame, cursor.take_str()?));
    }
    if flags & PASSWORD != 0 && present(&cursor) {
        connect.password = Some(frame.slice_ref(cursor.take_binary()?));
    }
    cursor.end()?;
    Ok(connect)
}

fn check_flags(flags: u8, version: Version) -> Result<(), Malformed> {
    if flags & RESERVED != 0 {
        return Err(Malformed::ConnectReservedFlag);
    }
    // 3.1 disregards QoS and retain of a will that is not there.
    if flags & WILL == 0 && flags & (WILL_RETAIN | 0b11 << WILL_QOS_SHIFT) != 0 && version > Version::V31 {
        return Err(Malformed::WillFlagsWithoutWill);
    }
    // 5.0 allows a password alone (section 3.1.2.9).
    if version < Version::V5 && flags & (USERNAME | PASSWORD) == PASSWORD {
        return Err(Malformed::PasswordWithoutUsername);
    }
    Ok(())
}

fn set(connect: &mut Connect, frame: &Bytes, property: Property<'_>) -> Result<(), WireError> {
    match property {
        Property::SessionExpiry(seconds) => connect.session_expiry_seconds = Some(seconds),
        Property::ReceiveMax(max) => connect.receive_max = Some(max),
        Property::PacketBytesMax(max) => connect.packet_bytes_max = Some(max.get()),
        Property::TopicAliasMax(max) => connect.topic_alias_max = max,
        Property::RequestResponseInformation(yes) => connect.request_response_information = yes,
        Property::RequestProblemInformation(yes) => connect.request_problem_information = yes,
        Property::User(pair) => user::push(&mut connect.user_properties, frame, pair)?,
        Property::AuthMethod(method) => connect.auth_method = Some(Text::part_of(frame, method)),
        Property::AuthData(data) => connect.auth_data = Some(frame.slice_ref(data)),
        other => return Err(other.misplaced()),
    }
    Ok(())
}

fn take_will(cursor: &mut Cursor<'_>, frame: &Bytes, version: Version, flags: u8) -> Result<Will, WireError> {
    let qos = QoS::new(flags >> WILL_QOS_SHIFT & 0b11).ok_or(Malformed::WillQos3)?;
    let mut delay_seconds = 0;
    let mut properties = PublishProperties::default();
    if version == Version::V5 {
        let block = cursor.take_block()?;
        let found = take_message_properties(block, Carrier::WILL)?;
        delay_seconds = found.delay_seconds;
        properties = PublishProperties {
            forwarded: found.forwarded.into_bytes(frame, block),
            message_expiry_seconds: found.expiry_seconds,
            ..PublishProperties::default()
        };
    }
    let topic = Text::part_of(frame, cursor.take_str()?);
    Ok(Will {
        topic: TopicName::new(topic).map_err(Malformed::TopicName)?,
        payload: frame.slice_ref(cursor.take_binary()?),
        qos,
        retain: flags & WILL_RETAIN != 0,
        delay_seconds,
        properties,
    })
}

fn check_client_id(connect: &Connect) -> Result<(), Violation> {
    let id = connect.client_id.as_str();
    match connect.version {
        Version::V31 if !(1..=CLIENT_ID_CHARS_MAX_V31).contains(&id.chars().count()) => {
            Err(Violation::ClientIdLength)
        }
        Version::V311 if id.is_empty() && !connect.clean_start => Err(Violation::EmptyClientId),
        _ => Ok(()),
    }
}

pub(crate) fn put<S: Sink>(connect: &Connect, sink: &mut S) {
    let (name, level): (&[u8], u8) = match connect.version {
        Version::V31 => (b"MQIsdp", 3),
        Version::V311 => (b"MQTT", 4),
        Version::V5 => (b"MQTT", 5),
    };
    sink.put_field(name);
    sink.put_u8(level);
    let username = connect.username.as_ref();
    // Before 5.0 a password cannot stand alone.
    let password = connect.password.as_ref();
    let password = password.filter(|_| connect.version == Version::V5 || username.is_some());
    let mut flags = 0;
    let mut set = |flag: u8, on: bool| flags |= if on { flag } else { 0 };
    set(CLEAN_START, connect.clean_start);
    set(USERNAME, username.is_some());
    set(PASSWORD, password.is_some());
    if let Some(will) = &connect.will {
        set(WILL | (will.qos as u8) << WILL_QOS_SHIFT, true);
        set(WILL_RETAIN, will.retain);
    }
    sink.put_u8(flags);
    sink.put_u16(connect.keep_alive_seconds);
    if connect.version == Version::V5 {
        property::put_block(sink, &[], &|put| each(connect, put));
    }
    sink.put_field(connect.client_id.as_bytes());
    if let Some(will) = &connect.will {
        put_will(will, connect.version, sink);
    }
    if let Some(username) = username {
        sink.put_field(username.as_bytes());
    }
    if let Some(password) = password {
        sink.put_field(password);
    }
}

fn put_will<S: Sink>(will: &Will, version: Version, sink: &mut S) {
    if version == Version::V5 {
        property::put_block(sink, &will.properties.forwarded, &|put| {
            if will.delay_seconds > 0 {
                put(Property::WillDelay(will.delay_seconds));
            }
            if let Some(seconds) = will.properties.message_expiry_seconds {
                put(Property::MessageExpiry(seconds));
            }
        });
    }
    sink.put_field(will.topic.text().as_bytes());
    sink.put_field(&will.payload);
}

/// Lists the properties that differ from their defaults.
fn each(connect: &Connect, put: &mut dyn FnMut(Property<'_>)) {
    if let Some(seconds) = connect.session_expiry_seconds {
        put(Property::SessionExpiry(seconds));
    }
    if let Some(max) = connect.receive_max {
        put(Property::ReceiveMax(max));
    }
    if let Some(max) = connect.packet_bytes_max.and_then(NonZeroU32::new) {
        put(Property::PacketBytesMax(max));
    }
    if connect.topic_alias_max > 0 {
        put(Property::TopicAliasMax(connect.topic_alias_max));
    }
    if connect.request_response_information {
        put(Property::RequestResponseInformation(true));
    }
    if !connect.request_problem_information {
        put(Property::RequestProblemInformation(false));
    }
    if let Some(method) = &connect.auth_method {
        put(Property::AuthMethod(method));
    }
    if let Some(data) = &connect.auth_data {
        put(Property::AuthData(data));
    }
    user::each(None, &connect.user_properties, put);
}
