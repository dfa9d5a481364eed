//! What a client asks for in CONNECT (5.0): Maximum Packet Size and Request Problem Information.
//!
//! `Peer` itself fails on any packet that is larger than its CONNECT allowed, or explains itself where it must not.

use crate::brokers::{broker, guarded};
use sluice_tests::packet::{Connect, V5, auth, connect, publish, pubrel, subscribe, unsubscribe, will};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{self, *};
use sluice_tests::unique;

fn explained(properties: &[Property]) -> (bool, bool) {
    let reason = properties
        .iter()
        .any(|property| matches!(property, ReasonString(_)));
    let user = properties.iter().any(|property| matches!(property, User(..)));
    (reason, user)
}

fn with_size(bytes: usize) -> Connect {
    connect(V5, unique("small")).property(MaximumPacketSize(bytes as u32))
}

// v5[3.1.2-24 3.1.2-25] traps[38]
#[test]
fn a_message_too_large_for_a_client_is_left_out_and_the_queue_goes_on() {
    let topic = unique("size/");
    let mut publisher = broker().client(V5);
    for qos in 0..=2 {
        // A window of one: had the large message taken a place in it, nothing would follow.
        let (mut peer, _) = broker().join(&with_size(200).property(ReceiveMaximum(1)));
        peer.subscribe(&topic, 2);
        let mut whole = broker().client(V5);
        whole.subscribe(&topic, 2);
        let large = "x".repeat(200);
        for payload in ["before", &large, &large, "after"] {
            publisher.publish(publish(&topic, payload).qos(qos));
            whole.take(&topic, payload, qos);
        }
        peer.take(&topic, "before", qos);
        peer.take(&topic, "after", qos);
        peer.expect_silence();
    }
}

// v5[3.1.2-24 3.1.2-25] traps[39]
#[test]
fn the_clients_maximum_counts_the_fixed_header() {
    let topic = unique("size/");
    let message = publish(&topic, "x".repeat(150))
        .qos(1)
        .property(User("n".into(), "v".into()));
    let mut measuring = broker().client(V5);
    measuring.subscribe(&topic, 1);
    let mut publisher = broker().client(V5);
    publisher.publish(message.clone());
    let bytes = measuring.take(&topic, &message.payload, 1).wire_bytes;
    let (mut exact, _) = broker().join(&with_size(bytes));
    let (mut less, _) = broker().join(&with_size(bytes - 1));
    exact.subscribe(&topic, 1);
    less.subscribe(&topic, 1);
    publisher.publish(message.clone());
    exact.take(&topic, &message.payload, 1);
    less.expect_silence();
}

// v5[3.1.2-25]
#[test]
fn what_was_too_large_counts_as_delivered() {
    let topic = unique("size/");
    let id = unique("lasting");
    let lasting = connect(V5, &id).lasting();
    let (mut peer, _) = broker().join(&lasting.clone().property(MaximumPacketSize(200)));
    peer.subscribe(&topic, 1);
    let large = "x".repeat(300);
    let mut publisher = broker().client(V5);
    publisher.publish(publish(&topic, &large).qos(1).retain());
    peer.expect_silence();
    peer.leave();
    publisher.publish(publish(&topic, &large).qos(2));
    let (peer, _) = broker().join(&lasting.clone().property(MaximumPacketSize(200)));
    peer.leave();
    // The second connection was sent neither; the third, which could take them, finds nothing left.
    let (mut peer, _) = broker().join(&lasting);
    peer.expect_silence();
    // Retained messages follow the same rule.
    let (mut small, _) = broker().join(&with_size(200));
    small.subscribe(&topic, 1);
    small.expect_silence();
}

