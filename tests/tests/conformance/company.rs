//! Clients in bad company: slow readers, floods, half-closed connections, a broker that stops.

use crate::brokers::broker;
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::{BOTH, Encode, PINGREQ, V5, V31, V311, connect, publish, subscribe, will};
use sluice_tests::reply::Reply;
use sluice_tests::unique;

// v5[3.14.0-1 3.14.2-1 3.14.4-2 4.13.2-1]
#[test]
fn a_broker_that_stops_says_so_and_ends() {
    let mut broker = Broker::start();
    let mut clients: Vec<_> = [V31, V311, V5]
        .into_iter()
        .map(|version| broker.client(version))
        .collect();
    let mut stranger = broker.peer(V5);
    broker.signal(Signal::TERM);
    for client in &mut clients {
        client.expect_disconnected(&[0x8B]);
    }
    // Who has not been let in is told nothing.
    stranger.expect_closed();
    assert!(
        broker.wait_for_exit().success(),
        "it stopped because it was asked to"
    );
}

// v311[4.5.0-1] v5[4.5.0-1]
#[test]
fn a_client_that_does_not_read_stops_nobody() {
    for version in BOTH {
        let topic = unique("stuck/");
        let mut stuck = broker().client(version);
        stuck.subscribe(&topic, 0);
        let mut reader = broker().client(version);
        reader.subscribe(&topic, 0);
        let mut publisher = broker().client(version);
        // More than sockets and the queue of a client hold together.
        let payload = vec![b'x'; 60_000];
        for _ in 0..500 {
            publisher.publish(publish(&topic, &payload));
            let received = reader.expect_publish().payload.len();
            reader.assert(received == payload.len(), "the whole message");
        }
        reader.expect_silence();
        // What was kept for the other is whole, and the connection in order.
        publisher.publish(publish(&topic, "last").qos(1));
        let mut kept = Vec::new();
        stuck.send(PINGREQ);
        while let Reply::Publish(delivered) = stuck.receive() {
            kept.push(delivered);
        }
        // The answer to the ping has come, so there is room in the queue again, for `drain` too.
        kept.extend(stuck.drain());
        stuck.assert(kept.len() > 1, "something was kept");
        let whole = kept
            .iter()
            .all(|delivered| delivered.payload == payload || delivered.payload == b"last");
        stuck.assert(whole, "no message is cut or mixed with another");
        stuck.ping();
    }
}

// v311[3.3.4-1 4.6.0-2] v5[3.3.4-1 4.6.0-2]
#[test]
fn a_burst_of_messages_is_acknowledged_to_the_last() {
    const MESSAGES: u16 = 5_000;
    for version in [V31, V311] {
        let topic = unique("burst/");
        let mut peer = broker().client(version);
        peer.subscribe(&topic, 0);
        let burst: Vec<u8> = (1..=MESSAGES)
            .flat_map(|id| publish(&topic, id.to_be_bytes()).qos(1).id(id).bytes(version))
            .collect();
        peer.send(burst);
        let (mut acknowledged, mut delivered) = (0, 0);
        while acknowledged < MESSAGES || delivered < MESSAGES {
            match peer.receive() {
                Reply::PubAck(acked) => {
                    acknowledged += 1;
                    peer.assert(acked.packet_id == acknowledged, "in order");
                }
                Reply::Publish(message) => {
                    delivered += 1;
                    peer.assert(message.payload == delivered.to_be_bytes(), "in order");
                }
                _ => peer.fail("expected messages and acknowledgements"),
            }
        }
    }
}

// v311[3.1.2-8] v5[3.1.2-8]
#[test]
fn what_came_before_the_end_of_a_connection_is_processed() {
    for version in BOTH {
        let topic = unique("half/");
        let mut watcher = broker().client(version);
        watcher.subscribe(&format!("{topic}/#"), 1);
        let mut peer = broker().peer(version);
        // All in one write, then the sending half is closed.
        peer.send_all(&[
            &connect(version, unique("brief")).will(will(format!("{topic}/will"), "gone").qos(1)),
            &publish(format!("{topic}/one"), "1"),
            &publish(format!("{topic}/two"), "2").qos(1).id(1),
        ]);
        peer.shut_down_sending();
        watcher.take(&format!("{topic}/one"), "1", 0);
        watcher.take(&format!("{topic}/two"), "2", 1);
        watcher.take(&format!("{topic}/will"), "gone", 1);
        peer.skip_to_end();
    }
}

// v311[3.8.4-4 3.10.4-6] v5[3.8.4-5 3.8.4-6 3.10.4-6]
#[test]
fn a_subscribe_with_many_filters_is_answered_filter_by_filter() {
    for version in BOTH {
        let root = unique("many");
        let mut peer = broker().client(version);
        let mut request = subscribe(1);
        for number in 0..200_u8 {
            request = request.filter(format!("{root}/{number}"), number % 3);
        }
        let codes = peer.request_subscription(request);
        let expected: Vec<u8> = (0..200_u8).map(|number| number % 3).collect();
        assert_eq!(codes, expected);
        broker()
            .client(version)
            .publish(publish(format!("{root}/199"), "x").qos(1));
        peer.take(&format!("{root}/199"), "x", 1);
    }
}

// v311[3.3.1-6] v5[3.3.1-9]
#[test]
fn more_retained_messages_than_fit_in_flight_all_arrive() {
    const MESSAGES: usize = 3_000;
    let root = unique("stored");
    let mut author = broker().client(V311);
    for number in 0..MESSAGES {
        author.send(publish(format!("{root}/{number}"), "x").retain());
    }
    author.ping();
    for version in BOTH {
        let mut reader = broker().client(version);
        reader.subscribe(&format!("{root}/#"), 1);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..MESSAGES {
            let delivered = reader.expect_publish();
            reader.assert(
                delivered.retain && delivered.qos == 0,
                "a stored message of QoS 0",
            );
            reader.assert(seen.insert(delivered.topic), "each once");
        }
        reader.expect_silence();
    }
    let mut author = broker().client(V311);
    for number in 0..MESSAGES {
        author.send(publish(format!("{root}/{number}"), "").retain());
    }
    author.ping();
}

// v311[3.3.1-6] v5[3.3.1-9 3.3.4-9]
#[test]
fn retained_messages_of_qos_1_come_through_a_small_window() {
    use sluice_tests::property::Property::ReceiveMaximum;
    let root = unique("stored");
    let mut author = broker().client(V5);
    for number in 0..50 {
        author.publish(publish(format!("{root}/{number}"), "x").qos(1).retain());
    }
    let (mut reader, _) = broker().join(&connect(V5, unique("reader")).property(ReceiveMaximum(3)));
    reader.subscribe(&format!("{root}/#"), 1);
    let mut seen = std::collections::HashSet::new();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        if waiting.len() == 3 {
            reader.ping();
            for delivered in waiting.drain(..) {
                reader.acknowledge(&delivered);
            }
        }
        let delivered = reader.expect_publish();
        reader.assert(seen.insert(delivered.topic.clone()), "each once");
        waiting.push(delivered);
    }
}
