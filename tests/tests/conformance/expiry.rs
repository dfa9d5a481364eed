//! Message Expiry Interval (5.0).

use crate::brokers::broker;
use sluice_tests::packet::{V5, V311, connect, pubcomp, publish, pubrec};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{MessageExpiry, ReceiveMaximum, SessionExpiry};
use sluice_tests::reply::Reply;
use sluice_tests::{eventually, unique};

/// Returns when a message that is published now with this expiry has expired. Retained messages tell: they are
/// delivered until then.
fn pass_seconds(seconds: u32) {
    let topic = unique("clock/");
    broker().client(V5).publish(
        publish(&topic, "tick")
            .qos(1)
            .retain()
            .property(MessageExpiry(seconds)),
    );
    eventually("the clock runs", || {
        let mut reader = broker().client(V5);
        reader.subscribe(&topic, 0);
        reader.drain().is_empty()
    });
}

fn lasting() -> (Peer, sluice_tests::packet::Connect, String) {
    let topic = unique("expiry/");
    let packet = connect(V5, unique("lasting")).lasting();
    let (mut peer, _) = broker().join(&packet);
    peer.subscribe(&topic, 2);
    (peer, packet, topic)
}

// v5[3.3.2-6]
#[test]
fn a_message_delivered_at_once_keeps_its_expiry() {
    let topic = unique("expiry/");
    let mut subscriber = broker().client(V5);
    subscriber.subscribe(&topic, 1);
    broker()
        .client(V5)
        .publish(publish(&topic, "x").qos(1).property(MessageExpiry(1000)));
    let left = subscriber.take(&topic, "x", 1).expiry_seconds();
    subscriber.assert(
        left.is_some_and(|left| (900..=1000).contains(&left)),
        "1000 seconds, or a little less",
    );
}

// v5[3.3.2-6] traps[17]
#[test]
fn the_time_a_message_waited_is_taken_from_its_expiry() {
    let (away, packet, topic) = lasting();
    away.leave();
    let kept = unique("kept/");
    let mut publisher = broker().client(V5);
    publisher.publish(publish(&topic, "queued").qos(1).property(MessageExpiry(1000)));
    publisher.publish(
        publish(&kept, "retained")
            .qos(1)
            .retain()
            .property(MessageExpiry(1000)),
    );
    pass_seconds(2);
    let (mut back, _) = broker().join(&packet);
    let queued = back.take(&topic, "queued", 1).expiry_seconds();
    back.assert(
        queued.is_some_and(|left| (900..=998).contains(&left)),
        "two seconds less at least",
    );
    back.subscribe(&kept, 1);
    let retained = back.take(&kept, "retained", 1).expiry_seconds();
    back.assert(
        retained.is_some_and(|left| (900..=998).contains(&left)),
        "two seconds less at least",
    );
}

// v5[3.3.2-5] traps[18]
#[test]
fn an_expired_message_is_delivered_to_nobody() {
    let (away, packet, topic) = lasting();
    away.leave();
    let kept = unique("kept/");
    let mut publisher = broker().client(V5);
    publisher.publish(publish(&topic, "first").qos(1).property(MessageExpiry(1000)));
    publisher.publish(publish(&topic, "expires").qos(1).property(MessageExpiry(1)));
    publisher.publish(publish(&topic, "expires").qos(2).property(MessageExpiry(1)));
    publisher.publish(
        publish(&kept, "expires")
            .qos(1)
            .retain()
            .property(MessageExpiry(1)),
    );
    publisher.publish(publish(&topic, "last").qos(1));
    pass_seconds(1);
    let (mut back, _) = broker().join(&packet);
    back.take(&topic, "first", 1);
    back.take(&topic, "last", 1);
    back.subscribe(&kept, 1);
    back.expect_silence();
    // 3.1.1 clients do not get it either.
    let mut old = broker().client(V311);
    old.subscribe(&kept, 1);
    old.expect_silence();
}

