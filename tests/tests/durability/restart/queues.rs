//! What waits for a client that is away.

use super::{both_ends, resume, store_everything};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::{BOTH, V5, V311, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property;
use sluice_tests::receiving::{everything, payloads};

/// Messages that are sent at once.
const BATCH: usize = 500;

/// Publishes numbers from `first` to `last`; all of them are acknowledged.
fn publish_numbers(peer: &mut Peer, topic: &str, first: usize, last: usize) {
    let numbers: Vec<usize> = (first..=last).collect();
    for numbers in numbers.chunks(BATCH) {
        let packets: Vec<_> = numbers
            .iter()
            .enumerate()
            .map(|(index, number)| publish(topic, number.to_string()).qos(1).id(index as u16 + 1))
            .collect();
        peer.send_all(&packets.iter().map(|packet| packet as _).collect::<Vec<_>>());
        for packet in &packets {
            let acked = peer.expect_puback(packet.packet_id.unwrap_or_default());
            peer.assert(acked.reason == 0, "the message is queued");
        }
    }
}

/// A broker on which somebody has subscribed with a lasting session, and left.
fn somebody_away(more: &str, qos: u8) -> (Broker, sluice_tests::packet::Connect) {
    let broker = Broker::durable(more);
    let packet = connect(V5, "away").lasting();
    let (mut client, _) = broker.join(&packet);
    client.subscribe("t", qos);
    client.leave();
    (broker, packet)
}

fn numbers(first: usize, last: usize) -> Vec<String> {
    (first..=last).map(|number| number.to_string()).collect()
}

#[test]
fn more_messages_than_may_await_their_answers_are_taken_bit_by_bit() {
    let (broker, _) = somebody_away("[limits]\nreceive_max = 10\n", 1);
    // Before 5.0 a client is not told how many answers it may await.
    publish_numbers(&mut broker.client(V311), "t", 1, 500);
}

#[test]
fn what_waits_in_a_queue_comes_in_its_order() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        for version in BOTH {
            let packet = connect(version, format!("{version:?}")).lasting();
            let (mut client, _) = broker.join(&packet);
            client.subscribe("t", 2);
            client.leave();
        }
        let mut publisher = broker.client(V5);
        for number in 1..=20_u8 {
            publisher.publish(publish("t", number.to_string()).qos(1 + number % 2));
        }
        broker.restart(signal);
        for version in BOTH {
            let mut client = resume(&broker, &connect(version, format!("{version:?}")).lasting());
            let came = everything(&mut client);
            assert_eq!(payloads(&came), numbers(1, 20));
            let as_published = came
                .iter()
                .enumerate()
                .all(|(index, delivered)| delivered.qos == 2 - (index % 2) as u8 && !delivered.dup);
            client.assert(as_published, "each has the QoS it was published with, and is new");
        }
    });
}

#[test]
fn what_was_taken_before_does_not_come_again() {
    let (mut broker, packet) = somebody_away("", 2);
    let mut publisher = broker.client(V5);
    publisher.publish(publish("t", "1").qos(1));
    publisher.publish(publish("t", "2").qos(2));
    let mut client = resume(&broker, &packet);
    assert_eq!(payloads(&everything(&mut client)), ["1", "2"]);
    client.leave();
    publisher.publish(publish("t", "3").qos(1));
    broker.restart(Signal::TERM);
    let mut client = resume(&broker, &packet);
    assert_eq!(payloads(&everything(&mut client)), ["3"]);
}

#[test]
fn a_message_keeps_its_properties_in_the_queue() {
    both_ends(|signal| {
        let (mut broker, packet) = somebody_away("", 1);
        let properties = [
            Property::PayloadFormat(1),
            Property::ContentType("text/plain".to_owned()),
            Property::ResponseTopic("answers".to_owned()),
            Property::CorrelationData(vec![0, 1, 255]),
            Property::User("a".to_owned(), "b".to_owned()),
            Property::User("a".to_owned(), "c".to_owned()),
        ];
        let message = publish("t", "x").qos(1);
        let message = properties
            .iter()
            .cloned()
            .fold(message, |message, property| message.property(property));
        broker.client(V5).publish(message);
        broker.restart(signal);
        let came = everything(&mut resume(&broker, &packet));
        assert_eq!(came[0].properties, properties);
    });
}

#[test]
fn a_queue_larger_than_what_is_kept_in_memory_comes_whole_and_in_order() {
    both_ends(|signal| {
        let (mut broker, packet) = somebody_away("", 1);
        publish_numbers(&mut broker.client(V5), "t", 1, 5_000);
        broker.restart(signal);
        let mut client = resume(&broker, &packet);
        assert_eq!(payloads(&everything(&mut client)), numbers(1, 5_000));
    });
}

