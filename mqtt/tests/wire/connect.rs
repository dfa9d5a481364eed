//! CONNECT: its rules, the three versions, and what a client is told that breaks one.

use crate::{V5, V31, V311, block, field, hex, packet, report};
use bytes::BytesMut;
use sluice_mqtt::packet::{Connect, QoS, Version};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::topic::NameError;
use sluice_mqtt::wire::{
    ConnectAnswer, ConnectError, DecodeLimits, Malformed, Violation, WireError, decode_connect,
};

const MQTT4: &[u8] = b"\x00\x04MQTT\x04";
const MQTT5: &[u8] = b"\x00\x04MQTT\x05";
const MQISDP: &[u8] = b"\x00\x06MQIsdp\x03";
/// Keep alive 60.
const KEEP: &[u8] = b"\x00\x3c";
const ID: &[u8] = b"\x00\x02id";
const NONE: &[u8] = b"\x00";

fn connect(parts: &[&[u8]]) -> Vec<u8> {
    packet(0x10, parts)
}

fn decoded(bytes: &[u8]) -> Result<Option<Box<Connect>>, ConnectError> {
    decode_connect(&mut BytesMut::from(bytes), &DecodeLimits::default())
}

fn accepted(bytes: &[u8]) -> Box<Connect> {
    match decoded(bytes) {
        Ok(Some(connect)) => connect,
        other => panic!("{}: {other:?}", hex(bytes)),
    }
}

type Vector<'a> = (&'a str, Vec<u8>, WireError, ConnectAnswer);

