//! Topic aliases, in both directions (5.0).

use crate::brokers::broker;
use sluice_tests::packet::{V5, connect, publish, will};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{TopicAlias, TopicAliasMaximum};
use sluice_tests::reply::ConnAck;
use sluice_tests::unique;
use std::collections::HashMap;

fn alias_maximum(connack: &ConnAck) -> u16 {
    let found = connack.properties.iter().find_map(|property| match property {
        TopicAliasMaximum(maximum) => Some(*maximum),
        _ => None,
    });
    found.unwrap_or(0)
}

/// A publisher, the highest alias it may use, a subscriber to everything below a level, and that level.
fn scene() -> (Peer, u16, Peer, String) {
    let root = unique("alias");
    let (publisher, connack) = broker().join(&connect(V5, unique("publisher")));
    let maximum = alias_maximum(&connack);
    assert!(maximum >= 2, "the broker accepts aliases by default");
    let mut subscriber = broker().client(V5);
    subscriber.subscribe(&format!("{root}/#"), 1);
    (publisher, maximum, subscriber, root)
}

// v5[3.3.2-12 3.2.2-17]
#[test]
fn aliases_up_to_the_servers_maximum_stand_for_their_topics() {
    let (mut publisher, maximum, mut subscriber, root) = scene();
    let (first, second) = (format!("{root}/first"), format!("{root}/second"));
    publisher.publish(publish(&first, "1").qos(1).property(TopicAlias(1)));
    publisher.publish(publish(&second, "2").qos(1).property(TopicAlias(maximum)));
    publisher.publish(publish("", "3").qos(1).property(TopicAlias(1)));
    publisher.publish(publish("", "4").qos(2).property(TopicAlias(maximum)));
    publisher.publish(publish("", "5").property(TopicAlias(1)));
    subscriber.take(&first, "1", 1);
    subscriber.take(&second, "2", 1);
    subscriber.take(&first, "3", 1);
    subscriber.take(&second, "4", 1);
    subscriber.take(&first, "5", 0);
}

// v5[3.3.2-12]
#[test]
fn an_alias_may_be_given_another_topic() {
    let (mut publisher, _, mut subscriber, root) = scene();
    let (first, second) = (format!("{root}/first"), format!("{root}/second"));
    publisher.publish(publish(&first, "1").qos(1).property(TopicAlias(1)));
    publisher.publish(publish(&second, "2").qos(1).property(TopicAlias(1)));
    publisher.publish(publish("", "3").qos(1).property(TopicAlias(1)));
    // A message with a full topic and no alias changes nothing.
    publisher.publish(publish(&first, "4").qos(1));
    publisher.publish(publish("", "5").qos(1).property(TopicAlias(1)));
    for (topic, payload) in [
        (&first, "1"),
        (&second, "2"),
        (&second, "3"),
        (&first, "4"),
        (&second, "5"),
    ] {
        subscriber.take(topic, payload, 1);
    }
}

// v5[3.3.2-8] traps[44]
#[test]
fn alias_0_ends_the_connection() {
    let (mut publisher, _, mut subscriber, root) = scene();
    publisher.send(publish(format!("{root}/t"), "x").property(TopicAlias(0)));
    publisher.expect_disconnected(&[0x94]);
    subscriber.expect_silence();
}

// v5[3.2.2-17 3.3.2-9] traps[44]
#[test]
fn an_alias_above_the_maximum_ends_the_connection() {
    let (mut publisher, maximum, mut subscriber, root) = scene();
    if let Some(above) = maximum.checked_add(1) {
        publisher.send(publish(format!("{root}/t"), "x").property(TopicAlias(above)));
        publisher.expect_disconnected(&[0x94]);
        subscriber.expect_silence();
    }
}

// v5[4.7.3-1 4.13.1-1] traps[44]
#[test]
fn an_unknown_alias_or_no_alias_without_a_topic_ends_the_connection() {
    for message in [
        publish("", "x").qos(1).id(1),
        publish("", "x"),
        publish("", "x").property(TopicAlias(2)),
    ] {
        let (mut publisher, ..) = scene();
        publisher.publish(publish("some/topic", "x").property(TopicAlias(1)));
        publisher.send(message);
        publisher.expect_disconnected(&[0x82, 0x94]);
    }
}

