//! Packets of a connected client that are malformed or forbidden: each ends the connection, and nothing else.

use crate::brokers::broker;
use sluice_tests::packet::{
    BOTH, Encode, PINGREQ, V5, V311, Version, disconnect, frame, puback, pubcomp, publish, pubrec, pubrel,
    subscribe, unsubscribe,
};
use sluice_tests::property::Property::{self, *};
use sluice_tests::property::prefixed;
use sluice_tests::unique;

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;

/// The packet ends the connection of its sender, for one of these reasons.
fn check_ends(version: Version, packet: impl Encode, reasons: &[u8]) {
    let mut peer = broker().client(version);
    peer.send(packet);
    peer.expect_disconnected(reasons);
}

// v311[2.2.2-1 2.2.2-2 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1]
// v5[2.1.3-1 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1 4.13.1-1] traps[47]
#[test]
fn reserved_fixed_header_flags_are_checked_on_every_packet() {
    for version in BOTH {
        let packets: [&dyn Encode; 8] = [
            &puback(1),
            &pubrec(1),
            &pubrel(1),
            &pubcomp(1),
            &subscribe(1).filter("a", 0),
            &unsubscribe(1).filter("a"),
            &PINGREQ,
            &disconnect(0),
        ];
        for packet in packets {
            let whole = packet.bytes(version);
            for flags in (0..16).filter(|flags| *flags != whole[0] & 0x0F) {
                let mut wrong = whole.clone();
                wrong[0] = wrong[0] & 0xF0 | flags;
                check_ends(version, wrong, &[MALFORMED]);
            }
        }
    }
}

// v5[3.15.1-1 4.12.0-7] traps[47 58]
#[test]
fn flags_of_auth_are_checked_too() {
    for flags in 1..16 {
        let mut packet = sluice_tests::packet::auth(0x19, "m").bytes(V5);
        packet[0] |= flags;
        check_ends(V5, packet, &[MALFORMED]);
    }
}

// v311[3.3.1-4] v5[3.3.1-4] traps[36]
#[test]
fn qos_3_and_dup_without_qos_are_malformed() {
    for version in BOTH {
        let topic = unique("t/");
        check_ends(version, publish(&topic, "x").qos(3).id(1), &[MALFORMED]);
        check_ends(
            version,
            publish(&topic, "x").qos(3).id(1).retain().dup(),
            &[MALFORMED],
        );
        check_ends(version, publish(&topic, "x").dup(), &[MALFORMED]);
    }
}

// v311[2.3.1-1] v5[2.2.1-3] traps[48]
#[test]
fn packet_id_0_is_refused() {
    for version in BOTH {
        let packets: [&dyn Encode; 8] = [
            &publish("t", "x").qos(1).id(0),
            &publish("t", "x").qos(2).id(0),
            &subscribe(0).filter("a", 0),
            &unsubscribe(0).filter("a"),
            &puback(0),
            &pubrec(0),
            &pubrel(0),
            &pubcomp(0),
        ];
        for packet in packets {
            check_ends(version, packet, &[MALFORMED, PROTOCOL_ERROR]);
        }
    }
}

// v5[2.2.1-2] v311[2.3.1-5]
#[test]
fn with_qos_0_there_is_no_packet_id() {
    for version in BOTH {
        let topic = unique("t/");
        let mut subscriber = broker().client(version);
        subscriber.subscribe(&topic, 0);
        // What stands where the identifier would is, before 5.0, payload; in 5.0 it would be a property length.
        broker().client(V311).publish(publish(&topic, [0, 1, b'x']));
        subscriber.take(&topic, [0, 1, b'x'], 0);
    }
}

// v311[3.8.3-3 3.10.3-2] v5[3.8.3-2 3.10.3-2]
#[test]
fn a_subscribe_or_unsubscribe_without_filters_is_a_protocol_error() {
    for version in BOTH {
        check_ends(version, subscribe(1), &[PROTOCOL_ERROR]);
        check_ends(version, unsubscribe(1), &[PROTOCOL_ERROR]);
    }
}

