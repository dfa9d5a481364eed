//! Topic aliases, both ways.

use super::*;
use crate::packet::{Packet, Publish};
use crate::reason::ReasonCode;
use crate::testing::{Pair, Verdict, connect, disconnect, puback, publish};

fn aliased(topic: &str, payload: &str, alias: u16) -> Publish {
    let mut publish = publish(topic, payload, 0, 0);
    publish.properties.topic_alias = Some(alias);
    publish
}

fn pair(topic_alias_max: u16) -> Pair {
    let mut pair = Pair::new(connect(Version::V5));
    pair.terms.topic_alias_max = topic_alias_max;
    pair.handshake();
    pair
}

#[test]
fn an_alias_stands_for_its_topic_until_it_is_given_another() {
    let mut pair = pair(2);
    pair.send(aliased("a", "1", 1));
    pair.send(aliased("b", "2", 2));
    pair.send(aliased("", "3", 1));
    pair.send(aliased("", "4", 2));
    pair.send(aliased("c", "5", 1));
    pair.send(aliased("", "6", 1));
    assert_eq!(pair.routed, ["a=1", "b=2", "a=3", "b=4", "c=5", "c=6"]);
}

#[test]
fn a_refused_message_still_sets_its_alias() {
    let mut pair = pair(1);
    pair.verdict = Verdict::Refuse(ReasonCode::NOT_AUTHORIZED);
    pair.send(aliased("a", "1", 1));
    pair.verdict = Verdict::Accept;
    pair.send(aliased("", "2", 1));
    assert_eq!(pair.routed, ["a=2"]);
}

#[test]
fn aliases_that_cannot_be_end_the_connection() {
    let check = |topic_alias_max: u16, sent: Publish, cause: Breach| {
        let mut pair = pair(topic_alias_max);
        pair.send(sent);
        pair.expect(disconnect(cause.reason()));
        pair.expect_closed(breach(cause));
        assert!(pair.routed.is_empty());
    };
    check(
        5,
        aliased("a", "x", 6),
        Breach::TopicAliasInvalid { alias: 6, max: 5 },
    ); // [MQTT-3.3.2-9]
    check(
        0,
        aliased("a", "x", 1),
        Breach::TopicAliasInvalid { alias: 1, max: 0 },
    ); // [MQTT-3.2.2-18]
    check(5, aliased("", "x", 5), Breach::TopicAliasUnknown { alias: 5 });
    assert_eq!(
        Breach::TopicAliasInvalid { alias: 6, max: 5 }.reason(),
        ReasonCode::TOPIC_ALIAS_INVALID
    );
    assert_eq!(
        Breach::TopicAliasUnknown { alias: 5 }.reason(),
        ReasonCode::PROTOCOL_ERROR
    );
}

#[test]
fn alias_zero_and_no_name_at_all_end_the_connection() {
    let check = |bytes: &[u8], reason: ReasonCode| {
        let mut pair = pair(5);
        pair.send_bytes(bytes);
        pair.expect(disconnect(reason));
        assert!(pair.conn.is_closed());
    };
    check(
        b"\x30\x08\x00\x01a\x03\x23\x00\x00x",
        ReasonCode::TOPIC_ALIAS_INVALID,
    ); // [MQTT-3.3.2-8]
    check(b"\x30\x04\x00\x00\x00x", ReasonCode::PROTOCOL_ERROR);
}

#[test]
fn aliases_do_not_outlive_their_connection() {
    let mut pair = pair(5);
    pair.send(aliased("a", "x", 1));
    pair.reconnect(connect(Version::V5)); // [MQTT-3.3.2-7]
    pair.send(aliased("", "x", 1));
    pair.expect(disconnect(ReasonCode::PROTOCOL_ERROR));
}

fn subscriber(topic_alias_max: u16) -> Pair {
    let mut client = connect(Version::V5);
    client.topic_alias_max = topic_alias_max;
    Pair::connected_as(client)
}

/// `topic` and `alias` of the next PUBLISH.
fn named(pair: &mut Pair) -> (String, Option<u16>) {
    match pair.receive() {
        Some(Packet::Publish(publish)) => {
            let topic = publish.topic.map(|topic| topic.to_string()).unwrap_or_default();
            (topic, publish.properties.topic_alias)
        }
        other => panic!("no PUBLISH: {other:?}"),
    }
}

#[test]
fn a_topic_is_written_once_to_clients_that_take_aliases() {
    let mut pair = subscriber(2);
    let topics = [
        "a/long/topic",
        "a/long/topic",
        "another/topic",
        "another/topic",
        "a/long/topic",
    ];
    for topic in topics {
        pair.deliver(topic, "x", 1);
    }
    assert_eq!(named(&mut pair), ("a/long/topic".to_string(), Some(1)));
    assert_eq!(named(&mut pair), (String::new(), Some(1)));
    assert_eq!(named(&mut pair), ("another/topic".to_string(), Some(2)));
    assert_eq!(named(&mut pair), (String::new(), Some(2)));
    assert_eq!(named(&mut pair), (String::new(), Some(1)));
}

#[test]
fn a_full_table_makes_room_for_a_topic_only_at_the_cost_of_one_out_of_use() {
    let mut pair = subscriber(1);
    for topic in [
        "busy/topic",
        "busy/topic",
        "rare/topic",
        "rare/topic",
        "rare/topic",
    ] {
        pair.deliver(topic, "x", 0);
    }
    assert_eq!(named(&mut pair), ("busy/topic".to_string(), Some(1)));
    assert_eq!(named(&mut pair), (String::new(), Some(1)));
    assert_eq!(named(&mut pair), ("rare/topic".to_string(), None)); // [MQTT-3.1.2-26]
    assert_eq!(named(&mut pair), ("rare/topic".to_string(), Some(1)));
    assert_eq!(named(&mut pair), (String::new(), Some(1)));
}

#[test]
fn a_client_that_takes_no_aliases_gets_none() {
    let mut pair = subscriber(0);
    for _ in 0..2 {
        pair.deliver("a/long/topic", "x", 0);
        assert_eq!(named(&mut pair), ("a/long/topic".to_string(), None)); // [MQTT-3.1.2-27]
    }
}

#[test]
fn an_alias_that_makes_a_message_too_large_is_left_out_and_not_assumed_known() {
    let bare = 2 + 2 + 12 + 1 + 10;
    let mut client = connect(Version::V5);
    client.topic_alias_max = 10;
    client.packet_bytes_max = Some(bare);
    let mut pair = Pair::connected_as(client);
    for payload in ["0123456789", "01234567890", "0123456", "0123456789"] {
        pair.deliver("a/long/topic", payload, 0);
    }
    assert_eq!(named(&mut pair), ("a/long/topic".to_string(), None));
    assert_eq!(named(&mut pair), ("a/long/topic".to_string(), Some(1)));
    assert_eq!(named(&mut pair), (String::new(), Some(1)));
}

#[test]
fn outbound_aliases_start_anew_on_each_connection() {
    let mut pair = subscriber(2);
    pair.deliver("a/long/topic", "x", 1);
    assert_eq!(named(&mut pair), ("a/long/topic".to_string(), Some(1)));
    let mut client = connect(Version::V5);
    client.clean_start = false;
    client.topic_alias_max = 2;
    pair.reconnect(client);
    assert_eq!(
        named(&mut pair),
        ("a/long/topic".to_string(), Some(1)),
        "the re-sent message names its topic"
    );
    pair.send(puback(1, ReasonCode::SUCCESS));
}
