//! PUBLISH to a client: identifiers, redelivery after a reconnect, and order.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, Connect, V5, Version, connect, puback, pubcomp, publish, pubrec};
use sluice_tests::peer::Peer;
use sluice_tests::reply::Reply;
use sluice_tests::unique;
use std::collections::HashSet;

/// A client whose session lasts and that is subscribed to the topic with QoS 2.
fn lasting_subscriber(version: Version, topic: &str) -> (Peer, Connect) {
    let lasting = connect(version, unique("lasting")).lasting();
    let (mut peer, _) = broker().join(&lasting);
    peer.subscribe(topic, 2);
    (peer, lasting)
}

fn resume(lasting: &Connect) -> Peer {
    let (peer, connack) = broker().join(lasting);
    peer.assert(connack.session_present, "the session is resumed");
    peer
}

// v311[3.8.4-6 4.3.1-1 3.3.1-2 2.3.1-5 4.3.2-1 4.3.3-1]
// v5[3.8.4-8 4.3.1-1 3.3.1-2 2.2.1-2 4.3.2-2 4.3.3-2 4.3.3-4]
#[test]
fn a_message_is_delivered_with_the_smaller_of_published_and_granted_qos() {
    for version in BOTH {
        for granted in 0..=2 {
            let topic = unique("min/");
            let mut subscriber = broker().client(version);
            subscriber.subscribe(&topic, granted);
            let mut publisher = broker().client(version);
            for published in 0..=2 {
                publisher.publish(publish(&topic, "x").qos(published));
                let delivered = subscriber.take(&topic, "x", published.min(granted));
                subscriber.assert(!delivered.dup && !delivered.retain, "DUP 0 and RETAIN 0");
            }
        }
    }
}

// v311[2.3.1-4] v5[2.2.1-4 4.3.2-1 4.3.3-1]
#[test]
fn messages_in_flight_have_different_non_zero_ids() {
    for version in BOTH {
        let topic = unique("ids/");
        let mut subscriber = broker().client(version);
        subscriber.subscribe(&topic, 2);
        let mut publisher = broker().client(version);
        for number in 0..10 {
            publisher.publish(publish(&topic, "x").qos(1 + number % 2));
        }
        let ids: HashSet<u16> = (0..10).map(|_| subscriber.expect_publish().packet_id).collect();
        assert!(ids.len() == 10 && !ids.contains(&0), "{ids:?}");
    }
}

// v311[2.3.1-3 3.3.1-1 4.3.2-1 4.4.0-1] v5[3.3.1-1 4.3.2-3 4.3.3-3 4.4.0-1]
#[test]
fn an_unacknowledged_message_is_sent_again_with_its_id_and_dup() {
    for version in BOTH {
        for qos in [1, 2] {
            let topic = unique("again/");
            let (mut subscriber, lasting) = lasting_subscriber(version, &topic);
            broker().client(version).publish(publish(&topic, "x").qos(qos));
            let first = subscriber.expect_message(&topic, "x");
            subscriber.assert(first.qos == qos && !first.dup, "first sent without DUP");
            subscriber.vanish();
            let mut subscriber = resume(&lasting);
            let again = subscriber.take(&topic, "x", qos);
            subscriber.assert(
                again.dup && again.packet_id == first.packet_id,
                "DUP 1, the same identifier",
            );
            // The broker has read the acknowledgement when it answers the ping behind it.
            subscriber.ping();
            subscriber.vanish();
            resume(&lasting).expect_silence();
        }
    }
}

// v311[4.3.3-1 4.4.0-1] v5[4.3.3-5 4.3.3-6 4.4.0-1 3.6.2-1]
#[test]
fn after_pubrec_only_pubrel_is_sent_again() {
    for version in BOTH {
        let topic = unique("pubrel/");
        let (mut subscriber, lasting) = lasting_subscriber(version, &topic);
        broker().client(version).publish(publish(&topic, "x").qos(2));
        let packet_id = subscriber.expect_message(&topic, "x").packet_id;
        subscriber.send(pubrec(packet_id));
        subscriber.expect_pubrel(packet_id);
        subscriber.vanish();
        let mut subscriber = resume(&lasting);
        subscriber.expect_pubrel(packet_id);
        subscriber.send(pubcomp(packet_id));
        subscriber.ping();
        subscriber.vanish();
        resume(&lasting).expect_silence();
    }
}

// v5[4.4.0-1]
#[test]
fn nothing_is_sent_again_while_the_connection_lasts() {
    let topic = unique("patient/");
    let (mut subscriber, _) = lasting_subscriber(V5, &topic);
    let mut publisher = broker().client(V5);
    publisher.publish(publish(&topic, "unanswered").qos(1));
    subscriber.expect_message(&topic, "unanswered");
    for number in 0..5 {
        publisher.publish(publish(&topic, format!("{number}")).qos(1));
        subscriber.take(&topic, format!("{number}"), 1);
    }
    subscriber.expect_silence();
}