// v5[3.2.2-19 3.2.2-20] traps[40]
#[test]
fn connack_leaves_out_what_would_not_fit() {
    let wordy = |bytes: usize| {
        let packet = if bytes == 0 {
            connect(V5, unique("c"))
        } else {
            with_size(bytes)
        };
        let (peer, connack) = guarded().join(&packet.username("wordy"));
        (explained(&connack.properties), peer.last_bytes())
    };
    let (said, bytes) = wordy(0);
    assert_eq!(
        said,
        (true, true),
        "with room there is a reason string and a user property"
    );
    assert_eq!(wordy(bytes).0, (true, true), "it fits exactly");
    let (said, less) = wordy(bytes - 1);
    assert!(
        said != (true, true) && less < bytes,
        "one byte less leaves something out"
    );
    assert_eq!(wordy(100).0, (false, false), "both are left out");
}

// v5[3.2.2-19]
#[test]
fn a_refusing_connack_leaves_out_what_would_not_fit() {
    for (bytes, expected) in [(1000, true), (100, false)] {
        let (mut peer, connack) = guarded().try_join(&with_size(bytes).username("banned"));
        peer.assert(connack.code == 0x8A, "Banned");
        peer.assert(
            explained(&connack.properties).0 == expected,
            "the reason string, if there is room",
        );
        peer.expect_closed();
    }
}

// v5[3.1.2-24]
#[test]
fn a_client_whose_connack_would_not_fit_is_turned_away() {
    // Wanting an identifier, it must be told one. Until it is turned away it has no session to be cleaned up after.
    let mut watcher = broker().client(V5);
    let topic = unique("will/");
    watcher.subscribe(&topic, 0);
    for (bytes, refusal) in [(4, None), (5, Some(0x83)), (30, Some(0x83))] {
        let packet = connect(V5, "")
            .property(MaximumPacketSize(bytes))
            .will(will(&topic, "unsent"));
        let mut peer = broker().peer(V5);
        peer.send(packet);
        if let Some(reason) = refusal {
            let connack = peer.expect_connack();
            peer.assert(connack.code == reason, "Implementation specific error");
        }
        peer.expect_closed();
    }
    watcher.expect_silence();
}

// v5[3.1.2-24]
#[test]
fn a_client_whose_suback_or_unsuback_would_not_fit_does_not_wait_for_it() {
    let filters: Vec<_> = (0..100).map(|_| unique("size/")).collect();
    let (mut peer, _) = broker().join(&with_size(60));
    let packet = filters
        .iter()
        .fold(subscribe(1), |packet, filter| packet.filter(filter, 0));
    peer.send(packet);
    peer.expect_disconnected(&[0x95]);
    let (mut peer, _) = broker().join(&with_size(60));
    let packet = filters
        .iter()
        .fold(unsubscribe(1), |packet, filter| packet.filter(filter));
    peer.send(packet);
    peer.expect_disconnected(&[0x95]);
}

// v5[3.14.2-3 3.14.2-4] traps[40]
#[test]
fn disconnect_leaves_out_what_would_not_fit() {
    // Taken over, with as much room as asked for; what the DISCONNECT says, and how long it is.
    let taken_over = |bytes: usize| {
        let packet = if bytes == 0 {
            connect(V5, unique("c"))
        } else {
            with_size(bytes)
        };
        let (mut old, _) = broker().join(&packet);
        let (_new, _) = broker().join(&connect(V5, &packet.client_id));
        let notice = old.expect_disconnect();
        let size = old.last_bytes();
        old.assert(notice.reason == 0x8E, "Session taken over");
        old.expect_closed();
        (explained(&notice.properties), size)
    };
    let (said, bytes) = taken_over(0);
    assert!(
        said.0 && bytes > CONNACK_BYTES,
        "with room the DISCONNECT says why"
    );
    assert_eq!(taken_over(bytes).0, said, "it fits exactly");
    assert_eq!(
        taken_over(bytes - 1).0,
        (false, false),
        "one byte less leaves it out"
    );
    taken_over(CONNACK_BYTES);
}

/// Enough for the CONNACKs of the default broker.
const CONNACK_BYTES: usize = 32;

