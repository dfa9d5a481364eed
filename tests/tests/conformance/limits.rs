//! What the broker announces, and what happens to those who do not keep to it.

use crate::brokers::{broker, modest, small};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Encode, V5, V311, connect, publish, pubrel, subscribe, will};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::*;
use sluice_tests::{eventually, unique};

// v5[3.2.2-15 3.2.2-17] traps[35]
#[test]
fn connack_tells_the_servers_own_limits_whatever_the_clients_are() {
    let packet = connect(V5, unique("c"))
        .property(ReceiveMaximum(7))
        .property(TopicAliasMaximum(9));
    let (peer, connack) = small().join(&packet.property(MaximumPacketSize(5000)));
    for expected in [ReceiveMaximum(3), TopicAliasMaximum(2), MaximumPacketSize(1000)] {
        peer.assert(
            connack.properties.contains(&expected),
            &format!("{expected:?} is announced"),
        );
    }
}

// v5[3.2.2-9 3.2.2-18]
#[test]
fn connack_tells_what_is_not_available() {
    let (peer, connack) = modest().join(&connect(V5, unique("c")));
    peer.assert(connack.properties.contains(&MaximumQos(1)), "QoS 1 at most");
    peer.assert(
        connack.properties.contains(&RetainAvailable(0)),
        "no retained messages",
    );
    let aliases = connack
        .properties
        .iter()
        .find(|property| matches!(property, TopicAliasMaximum(1..)));
    peer.assert(aliases.is_none(), "no topic aliases");
    let (peer, connack) = broker().join(&connect(V5, unique("c")));
    let lacks = |p: &&sluice_tests::property::Property| {
        matches!(
            p,
            MaximumQos(_)
                | RetainAvailable(0)
                | WildcardAvailable(0)
                | SubscriptionIdAvailable(0)
                | SharedAvailable(0)
        )
    };
    peer.assert(
        connack.properties.iter().find(lacks).is_none(),
        "by default all is available",
    );
}

// v5[3.1.2-21 3.2.2-21]
#[test]
fn connack_tells_a_shorter_session_expiry_and_keep_alive() {
    let packet = connect(V5, unique("c"))
        .keep_alive(0)
        .property(SessionExpiry(u32::MAX));
    let (peer, connack) = small().join(&packet);
    peer.assert(
        connack.properties.contains(&SessionExpiry(3600)),
        "an hour at most",
    );
    peer.assert(
        connack.properties.contains(&ServerKeepAlive(300)),
        "five minutes at most",
    );
    let packet = connect(V5, unique("c"))
        .keep_alive(10)
        .property(SessionExpiry(10));
    let (peer, connack) = small().join(&packet);
    let told = connack
        .properties
        .iter()
        .any(|p| matches!(p, SessionExpiry(_) | ServerKeepAlive(_)));
    peer.assert(!told, "nothing to tell where the client's own values hold");
}

/// A publisher on the small broker with as many QoS 2 exchanges open as it may have: packet ids 1 to 3.
fn at_the_limit() -> Peer {
    let mut peer = small().client(V5);
    let topic = unique("t/");
    for id in 1..=3 {
        peer.send(publish(&topic, "x").qos(2).id(id));
        peer.expect_pubrec(id);
    }
    peer
}

// v5[3.3.4-7] traps[34]
#[test]
fn more_than_receive_maximum_ends_the_connection() {
    for qos in [1, 2] {
        let mut peer = at_the_limit();
        peer.send(publish(unique("t/"), "x").qos(qos).id(4));
        peer.expect_disconnected(&[0x93]);
    }
}

// v5[3.3.4-7 4.3.3-10]
#[test]
fn repeats_and_qos_0_do_not_count_and_released_ones_count_no_more() {
    let mut peer = at_the_limit();
    peer.send(publish(unique("t/"), "x").qos(2).id(2).dup());
    peer.expect_pubrec(2);
    peer.publish(publish(unique("t/"), "x"));
    peer.release(2);
    peer.send(publish(unique("t/"), "x").qos(2).id(4));
    peer.expect_pubrec(4);
    peer.send(pubrel(1));
    peer.expect_pubcomp(1);
    peer.publish(publish(unique("t/"), "x").qos(1));
}

#[test]
fn before_5_there_is_no_receive_maximum() {
    let mut peer = small().client(V311);
    let topic = unique("t/");
    for id in 1..=10 {
        peer.send(publish(&topic, "x").qos(2).id(id));
        peer.expect_pubrec(id);
    }
    for id in 1..=10 {
        peer.release(id);
    }
}

