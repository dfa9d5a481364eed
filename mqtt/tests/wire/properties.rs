//! The property table: each property in each packet, once and twice, and every wrong value.

use crate::{V5, block, decoded, hex, packet, report};
use bytes::Bytes;
use sluice_mqtt::topic::NameError;
use sluice_mqtt::wire::property::{ForwardedBuilder, ForwardedProperties, ForwardedProperty, name};
use sluice_mqtt::wire::{Malformed, Violation, WireError};

/// An identifier, a valid encoding, and the packets of section 2.2.2.2 that carry it (0: the will).
type Row = (u8, &'static [u8], &'static [u8]);

/// The table of section 2.2.2.2, written down a second time on purpose.
const TABLE: &[Row] = &[
    (0x01, b"\x01\x01", &[3, 0]),
    (0x02, b"\x02\x00\x00\x00\x00", &[3, 0]),
    (0x03, b"\x03\x00\x00", &[3, 0]),
    (0x08, b"\x08\x00\x01r", &[3, 0]),
    (0x09, b"\x09\x00\x00", &[3, 0]),
    (0x0B, b"\x0B\x01", &[3, 8]),
    (0x11, b"\x11\x00\x00\x00\x00", &[1, 2, 14]),
    (0x12, b"\x12\x00\x01i", &[2]),
    (0x13, b"\x13\x00\x00", &[2]),
    (0x15, b"\x15\x00\x01m", &[1, 2, 15]),
    (0x16, b"\x16\x00\x01d", &[1, 2, 15]),
    (0x17, b"\x17\x00", &[1]),
    (0x18, b"\x18\x00\x00\x00\x00", &[0]),
    (0x19, b"\x19\x00", &[1]),
    (0x1A, b"\x1A\x00\x01i", &[2]),
    (0x1C, b"\x1C\x00\x01s", &[2, 14]),
    (0x1F, b"\x1F\x00\x01r", &[2, 4, 5, 6, 7, 9, 11, 14, 15]),
    (0x21, b"\x21\x00\x01", &[1, 2]),
    (0x22, b"\x22\x00\x00", &[1, 2]),
    (0x23, b"\x23\x00\x01", &[3]),
    (0x24, b"\x24\x00", &[2]),
    (0x25, b"\x25\x00", &[2]),
    (
        0x26,
        b"\x26\x00\x00\x00\x00",
        &[1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15],
    ),
    (0x27, b"\x27\x00\x00\x00\x01", &[1, 2]),
    (0x28, b"\x28\x00", &[2]),
    (0x29, b"\x29\x00", &[2]),
    (0x2A, b"\x2A\x00", &[2]),
];

/// Every packet that has properties, and the will.
const CARRIERS: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15];

/// A packet, valid but for these properties. Those of authentication data get their method where it is missing.
fn with(carrier: u8, properties: &[u8]) -> Vec<u8> {
    let method: &[u8] = if properties.contains(&0x15) {
        b""
    } else {
        b"\x15\x00\x01m"
    };
    let block_of = block(&[properties]);
    let authenticated = block(&[method, properties]);
    let connect: &[u8] = b"\x00\x04MQTT\x05";
    match carrier {
        0 => packet(
            0x10,
            &[
                connect,
                b"\x06\x00\x00\x00\x00\x00",
                &block_of,
                b"\x00\x01w\x00\x00",
            ],
        ),
        1 => packet(0x10, &[connect, b"\x02\x00\x00", &authenticated, b"\x00\x00"]),
        2 => packet(0x20, &[b"\x00\x00", &authenticated]),
        3 => packet(0x30, &[b"\x00\x01a", &block_of]),
        4..=7 => packet(
            carrier << 4 | u8::from(carrier == 6) << 1,
            &[b"\x00\x01\x00", &block_of],
        ),
        8 => packet(0x82, &[b"\x00\x01", &block_of, b"\x00\x01a\x00"]),
        9 => packet(0x90, &[b"\x00\x01", &block_of, b"\x00"]),
        10 => packet(0xA2, &[b"\x00\x01", &block_of, b"\x00\x01a"]),
        11 => packet(0xB0, &[b"\x00\x01", &block_of, b"\x00"]),
        14 => packet(0xE0, &[b"\x00", &block_of]),
        15 => packet(0xF0, &[b"\x18", &authenticated]),
        other => panic!("packet {other} has no properties"),
    }
}

#[test]
fn every_property_is_taken_where_the_specification_lists_it_and_nowhere_else() {
    let mut wrong = Vec::new();
    for (id, valid, carriers) in TABLE {
        for carrier in CARRIERS {
            let listed = carriers.contains(carrier);
            let answer = decoded(V5, &with(*carrier, valid)).map(|_| ());
            let expected = if listed {
                Ok(())
            } else {
                Err(Malformed::PropertyNotAllowed(*id).into())
            };
            if answer != expected {
                wrong.push(format!("{} in {carrier}: {answer:?}", name(*id)));
            }
        }
    }
    report(wrong);
}