// v311[3.8.3-4] v5[3.8.3-5] traps[48]
#[test]
fn reserved_subscription_options_are_refused() {
    for version in BOTH {
        for options in [0x03, 0x40, 0x80, 0xC1] {
            check_ends(
                version,
                subscribe(1).filter("a", options),
                &[MALFORMED, PROTOCOL_ERROR],
            );
        }
    }
    // In 5.0 retain handling 3 too; before 5.0 all of those bits.
    check_ends(V5, subscribe(1).filter("a", 0x30), &[MALFORMED, PROTOCOL_ERROR]);
    for options in [0x04, 0x08, 0x10, 0x20] {
        check_ends(V311, subscribe(1).filter("a", options), &[]);
    }
}

// v5[3.3.4-6 4.13.1-1] traps[42]
#[test]
fn subscription_identifiers_stand_where_they_belong_and_are_not_0() {
    let topic = unique("t/");
    check_ends(
        V5,
        publish(&topic, "x").property(SubscriptionId(1)),
        &[PROTOCOL_ERROR],
    );
    check_ends(
        V5,
        publish(&topic, "x").qos(1).id(1).property(SubscriptionId(9)),
        &[PROTOCOL_ERROR],
    );
    check_ends(
        V5,
        subscribe(1).filter("a", 0).property(SubscriptionId(0)),
        &[PROTOCOL_ERROR],
    );
    let twice = subscribe(1)
        .filter("a", 0)
        .property(SubscriptionId(1))
        .property(SubscriptionId(2));
    check_ends(V5, twice, &[PROTOCOL_ERROR]);
}

// v5[3.4.2-1 3.5.2-1 3.6.2-1 3.7.2-1 3.14.2-1]
#[test]
fn reason_codes_that_are_not_listed_are_refused() {
    for ack in [puback(1), pubrec(1), pubrel(1), pubcomp(1)] {
        for reason in [0x01, 0x18, 0x7F, 0x8E, 0xFF] {
            check_ends(V5, ack.clone().reason(reason), &[MALFORMED, PROTOCOL_ERROR]);
        }
    }
    // PUBREL and PUBCOMP have two only.
    check_ends(V5, pubrel(1).reason(0x80), &[MALFORMED, PROTOCOL_ERROR]);
    check_ends(V5, pubcomp(1).reason(0x10), &[MALFORMED, PROTOCOL_ERROR]);
    // Of DISCONNECT some are the server's.
    for reason in [0x01, 0x02, 0x7F, 0x8B, 0x8E, 0xFF] {
        let mut peer = broker().client(V5);
        peer.send(disconnect(reason));
        peer.expect_disconnected(&[MALFORMED, PROTOCOL_ERROR]);
    }
}

// v5[4.13.1-1] traps[41]
#[test]
fn a_property_may_not_be_repeated_or_stand_in_the_wrong_packet() {
    let topic = unique("t/");
    let twice = [
        PayloadFormat(0),
        MessageExpiry(1),
        ContentType("a".into()),
        ResponseTopic("a".into()),
        CorrelationData(vec![1]),
        TopicAlias(1),
    ];
    for property in twice {
        let packet = publish(&topic, "x").property(property.clone()).property(property);
        check_ends(V5, packet, &[PROTOCOL_ERROR]);
    }
    let misplaced = [
        SessionExpiry(1),
        WillDelay(1),
        ReasonString("x".into()),
        ServerKeepAlive(1),
        Raw(vec![0x00]),
        Raw(vec![0x7E, 0x01]),
    ];
    for property in misplaced {
        check_ends(
            V5,
            publish(&topic, "x").property(property),
            &[MALFORMED, PROTOCOL_ERROR],
        );
    }
    let reason = ReasonString("x".into());
    let packets: [&dyn Encode; 6] = [
        &puback(1).property(reason.clone()).property(reason.clone()),
        &pubrel(1).property(ContentType("x".into())),
        &subscribe(1).filter("a", 0).property(reason.clone()),
        &unsubscribe(1).filter("a").property(SubscriptionId(1)),
        &disconnect(0)
            .property(SessionExpiry(0))
            .property(SessionExpiry(0)),
        &disconnect(0).property(ServerReference("elsewhere".into())),
    ];
    for packet in packets {
        check_ends(V5, packet, &[MALFORMED, PROTOCOL_ERROR]);
    }
}