// v5[3.3.2-7] traps[44]
#[test]
fn an_alias_does_not_outlive_its_connection() {
    let lasting = connect(V5, unique("publisher")).lasting();
    let (mut publisher, _) = broker().join(&lasting);
    publisher.publish(publish(unique("alias/"), "x").property(TopicAlias(1)));
    publisher.leave();
    let (mut publisher, connack) = broker().join(&lasting);
    publisher.assert(connack.session_present, "the session goes on");
    publisher.send(publish("", "x").property(TopicAlias(1)));
    publisher.expect_disconnected(&[0x82, 0x94]);
}

// v5[3.3.2-7]
#[test]
fn aliases_of_two_publishers_are_apart() {
    let (mut one, _, mut subscriber, root) = scene();
    let mut two = broker().client(V5);
    one.publish(publish(format!("{root}/one"), "1").qos(1).property(TopicAlias(1)));
    two.publish(publish(format!("{root}/two"), "2").qos(1).property(TopicAlias(1)));
    one.publish(publish("", "3").qos(1).property(TopicAlias(1)));
    subscriber.take(&format!("{root}/one"), "1", 1);
    subscriber.take(&format!("{root}/two"), "2", 1);
    let third = subscriber.take(&format!("{root}/one"), "3", 1);
    subscriber.assert(third.alias().is_none(), "an inbound alias is not passed on");
}

// v5[3.1.2-27]
#[test]
fn without_a_maximum_of_its_own_a_client_is_sent_no_alias() {
    for packet in [
        connect(V5, unique("reader")),
        connect(V5, unique("reader")).property(TopicAliasMaximum(0)),
    ] {
        let topic = unique("alias/");
        let (mut subscriber, _) = broker().join(&packet);
        subscriber.subscribe(&topic, 1);
        let mut publisher = broker().client(V5);
        for _ in 0..5 {
            publisher.publish(publish(&topic, "x").qos(1).property(TopicAlias(1)));
            let delivered = subscriber.take(&topic, "x", 1);
            subscriber.assert(delivered.alias().is_none(), "no alias");
        }
    }
}

// v5[3.1.2-26 3.3.2-10 3.3.2-11]
#[test]
fn aliases_sent_to_a_client_keep_to_its_maximum_and_resolve() {
    let maximum = 3;
    // Long enough to be worth an alias.
    let root = format!("{}/{}", unique("alias"), "level/".repeat(20));
    let (mut subscriber, _) =
        broker().join(&connect(V5, unique("reader")).property(TopicAliasMaximum(maximum)));
    subscriber.subscribe(&format!("{root}/#"), 1);
    let mut publisher = broker().client(V5);
    let mut known: HashMap<u16, String> = HashMap::new();
    for number in [1, 2, 1, 3, 4, 5, 1, 1, 2, 4, 5, 6, 6, 1] {
        let topic = format!("{root}/{number}");
        publisher.publish(publish(&topic, "x").qos(1));
        let delivered = subscriber.expect_publish();
        subscriber.acknowledge(&delivered);
        if let Some(alias) = delivered.alias() {
            subscriber.assert(alias <= maximum, "at most the client's maximum");
            if !delivered.topic.is_empty() {
                known.insert(alias, delivered.topic.clone());
            }
        }
        let resolved = match delivered.alias() {
            Some(alias) if delivered.topic.is_empty() => known.get(&alias),
            _ => Some(&delivered.topic),
        };
        subscriber.assert(resolved == Some(&topic), &format!("it resolves to {topic}"));
    }
    subscriber.assert(!known.is_empty(), "aliases are used where the client allows them");
}

// v5[3.3.2-7 4.4.0-1] traps[44]
#[test]
fn a_message_sent_again_on_a_new_connection_has_its_topic() {
    let topic = format!("{}/{}", unique("alias"), "level/".repeat(20));
    let lasting = connect(V5, unique("reader"))
        .lasting()
        .property(TopicAliasMaximum(5));
    let (mut subscriber, _) = broker().join(&lasting);
    subscriber.subscribe(&topic, 1);
    let mut publisher = broker().client(V5);
    for _ in 0..3 {
        publisher.publish(publish(&topic, "x").qos(1));
        subscriber.expect_publish();
    }
    subscriber.vanish();
    let (mut subscriber, _) = broker().join(&lasting);
    let first = subscriber.expect_publish();
    subscriber.assert(first.topic == topic && first.dup, "the full topic again");
}

#[test]
fn an_alias_is_no_property_of_a_will() {
    let mut peer = broker().peer(V5);
    peer.send(connect(V5, unique("c")).will(will("t", "x").property(TopicAlias(1))));
    peer.expect_not_admitted(&[0x81, 0x82]);
}