/// Is refused everything on the guarded broker.
fn provoke(peer: &mut Peer) {
    peer.send(publish("forbidden/t", "x").qos(1).id(1));
    let reason = peer.expect_puback(1).reason;
    peer.assert(reason == 0x87, "PUBACK: not authorized");
    peer.send(publish("forbidden/t", "x").qos(2).id(2));
    let reason = peer.expect_pubrec(2).reason;
    peer.assert(reason == 0x87, "PUBREC: not authorized");
    peer.send(sluice_tests::packet::pubrec(3));
    let reason = peer.expect_pubrel(3).reason;
    peer.assert(reason == 0x92, "PUBREL: not found");
    peer.send(pubrel(4));
    let reason = peer.expect_pubcomp(4).reason;
    peer.assert(reason == 0x92, "PUBCOMP: not found");
    peer.send(
        subscribe(5)
            .filter("forbidden/t", 0)
            .property(User("u".into(), "v".repeat(50))),
    );
    let codes = peer.expect_suback(5).codes;
    peer.assert(codes == [0x87], "SUBACK: not authorized");
    peer.send(unsubscribe(6).filter("no/such"));
    let codes = peer.expect_unsuback(6).codes;
    peer.assert(codes == [0x11], "UNSUBACK: nothing to unsubscribe");
}

// v5[3.4.2-2 3.4.2-3 3.5.2-2 3.5.2-3 3.6.2-2 3.6.2-3 3.7.2-2 3.7.2-3 3.9.2-1 3.9.2-2 3.11.2-1 3.11.2-2] traps[40]
#[test]
fn no_acknowledgement_is_larger_than_the_client_takes() {
    let (mut peer, _) = guarded().join(&with_size(CONNACK_BYTES));
    provoke(&mut peer);
}

// v5[3.1.2-29] traps[45]
#[test]
fn without_problem_information_no_acknowledgement_explains_itself() {
    let (mut peer, _) = guarded().join(&connect(V5, unique("c")).property(RequestProblemInformation(0)));
    provoke(&mut peer);
    // CONNACK and DISCONNECT may.
    let packet = connect(V5, unique("c"))
        .property(RequestProblemInformation(0))
        .username("wordy");
    let (mut peer, connack) = guarded().join(&packet);
    peer.assert(
        explained(&connack.properties).0,
        "CONNACK explains itself all the same",
    );
    provoke(&mut peer);
}

// v5[3.15.2-2 3.15.2-3 3.1.2-29]
#[test]
fn auth_keeps_to_size_and_silence_as_well() {
    let packet = with_size(100)
        .property(RequestProblemInformation(0))
        .property(AuthMethod("echo".into()));
    let mut peer = guarded().peer(V5);
    peer.insist_on(&packet);
    peer.send(&packet);
    let notice = peer.expect_auth();
    let words = notice.properties.iter().find_map(|property| match property {
        AuthData(data) => Some(data.iter().rev().copied().collect()),
        _ => None,
    });
    peer.send(auth(0x18, "echo").property(AuthData(words.unwrap_or_default())));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "admitted");
}

// v5[3.1.2-28]
#[test]
fn response_information_is_given_to_those_who_ask() {
    let ask = connect(V5, unique("c"))
        .username("wordy")
        .property(RequestResponseInformation(1));
    let (peer, connack) = guarded().join(&ask);
    peer.assert(
        connack
            .properties
            .contains(&ResponseInformation("answers/".into())),
        "as the policy said",
    );
    for packet in [
        connect(V5, unique("c"))
            .username("wordy")
            .property(RequestResponseInformation(0)),
        connect(V5, unique("c")).username("wordy"),
    ] {
        let (peer, connack) = guarded().join(&packet);
        let given = connack
            .properties
            .iter()
            .any(|property| matches!(property, ResponseInformation(_)));
        peer.assert(!given, "not to those who do not");
    }
}