// v5[3.3.2-5] traps[18]
#[test]
fn a_message_that_expires_while_it_waits_for_its_turn_is_not_sent() {
    let topic = unique("expiry/");
    let (mut busy, _) = broker().join(&connect(V5, unique("busy")).property(ReceiveMaximum(1)));
    busy.subscribe(&topic, 1);
    let mut publisher = broker().client(V5);
    publisher.publish(publish(&topic, "first").qos(1));
    publisher.publish(publish(&topic, "expires").qos(1).property(MessageExpiry(1)));
    publisher.publish(publish(&topic, "last").qos(1));
    let first = busy.expect_message(&topic, "first");
    pass_seconds(1);
    busy.acknowledge(&first);
    busy.take(&topic, "last", 1);
    busy.expect_silence();
}

// v5[3.3.2-5]
#[test]
fn an_expired_retained_message_makes_room_for_the_next() {
    let topic = unique("kept/");
    let mut author = broker().client(V5);
    author.publish(
        publish(&topic, "short")
            .qos(1)
            .retain()
            .property(MessageExpiry(1)),
    );
    pass_seconds(1);
    author.publish(publish(&topic, "long").qos(1).retain());
    let mut reader = broker().client(V5);
    reader.subscribe(&topic, 1);
    let delivered = reader.take(&topic, "long", 1);
    reader.assert(delivered.expiry_seconds().is_none(), "no expiry of its own");
}

// v5[4.3.3-7 4.3.3-13] traps[19]
#[test]
fn a_qos_2_delivery_that_has_begun_is_completed_although_the_message_expired() {
    let (mut subscriber, packet, topic) = lasting();
    let mut publisher = broker().client(V5);
    publisher.publish(publish(&topic, "one").qos(2).property(MessageExpiry(1)));
    publisher.publish(publish(&topic, "two").qos(2).property(MessageExpiry(1)));
    let one = subscriber.expect_message(&topic, "one").packet_id;
    let two = subscriber.expect_message(&topic, "two").packet_id;
    subscriber.send(pubrec(one));
    subscriber.expect_pubrel(one);
    subscriber.vanish();
    pass_seconds(1);
    let (mut subscriber, _) = broker().join(&packet);
    // In whichever order: the first is released again, the second sent again.
    let (mut released, mut again) = (false, None);
    while !released || again.is_none() {
        match subscriber.receive() {
            Reply::PubRel(acked) if acked.packet_id == one => released = true,
            Reply::Publish(delivered) if delivered.packet_id == two && delivered.dup => {
                again = Some(delivered)
            }
            _ => subscriber.fail("expected both exchanges to go on"),
        }
    }
    subscriber.send(pubcomp(one));
    if let Some(delivered) = again {
        subscriber.acknowledge(&delivered);
    }
    subscriber.expect_silence();
}

// v5[4.3.3-13 4.3.3-11] traps[19]
#[test]
fn a_qos_2_publish_can_be_released_after_its_message_expired() {
    let topic = unique("expiry/");
    let mut publisher = broker().client(V5);
    publisher.send(publish(&topic, "x").qos(2).id(5).property(MessageExpiry(1)));
    publisher.expect_pubrec(5);
    pass_seconds(1);
    publisher.send(publish(&topic, "x").qos(2).id(5).dup().property(MessageExpiry(1)));
    publisher.expect_pubrec(5);
    publisher.release(5);
}

// v5[3.3.2-5]
#[test]
fn an_expiry_longer_than_the_session_is_no_reason_to_keep_it() {
    let topic = unique("expiry/");
    let id = unique("short");
    let (mut client, _) = broker().join(&connect(V5, &id).property(SessionExpiry(0)));
    client.subscribe(&topic, 1);
    client.leave();
    broker()
        .client(V5)
        .publish(publish(&topic, "x").qos(1).property(MessageExpiry(u32::MAX)));
    let (mut client, connack) = broker().join(&connect(V5, &id).resuming());
    client.assert(!connack.session_present, "the session ended");
    client.subscribe(&topic, 1);
    client.expect_silence();
}
