//! Properties of PUBLISH that the broker passes on (5.0).

use crate::brokers::broker;
use sluice_tests::packet::{V5, V311, publish};
use sluice_tests::property::Property::{self, *};
use sluice_tests::unique;

/// Publishes with these properties and returns those that arrive.
fn pass_on(properties: Vec<Property>) -> Vec<Property> {
    let topic = unique("properties/");
    let mut subscriber = broker().client(V5);
    subscriber.subscribe(&topic, 1);
    let mut message = publish(&topic, "x").qos(1);
    message.properties = properties;
    broker().client(V5).publish(message);
    subscriber.take(&topic, "x", 1).properties
}

// v5[3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-20 3.3.2-13 3.3.2-19]
#[test]
fn each_property_that_is_for_the_receiver_arrives_unchanged() {
    let cases = [
        PayloadFormat(0),
        PayloadFormat(1),
        ContentType("application/json; charset=\u{FC}".into()),
        ContentType(String::new()),
        ResponseTopic("answers/to/me".into()),
        CorrelationData(vec![]),
        CorrelationData((0..=255).collect()),
    ];
    for property in cases {
        assert_eq!(pass_on(vec![property.clone()]), [property]);
    }
}

// v5[3.3.2-17 3.3.2-18 1.5.7-1]
#[test]
fn user_properties_arrive_unchanged_and_in_their_order() {
    let user = |name: &str, value: &str| User(name.to_owned(), value.to_owned());
    let properties = vec![
        user("b", "1"),
        user("a", "2"),
        user("b", "1"),
        user("", ""),
        user("a", "\u{1F600}"),
        user(&"n".repeat(1000), &"v".repeat(3000)),
    ];
    assert_eq!(pass_on(properties.clone()), properties);
}

// v5[3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20]
#[test]
fn all_of_them_together_arrive() {
    let properties = vec![
        User("first".into(), "1".into()),
        CorrelationData(vec![9; 500]),
        ContentType("t".into()),
        User("second".into(), "2".into()),
        ResponseTopic("r".into()),
        PayloadFormat(1),
    ];
    let arrived = pass_on(properties.clone());
    assert_eq!(arrived.len(), properties.len());
    for property in &properties {
        assert!(arrived.contains(property), "{property:?}");
    }
    let users: Vec<_> = arrived
        .iter()
        .filter(|property| matches!(property, User(..)))
        .collect();
    assert_eq!(users, [&properties[0], &properties[3]], "in their order");
}

// v5[2.2.2-1]
#[test]
fn a_message_without_properties_gets_none() {
    assert_eq!(pass_on(vec![]), []);
}

// v5[3.3.2-4]
#[test]
fn a_3_1_1_subscriber_gets_the_payload_and_no_properties() {
    let topic = unique("properties/");
    let mut subscriber = broker().client(V311);
    subscriber.subscribe(&topic, 1);
    let message = publish(&topic, "x")
        .qos(1)
        .property(ContentType("t".into()))
        .property(User("a".into(), "b".into()));
    broker().client(V5).publish(message);
    // The decoder for 3.1.1 would take a property block for a part of the payload.
    subscriber.take(&topic, "x", 1);
}

// v5[3.3.2-6]
#[test]
fn a_message_of_a_3_1_1_client_reaches_a_5_0_client_without_properties() {
    let topic = unique("properties/");
    let mut subscriber = broker().client(V5);
    subscriber.subscribe(&topic, 1);
    broker().client(V311).publish(publish(&topic, "x").qos(1));
    let delivered = subscriber.take(&topic, "x", 1);
    subscriber.assert(delivered.properties.is_empty(), "no properties");
}
