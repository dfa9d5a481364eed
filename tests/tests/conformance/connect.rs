//! CONNECT and CONNACK: who is let in, and what they are told.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, Encode, PINGREQ, V5, V31, V311, connect, publish, subscribe, will};
use sluice_tests::property::Property;
use sluice_tests::reply::Reply;
use sluice_tests::unique;

// v311[3.1.4-4 3.2.0-1 3.1.3-1 3.1.3-3 7.0.0-2] v5[3.1.4-1 3.1.4-5 3.2.0-1 3.2.0-2 3.2.2-1 3.1.3-3 2.2.2-1]
#[test]
fn a_connect_is_answered_by_one_connack() {
    for version in [V31, V311, V5] {
        let (mut peer, connack) = broker().join(&connect(version, unique("plain")));
        peer.assert(!connack.session_present, "no session was there before");
        peer.ping();
    }
}

// v311[4.2.0-1 7.1.1-1] v5[4.2-1]
#[test]
fn a_packet_may_arrive_byte_by_byte() {
    for version in BOTH {
        let mut peer = broker().peer(version);
        for byte in connect(version, unique("slow")).bytes(version) {
            peer.send([byte]);
        }
        let connack = peer.expect_connack();
        peer.assert(connack.code == 0, "admitted");
        for byte in [PINGREQ[0], PINGREQ[1]] {
            peer.send([byte]);
        }
        peer.expect_pingresp();
    }
}

// v311[3.1.0-1] v5[3.1.0-1 3.14.0-1] traps[50]
#[test]
fn nothing_is_answered_before_connect() {
    for version in BOTH {
        let packets: [&dyn Encode; 6] = [
            &publish("early", "x"),
            &publish("early", "x").qos(1).id(1),
            &subscribe(1).filter("#", 0),
            &PINGREQ,
            &sluice_tests::packet::disconnect(0),
            &sluice_tests::packet::puback(1),
        ];
        for packet in packets {
            let mut peer = broker().peer(version);
            peer.send(packet);
            peer.expect_closed();
        }
    }
}

// v5[3.14.0-1 4.12.0-7] traps[50]
#[test]
fn auth_before_connect_ends_the_connection() {
    let mut peer = broker().peer(V5);
    peer.send(sluice_tests::packet::auth(0x18, "any"));
    peer.expect_closed();
}

// v311[3.1.0-2 4.8.0-1] v5[3.1.0-2 4.13.1-1] traps[50]
#[test]
fn a_second_connect_ends_the_connection() {
    for version in BOTH {
        let first = connect(version, unique("twice"));
        let (mut peer, _) = broker().join(&first);
        peer.send(&first);
        peer.expect_disconnected(&[0x82]);
    }
}

// v311[3.1.3-5 3.1.3-4] v5[3.1.3-5 3.1.3-4]
#[test]
fn plain_client_ids_of_1_to_23_bytes_are_accepted() {
    let ids = [
        "0123456789abcdefghijklm",
        "nopqrstuvwxyzABCDEFGHIJ",
        "KLMNOPQRSTUVWXYZ",
        "z",
    ];
    for version in BOTH {
        for id in ids {
            let (mut peer, _) = broker().join(&connect(version, id));
            peer.ping();
            peer.leave();
        }
    }
}

// v311[3.1.3-6]
#[test]
fn an_empty_client_id_with_a_clean_session_gets_one_of_its_own() {
    let (mut first, _) = broker().join(&connect(V311, ""));
    let (mut second, _) = broker().join(&connect(V311, ""));
    // Had both the same identifier, the second would have taken over.
    first.ping();
    second.ping();
}

// v5[3.1.3-6 3.1.3-7 3.2.2-16] traps[55]
#[test]
fn an_assigned_client_id_is_told_and_is_good_for_coming_back() {
    let lasting = connect(V5, "").resuming().property(Property::SessionExpiry(60));
    let (first, connack) = broker().join(&lasting);
    let id = assigned(&connack.properties).expect("an identifier is assigned");
    let (_second, other) = broker().join(&lasting);
    first.assert(
        assigned(&other.properties) != Some(id.clone()),
        "identifiers are unique",
    );
    first.leave();
    let again = connect(V5, &id).resuming();
    let (peer, connack) = broker().join(&again);
    peer.assert(
        connack.session_present,
        "the session is found under the assigned identifier",
    );
    peer.assert(
        assigned(&connack.properties).is_none(),
        "a chosen identifier is not assigned again",
    );
}

fn assigned(properties: &[Property]) -> Option<String> {
    properties.iter().find_map(|property| match property {
        Property::AssignedClientId(id) => Some(id.clone()),
        _ => None,
    })
}

// v311[3.1.3-7 3.1.3-8 3.1.3-9 3.2.2-4 3.2.2-5] traps[55]
#[test]
fn an_empty_client_id_that_wants_a_session_is_refused_before_5() {
    let (mut peer, connack) = broker().try_join(&connect(V311, "").resuming());
    peer.assert(connack.code == 2, "identifier rejected");
    peer.expect_closed();
}

#[test]
fn an_empty_client_id_is_refused_in_3_1() {
    for packet in [connect(V31, ""), connect(V31, "").resuming()] {
        let (mut peer, connack) = broker().try_join(&packet);
        peer.assert(connack.code == 2, "identifier rejected");
        peer.expect_closed();
    }
}

#[test]
fn a_client_id_of_3_1_has_at_most_23_characters() {
    let longest = format!("{:x<23}", unique("id"));
    let (mut peer, _) = broker().join(&connect(V31, &longest));
    peer.ping();
    let (mut peer, connack) = broker().try_join(&connect(V31, format!("{longest}x")));
    peer.assert(connack.code == 2, "identifier rejected");
    peer.expect_closed();
    // Later versions leave the length to the server.
    for version in BOTH {
        let (mut peer, _) = broker().join(&connect(version, format!("{longest}{version:?}")));
        peer.ping();
    }
}

