//! Receive Maximum and the send quota (5.0).

use crate::brokers::broker;
use sluice_tests::packet::{V5, connect, puback, pubcomp, publish, pubrec, subscribe, unsubscribe};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::ReceiveMaximum;
use sluice_tests::reply::Reply;
use sluice_tests::unique;

/// A subscriber with this Receive Maximum, its topic, and a publisher.
fn scene(receive_maximum: u16) -> (Peer, String, Peer) {
    let topic = unique("flow/");
    let packet = connect(V5, unique("reader")).property(ReceiveMaximum(receive_maximum));
    let (mut subscriber, _) = broker().join(&packet);
    subscriber.subscribe(&topic, 2);
    (subscriber, topic, broker().client(V5))
}

// v5[3.3.4-9 4.9.0-1 4.9.0-2] traps[34]
#[test]
fn no_more_messages_are_in_flight_than_the_client_allows() {
    for maximum in [1, 2, 5] {
        let (mut subscriber, topic, mut publisher) = scene(maximum);
        for number in 0..10 {
            publisher.publish(publish(&topic, format!("{number}")).qos(1));
        }
        let mut waiting: Vec<u16> = Vec::new();
        for number in 0..10 {
            if waiting.len() == usize::from(maximum) {
                subscriber.ping();
                let oldest = waiting.remove(0);
                subscriber.send(puback(oldest));
            }
            waiting.push(subscriber.expect_message(&topic, format!("{number}")).packet_id);
        }
    }
}

// v5[4.9.0-2 4.9.0-3 3.3.4-9]
#[test]
fn a_qos_2_message_counts_until_its_pubcomp() {
    let (mut subscriber, topic, mut publisher) = scene(1);
    publisher.publish(publish(&topic, "one").qos(2));
    publisher.publish(publish(&topic, "two").qos(2));
    let one = subscriber.expect_message(&topic, "one").packet_id;
    subscriber.ping();
    subscriber.send(pubrec(one));
    subscriber.expect_pubrel(one);
    subscriber.ping();
    subscriber.send(pubcomp(one));
    subscriber.take(&topic, "two", 2);
}

// v5[3.3.4-10 4.9.0-3]
#[test]
fn with_the_quota_used_up_everything_else_goes_on() {
    let (mut subscriber, topic, mut publisher) = scene(1);
    publisher.publish(publish(&topic, "one").qos(1));
    publisher.publish(publish(&topic, "two").qos(1));
    let one = subscriber.expect_message(&topic, "one").packet_id;
    subscriber.ping();
    let other = unique("other/");
    assert_eq!(
        subscriber.request_subscription(subscribe(50).filter(&other, 1)),
        [1]
    );
    subscriber.send(unsubscribe(51).filter(&other));
    subscriber.expect_unsuback(51);
    subscriber.publish(publish(&other, "x").qos(1));
    subscriber.publish(publish(&other, "x").qos(2));
    subscriber.send(puback(one));
    subscriber.take(&topic, "two", 1);
}

// v5[4.4.0-2 4.9.0-1] traps[37]
#[test]
fn a_negative_acknowledgement_gives_the_quota_back() {
    let (mut subscriber, topic, mut publisher) = scene(1);
    for payload in ["one", "two"] {
        publisher.publish(publish(&topic, payload).qos(1));
    }
    publisher.publish(publish(&topic, "three").qos(2));
    publisher.publish(publish(&topic, "four").qos(1));
    let one = subscriber.expect_message(&topic, "one").packet_id;
    subscriber.send(puback(one).reason(0x97));
    let two = subscriber.expect_message(&topic, "two").packet_id;
    subscriber.send(puback(two));
    let three = subscriber.expect_message(&topic, "three").packet_id;
    subscriber.send(pubrec(three).reason(0x80));
    subscriber.take(&topic, "four", 1);
}

// v5[3.3.4-9 4.4.0-1]
#[test]
fn what_is_sent_again_counts_as_well() {
    let topic = unique("flow/");
    let id = unique("reader");
    let lasting = connect(V5, &id).lasting();
    let (mut subscriber, _) = broker().join(&lasting);
    subscriber.subscribe(&topic, 1);
    let mut publisher = broker().client(V5);
    for number in 0..5 {
        publisher.publish(publish(&topic, format!("{number}")).qos(1));
        subscriber.expect_message(&topic, format!("{number}"));
    }
    subscriber.vanish();
    // The new connection allows fewer than were in flight.
    let (mut subscriber, _) = broker().join(&connect(V5, &id).lasting().property(ReceiveMaximum(2)));
    let first = subscriber.expect_message(&topic, "0");
    let second = subscriber.expect_message(&topic, "1");
    subscriber.ping();
    subscriber.send(puback(first.packet_id));
    let third = subscriber.expect_message(&topic, "2");
    subscriber.ping();
    for packet_id in [second.packet_id, third.packet_id] {
        subscriber.send(puback(packet_id));
    }
    subscriber.take(&topic, "3", 1);
    subscriber.take(&topic, "4", 1);
}

// v5[3.3.4-8 3.3.4-9]
#[test]
fn the_quota_of_one_client_is_nothing_to_another() {
    let (mut slow, topic, mut publisher) = scene(1);
    let mut quick = broker().client(V5);
    quick.subscribe(&topic, 1);
    for number in 0..20 {
        publisher.publish(publish(&topic, format!("{number}")).qos(1));
    }
    for number in 0..20 {
        quick.take(&topic, format!("{number}"), 1);
    }
    for number in 0..20 {
        slow.take(&topic, format!("{number}"), 1);
    }
}

// v5[4.9.0-1]
#[test]
fn acknowledgements_out_of_order_are_taken() {
    let (mut subscriber, topic, mut publisher) = scene(3);
    for number in 0..6 {
        publisher.publish(publish(&topic, format!("{number}")).qos(1));
    }
    let ids: Vec<u16> = (0..3).map(|_| subscriber.expect_publish().packet_id).collect();
    for id in ids.iter().rev() {
        subscriber.send(puback(*id));
    }
    for number in 3..6 {
        subscriber.take(&topic, format!("{number}"), 1);
    }
}

// v5[3.3.4-10]
#[test]
fn qos_0_messages_reach_a_client_whose_quota_is_used_up_at_last() {
    let (mut subscriber, topic, mut publisher) = scene(1);
    publisher.publish(publish(&topic, "one").qos(1));
    publisher.publish(publish(&topic, "two"));
    let one = subscriber.expect_message(&topic, "one").packet_id;
    subscriber.send(puback(one));
    match subscriber.receive() {
        Reply::Publish(delivered) => subscriber.assert(delivered.payload == b"two", "the QoS 0 message"),
        _ => subscriber.fail("expected the QoS 0 message"),
    }
}