#[test]
fn a_property_occurs_once_unless_it_may_repeat() {
    let mut wrong = Vec::new();
    for (id, valid, carriers) in TABLE {
        for carrier in *carriers {
            let repeats = *id == 0x26 || (*id == 0x0B && *carrier == 3);
            let answer = decoded(V5, &with(*carrier, &[*valid, *valid].concat())).map(|_| ());
            let expected = if repeats {
                Ok(())
            } else {
                Err(Violation::DuplicateProperty(*id).into())
            };
            if answer != expected {
                wrong.push(format!("{} twice in {carrier}: {answer:?}", name(*id)));
            }
        }
    }
    report(wrong);
}

#[test]
fn every_other_identifier_is_unknown_in_every_packet() {
    for id in (0..128_u8).filter(|id| TABLE.iter().all(|row| row.0 != *id)) {
        for carrier in CARRIERS {
            let error = WireError::from(Malformed::UnknownProperty(u32::from(id)));
            assert_eq!(
                decoded(V5, &with(*carrier, &[id, 0, 0])),
                Err(error),
                "0x{id:02X} in {carrier}"
            );
        }
        assert_eq!(name(id), "Unlisted property");
    }
}

#[test]
fn a_property_cut_off_at_any_byte_is_truncated() {
    for (id, valid, carriers) in TABLE {
        for carrier in *carriers {
            for len in 1..valid.len() {
                // Authentication properties stand last in their block, so nothing can fill the gap.
                let answer = decoded(V5, &with(*carrier, &valid[..len]));
                assert_eq!(
                    answer,
                    Err(Malformed::Truncated.into()),
                    "{} cut at {len} in {carrier}",
                    name(*id)
                );
            }
        }
    }
}

#[test]
fn wrong_values_are_refused_with_their_rule() {
    let zero = |id| WireError::from(Violation::ZeroProperty(id));
    let flag = |id| WireError::from(Violation::NotZeroOrOne(id));
    let malformed = |malformed: Malformed| WireError::from(malformed);
    let topic = |error| WireError::from(Violation::ResponseTopic(error));
    let mut cases: Vec<(u8, &[u8], WireError)> = vec![
        (3, b"\x01\x02", flag(0x01)),
        (3, b"\x01\xFF", flag(0x01)),
        (3, b"\x23\x00\x00", zero(0x23)),
        (3, b"\x0B\x00", zero(0x0B)),
        (8, b"\x0B\x00", zero(0x0B)),
        (8, b"\x0B\x80\x00", malformed(Malformed::VarintNotShortest)),
        (8, b"\x0B\x81\x80\x00", malformed(Malformed::VarintNotShortest)),
        (
            8,
            b"\x0B\x80\x80\x80\x80\x01",
            malformed(Malformed::VarintTooLong),
        ),
        (3, b"\x81\x00\x01", malformed(Malformed::VarintNotShortest)),
        (3, b"\x80\x01\x01", malformed(Malformed::UnknownProperty(128))),
        (3, b"\x81\x02\x01", malformed(Malformed::UnknownProperty(257))),
        (3, b"\xFF\xFF\xFF\xFF\x01", malformed(Malformed::VarintTooLong)),
        (1, b"\x21\x00\x00", zero(0x21)),
        (2, b"\x21\x00\x00", zero(0x21)),
        (1, b"\x27\x00\x00\x00\x00", zero(0x27)),
        (2, b"\x27\x00\x00\x00\x00", zero(0x27)),
        (1, b"\x17\x02", flag(0x17)),
        (1, b"\x19\x02", flag(0x19)),
        (3, b"\x08\x00\x01#", topic(NameError::Wildcard)),
        (3, b"\x08\x00\x03a/+", topic(NameError::Wildcard)),
        (3, b"\x08\x00\x00", topic(NameError::Empty)),
        (3, b"\x08\x00\x01\0", malformed(Malformed::NullCharacter)),
        (3, b"\x03\x00\x01\0", malformed(Malformed::NullCharacter)),
        (3, b"\x03\x00\x01\xFF", malformed(Malformed::NotUtf8)),
        (3, b"\x26\x00\x01\0\x00\x00", malformed(Malformed::NullCharacter)),
        (3, b"\x26\x00\x00\x00\x01\0", malformed(Malformed::NullCharacter)),
        (3, b"\x26\x00\x01\xC0\x00\x00", malformed(Malformed::NotUtf8)),
        (3, b"\x26\x00\x00\x00\x01\xC0", malformed(Malformed::NotUtf8)),
        (4, b"\x1F\x00\x01\0", malformed(Malformed::NullCharacter)),
        (15, b"\x15\x00\x01\xFF", malformed(Malformed::NotUtf8)),
    ];
    let flags: [(&[u8], u8); 5] = [
        (b"\x24\x02", 0x24),
        (b"\x25\x02", 0x25),
        (b"\x28\x02", 0x28),
        (b"\x29\x02", 0x29),
        (b"\x2A\x02", 0x2A),
    ];
    cases.extend(flags.iter().map(|(bytes, id)| (2, *bytes, flag(*id))));
    let mut wrong = Vec::new();
    for (carrier, properties, error) in cases {
        let answer = decoded(V5, &with(carrier, properties));
        if answer != Err(error) {
            wrong.push(format!(
                "{} in {carrier}: {answer:?} instead of {error:?}",
                hex(properties)
            ));
        }
    }
    report(wrong);
}