#[test]
fn a_long_queue_passes_through_a_small_window() {
    let (mut broker, packet) = somebody_away("[limits]\nqueue_messages_max = 20_000\n", 1);
    publish_numbers(&mut broker.client(V5), "t", 1, 10_000);
    broker.restart(Signal::KILL);
    let mut client = resume(&broker, &packet.property(Property::ReceiveMaximum(5)));
    assert_eq!(payloads(&everything(&mut client)), numbers(1, 10_000));
}

#[test]
fn large_qos_2_messages_pass_although_only_a_few_may_wait_for_the_store() {
    let (mut broker, packet) = somebody_away("", 2);
    let mut publisher = broker.client(V5);
    let payload = |number: u32| format!("{number} {}", "x".repeat(150_000));
    // Several times what is held back for one client.
    for number in 1..=40 {
        publisher.publish(publish("t", payload(number)).qos(1 + u8::from(number % 8 != 0)));
    }
    broker.restart(Signal::KILL);
    let mut client = resume(&broker, &packet);
    let came = payloads(&everything(&mut client));
    assert!(
        came.iter().eq((1..=40).map(payload).collect::<Vec<_>>().iter()),
        "all of them, in order"
    );
}

#[test]
fn a_queue_that_is_full_on_disk_takes_no_more_or_drops_the_oldest() {
    for (overflow, left) in [("drop-new", [1, 2, 3, 4, 5]), ("drop-oldest", [4, 5, 6, 7, 8])] {
        let limits = format!("[limits]\nqueue_messages_max = 5\nqueue_overflow = \"{overflow}\"\n");
        both_ends(|signal| {
            let (mut broker, packet) = somebody_away(&limits, 1);
            let mut publisher = broker.client(V5);
            publish_numbers(&mut publisher, "t", 1, 7);
            broker.restart(signal);
            // The session's limits are those it had: nobody has connected to say otherwise.
            publish_numbers(&mut broker.client(V5), "t", 8, 8);
            broker.restart(signal);
            let mut client = resume(&broker, &packet);
            for number in left {
                client.take("t", number.to_string(), 1);
            }
            assert!(everything(&mut client).is_empty(), "{overflow}");
        });
    }
}

#[test]
fn what_was_dropped_for_a_full_queue_does_not_come_back() {
    let limits = "[limits]\nqueue_messages_max = 3\nqueue_overflow = \"drop-oldest\"\n";
    let (mut broker, packet) = somebody_away(limits, 1);
    publish_numbers(&mut broker.client(V5), "t", 1, 4);
    // That the oldest is gone is written without anybody waiting for it.
    store_everything(&broker);
    broker.restart(Signal::KILL);
    let mut client = resume(&broker, &packet);
    for number in 2..=4 {
        client.take("t", number.to_string(), 1);
    }
    assert!(everything(&mut client).is_empty());
}

#[test]
fn a_message_for_many_is_there_for_each_of_them() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let packet = |index: usize| connect(BOTH[index % 2], format!("one-of-many-{index}")).lasting();
        for index in 0..20 {
            let (mut client, _) = broker.join(&packet(index));
            client.subscribe("t", 1 + (index % 2) as u8);
            client.leave();
        }
        let mut publisher = broker.client(V5);
        publisher.publish(publish("t", "1").qos(2));
        // Some have it before the restart, the others after it.
        for index in 0..10 {
            let came = everything(&mut resume(&broker, &packet(index)));
            assert_eq!(payloads(&came), ["1"]);
        }
        store_everything(&broker);
        broker.restart(signal);
        for index in 0..20 {
            let came = everything(&mut resume(&broker, &packet(index)));
            assert_eq!(came.len(), usize::from(index >= 10), "client {index}: {came:?}");
        }
    });
}

#[test]
fn the_interval_mode_keeps_all_of_it_over_a_restart_too() {
    let (mut broker, packet) = somebody_away("[store]\ndurability = \"interval\"\n", 2);
    let mut publisher = broker.client(V5);
    for number in 1..=10_u8 {
        publisher.publish(publish("t", number.to_string()).qos(1 + number % 2));
    }
    broker.restart(Signal::TERM);
    let mut client = resume(&broker, &packet);
    assert_eq!(payloads(&everything(&mut client)), numbers(1, 10));
}

#[test]
fn without_a_data_dir_a_restart_begins_empty() {
    let mut broker = Broker::with_config("[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n");
    let packet = connect(V5, "away").lasting();
    let (client, _) = broker.join(&packet);
    client.leave();
    broker.restart(Signal::TERM);
    let (client, connack) = broker.join(&packet);
    client.assert(!connack.session_present, "nothing was kept");
}
