//! Sessions: what outlives a connection and what ends with it.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, V5, connect, publish, subscribe};
use sluice_tests::property::Property;
use sluice_tests::unique;

// v311[3.1.2-4 3.1.2-5 3.2.2-2 3.2.2-3 4.1.0-1] v5[3.1.2-5 3.1.2-6 3.1.2-23 3.2.2-3 3.1.3-2 4.1.0-1]
#[test]
fn a_session_keeps_subscriptions_and_messages_while_its_client_is_away() {
    for version in BOTH {
        let topic = unique("away/");
        let lasting = connect(version, unique("lasting")).lasting();
        let (mut client, connack) = broker().join(&lasting);
        client.assert(!connack.session_present, "a new session");
        client.subscribe(&topic, 2);
        client.leave();
        let mut publisher = broker().client(version);
        publisher.publish(publish(&topic, "one").qos(1));
        publisher.publish(publish(&topic, "two").qos(2));
        let (mut client, connack) = broker().join(&lasting);
        client.assert(connack.session_present, "the session was kept");
        client.take(&topic, "one", 1);
        client.take(&topic, "two", 2);
        publisher.publish(publish(&topic, "live"));
        client.take(&topic, "live", 0);
        client.expect_silence();
    }
}

// v311[3.1.2-4 3.1.3-2]
#[test]
fn a_session_is_found_by_its_client_id_and_no_other() {
    for version in BOTH {
        let id = unique("Exact");
        let (client, _) = broker().join(&connect(version, &id).lasting());
        client.leave();
        for other in [id.to_lowercase(), format!("{id} "), format!("{id}\u{FEFF}")] {
            let (client, connack) = broker().join(&connect(version, other).lasting());
            client.assert(!connack.session_present, "another identifier has no session");
        }
        let (client, connack) = broker().join(&connect(version, &id).lasting());
        client.assert(connack.session_present, "the session is there");
    }
}

// v311[3.1.2-6 3.1.4-3 3.2.2-1] v5[3.1.2-4 3.1.4-4 3.2.2-2]
#[test]
fn a_clean_start_discards_the_old_session() {
    for version in BOTH {
        let topic = unique("old/");
        let id = unique("lasting");
        let (mut client, _) = broker().join(&connect(version, &id).lasting());
        client.subscribe(&topic, 1);
        client.leave();
        let mut publisher = broker().client(version);
        publisher.publish(publish(&topic, "x").qos(1));
        let (mut client, connack) = broker().join(&connect(version, &id));
        client.assert(!connack.session_present, "a clean start finds nothing");
        publisher.publish(publish(&topic, "y").qos(1));
        client.expect_silence();
        client.leave();
        let (mut client, connack) = broker().join(&connect(version, &id).lasting());
        client.assert(!connack.session_present, "nor is there anything afterwards");
        client.expect_silence();
    }
}

// v311[3.1.2-6 3.2.2-3 4.1.0-2] v5[4.1.0-2 3.1.2-6]
#[test]
fn a_clean_session_ends_with_its_connection() {
    for version in BOTH {
        let id = unique("clean");
        let (mut client, _) = broker().join(&connect(version, &id));
        client.subscribe(&unique("t/"), 1);
        client.leave();
        let (client, connack) = broker().join(&connect(version, &id).resuming());
        client.assert(!connack.session_present, "the session is gone");
    }
}

// v5[3.1.2-23 4.1.0-2]
#[test]
fn in_5_a_clean_start_says_nothing_about_the_end() {
    let id = unique("clean");
    let (client, _) = broker().join(&connect(V5, &id).property(Property::SessionExpiry(60)));
    client.leave();
    let (client, connack) = broker().join(&connect(V5, &id).resuming());
    client.assert(
        connack.session_present,
        "the session is kept for its expiry interval",
    );
    client.leave();
    let (client, connack) = broker().join(&connect(V5, &id).resuming());
    client.assert(
        !connack.session_present,
        "without an expiry interval it ended with the connection",
    );
}

// v311[3.1.2-7]
#[test]
fn retained_messages_outlive_the_session_of_their_author() {
    for version in BOTH {
        let topic = unique("kept/");
        let mut author = broker().client(version);
        author.publish(publish(&topic, "x").qos(1).retain());
        author.leave();
        let mut reader = broker().client(version);
        reader.subscribe(&topic, 1);
        reader.take(&topic, "x", 1);
    }
}

// v311[3.3.1-6] traps[14]
#[test]
fn a_resumed_session_is_not_sent_retained_messages_again() {
    for version in BOTH {
        let topic = unique("kept/");
        broker()
            .client(version)
            .publish(publish(&topic, "x").qos(1).retain());
        let lasting = connect(version, unique("lasting")).lasting();
        let (mut client, _) = broker().join(&lasting);
        client.subscribe(&topic, 1);
        client.take(&topic, "x", 1);
        client.ping();
        client.leave();
        let (mut client, _) = broker().join(&lasting);
        client.expect_silence();
        // Nor by taking over.
        let (mut second, _) = broker().join(&lasting);
        client.expect_disconnected(&[0x8E]);
        second.expect_silence();
    }
}

// v5[4.1.0-1]
#[test]
fn a_session_keeps_the_options_of_its_subscriptions() {
    let (marked, own) = (unique("marked/"), unique("own/"));
    let lasting = connect(V5, unique("lasting")).lasting();
    let (mut client, _) = broker().join(&lasting);
    let request = subscribe(1)
        .filter(&marked, 0x01 | 0x08)
        .property(Property::SubscriptionId(268_435_455));
    client.request_subscription(request);
    client.request_subscription(subscribe(2).filter(&own, 0x01 | 0x04));
    client.leave();
    let (mut client, _) = broker().join(&lasting);
    broker().client(V5).publish(publish(&marked, "x").qos(1).retain());
    let delivered = client.take(&marked, "x", 1);
    client.assert(delivered.retain, "retain as published");
    client.assert(
        delivered.subscription_ids() == [268_435_455],
        "the subscription identifier",
    );
    // QoS 1 would be delivered: only no local keeps it back.
    client.publish(publish(&own, "x").qos(1));
    client.expect_silence();
}

// v311[3.1.2-5 4.1.0-1]
#[test]
fn unsubscribing_takes_effect_for_the_time_away() {
    for version in BOTH {
        let topic = unique("away/");
        let lasting = connect(version, unique("lasting")).lasting();
        let (mut client, _) = broker().join(&lasting);
        client.subscribe(&topic, 1);
        client.unsubscribe(&topic);
        client.leave();
        broker().client(version).publish(publish(&topic, "x").qos(1));
        let (mut client, _) = broker().join(&lasting);
        client.expect_silence();
    }
}
