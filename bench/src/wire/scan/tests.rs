use super::*;
use crate::wire::Message;

fn message(version: Version, qos: u8, payload_bytes: usize, id: u16, sent_at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Message::new(version, "bench/7/t", qos, payload_bytes, 7).append_to(&mut out, id, sent_at);
    out
}

/// One of everything, and what is to be found in it.
fn stream(version: Version) -> (Vec<u8>, Vec<Packet>) {
    let mut bytes = Vec::new();
    let mut packets = Vec::new();
    let mut add = |frame: &[u8], packet: Packet| {
        bytes.extend_from_slice(frame);
        packets.push(packet);
    };
    let published = |id, sent_at| Packet::Publish {
        id,
        sent_at,
        source: 7,
    };
    match version {
        Version::V311 => {
            add(&[0x20, 2, 0, 0], Packet::Connack { code: 0 });
            add(&[0x90, 5, 0, 1, 0, 0x80, 1], Packet::Suback { refused: 1 });
        }
        Version::V5 => {
            add(&[0x20, 6, 0, 0x87, 3, 0x21, 0, 9], Packet::Connack { code: 0x87 });
            add(&[0x90, 5, 0, 1, 0, 0x87, 0x80], Packet::Suback { refused: 2 });
            add(&[0x40, 3, 0, 1, 0x87], Packet::Puback { code: 0x87 });
            add(&[0xE0, 1, 0x8B], Packet::Disconnect { code: 0x8B });
        }
    }
    add(&message(version, 0, 64, 0, 11), published(0, 11));
    add(
        &message(version, 1, 1024, 513, u64::MAX),
        published(513, u64::MAX),
    );
    add(&message(version, 1, 12, 2, 12), published(2, 12));
    add(&[0x40, 2, 0, 1], Packet::Puback { code: 0 });
    add(&[0xD0, 0], Packet::Other);
    add(&[0xE0, 0], Packet::Disconnect { code: 0 });
    add(&message(version, 0, 20_000, 0, 13), published(0, 13));
    (bytes, packets)
}

fn scanned<'a>(version: Version, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Packet> {
    let mut scanner = Scanner::new(version);
    let mut packets = Vec::new();
    for piece in pieces {
        scanner
            .feed(piece, |packet| packets.push(packet))
            .expect("it is MQTT");
    }
    packets
}

#[test]
fn every_packet_is_found_in_one_piece() {
    for version in [Version::V311, Version::V5] {
        let (bytes, packets) = stream(version);
        assert_eq!(scanned(version, [bytes.as_slice()]), packets);
    }
}

#[test]
fn every_packet_is_found_wherever_the_stream_is_cut() {
    for version in [Version::V311, Version::V5] {
        let (bytes, packets) = stream(version);
        for size in (1..200).chain([1000, 4096]) {
            assert_eq!(
                scanned(version, bytes.chunks(size)),
                packets,
                "in pieces of {size}"
            );
        }
        for cut in 0..bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(scanned(version, [before, after]), packets, "cut at {cut}");
        }
    }
}

#[test]
fn a_packet_is_told_when_its_last_byte_is_there() {
    let bytes = message(Version::V311, 0, 64, 0, 1);
    let (last, before) = bytes.split_last().unwrap();
    let mut scanner = Scanner::new(Version::V311);
    let mut packets = 0;
    scanner.feed(before, |_| packets += 1).unwrap();
    assert_eq!(packets, 0);
    scanner.feed(&[*last], |_| packets += 1).unwrap();
    assert_eq!(packets, 1);
}

#[test]
fn properties_before_the_payload_are_skipped() {
    let mut bytes = vec![0x30, 3 + 4 + 12, 0, 1, b't', 3, 0x01, 0x01, 0x01];
    bytes.extend(5u64.to_be_bytes());
    bytes.extend(6u32.to_be_bytes());
    let expected = Packet::Publish {
        id: 0,
        sent_at: 5,
        source: 6,
    };
    assert_eq!(scanned(Version::V5, [bytes.as_slice()]), [expected]);
}

#[test]
fn a_payload_without_a_time_is_a_message_all_the_same() {
    let bytes = [0x30, 5, 0, 1, b't', b'h', b'i'];
    let expected = Packet::Publish {
        id: 0,
        sent_at: 0,
        source: u32::MAX,
    };
    assert_eq!(scanned(Version::V311, [bytes.as_slice()]), [expected]);
}

#[test]
fn what_is_not_mqtt_is_an_error() {
    let endless = [0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    let too_short = [0x30, 1, 0];
    let empty_connack = [0x20, 0];
    for bytes in [&endless[..], &too_short, &empty_connack] {
        assert_eq!(
            Scanner::new(Version::V311).feed(bytes, |_| {}),
            Err(Malformed),
            "{bytes:?}"
        );
    }
}