fn check(vectors: &[Vector<'_>]) {
    let mut wrong = Vec::new();
    for (what, bytes, cause, answer) in vectors {
        let expected = ConnectError {
            cause: *cause,
            answer: *answer,
        };
        let outcome = decoded(bytes);
        if outcome.as_ref().err() != Some(&expected) {
            wrong.push(format!(
                "{what}, {}: {outcome:?} instead of {expected:?}",
                hex(bytes)
            ));
        }
    }
    report(wrong);
}

/// Lines of `how what, bytes => rule;`. `silent`: closed without a word, `told`: in a CONNACK of 5.0.
macro_rules! refuse {
    (@silent $cause:expr) => { ConnectAnswer::Close };
    (@told $cause:expr) => { ConnectAnswer::ConnAck(V5, $cause.reason()) };
    ($($how:ident $what:literal, $bytes:expr => $cause:expr;)*) => {
        check(&[$(($what, $bytes.to_vec(), WireError::from($cause), refuse!(@$how $cause)),)*])
    };
}

#[test]
fn the_first_packet_is_connect() {
    for first in (0..=15_u8).filter(|kind| *kind != 1) {
        let error = decoded(&[first << 4]).unwrap_err();
        assert_eq!(error.cause, Violation::FirstPacketNotConnect.into());
        assert_eq!(error.answer, ConnectAnswer::Close);
    }
    refuse! {
        silent "a TLS handshake", b"\x16\x03\x01" => Malformed::FixedHeaderFlags(0x16);
        silent "HTTP", b"GET / HTTP/1.1" => Violation::FirstPacketNotConnect;
        silent "a length of five bytes", b"\x10\xFF\xFF\xFF\xFF\x01" => Malformed::RemainingLength;
        silent "a long length", b"\x10\x8C\x00" => Malformed::VarintNotShortest;
    }
    assert_eq!(decoded(b""), Ok(None));
}

#[test]
fn protocol_name_and_level_select_the_version() {
    assert_eq!(accepted(&connect(&[MQTT4, b"\x02", KEEP, ID])).version, V311);
    assert_eq!(accepted(&connect(&[MQTT5, b"\x02", KEEP, NONE, ID])).version, V5);
    assert_eq!(accepted(&connect(&[MQISDP, b"\x02", KEEP, ID])).version, V31);
    let level = |name: &[u8], level: u8| connect(&[&field(name), &[level], b"\x02", KEEP, ID]);
    let unsupported = |name, of: u8, version| {
        let cause = WireError::from(Violation::ProtocolLevel(of));
        let answer = ConnectAnswer::ConnAck(version, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION);
        ("a level", level(name, of), cause, answer)
    };
    refuse! {
        silent "another protocol", level(b"MQTX", 4) => Malformed::ProtocolName;
        silent "lower case", level(b"mqtt", 4) => Malformed::ProtocolName;
        silent "no name", level(b"", 4) => Malformed::ProtocolName;
        silent "a longer name", level(b"MQTTT", 4) => Malformed::ProtocolName;
        silent "a name past the end", connect(&[b"\x00\x09MQTT"]) => Malformed::Truncated;
        silent "a name cut off", connect(&[b"\x00"]) => Malformed::Truncated;
        silent "no level", connect(&[&field(b"MQTT")]) => Malformed::Truncated;
        silent "nothing", connect(&[]) => Malformed::Truncated;
    }
    check(&[
        unsupported(b"MQTT", 0, V311),
        unsupported(b"MQTT", 3, V311),
        unsupported(b"MQTT", 6, V5),
        unsupported(b"MQTT", 0x7F, V5),
        // Bridges of Mosquitto set bit 7 and try again without it when told so.
        unsupported(b"MQTT", 0x84, V311),
        unsupported(b"MQIsdp", 4, V311),
        unsupported(b"MQIsdp", 0x83, V311),
    ]);
}

#[test]
fn connect_of_3_is_strict_and_closed_without_a_word() {
    let of = |flags: u8, payload: &[u8]| connect(&[MQTT4, &[flags], KEEP, payload]);
    refuse! {
        silent "the reserved flag", of(0x03, ID) => Malformed::ConnectReservedFlag;
        silent "will QoS without will", of(0x0A, ID) => Malformed::WillFlagsWithoutWill;
        silent "will QoS 2 without will", of(0x12, ID) => Malformed::WillFlagsWithoutWill;
        silent "will retain without will", of(0x22, ID) => Malformed::WillFlagsWithoutWill;
        silent "will QoS 3", of(0x1E, b"\x00\x02id\x00\x01w\x00\x00") => Malformed::WillQos3;
        silent "a password alone", of(0x42, b"\x00\x02id\x00\x01p") => Malformed::PasswordWithoutUsername;
        silent "no client id", of(0x02, b"") => Malformed::Truncated;
        silent "a client id past the end", of(0x02, b"\x00\x03id") => Malformed::Truncated;
        silent "no user name", of(0x82, ID) => Malformed::Truncated;
        silent "no password", of(0xC2, b"\x00\x02id\x00\x01u") => Malformed::Truncated;
        silent "no will", of(0x06, ID) => Malformed::Truncated;
        silent "no will payload", of(0x06, b"\x00\x02id\x00\x01w") => Malformed::Truncated;
        silent "a user name nobody announced", of(0x02, b"\x00\x02id\x00\x01u") => Malformed::TrailingBytes;
        silent "a trailing byte", of(0x02, b"\x00\x02id\x00") => Malformed::TrailingBytes;
        silent "an empty will topic", of(0x06, b"\x00\x02id\x00\x00\x00\x00") => Malformed::TopicName(NameError::Empty);
        silent "a will topic with #", of(0x06, b"\x00\x02id\x00\x01#\x00\x00") => Malformed::TopicName(NameError::Wildcard);
        silent "U+0000 in the client id", of(0x02, b"\x00\x02i\0") => Malformed::NullCharacter;
        silent "a bad client id", of(0x02, b"\x00\x01\xFF") => Malformed::NotUtf8;
        silent "U+0000 in the will topic", of(0x06, b"\x00\x02id\x00\x01\0\x00\x00") => Malformed::NullCharacter;
        silent "a bad user name", of(0x82, b"\x00\x02id\x00\x01\xFF") => Malformed::NotUtf8;
        silent "no keep alive", connect(&[MQTT4, b"\x02\x00"]) => Malformed::Truncated;
        silent "no flags", connect(&[MQTT4]) => Malformed::Truncated;
        silent "properties", connect(&[MQTT4, b"\x02", KEEP, NONE, ID]) => Malformed::TrailingBytes;
    }
}

#[test]
fn connect_of_5_is_strict_and_answered() {
    let of = |flags: u8, payload: &[u8]| connect(&[MQTT5, &[flags], KEEP, NONE, payload]);
    let with = |properties: &[u8]| connect(&[MQTT5, b"\x02", KEEP, &block(&[properties]), ID]);
    let will = |properties: &[u8]| {
        connect(&[
            MQTT5,
            b"\x06",
            KEEP,
            NONE,
            ID,
            &block(&[properties]),
            b"\x00\x01w\x00\x00",
        ])
    };
    refuse! {
        told "the reserved flag", of(0x03, ID) => Malformed::ConnectReservedFlag;
        told "will QoS without will", of(0x0A, ID) => Malformed::WillFlagsWithoutWill;
        told "will retain without will", of(0x22, ID) => Malformed::WillFlagsWithoutWill;
        told "will QoS 3", of(0x1E, b"\x00\x02id\x00\x00\x01w\x00\x00") => Malformed::WillQos3;
        told "no property length", connect(&[MQTT5, b"\x02", KEEP]) => Malformed::Truncated;
        told "properties past the end", connect(&[MQTT5, b"\x02", KEEP, b"\x09\x11", ID]) => Malformed::Truncated;
        told "no will properties", of(0x06, ID) => Malformed::Truncated;
        told "a wildcard will topic", of(0x06, b"\x00\x02id\x00\x00\x01+\x00\x00") => Malformed::TopicName(NameError::Wildcard);
        told "an empty will topic", of(0x06, b"\x00\x02id\x00\x00\x00\x00\x00") => Malformed::TopicName(NameError::Empty);
        told "a trailing byte", of(0x02, b"\x00\x02id\x00") => Malformed::TrailingBytes;
        told "receive maximum 0", with(b"\x21\x00\x00") => Violation::ZeroProperty(0x21);
        told "maximum packet size 0", with(b"\x27\x00\x00\x00\x00") => Violation::ZeroProperty(0x27);
        told "request problem information 2", with(b"\x17\x02") => Violation::NotZeroOrOne(0x17);
        told "request response information 2", with(b"\x19\x02") => Violation::NotZeroOrOne(0x19);
        told "data without method", with(b"\x16\x00\x01d") => Violation::AuthDataWithoutMethod;
        told "a will delay outside the will", with(b"\x18\x00\x00\x00\x01") => Malformed::PropertyNotAllowed(0x18);
        told "session expiry in the will", will(b"\x11\x00\x00\x00\x01") => Malformed::PropertyNotAllowed(0x11);
        told "an alias in the will", will(b"\x23\x00\x01") => Malformed::PropertyNotAllowed(0x23);
        told "a subscription id in the will", will(b"\x0B\x01") => Malformed::PropertyNotAllowed(0x0B);
        told "two will delays", will(b"\x18\x00\x00\x00\x01\x18\x00\x00\x00\x01") => Violation::DuplicateProperty(0x18);
        told "payload format 2 in the will", will(b"\x01\x02") => Violation::NotZeroOrOne(0x01);
        told "a wildcard in the response topic", will(b"\x08\x00\x01#") => Violation::ResponseTopic(NameError::Wildcard);
    }
}

#[test]
fn client_identifiers_follow_their_version() {
    let v31 = |id: &[u8]| connect(&[MQISDP, b"\x02", KEEP, &field(id)]);
    let rejected = |what, bytes, version, violation: Violation| {
        let answer = ConnectAnswer::ConnAck(version, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        (what, bytes, violation.into(), answer)
    };
    check(&[
        rejected("3.1, empty", v31(b""), V31, Violation::ClientIdLength),
        rejected("3.1, 24 bytes", v31(&[b'a'; 24]), V31, Violation::ClientIdLength),
        rejected(
            "3.1.1, empty and to be kept",
            connect(&[MQTT4, b"\x00", KEEP, b"\x00\x00"]),
            V311,
            Violation::EmptyClientId,
        ),
    ]);
    assert_eq!(
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID.connack_return_code_v3(),
        2
    );
    accepted(&v31(&[b'a'; 23]));
    // 3.1 counts characters, not bytes.
    accepted(&v31("äöü456789012345678901234".get(..26).unwrap().as_bytes()));
    accepted(&connect(&[MQTT4, b"\x02", KEEP, b"\x00\x00"]));
    accepted(&connect(&[MQTT4, b"\x00", KEEP, &field(&[b'a'; 65_535])]));
    accepted(&connect(&[MQTT5, b"\x00", KEEP, NONE, b"\x00\x00"]));
}

#[test]
fn what_3_1_leaves_open_is_accepted_there() {
    // A user name or password that is flagged but not there is none.
    let connect_of = |flags: u8, rest: &[u8]| accepted(&connect(&[MQISDP, &[flags], KEEP, ID, rest]));
    assert_eq!(connect_of(0xC2, b"").username, None);
    let half = connect_of(0xC2, b"\x00\x01u");
    assert_eq!((half.username.as_deref(), half.password), (Some("u"), None));
    // QoS and retain of a will that is not there are disregarded.
    assert_eq!(connect_of(0x3A, b"").will, None);
}

#[test]
fn every_field_of_a_connect_arrives() {
    let of = crate::examples::all(V5).swap_remove(1);
    let connect = accepted(&of);
    assert!(connect.clean_start);
    assert_eq!(connect.keep_alive_seconds, 60);
    assert_eq!(connect.client_id.as_str(), "id");
    assert_eq!(connect.username.as_deref(), Some("u"));
    assert_eq!(connect.password.as_deref(), Some(b"pw".as_slice()));
    assert_eq!(connect.session_expiry_seconds, Some(3600));
    assert_eq!(connect.receive_max.map(std::num::NonZeroU16::get), Some(20));
    assert_eq!(connect.packet_bytes_max, Some(65_536));
    assert_eq!(connect.topic_alias_max, 10);
    assert!(connect.request_response_information && !connect.request_problem_information);
    assert_eq!(connect.user_properties.len(), 1);
    assert_eq!(connect.auth_method.as_deref(), Some("SCRAM"));
    assert_eq!(connect.auth_data.as_deref(), Some(b"\x00\xFF".as_slice()));
    let will = connect.will.expect("a will");
    assert_eq!((&*will.topic, &*will.payload), ("w/t", b"!".as_slice()));
    assert_eq!(
        (will.qos, will.retain, will.delay_seconds),
        (QoS::AtLeastOnce, true, 5)
    );
    assert_eq!(will.properties.message_expiry_seconds, Some(60));
    assert!(will.properties.forwarded.starts_with(b"\x01\x01\x03"));
}

#[test]
fn legal_extremes_of_5_are_accepted() {
    let with = |properties: &[u8]| accepted(&connect(&[MQTT5, b"\x02", KEEP, &block(&[properties]), ID]));
    assert_eq!(with(b"\x22\x00\x00").topic_alias_max, 0);
    assert_eq!(with(b"\x22\xFF\xFF").topic_alias_max, 65_535);
    assert_eq!(
        with(b"\x11\xFF\xFF\xFF\xFF").session_expiry_seconds,
        Some(u32::MAX)
    );
    assert_eq!(with(b"\x11\x00\x00\x00\x00").session_expiry_seconds, Some(0));
    assert_eq!(with(b"\x27\x00\x00\x00\x01").packet_bytes_max, Some(1));
    assert_eq!(with(b"\x15\x00\x00").auth_method.as_deref(), Some(""));
    assert!(with(b"\x17\x01").request_problem_information);
}

#[test]
fn an_oversized_connect_is_refused_on_its_header_and_told_so_where_the_version_has_arrived() {
    let limits = DecodeLimits {
        packet_bytes_max: 100,
    };
    let refuse = |bytes: &[u8]| decode_connect(&mut BytesMut::from(bytes), &limits).unwrap_err();
    let silent = refuse(b"\x10\xFF\xFF\xFF\x7F");
    assert_eq!(silent.cause, Violation::PacketTooLarge.into());
    assert_eq!(silent.answer, ConnectAnswer::Close);
    let told = refuse(b"\x10\xFF\xFF\xFF\x7F\x00\x04MQTT\x05");
    assert_eq!(
        told.answer,
        ConnectAnswer::ConnAck(V5, ReasonCode::PACKET_TOO_LARGE)
    );
    assert_eq!(
        refuse(b"\x10\xFF\xFF\xFF\x7F\x00\x04MQTT\x04").answer,
        ConnectAnswer::Close
    );
    let of = |id_bytes: usize| connect(&[MQTT4, b"\x02", KEEP, &field(&vec![b'a'; id_bytes])]);
    assert_eq!((of(86).len(), of(87).len()), (100, 101));
    assert!(
        decode_connect(&mut BytesMut::from(&of(86)[..]), &limits)
            .unwrap()
            .is_some()
    );
    assert_eq!(refuse(&of(87)).cause, Violation::PacketTooLarge.into());
}

#[test]
fn what_follows_a_connect_stays_in_the_buffer() {
    let mut input = BytesMut::from(&connect(&[MQTT4, b"\x02", KEEP, ID])[..]);
    input.extend_from_slice(b"\xC0\x00");
    let connect = decode_connect(&mut input, &DecodeLimits::default())
        .unwrap()
        .expect("complete");
    assert_eq!(
        (connect.version, &input[..]),
        (Version::V311, b"\xC0\x00".as_slice())
    );
}
