//! What is short for everybody: memory, and the room in the queue of a subscriber that does not keep up.

use sluice_tests::broker::Broker;
use sluice_tests::eventually;
use sluice_tests::packet::{Publish, V5, V311, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property;

const PAYLOAD: usize = 256 * 1024;

/// A broker that keeps to little memory and would otherwise queue for ever.
fn short_of_memory() -> Broker {
    Broker::with_config(
        r#"
memory_limit = "96 MiB"
[[listener]]
name = "default"
address = "127.0.0.1:0"
[limits]
queue_messages_max = 1_000_000
queue_bytes_max = "1 GiB"
"#,
    )
}

fn metric(broker: &Broker, name: &str) -> u64 {
    let metrics = broker.sluice(&["metrics"]).expect("metrics");
    let line = metrics.lines().find(|line| line.starts_with(name)).expect(name);
    line.rsplit(' ')
        .next()
        .and_then(|value| value.parse().ok())
        .expect(name)
}

fn flood() -> Publish {
    publish("flood", vec![7; PAYLOAD]).qos(1)
}

/// Publishes until a message is refused; returns how many were taken.
fn fill(publisher: &mut Peer) -> usize {
    for taken in 0..10_000 {
        let reason = publisher.try_publish(flood());
        if reason == 0x97 {
            return taken;
        }
        publisher.assert(reason < 0x80, "taken");
    }
    publisher.fail("nothing was refused")
}

/// A client whose session waits for it, with a subscription to the flood.
fn absent(broker: &Broker, id: &str) {
    let (mut subscriber, _) = broker.join(&connect(V5, id).lasting());
    subscriber.subscribe("flood", 1);
    subscriber.leave();
}

#[test]
fn memory_is_kept_to_and_everything_works_again_once_there_is_some() {
    let broker = short_of_memory();
    absent(&broker, "absent");
    let (mut publisher, _) = broker.join(&connect(V5, "publisher"));
    let (mut quiet, _) = broker.join(&connect(V311, "quiet"));
    quiet.subscribe("quiet", 0);

    let taken = fill(&mut publisher);
    publisher.assert(taken > 50, "most of the memory could be used");
    let (used, limit) = (metric(&broker, "sluice_memory_bytes "), 96 << 20);
    assert!(used <= limit, "{used} of {limit} bytes");
    broker.wait_for_log("memory_pressure", |line| {
        line.is("memory_pressure") && line.has("kind", "full")
    });

    // Those who are in are served, those who would need a session of their own are not let in.
    quiet.ping();
    let (newcomer, connack) = broker.try_join(&connect(V5, "newcomer"));
    newcomer.assert(connack.code == 0x89, "Server busy");
    let (older, connack) = broker.try_join(&connect(V311, "older newcomer"));
    older.assert(connack.code == 3, "Server unavailable");

    // The one whose messages they are comes for them, and nothing that was acknowledged is missing.
    let (mut subscriber, connack) = broker.join(&connect(V5, "absent").lasting());
    subscriber.assert(connack.session_present, "its session is there");
    for _ in 0..taken {
        let delivered = subscriber.expect_publish();
        subscriber.acknowledge(&delivered);
    }
    eventually("memory is free again", || {
        metric(&broker, "sluice_memory_bytes ") < limit / 2
    });
    assert!(publisher.publish(publish("quiet", "again").qos(1)) < 0x80);
    quiet.expect_message("quiet", "again");
    let _ = broker.join(&connect(V5, "newcomer"));
}

#[test]
fn before_5_0_a_message_without_room_costs_the_connection_rather_than_a_lie() {
    let broker = short_of_memory();
    absent(&broker, "absent");
    let (mut older, _) = broker.join(&connect(V311, "older"));
    let (mut publisher, _) = broker.join(&connect(V5, "publisher"));
    fill(&mut publisher);
    older.send(flood().id(1));
    older.expect_closed();
}

/// A subscriber that never acknowledges, so that its queue fills up, and its publisher.
fn crowded(limits: &str) -> (Broker, Peer, Peer) {
    let broker = Broker::with_config(&format!(
        "[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n[limits]\nqueue_messages_max = 20\n{limits}"
    ));
    let (mut subscriber, _) = broker.join(&connect(V5, "subscriber").property(Property::ReceiveMaximum(1)));
    subscriber.subscribe("crowd", 1);
    let (publisher, _) = broker.join(&connect(V5, "publisher"));
    (broker, subscriber, publisher)
}

#[test]
fn a_publisher_is_slowed_down_before_a_queue_is_full() {
    let (broker, _subscriber, mut publisher) = crowded("");
    // One is under way, ten are half of the queue.
    for _ in 0..11 {
        publisher.publish(publish("crowd", "x").qos(1));
    }
    assert_eq!(
        metric(&broker, "sluice_clients_throttled_total"),
        0,
        "there is room"
    );
    for _ in 11..21 {
        publisher.publish(publish("crowd", "x").qos(1));
    }
    assert_eq!(metric(&broker, "sluice_clients_throttled_total"), 1);
    let dropped = "sluice_messages_dropped_total{reason=\"queue_full\"}";
    assert_eq!(metric(&broker, dropped), 0, "all of them wait");
    // Full, the rule that is configured decides, and counts.
    publisher.publish(publish("crowd", "x").qos(1));
    assert_eq!(metric(&broker, dropped), 1);
}

#[test]
fn an_operator_may_prefer_publishers_that_never_wait() {
    let (broker, _subscriber, mut publisher) = crowded("backpressure_max = \"off\"");
    for _ in 0..21 {
        publisher.publish(publish("crowd", "x").qos(1));
    }
    assert_eq!(metric(&broker, "sluice_clients_throttled_total"), 0);
}