// v5[3.2.2-15] traps[39]
#[test]
fn the_maximum_packet_size_counts_the_fixed_header() {
    for version in BOTH {
        let topic = unique("size/");
        let overhead = publish(&topic, "x".repeat(900)).bytes(version).len() - 900;
        let mut peer = small().client(version);
        peer.subscribe(&topic, 0);
        let largest = publish(&topic, "x".repeat(1000 - overhead));
        assert_eq!(largest.bytes(version).len(), 1000);
        peer.send(&largest);
        peer.take(&topic, &largest.payload, 0);
        peer.send(publish(&topic, "x".repeat(1001 - overhead)));
        peer.expect_disconnected(&[0x95]);
    }
}

// v5[3.2.2-15]
#[test]
fn a_packet_that_announces_too_much_is_not_waited_for() {
    for version in BOTH {
        let mut peer = small().client(version);
        // A remaining length of 2,000 bytes, of which none comes.
        peer.send([0x30, 0xD0, 0x0F]);
        peer.expect_disconnected(&[0x95]);
    }
}

// v5[3.2.2-11]
#[test]
fn a_qos_above_the_maximum_ends_the_connection() {
    for version in BOTH {
        let mut peer = modest().client(version);
        peer.send(publish("t", "x").qos(2).id(1));
        peer.expect_disconnected(&[0x9B]);
    }
}

// v5[3.2.2-10 3.8.4-7]
#[test]
fn a_subscription_above_the_maximum_qos_is_granted_the_maximum() {
    for version in BOTH {
        let topic = unique("t/");
        let mut peer = modest().client(version);
        assert_eq!(peer.request_subscription(subscribe(1).filter(&topic, 2)), [1]);
        modest().client(version).publish(publish(&topic, "x").qos(1));
        peer.take(&topic, "x", 1);
    }
}

// v5[3.2.2-14]
#[test]
fn a_retained_message_where_none_are_kept_ends_the_connection() {
    for version in BOTH {
        let mut peer = modest().client(version);
        peer.send(publish("t", "x").retain());
        peer.expect_disconnected(&[0x9A]);
    }
}

// v5[3.2.2-12 3.2.2-13] traps[9]
#[test]
fn a_will_beyond_what_is_available_is_refused_and_never_sent() {
    let topic = unique("will/");
    let mut watcher = modest().client(V5);
    watcher.subscribe(&topic, 1);
    for (testament, reason) in [
        (will(&topic, "x").qos(2), 0x9B),
        (will(&topic, "x").retain(), 0x9A),
    ] {
        let (mut peer, connack) = modest().try_join(&connect(V5, unique("c")).will(testament.clone()));
        peer.assert(connack.code == reason, &format!("refused with 0x{reason:02X}"));
        peer.expect_closed();
        let (mut peer, connack) = modest().try_join(&connect(V311, unique("c")).will(testament));
        peer.assert(connack.code != 0, "refused");
        peer.expect_closed();
    }
    watcher.expect_silence();
}

// v5[3.2.2-18]
#[test]
fn where_no_alias_is_allowed_none_may_be_used() {
    let mut peer = modest().client(V5);
    peer.send(publish("t", "x").property(TopicAlias(1)));
    peer.expect_disconnected(&[0x94]);
}

#[test]
fn one_subscription_too_many_is_refused_alone() {
    for version in BOTH {
        let mut peer = small().client(version);
        let root = unique("many");
        for number in 0..5 {
            peer.subscribe(&format!("{root}/{number}"), 0);
        }
        let codes = peer.request_subscription(
            subscribe(99)
                .filter(format!("{root}/6"), 0)
                .filter(format!("{root}/1"), 1),
        );
        let refused = if version == V5 { 0x97 } else { 0x80 };
        peer.assert(
            codes == [refused, 1],
            "a new one is refused, a replaced one is not",
        );
        peer.unsubscribe(&format!("{root}/0"));
        peer.subscribe(&format!("{root}/6"), 0);
    }
}

#[test]
fn who_sends_no_connect_is_closed_in_time() {
    let hasty = small().listener("hasty");
    let mut silent = Peer::open(hasty, V5);
    let mut slow = Peer::open(hasty, V5);
    let whole = connect(V5, unique("c")).bytes(V5);
    slow.send(&whole[..whole.len() - 1]);
    silent.expect_closed();
    slow.expect_closed();
}

// traps[59]
#[test]
fn one_connection_above_the_limit_is_turned_away_and_the_others_stay() {
    let broker = Broker::with_config(
        "[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n[limits]\nconnections_max = 2\n",
    );
    for version in BOTH {
        let mut first = broker.client(version);
        let mut second = broker.client(version);
        for _ in 0..3 {
            let mut third = broker.peer(version);
            third.send(connect(version, unique("third")));
            third.expect_not_admitted(&[0x88, 0x89, 0x97]);
        }
        first.ping();
        second.ping();
        first.leave();
        second.leave();
        // The places are free again.
        eventually("somebody else may come", || {
            let mut peer = broker.peer(version);
            peer.send(connect(version, unique("next")));
            let admitted = peer.is_admitted();
            if admitted {
                peer.leave();
            }
            admitted
        });
    }
}