// v5[3.3.2-8 4.13.1-1]
#[test]
fn values_that_a_property_cannot_have_are_refused() {
    let topic = unique("t/");
    check_ends(
        V5,
        publish(&topic, "x").property(PayloadFormat(2)),
        &[MALFORMED, PROTOCOL_ERROR],
    );
    check_ends(V5, publish(&topic, "x").property(TopicAlias(0)), &[0x94]);
}

// v5[1.5.5-1 2.2.2-1] v311[4.8.0-1] traps[48]
#[test]
fn lengths_must_be_true_and_shortest() {
    for version in BOTH {
        // A remaining length of five bytes; one in two bytes that would fit into one.
        check_ends(version, [0x30, 0x80, 0x80, 0x80, 0x80, 0x01], &[MALFORMED]);
        check_ends(version, [0xC0, 0x80, 0x00], &[MALFORMED]);
        // Bodies that must be empty or shorter.
        check_ends(version, [0xC0, 0x01, 0x00], &[MALFORMED]);
        check_ends(version, frame(0x62, &[0, 1, 0, 0, 0]), &[MALFORMED]);
    }
    for (properties, rest) in [
        (&[0x80, 0x00][..], &b"x"[..]),
        (&[0x80, 0x80, 0x80, 0x80, 0x01], b""),
        (&[0x05], b"x"),
    ] {
        let body = [&prefixed("t")[..], properties, rest].concat();
        check_ends(V5, frame(0x30, &body), &[MALFORMED]);
    }
    // No property length at all.
    check_ends(V5, frame(0x30, &prefixed("t")), &[MALFORMED]);
    check_ends(V311, frame(0xE0, &[0]), &[]);
}

// v311[4.8.0-1] v5[4.13.1-1] traps[48]
#[test]
fn every_truncated_packet_ends_the_connection() {
    for version in BOTH {
        let packets: [&dyn Encode; 5] = [
            &publish("topic", "")
                .qos(1)
                .id(1)
                .property(User("name".into(), "value".into())),
            &puback(1).property(ReasonString("why".into())).reason(0x80),
            &subscribe(1)
                .filter("a/b", 1)
                .filter("c", 2)
                .property(SubscriptionId(200)),
            &unsubscribe(1)
                .filter("a/b")
                .property(User("a".into(), "b".into())),
            &disconnect(4)
                .property(SessionExpiry(0))
                .property(ReasonString("why".into())),
        ];
        for packet in packets {
            let whole = packet.bytes(version);
            for length in 0..whole.len() - 2 {
                let cut = frame(whole[0], &whole[2..2 + length]);
                let mut peer = broker().client(version);
                peer.send(&cut);
                if !is_complete(version, whole[0], length) {
                    peer.expect_disconnected(&[MALFORMED, PROTOCOL_ERROR]);
                }
            }
        }
    }
}

/// Whether this many bytes of the packets above happen to be a well-formed packet.
fn is_complete(version: Version, first_byte: u8, length: usize) -> bool {
    match (first_byte >> 4, version) {
        // The short forms: identifier; identifier and reason.
        (4, V5) => length == 2 || length == 3,
        (4, _) => length == 2,
        // Identifier and the first filter.
        (8, V5) => length == 2 + 4 + 5 + 1,
        (8, _) => length == 2 + 5 + 1,
        // Without reason and properties; with a reason.
        (14, V5) => length <= 1,
        (14, _) => length == 0,
        _ => false,
    }
}