// v311[3.1.2-1]
#[test]
fn a_wrong_protocol_name_is_never_served() {
    for name in ["MQTX", "mqtt", "MQT", "HTTP", ""] {
        for version in BOTH {
            let mut bytes = connect(version, unique("odd")).bytes(version);
            let body = [&sluice_tests::property::prefixed(name)[..], &bytes.split_off(8)].concat();
            let mut peer = broker().peer(version);
            peer.send(sluice_tests::packet::frame(0x10, &body));
            peer.send(PINGREQ);
            peer.expect_not_admitted(&[0x84]);
        }
    }
}

// v5[3.1.2-1 3.1.2-2] traps[52]
#[test]
fn a_level_from_the_future_is_refused_as_5_0_does() {
    for level in [6, 7, 0x7F] {
        let mut packet = connect(V5, unique("level")).bytes(V5);
        packet[8] = level;
        let mut peer = broker().peer(V5);
        peer.send(packet);
        peer.expect_not_admitted(&[0x84]);
    }
}

// v311[3.1.2-2 3.2.2-5] traps[52]
#[test]
fn a_level_of_the_past_is_refused_with_return_code_1() {
    for level in [1, 2, 3] {
        let mut packet = connect(V311, unique("level")).bytes(V311);
        packet[8] = level;
        let mut peer = broker().peer(V311);
        peer.send(packet);
        let connack = peer.expect_connack();
        peer.assert(connack.code == 1, "unacceptable protocol version");
        peer.expect_closed();
    }
}

// v311[4.5.0-1] v5[4.5.0-1] traps[51]
#[test]
fn packets_right_behind_connect_are_processed_in_order() {
    for version in BOTH {
        let topic = unique("behind/");
        let mut peer = broker().peer(version);
        peer.send_all(&[
            &connect(version, unique("eager")),
            &subscribe(1).filter(&topic, 0),
            &publish(&topic, "first"),
            &publish(&topic, "second").qos(1).id(2),
        ]);
        let connack = peer.expect_connack();
        peer.assert(connack.code == 0, "admitted");
        peer.expect_suback(1);
        let mut payloads = Vec::new();
        let mut acknowledged = false;
        while payloads.len() < 2 || !acknowledged {
            match peer.receive() {
                Reply::Publish(delivered) => payloads.push(delivered.payload),
                Reply::PubAck(acked) => acknowledged = acked.packet_id == 2,
                _ => peer.fail("expected the messages and their acknowledgement"),
            }
        }
        peer.assert(
            payloads == [b"first".to_vec(), b"second".to_vec()],
            "in the order of publishing",
        );
    }
}

// v311[3.1.4-5 3.2.2-4]
#[test]
fn nothing_behind_a_refused_connect_is_processed() {
    let topic = unique("refused/");
    let mut watcher = broker().client(V311);
    watcher.subscribe(&topic, 0);
    let mut peer = broker().peer(V311);
    peer.send_all(&[&connect(V311, "").resuming(), &publish(&topic, "x"), &PINGREQ]);
    let connack = peer.expect_connack();
    peer.assert(connack.code == 2, "identifier rejected");
    peer.expect_closed();
    watcher.expect_silence();
}

// v5[3.1.4-2 3.1.4-6 3.2.2-6 3.2.2-7 3.2.2-8 4.12.0-1 4.12.0-4 4.13.2-1] traps[9 51]
#[test]
fn a_refused_connect_leaves_nothing_behind() {
    let topic = unique("refused/");
    let mut watcher = broker().client(V5);
    watcher.subscribe(&topic, 0);
    let mut peer = broker().peer(V5);
    let packet = connect(V5, unique("refused"))
        .will(will(&topic, "will"))
        .property(Property::AuthMethod("unheard-of".to_owned()));
    peer.send_all(&[&packet, &publish(&topic, "x"), &PINGREQ]);
    let connack = peer.expect_connack();
    peer.assert([0x8C, 0x87].contains(&connack.code), "bad authentication method");
    peer.expect_closed();
    watcher.expect_silence();
}

// v5[3.1.2-28]
#[test]
fn response_information_is_not_given_unasked() {
    for packet in [
        connect(V5, unique("plain")),
        connect(V5, unique("plain")).property(Property::RequestResponseInformation(0)),
    ] {
        let (peer, connack) = broker().join(&packet);
        let given = connack
            .properties
            .iter()
            .any(|p| matches!(p, Property::ResponseInformation(_)));
        peer.assert(!given, "no Response Information");
    }
}

// v311[3.12.4-1] v5[3.12.4-1]
#[test]
fn each_ping_is_answered() {
    for version in BOTH {
        let mut peer = broker().client(version);
        peer.send([PINGREQ, PINGREQ, PINGREQ].concat());
        for _ in 0..3 {
            peer.expect_pingresp();
        }
        peer.ping();
    }
}

// v311[3.14.4-1 3.14.4-2] v5[3.14.4-1 3.14.4-2]
#[test]
fn after_disconnect_the_broker_closes_and_processes_nothing_more() {
    for version in BOTH {
        let topic = unique("gone/");
        let mut watcher = broker().client(version);
        watcher.subscribe(&topic, 0);
        let mut peer = broker().client(version);
        peer.send_all(&[
            &sluice_tests::packet::disconnect(0),
            &publish(&topic, "late"),
            &PINGREQ,
        ]);
        peer.expect_closed();
        watcher.expect_silence();
    }
}
