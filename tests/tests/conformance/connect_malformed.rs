//! CONNECT packets whose format is wrong: nobody is let in by them.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, Encode, V5, V311, Version, connect, frame, will};
use sluice_tests::property::{Property, prefixed, properties_bytes};
use sluice_tests::unique;

/// Bits of the connect flags.
const RESERVED: u8 = 0x01;
const WILL: u8 = 0x04;
const WILL_QOS_1: u8 = 0x08;
const WILL_QOS_2: u8 = 0x10;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

/// The packet is answered by a closed connection; in 5.0 a CONNACK may say why.
fn check_refused(version: Version, packet: impl Encode) {
    let mut peer = broker().peer(version);
    peer.send(packet);
    peer.expect_not_admitted(&[0x81, 0x82]);
}

// v311[3.1.2-3 3.1.4-1 3.2.2-6 2.2.2-2] v5[3.1.2-3 3.1.4-1 2.1.3-1]
#[test]
fn the_reserved_connect_flag_is_checked() {
    for version in BOTH {
        check_refused(version, connect(version, unique("c")).flip_flags(RESERVED));
    }
}

// v311[2.2.2-1 2.2.2-2] v5[2.1.3-1] traps[47]
#[test]
fn the_fixed_header_flags_of_connect_are_checked() {
    for version in BOTH {
        for flags in [1, 2, 4, 8] {
            let mut packet = connect(version, unique("c")).bytes(version);
            packet[0] |= flags;
            check_refused(version, packet);
        }
    }
}

// v311[3.1.2-11 3.1.2-13 3.1.2-15] v5[3.1.2-11 3.1.2-13] traps[8]
#[test]
fn without_a_will_its_qos_and_retain_must_be_zero() {
    for version in BOTH {
        for flags in [WILL_QOS_1, WILL_QOS_2, WILL_RETAIN] {
            check_refused(version, connect(version, unique("c")).flip_flags(flags));
        }
    }
}

// v311[3.1.2-14] v5[3.1.2-12]
#[test]
fn a_will_never_has_qos_3() {
    for version in BOTH {
        check_refused(version, connect(version, unique("c")).will(will("t", "x").qos(3)));
    }
}

// v311[3.1.2-9] v5[3.1.2-9]
#[test]
fn a_will_flag_without_a_will_is_malformed() {
    for version in BOTH {
        check_refused(version, connect(version, unique("c")).flip_flags(WILL));
    }
}

// v311[3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21] v5[3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19]
#[test]
fn user_name_and_password_are_there_exactly_when_their_flags_say_so() {
    for version in BOTH {
        let id = unique("c");
        let plain = connect(version, &id);
        check_refused(version, plain.clone().flip_flags(USERNAME));
        check_refused(version, plain.clone().flip_flags(USERNAME | PASSWORD));
        check_refused(version, plain.clone().username("u").flip_flags(PASSWORD));
        check_refused(version, plain.clone().username("u").flip_flags(USERNAME));
        check_refused(version, plain.username("u").password("p").flip_flags(PASSWORD));
    }
}

// v311[3.1.2-22]
#[test]
fn a_password_without_a_user_name_is_refused_before_5() {
    check_refused(V311, connect(V311, unique("c")).password("p"));
}

#[test]
fn a_password_without_a_user_name_is_well_formed_in_5() {
    let (mut peer, _) = broker().join(&connect(V5, unique("c")).password("p"));
    peer.ping();
}

// v311[3.1.3-3] v5[3.1.3-3 3.1.4-1]
#[test]
fn a_connect_without_a_client_id_is_refused() {
    for version in BOTH {
        let whole = connect(version, "").bytes(version);
        let body = &whole[2..whole.len() - 2];
        check_refused(version, frame(0x10, body));
    }
}

// v311[3.1.4-1] v5[3.1.4-1] traps[48]
#[test]
fn every_truncated_connect_is_refused() {
    for version in BOTH {
        let whole = connect(version, unique("c"))
            .will(will("t", "w").qos(1).property(Property::WillDelay(1)))
            .username("u")
            .password("p")
            .property(Property::SessionExpiry(1))
            .bytes(version);
        let body = &whole[2..];
        for length in 0..body.len() {
            check_refused(version, frame(0x10, &body[..length]));
        }
    }
}

#[test]
fn bytes_behind_the_last_field_of_connect_are_refused() {
    for version in BOTH {
        let whole = connect(version, unique("c")).bytes(version);
        check_refused(version, frame(0x10, &[&whole[2..], b"x"].concat()));
    }
}

// v311[1.5.3-1 1.5.3-2 3.1.3-4 3.1.3-10 3.1.3-11] v5[1.5.4-1 1.5.4-2 3.1.3-4 3.1.3-11 3.1.3-12] traps[46]
#[test]
fn ill_formed_strings_in_connect_are_refused() {
    let ill_formed: [&[u8]; 5] = [
        b"a\0b",
        b"\xED\xA0\x80",
        b"\xC0\x80",
        b"\xF5\x80\x80\x80",
        b"a\xE2\x82",
    ];
    for version in BOTH {
        for text in ill_formed {
            let mut peer = broker().peer(version);
            peer.send(connect(version, text));
            peer.expect_not_admitted(&[0x81, 0x85]);
            check_refused(version, connect(version, unique("c")).will(will(text, "x")));
            check_refused(version, connect(version, unique("c")).username(text));
        }
    }
}