// v311[4.8.0-1] v5[4.13.1-1] traps[50]
#[test]
fn packets_of_a_server_are_refused() {
    let packets: [&[u8]; 6] = [
        &[0x20, 2, 0, 0],
        &[0x20, 3, 0, 0, 0],
        &[0x90, 3, 0, 1, 0],
        &[0x90, 4, 0, 1, 0, 0],
        &[0xB0, 2, 0, 1],
        &[0xD0, 0],
    ];
    for version in BOTH {
        for packet in packets {
            check_ends(version, packet, &[MALFORMED, PROTOCOL_ERROR]);
        }
        check_ends(version, [0x00, 0], &[MALFORMED, PROTOCOL_ERROR]);
    }
    check_ends(V311, [0xF0, 0], &[]);
}

// v5[3.15.2-1 4.12.0-6 4.12.0-7] traps[58]
#[test]
fn auth_from_a_client_without_a_method_is_a_protocol_error() {
    use sluice_tests::packet::auth;
    for packet in [auth(0x19, "m"), auth(0x18, "m"), auth(0x00, "m"), auth(0x01, "m")] {
        check_ends(V5, packet, &[PROTOCOL_ERROR, MALFORMED]);
    }
    check_ends(V5, [0xF0, 0], &[PROTOCOL_ERROR]);
}

// v311[4.8.0-2] v5[4.13.1-1]
#[test]
fn garbage_of_one_client_does_not_reach_the_others() {
    let topic = unique("calm/");
    let mut witness = broker().client(V5);
    witness.subscribe(&topic, 1);
    for version in BOTH {
        for seed in 0..32_u32 {
            let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
            let garbage: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(200)
            .collect();
            let mut peer = broker().client(version);
            peer.send(&garbage);
            peer.shut_down_sending();
            peer.skip_to_end();
            // And before CONNECT.
            let mut stranger = broker().peer(version);
            stranger.send(&garbage);
            stranger.shut_down_sending();
            stranger.skip_to_end();
        }
    }
    broker().client(V5).publish(publish(&topic, "still here").qos(1));
    witness.take(&topic, "still here", 1);
}

// v311[3.3.2-1 3.3.2-2 4.7.1-1 4.7.3-1] v5[3.3.2-1 3.3.2-2 3.3.2-14 4.7.0-1 4.7.3-1] traps[43]
#[test]
fn topic_names_and_response_topics_without_wildcards() {
    for version in BOTH {
        for topic in ["#", "+", "a/#", "a/+/b", "a+", "a#b"] {
            check_ends(version, publish(topic, "x"), &[MALFORMED, PROTOCOL_ERROR, 0x90]);
            check_ends(
                version,
                publish(topic, "x").qos(1).id(1),
                &[MALFORMED, PROTOCOL_ERROR, 0x90],
            );
        }
    }
    for response in ["#", "a/+"] {
        let packet = publish(unique("t/"), "x").property(Property::ResponseTopic(response.into()));
        check_ends(V5, packet, &[MALFORMED, PROTOCOL_ERROR, 0x90]);
    }
    check_ends(V311, publish("", "x"), &[]);
}

// v311[4.7.1-2 4.7.1-3 4.7.3-1] v5[4.7.1-1 4.7.1-2 4.7.3-1]
#[test]
fn misplaced_wildcards_in_filters_are_refused() {
    let filters = [
        "", "a#", "a/#/b", "#/a", "##", "a/b#", "a+", "+a", "a/+b/c", "a/b+/c", "++", "#+",
    ];
    for version in BOTH {
        for filter in filters {
            for packet in [
                &subscribe(1).filter(filter, 0) as &dyn Encode,
                &unsubscribe(1).filter(filter),
            ] {
                check_ends(version, packet, &[MALFORMED, PROTOCOL_ERROR, 0x8F]);
            }
        }
    }
}