#[test]
fn a_block_ends_where_its_length_says() {
    // The value would be there, but outside the block.
    let publish = packet(0x30, &[b"\x00\x01a\x01\x01\x01payload"]);
    assert_eq!(decoded(V5, &publish), Err(Malformed::Truncated.into()));
    let subscribe = packet(0x82, &[b"\x00\x01\x04\x26\x00\x00\x00", b"\x01a\x00"]);
    assert_eq!(decoded(V5, &subscribe), Err(Malformed::Truncated.into()));
}

#[test]
fn more_user_properties_than_the_limit_are_refused_unless_they_are_only_passed_on() {
    let max = sluice_mqtt::limits::USER_PROPERTIES_MAX;
    let many = |count: usize| b"\x26\x00\x00\x00\x00".repeat(count);
    for carrier in CARRIERS {
        let passed_on = matches!(carrier, 0 | 3);
        assert!(decoded(V5, &with(*carrier, &many(max))).is_ok(), "{carrier}");
        let expected = if passed_on {
            None
        } else {
            Some(Violation::TooManyUserProperties.into())
        };
        assert_eq!(
            decoded(V5, &with(*carrier, &many(max + 1))).err(),
            expected,
            "{carrier}"
        );
    }
}

#[test]
fn forwarded_properties_are_read_and_built_alike() {
    let list = [
        ForwardedProperty::PayloadFormat(1),
        ForwardedProperty::User("k", "v"),
        ForwardedProperty::ContentType("text"),
        ForwardedProperty::ResponseTopic("reply/to"),
        ForwardedProperty::CorrelationData(b"\x00\xFF"),
        ForwardedProperty::User("k", ""),
    ];
    let mut builder = ForwardedBuilder::new();
    for property in list {
        builder.push(property);
    }
    let encoded = builder.finish().expect("valid");
    assert_eq!(ForwardedProperties::new(&encoded).collect::<Vec<_>>(), list);
    assert_eq!(builder.finish(), Ok(Bytes::new()), "the builder starts again");
    // What was built is what a client would have sent.
    let publish = packet(0x30, &[b"\x00\x01a", &block(&[&encoded])]);
    assert!(decoded(V5, &publish).is_ok());
}

#[test]
fn a_builder_refuses_what_a_client_could_not_send() {
    use ForwardedProperty::{ContentType, CorrelationData, PayloadFormat, ResponseTopic, User};
    let long = "x".repeat(65_536);
    let refused: &[(&[ForwardedProperty<'_>], WireError)] = &[
        (&[PayloadFormat(2)], Violation::NotZeroOrOne(1).into()),
        (
            &[PayloadFormat(0), PayloadFormat(0)],
            Violation::DuplicateProperty(1).into(),
        ),
        (
            &[ContentType("a"), ContentType("b")],
            Violation::DuplicateProperty(3).into(),
        ),
        (
            &[ResponseTopic("a/#")],
            Violation::ResponseTopic(NameError::Wildcard).into(),
        ),
        (
            &[ResponseTopic("")],
            Violation::ResponseTopic(NameError::Empty).into(),
        ),
        (&[User("a\0", "")], Malformed::NullCharacter.into()),
        (&[CorrelationData(long.as_bytes())], Malformed::Truncated.into()),
        (&[User("", &long)], Malformed::Truncated.into()),
        (&[ContentType(&long)], Malformed::Truncated.into()),
    ];
    for (properties, error) in refused {
        let mut builder = ForwardedBuilder::new();
        for property in *properties {
            builder.push(*property);
        }
        assert_eq!(builder.finish(), Err(*error));
    }
}

#[test]
fn bytes_that_are_not_forwarded_properties_end_the_iteration() {
    for bytes in [b"\x23\x00\x01".as_slice(), b"\x7F", b"\x26\x00", b"\x01\x05"] {
        assert_eq!(ForwardedProperties::new(bytes).next(), None);
    }
}
