//! One packet of each type and version through the codec and back.

use crate::{decoded, encoded};
use bytes::{Bytes, BytesMut};
use sluice_mqtt::packet::{Ack, Packet, PacketId, Version};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::wire::{DecodeLimits, decode_connect};

fn check(version: Version, bytes: &[u8]) -> Packet {
    let packet = decoded(version, bytes).unwrap().unwrap();
    assert_eq!(encoded(&packet, version), bytes, "{packet:?}");
    packet
}

#[test]
fn a_publish_comes_back_as_it_was() {
    let bytes = b"\x32\x11\x00\x03a/b\x00\x07\x06\x01\x01\x03\x00\x01tpay";
    let Packet::Publish(publish) = check(Version::V5, bytes) else {
        panic!()
    };
    assert_eq!(publish.payload, Bytes::from_static(b"pay"));
    check(Version::V311, b"\x32\x0a\x00\x03a/b\x00\x07pay");
}

#[test]
fn a_connect_is_decoded_first() {
    let bytes = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    let mut input = BytesMut::from(&bytes[..]);
    let connect = decode_connect(&mut input, &DecodeLimits::default())
        .unwrap()
        .unwrap();
    assert_eq!(connect.client_id.as_str(), "a");
    check(Version::V311, bytes);
    check(Version::V31, b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a");
    check(Version::V5, b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a");
}

#[test]
fn acknowledgements_take_their_short_forms() {
    check(Version::V5, b"\x40\x02\x00\x01");
    check(Version::V5, b"\x40\x03\x00\x01\x10");
    check(Version::V5, b"\x40\x08\x00\x01\x00\x04\x1F\x00\x01x");
    let ack = check(Version::V311, b"\x62\x02\x00\x01");
    let expected = Ack::new(PacketId::new(1).unwrap(), ReasonCode::SUCCESS);
    assert_eq!(ack, Packet::PubRel(expected));
}
