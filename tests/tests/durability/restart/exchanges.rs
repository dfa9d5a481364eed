//! Exchanges of QoS 1 and 2 that the end of the broker interrupts, in both directions.

use super::{both_ends, resume, store_everything};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Connect, V5, Version, connect, puback, pubcomp, publish, pubrec, pubrel};
use sluice_tests::peer::Peer;
use sluice_tests::receiving::{everything, payloads};

/// A connected client with a lasting session that is subscribed to `t`.
fn subscriber(broker: &Broker, version: Version, qos: u8) -> (Peer, Connect) {
    let packet = connect(version, format!("subscriber-{version:?}")).lasting();
    let (mut client, _) = broker.join(&packet);
    client.subscribe("t", qos);
    (client, packet)
}

// v5[4.4.0-1 3.3.1-1]
#[test]
fn qos_1_in_flight_comes_again_with_dup_and_its_packet_identifier() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mut clients = BOTH.map(|version| subscriber(&broker, version, 1));
        let mut publisher = broker.client(V5);
        for payload in ["1", "2", "3"] {
            publisher.publish(publish("t", payload).qos(1));
        }
        let sent = clients.each_mut().map(|(client, _)| {
            let sent = ["1", "2", "3"].map(|payload| client.expect_message("t", payload).packet_id);
            client.answer(puback(sent[1]));
            sent
        });
        // Nobody waits for that to be stored.
        store_everything(&broker);
        broker.restart(signal);
        for ((_, packet), sent) in clients.iter().zip(sent) {
            let mut client = resume(&broker, packet);
            for (payload, identifier) in [("1", sent[0]), ("3", sent[2])] {
                let again = client.expect_message("t", payload);
                client.assert(again.dup && again.packet_id == identifier, "the same once more");
                client.send(puback(identifier));
            }
            assert!(everything(&mut client).is_empty());
        }
    });
}

// v5[4.3.3-7 4.4.0-1]
#[test]
fn qos_2_in_flight_comes_again_with_dup_and_its_packet_identifier() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mut clients = BOTH.map(|version| subscriber(&broker, version, 2));
        broker.client(V5).publish(publish("t", "1").qos(2));
        let sent = clients
            .each_mut()
            .map(|(client, _)| client.expect_message("t", "1").packet_id);
        broker.restart(signal);
        for ((_, packet), identifier) in clients.iter().zip(sent) {
            let mut client = resume(&broker, packet);
            let again = client.expect_message("t", "1");
            client.assert(again.dup && again.packet_id == identifier, "the same once more");
            client.acknowledge(&again);
            assert!(everything(&mut client).is_empty());
        }
    });
}

// v5[4.3.3-6 4.4.0-1]
#[test]
fn qos_2_goes_on_with_pubrel_where_the_client_was_sent_one() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mut clients = BOTH.map(|version| subscriber(&broker, version, 2));
        broker.client(V5).publish(publish("t", "1").qos(2));
        let sent = clients.each_mut().map(|(client, _)| {
            let identifier = client.expect_message("t", "1").packet_id;
            client.send(pubrec(identifier));
            client.expect_pubrel(identifier);
            identifier
        });
        broker.restart(signal);
        for ((_, packet), identifier) in clients.iter().zip(sent) {
            let mut client = resume(&broker, packet);
            client.expect_pubrel(identifier);
            client.answer(pubcomp(identifier));
            client.leave();
        }
        store_everything(&broker);
        broker.restart(signal);
        for (_, packet) in &clients {
            assert!(everything(&mut resume(&broker, packet)).is_empty(), "it is over");
        }
    });
}

// v5[4.3.3-10 4.3.3-11]
#[test]
fn a_qos_2_message_that_comes_once_more_after_a_restart_is_not_delivered_once_more() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let (client, reader) = subscriber(&broker, V5, 2);
        client.leave();
        let senders = BOTH.map(|version| connect(version, format!("sender-{version:?}")).lasting());
        for sender in &senders {
            let (mut client, _) = broker.join(sender);
            client.send(publish("t", "1").qos(2).id(7));
            client.expect_pubrec(7);
        }
        broker.restart(signal);
        for sender in &senders {
            let mut client = resume(&broker, sender);
            client.send(publish("t", "1").qos(2).id(7).dup());
            client.expect_pubrec(7);
            client.release(7);
            client.leave();
        }
        let came = payloads(&everything(&mut resume(&broker, &reader)));
        assert_eq!(came, ["1", "1"], "one of each sender");
    });
}

// v5[4.3.3-12]
#[test]
fn a_packet_identifier_is_free_for_another_message_once_pubcomp_came() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let (client, reader) = subscriber(&broker, V5, 2);
        client.leave();
        let sender = connect(V5, "sender").lasting();
        let (mut client, _) = broker.join(&sender);
        client.publish(publish("t", "1").qos(2).id(7));
        broker.restart(signal);
        let mut client = resume(&broker, &sender);
        client.publish(publish("t", "2").qos(2).id(7));
        let came = payloads(&everything(&mut resume(&broker, &reader)));
        assert_eq!(came, ["1", "2"]);
    });
}

#[test]
fn an_exchange_is_finished_after_a_restart_although_nothing_of_it_is_left_to_do() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let sender = connect(V5, "sender").lasting();
        let (mut client, _) = broker.join(&sender);
        client.send(publish("nobody/listens", "1").qos(2).id(7));
        client.expect_pubrec(7);
        broker.restart(signal);
        let mut client = resume(&broker, &sender);
        client.send(pubrel(7));
        let reason = client.expect_pubcomp(7).reason;
        client.assert(reason == 0, "the identifier is known");
        client.send(pubrel(7));
        let reason = client.expect_pubcomp(7).reason;
        client.assert(reason == 0x92, "and is not any more");
    });
}

#[test]
fn packet_identifiers_in_flight_are_not_used_for_other_messages() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let (mut client, packet) = subscriber(&broker, V5, 2);
        let mut publisher = broker.client(V5);
        publisher.publish(publish("t", "1").qos(2));
        publisher.publish(publish("t", "2").qos(2));
        let first = client.expect_message("t", "1");
        let second = client.expect_message("t", "2");
        client.send(pubrec(second.packet_id));
        client.expect_pubrel(second.packet_id);
        broker.restart(signal);
        let mut publisher = broker.client(V5);
        let mut client = resume(&broker, &packet);
        client.expect_message("t", "1");
        client.expect_pubrel(second.packet_id);
        publisher.publish(publish("t", "3").qos(2));
        let third = client.expect_message("t", "3");
        let used = [first.packet_id, second.packet_id];
        client.assert(!used.contains(&third.packet_id), "its identifier is its own");
    });
}
