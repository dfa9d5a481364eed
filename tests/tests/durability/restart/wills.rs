//! Wills of sessions that outlive their connections.

use super::{both_ends, resume, store_everything};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::{BOTH, Connect, V5, connect, disconnect, will};
use sluice_tests::property::Property;
use sluice_tests::receiving::{everything, payloads};

/// Somebody with a lasting session who waits for wills, and is away.
fn mourner(broker: &Broker) -> Connect {
    let packet = connect(V5, "mourner").lasting();
    let (mut client, _) = broker.join(&packet);
    client.subscribe("will/#", 2);
    client.leave();
    packet
}

/// A client with a will that is due so many seconds after its connection is lost.
fn mortal(delay_seconds: u32) -> Connect {
    let will = will("will/mortal", "gone").qos(2);
    let will = will.property(Property::WillDelay(delay_seconds));
    connect(V5, "mortal").lasting().will(will)
}

#[test]
fn the_will_of_a_client_that_was_connected_is_published() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mourner = mourner(&broker);
        let clients = BOTH.map(|version| {
            let id = format!("mortal-{version:?}");
            let packet = connect(version, &id)
                .lasting()
                .will(will(format!("will/{id}"), "gone").qos(2));
            broker.join(&packet)
        });
        broker.restart(signal);
        let mut client = resume(&broker, &mourner);
        for _ in &clients {
            let delivered = client.expect_publish();
            client.assert(delivered.topic.starts_with("will/mortal-"), "a will");
            client.acknowledge(&delivered);
        }
        assert!(everything(&mut client).is_empty(), "each comes once");
        client.leave();
        broker.restart(signal);
        let mut client = resume(&broker, &mourner);
        assert!(everything(&mut client).is_empty(), "and never again");
    });
}

#[test]
fn a_delayed_will_is_published_after_the_restart() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mourner = mourner(&broker);
        let (client, _) = broker.join(&mortal(1));
        client.vanish();
        broker.restart(signal);
        let mut client = resume(&broker, &mourner);
        client.take("will/mortal", "gone", 2);
        assert!(everything(&mut client).is_empty(), "it comes once");
    });
}

#[test]
fn a_client_that_is_back_in_time_has_no_will_published() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mourner = mourner(&broker);
        let (client, _) = broker.join(&mortal(3600));
        client.vanish();
        broker.restart(signal);
        let mut without = mortal(3600);
        without.will = None;
        let client = resume(&broker, &without);
        client.leave();
        broker.restart(signal);
        // Ending the session now must not bring it back.
        let mut client = resume(&broker, &without);
        client.send(disconnect(0).property(Property::SessionExpiry(0)));
        client.expect_closed();
        assert!(everything(&mut resume(&broker, &mourner)).is_empty());
    });
}

#[test]
fn a_will_that_was_deleted_is_not_published() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let mourner = mourner(&broker);
        let (client, _) = broker.join(&mortal(0));
        client.leave();
        // That the client has said goodbye is written without anybody waiting for it.
        store_everything(&broker);
        broker.restart(signal);
        store_everything(&broker);
        assert!(everything(&mut resume(&broker, &mourner)).is_empty());
    });
}

#[test]
fn a_will_is_published_as_it_was_written() {
    let mut broker = Broker::durable("");
    let mourner = mourner(&broker);
    let properties = [
        Property::PayloadFormat(1),
        Property::ContentType("text/plain".to_owned()),
        Property::User("a".to_owned(), "b".to_owned()),
    ];
    let will = will("will/full", "gone").qos(1).retain();
    let will = properties
        .iter()
        .cloned()
        .fold(will, |will, property| will.property(property));
    let will = will.property(Property::MessageExpiry(3600));
    let (_client, _) = broker.join(&connect(V5, "mortal").lasting().will(will));
    broker.restart(Signal::KILL);
    let mut client = resume(&broker, &mourner);
    let delivered = client.take("will/full", "gone", 1);
    let mut came = delivered.properties.clone();
    came.retain(|property| !matches!(property, Property::MessageExpiry(_)));
    assert_eq!(came, properties);
    client.assert(delivered.expiry_seconds().is_some(), "it expires");
    let mut reader = broker.client(V5);
    reader.subscribe("will/full", 1);
    assert_eq!(payloads(&reader.drain()), ["gone"], "it is retained");
}