// v5[3.3.2-2 4.7.0-1] v311[3.3.2-2 4.7.1-1]
#[test]
fn a_will_topic_has_no_wildcards() {
    for version in BOTH {
        for topic in ["a/#", "+", "a/+/b", ""] {
            let mut peer = broker().peer(version);
            peer.send(connect(version, unique("c")).will(will(topic, "x")));
            peer.expect_not_admitted(&[0x81, 0x82, 0x90]);
        }
    }
}

// v5[2.2.2-1 1.5.5-1]
#[test]
fn the_property_length_of_connect_must_be_there_and_fit() {
    let whole = connect(V5, "c").bytes(V5);
    let (head, payload) = (&whole[2..12], &whole[13..]);
    // Longer than the packet, longer than what stands there, in a longer form than needed, and cut.
    for length in [
        &[0x7F][..],
        &[0x01],
        &[0x80, 0x00],
        &[0x80, 0x80, 0x80, 0x80, 0x01],
        &[0x80],
    ] {
        check_refused(V5, frame(0x10, &[head, length, payload].concat()));
    }
    // Missing.
    check_refused(V5, frame(0x10, &[head, payload].concat()));
}

// v5[3.1.4-1] traps[34 41]
#[test]
fn properties_of_connect_are_checked() {
    use Property::*;
    let wrong = [
        vec![ReceiveMaximum(0)],
        vec![MaximumPacketSize(0)],
        vec![RequestProblemInformation(2)],
        vec![RequestResponseInformation(2)],
        vec![AuthData(b"no method".to_vec())],
        vec![SessionExpiry(1), SessionExpiry(1)],
        vec![ReceiveMaximum(1), ReceiveMaximum(2)],
        vec![MaximumPacketSize(100), MaximumPacketSize(100)],
        vec![TopicAliasMaximum(1), TopicAliasMaximum(1)],
        vec![RequestResponseInformation(0), RequestResponseInformation(0)],
        vec![RequestProblemInformation(1), RequestProblemInformation(1)],
        vec![AuthMethod("a".into()), AuthMethod("a".into())],
        // Of other packets, of the server's packets, and of none.
        vec![SubscriptionId(1)],
        vec![TopicAlias(1)],
        vec![WillDelay(1)],
        vec![ServerKeepAlive(1)],
        vec![AssignedClientId("x".into())],
        vec![ReasonString("x".into())],
        vec![Raw(vec![0x00, 0x00])],
        vec![Raw(vec![0x7F, 0x00])],
        vec![Raw(
            [&[0x26][..], &prefixed("k"), &prefixed(b"\xED\xA0\x80")].concat()
        )],
        vec![Raw([&[0x26][..], &prefixed(b"k\0"), &prefixed("v")].concat())],
    ];
    for properties in wrong {
        let mut packet = connect(V5, unique("c"));
        packet.properties = properties;
        check_refused(V5, packet);
    }
}

// v5[3.1.2-9 3.3.2-13 3.3.2-14 3.3.2-19] traps[41 43]
#[test]
fn properties_of_a_will_are_checked() {
    use Property::*;
    let wrong = [
        vec![PayloadFormat(2)],
        vec![WillDelay(1), WillDelay(1)],
        vec![MessageExpiry(1), MessageExpiry(1)],
        vec![ContentType("a".into()), ContentType("a".into())],
        vec![ResponseTopic("a/#".into())],
        vec![SessionExpiry(1)],
        vec![TopicAlias(1)],
        vec![SubscriptionId(1)],
        vec![Raw([&[0x03][..], &prefixed(b"\xC0\x80")].concat())],
        vec![Raw([&[0x08][..], &prefixed(b"a\0")].concat())],
    ];
    for properties in wrong {
        let mut testament = will(unique("t/"), "x");
        testament.properties = properties;
        let mut peer = broker().peer(V5);
        peer.send(connect(V5, unique("c")).will(testament));
        peer.expect_not_admitted(&[0x81, 0x82, 0x90]);
    }
}

// v311[4.8.0-1] traps[48]
#[test]
fn a_connect_longer_than_any_should_be_is_refused_before_it_is_read() {
    for version in BOTH {
        let mut peer = broker().peer(version);
        // 268,435,455 bytes are announced.
        peer.send([0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
        peer.expect_not_admitted(&[0x95]);
        let mut peer = broker().peer(version);
        peer.send([0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
        peer.expect_not_admitted(&[0x81]);
    }
}

#[test]
fn a_property_block_of_a_3_1_1_connect_is_not_understood() {
    let whole = connect(V311, unique("c")).bytes(V311);
    let body = [
        &whole[2..12],
        &properties_bytes(&[Property::SessionExpiry(1)]),
        &whole[12..],
    ]
    .concat();
    check_refused(V311, frame(0x10, &body));
}