// v311[4.4.0-1 4.6.0-1] v5[4.4.0-1 4.6.0-1 4.6.0-6] traps[32]
#[test]
fn a_resumed_session_sends_the_old_messages_first_and_in_order() {
    for version in BOTH {
        let topic = unique("order/");
        let (mut subscriber, lasting) = lasting_subscriber(version, &topic);
        let mut publisher = broker().client(version);
        let mut sent = Vec::new();
        for (number, qos) in [1, 2, 1, 2].into_iter().enumerate() {
            publisher.publish(publish(&topic, format!("old {number}")).qos(qos));
            sent.push(subscriber.expect_publish());
        }
        // Not vanished: until the broker noticed, it might send the new ones too.
        subscriber.leave();
        for number in 0..3 {
            publisher.publish(publish(&topic, format!("new {number}")).qos(1));
        }
        let mut subscriber = resume(&lasting);
        for first in sent {
            let again = subscriber.expect_message(&topic, &first.payload);
            subscriber.assert(
                again.packet_id == first.packet_id && again.dup,
                "the same identifier, DUP 1",
            );
        }
        for number in 0..3 {
            let delivered = subscriber.expect_message(&topic, format!("new {number}"));
            subscriber.assert(!delivered.dup, "a new message has DUP 0");
        }
    }
}

// v311[3.1.2-5] traps[33]
#[test]
fn more_messages_than_fit_in_flight_arrive_in_order() {
    // Multiples of what the broker encodes at a time, and one that is none.
    for (version, messages) in BOTH
        .into_iter()
        .flat_map(|version| [64, 128, 150].map(|n| (version, n)))
    {
        let topic = unique("many/");
        let (subscriber, lasting) = lasting_subscriber(version, &topic);
        subscriber.leave();
        let mut publisher = broker().client(version);
        for number in 0..messages {
            publisher.publish(publish(&topic, format!("{number}")).qos(1));
        }
        let mut subscriber = resume(&lasting);
        for number in 0..messages {
            subscriber.take(&topic, format!("{number}"), 1);
        }
        subscriber.expect_silence();
    }
}

// v311[4.6.0-5 4.6.0-6] v5[4.6.0-5 4.6.0-6]
#[test]
fn messages_of_one_client_arrive_in_the_order_they_were_published() {
    for version in BOTH {
        for qos in 0..=2 {
            let topic = unique("stream/");
            let mut subscriber = broker().client(version);
            subscriber.subscribe(&topic, qos);
            let mut publisher = broker().client(version);
            for number in 0..50 {
                publisher.publish(publish(&topic, format!("{number}")).qos(qos));
            }
            for number in 0..50 {
                subscriber.take(&topic, format!("{number}"), qos);
            }
        }
    }
}

// v311[4.6.0-4] v5[4.6.0-4]
#[test]
fn pubrels_leave_in_the_order_of_the_pubrecs() {
    for version in BOTH {
        let topic = unique("release/");
        let mut subscriber = broker().client(version);
        subscriber.subscribe(&topic, 2);
        let mut publisher = broker().client(version);
        for _ in 0..5 {
            publisher.publish(publish(&topic, "x").qos(2));
        }
        let mut ids: Vec<u16> = (0..5).map(|_| subscriber.expect_publish().packet_id).collect();
        ids.swap(0, 3);
        for id in &ids {
            subscriber.send(pubrec(*id));
        }
        for id in &ids {
            subscriber.expect_pubrel(*id);
        }
    }
}

// v5[4.4.0-2 4.8.2-6] traps[37]
#[test]
fn a_negative_acknowledgement_ends_the_message() {
    let topic = unique("negative/");
    let (mut subscriber, lasting) = lasting_subscriber(V5, &topic);
    let mut publisher = broker().client(V5);
    publisher.publish(publish(&topic, "1").qos(1));
    let packet_id = subscriber.expect_message(&topic, "1").packet_id;
    subscriber.answer(puback(packet_id).reason(0x80));
    publisher.publish(publish(&topic, "2").qos(2));
    let packet_id = subscriber.expect_message(&topic, "2").packet_id;
    // No PUBREL follows: the ping's answer is next.
    subscriber.answer(pubrec(packet_id).reason(0x83));
    subscriber.vanish();
    resume(&lasting).expect_silence();
}

// v5[3.6.2-1]
#[test]
fn a_pubrec_for_an_unknown_id_is_answered_and_harms_nothing() {
    for version in BOTH {
        let mut peer = broker().client(version);
        peer.send(pubrec(99));
        match peer.receive() {
            Reply::PubRel(acked) if acked.packet_id == 99 => {
                let expected = if version == V5 { 0x92 } else { 0 };
                peer.assert(acked.reason == expected, "Packet Identifier not found in 5.0");
                peer.send(pubcomp(99));
            }
            _ => peer.fail("expected PUBREL"),
        }
        peer.ping();
    }
}

// v311[4.3.2-1 2.3.1-3] v5[4.3.2-3]
#[test]
fn an_acknowledgement_nobody_waits_for_changes_nothing() {
    for version in BOTH {
        let topic = unique("stray/");
        let (mut subscriber, lasting) = lasting_subscriber(version, &topic);
        broker().client(version).publish(publish(&topic, "x").qos(1));
        let packet_id = subscriber.expect_message(&topic, "x").packet_id;
        // Another identifier, and the wrong kind of packet for this one.
        subscriber.answer(puback(packet_id.wrapping_add(1000)));
        subscriber.answer(pubcomp(packet_id));
        subscriber.vanish();
        let mut subscriber = resume(&lasting);
        subscriber.take(&topic, "x", 1);
    }
}
