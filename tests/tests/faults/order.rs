//! Read, written, synced, acknowledged: in this order, as the kernel saw it.

use super::trace::{Call, Trace};
use super::tracer::Tracer;
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, V5, connect, publish, subscribe};
use std::thread;

/// What the broker reads from sockets, and writes to files and sockets.
const CALLS: &str = "recvfrom,read,readv,pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg";
const READS: &[&str] = &["recvfrom", "read", "readv"];
const WRITES: &[&str] = &["write", "writev", "sendto", "sendmsg"];
const SYNCS: &[&str] = &["fdatasync", "fsync"];

/// Publishers at the same time, and messages of each.
const PUBLISHERS: usize = 6;
const MESSAGES: usize = 12;

/// Checks what happened to a packet in which this text stands: after it was read, the text was written to the disk,
/// then a sync began and ended, and only then something was written to the client.
fn expect_stored_before_answered(trace: &Trace, text: &str) {
    let read = trace.first(READS, text, 0.0);
    let read = read.unwrap_or_else(|| panic!("{text} was never read"));
    let answer = trace.first_on(WRITES, read.descriptor(), ended(read));
    let answer = answer.unwrap_or_else(|| panic!("{text} was never answered"));
    expect_stored_before(trace, text, ended(read), answer);
}

fn expect_stored_before(trace: &Trace, text: &str, after: f64, answer: &Call) {
    let written = trace.first(&["pwrite64"], text, after);
    let written = written.unwrap_or_else(|| panic!("{text} was never written to the disk"));
    let sync = trace.first(SYNCS, "", ended(written));
    let sync = sync.unwrap_or_else(|| panic!("{text} was never synced"));
    assert!(
        written.is_success && sync.is_success && ended(sync) <= answer.began,
        "{text}: read by {after}, written by {:?}, synced from {} to {:?}, answered at {}",
        written.ended,
        sync.began,
        sync.ended,
        answer.began
    );
}

fn ended(call: &Call) -> f64 {
    call.ended.unwrap_or(f64::INFINITY)
}

/// A text that stands nowhere else.
fn text(publisher: usize, message: usize) -> String {
    format!("text-{publisher:02}-{message:02}-text")
}

#[test]
fn every_acknowledgement_comes_after_a_sync_of_its_message() {
    let broker = Broker::durable("");
    let (mut away, _) = broker.join(&connect(V5, "away").lasting());
    away.subscribe("#", 2);
    away.leave();
    let tracer = Tracer::watch(broker.pid(), CALLS);
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut client = broker.client(BOTH[publisher % 2]);
            scope.spawn(move || {
                for message in 0..MESSAGES {
                    let packet = publish("t", text(publisher, message)).qos(1 + (message % 2) as u8);
                    client.publish(packet);
                }
            });
        }
    });
    let trace = tracer.detach();
    for publisher in 0..PUBLISHERS {
        for message in 0..MESSAGES {
            expect_stored_before_answered(&trace, &text(publisher, message));
        }
    }
}

#[test]
fn a_session_and_a_subscription_are_synced_before_the_client_is_told() {
    let broker = Broker::durable("");
    let tracer = Tracer::watch(broker.pid(), CALLS);
    for version in BOTH {
        let client = format!("client-{version:?}-client");
        let (mut peer, _) = broker.join(&connect(version, client).lasting());
        let id = peer.next_packet_id();
        let filter = format!("filter-{version:?}-filter");
        peer.request_subscription(subscribe(id).filter(filter, 1));
    }
    let trace = tracer.detach();
    for version in BOTH {
        expect_stored_before_answered(&trace, &format!("client-{version:?}-client"));
        expect_stored_before_answered(&trace, &format!("filter-{version:?}-filter"));
    }
}

#[test]
fn a_qos_2_message_is_synced_before_a_subscriber_sees_it() {
    let broker = Broker::durable("");
    let (mut client, _) = broker.join(&connect(V5, "subscriber").lasting());
    client.subscribe("t", 2);
    let mut publisher = broker.client(V5);
    let tracer = Tracer::watch(broker.pid(), CALLS);
    for message in 0..MESSAGES {
        publisher.publish(publish("t", text(0, message)).qos(2));
        client.take("t", text(0, message), 2);
    }
    let trace = tracer.detach();
    for message in 0..MESSAGES {
        let text = text(0, message);
        let sent = trace.first(WRITES, &text, 0.0);
        let sent = sent.unwrap_or_else(|| panic!("{text} was never sent"));
        expect_stored_before(&trace, &text, 0.0, sent);
    }
}

#[test]
fn traffic_that_is_not_durable_never_comes_near_the_disk() {
    let broker = Broker::durable("");
    let mut subscriber = broker.client(V5);
    subscriber.subscribe("t", 2);
    let mut publisher = broker.client(V5);
    let (mut lasting, _) = broker.join(&connect(V5, "lasting").lasting());
    lasting.subscribe("qos-0", 0);
    let tracer = Tracer::watch(broker.pid(), CALLS);
    for qos in [0, 1, 2, 0, 1, 2] {
        publisher.publish(publish("t", "x").qos(qos));
        subscriber.take("t", "x", qos);
        publisher.publish(publish("qos-0", "x").qos(qos));
        lasting.take("qos-0", "x", 0);
    }
    let trace = tracer.detach();
    assert_eq!((trace.count("fdatasync"), trace.count("pwrite64")), (0, 0));
}
