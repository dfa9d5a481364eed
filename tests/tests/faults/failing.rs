//! System calls that fail: nothing is acknowledged, everything else goes on, and all is well again by itself.

use super::tracer::Tracer;
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::{BOTH, Connect, V5, V311, connect, publish, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::receiving::{everything, payloads};
use sluice_tests::reply::Reply;
use sluice_tests::{eventually, unique};

/// What became of a message of QoS 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// PUBACK, success.
    Acknowledged,
    /// PUBACK 0x97: it is not stored.
    Refused,
    /// The connection was ended: nobody knows.
    Ended,
}

/// Publishes one message on a connection of its own.
pub fn publish_one(broker: &Broker, payload: &str) -> Fate {
    let mut client = broker.client(V5);
    try_publish(&mut client, payload)
}

fn try_publish(client: &mut Peer, payload: &str) -> Fate {
    let id = client.next_packet_id();
    client.send(publish("t", payload).qos(1).id(id));
    match client.receive() {
        Reply::PubAck(acked) if acked.reason == 0 => Fate::Acknowledged,
        Reply::PubAck(acked) if acked.reason == 0x97 => Fate::Refused,
        Reply::Disconnect(notice) if notice.reason == 0x80 => Fate::Ended,
        _ => client.fail("neither acknowledged, nor refused with 0x97, nor ended with 0x80"),
    }
}

/// What goes on and what does not while nothing can be stored.
pub fn expect_half_a_broker(broker: &Broker) {
    // QoS 0, and sessions that end with their connections.
    let topic = unique("live/");
    let mut subscriber = broker.client(V5);
    subscriber.subscribe(&topic, 1);
    let mut publisher = broker.client(V5);
    publisher.publish(publish(&topic, "x"));
    subscriber.take(&topic, "x", 0);
    // Not: messages of QoS 1 and 2, and sessions that last.
    assert_eq!(try_publish(&mut publisher, "refused"), Fate::Refused);
    publisher.ping();
    let id = publisher.next_packet_id();
    publisher.send(publish("t", "refused").qos(2).id(id));
    let reason = publisher.expect_pubrec(id).reason;
    publisher.assert(reason == 0x97, "QoS 2 is refused");
    let mut older = broker.client(V311);
    older.send(publish("t", "refused").qos(1).id(1));
    older.expect_closed();
    let (client, connack) = broker.try_join(&connect(V5, "new").lasting());
    client.assert(connack.code == 0x88, "the session is refused");
    let (client, connack) = broker.try_join(&connect(V311, "new").lasting());
    client.assert(connack.code == 3, "before 5.0 too");
}

/// A broker on which somebody who subscribed is away, and others with lasting sessions are connected.
fn prepared() -> (Broker, Connect, [Peer; 2]) {
    let broker = Broker::durable("");
    let away = connect(V5, "away").lasting();
    let (mut client, _) = broker.join(&away);
    client.subscribe("t", 1);
    client.leave();
    let connected = BOTH.map(|version| {
        let packet = connect(version, format!("connected-{version:?}")).lasting();
        broker.join(&packet).0
    });
    (broker, away, connected)
}

fn a_call_that_fails(call: &str, error: &str) {
    let (mut broker, away, mut connected) = prepared();
    assert_eq!(publish_one(&broker, "before"), Fate::Acknowledged);
    let tracer = Tracer::fail(broker.pid(), call, error);
    // The first one finds out; it may be on disk or not.
    assert_eq!(publish_one(&broker, "in doubt"), Fate::Ended);
    let line = broker.wait_for_log("that the disk fails", |line| line.is("store_failing"));
    assert!(
        line.text.contains("data_dir"),
        "it says where to look: {}",
        line.text
    );
    expect_half_a_broker(&broker);
    for peer in &mut connected {
        let id = peer.next_packet_id();
        let codes = peer.request_subscription(subscribe(id).filter("t", 1));
        let refused = if peer.version() == V5 { 0x97 } else { 0x80 };
        peer.assert(codes == [refused], "no subscription that is to last");
    }
    assert_eq!(publish_one(&broker, "refused"), Fate::Refused);
    let trace = tracer.detach();
    assert!(trace.count(call) > 0, "{call} was never called");
    broker.wait_for_log("that it works again", |line| line.is("store_recovered"));
    eventually("messages are acknowledged again", || {
        publish_one(&broker, "after") == Fate::Acknowledged
    });
    for mut peer in connected {
        peer.subscribe("t", 1);
    }
    broker.restart(Signal::KILL);
    let (mut client, connack) = broker.join(&away);
    client.assert(connack.session_present, "the session is there");
    let came = payloads(&everything(&mut client));
    let without_doubt: Vec<_> = came.iter().filter(|payload| *payload != "in doubt").collect();
    assert_eq!(without_doubt, ["before", "after"], "{came:?}");
}

#[test]
fn a_sync_that_fails_is_no_acknowledgement() {
    a_call_that_fails("fdatasync", "EIO");
}

#[test]
fn a_write_that_finds_no_room_is_no_acknowledgement() {
    a_call_that_fails("pwrite64", "ENOSPC");
}

#[test]
fn a_write_that_fails_is_no_acknowledgement() {
    a_call_that_fails("pwrite64", "EIO");
}

#[test]
fn what_was_acknowledged_survives_the_end_of_a_broker_whose_disk_fails() {
    let (mut broker, away, _connected) = prepared();
    assert_eq!(publish_one(&broker, "before"), Fate::Acknowledged);
    let tracer = Tracer::fail(broker.pid(), "fdatasync", "EIO");
    assert_eq!(publish_one(&broker, "in doubt"), Fate::Ended);
    broker.end(Signal::TERM);
    drop(tracer);
    broker.start_again();
    assert_eq!(publish_one(&broker, "after"), Fate::Acknowledged);
    let (mut client, _) = broker.join(&away);
    let came = payloads(&everything(&mut client));
    let without_doubt: Vec<_> = came.iter().filter(|payload| *payload != "in doubt").collect();
    assert_eq!(without_doubt, ["before", "after"], "{came:?}");
}
