//! What clients do where the policy lets them.

use crate::Case;
use crate::agent::Message;
use sluice_tests::broker::Broker;
use sluice_tests::unique;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::OnceLock;

/// One broker for all these tests: each uses topics of its own.
fn address() -> SocketAddr {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::start).address()
}

pub fn messages_arrive_with_each_quality(case: Case) {
    for qos in 0..=2u8 {
        let topic = unique("quality/");
        let mut subscriber = case
            .start(&case.subscriber(address(), &topic).qos(qos))
            .listening(qos);
        let mut publisher = case
            .start(&case.publisher(address(), &topic).qos(qos))
            .connected();
        for payload in ["first", "second", "third"] {
            publisher.published(payload);
            let message = subscriber.expect_message(payload);
            let expected = Message {
                topic: topic.clone(),
                payload: payload.to_owned(),
                qos: u64::from(qos),
                retain: false,
            };
            assert_eq!(message, expected);
        }
        publisher.leave();
        subscriber.leave();
    }
}

pub fn a_retained_message_waits_for_subscribers(case: Case) {
    let topic = unique("retained/");
    let mut publisher = case
        .start(&case.publisher(address(), &topic).retain())
        .connected();
    publisher.published("old");
    publisher.published("new");
    publisher.leave();

    let mut subscriber = case.start(&case.subscriber(address(), &topic)).listening(1);
    let message = subscriber.expect_message("new");
    assert!(message.retain, "{message:?}");

    // What arrives on a subscription that exists is no retained message.
    let mut publisher = case
        .start(&case.publisher(address(), &topic).retain())
        .connected();
    publisher.published("newer");
    let message = subscriber.expect_message("newer");
    assert!(!message.retain, "{message:?}");
    publisher.leave();
    subscriber.leave();
}

pub fn a_will_tells_that_a_client_vanished(case: Case) {
    let topic = unique("will/");
    let mut watcher = case.start(&case.subscriber(address(), &topic)).listening(1);
    let mortal = case
        .subscriber(address(), &unique("nothing/"))
        .will(&topic, "gone");
    case.start(&mortal).listening(1).vanish();
    let message = watcher.expect_message("gone");
    assert_eq!((message.topic, message.qos), (topic, 1));
}

pub fn a_will_is_not_sent_for_a_client_that_leaves(case: Case) {
    let topic = unique("will/");
    let mut watcher = case.start(&case.subscriber(address(), &topic)).listening(1);
    let polite = case
        .publisher(address(), &unique("nothing/"))
        .will(&topic, "gone");
    let mut polite = case.start(&polite).connected();
    polite.published("something");
    polite.leave();
    let mut publisher = case.start(&case.publisher(address(), &topic)).connected();
    publisher.published("only this");
    watcher.expect_message("only this");
    watcher.leave();
}

pub fn a_shared_subscription_deals_messages_out(case: Case) {
    const MEMBERS: usize = 2;
    const MESSAGES: usize = 20;
    let topic = unique("shared/");
    let filter = format!("$share/group/{topic}");
    let mut members = [(); MEMBERS].map(|()| case.start(&case.subscriber(address(), &filter)).listening(1));
    let mut publisher = case.start(&case.publisher(address(), &topic)).connected();
    for number in 0..MESSAGES {
        publisher.published(&number.to_string());
    }
    // Each message went to one member, in turn.
    let mut seen = HashSet::new();
    for member in &mut members {
        for _ in 0..MESSAGES / MEMBERS {
            let message = member.message();
            assert!(seen.insert(message.payload.clone()), "{message:?} came twice");
        }
    }
    assert_eq!(seen.len(), MESSAGES);
    for member in members {
        member.leave();
    }
}
