//! Wills are judged when their client connects, and again when they are sent.

use super::house::{House, Visitor, at_every_door, each};
use sluice_tests::packet::{Connect, V5, Will, will};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{SessionExpiry, WillDelay};
use sluice_tests::{eventually, unique};

/// A session that outlives its connection, and a will that waits so many seconds.
fn waiting(visitor: &Visitor<'_>, will: Will, delay: u32) -> Connect {
    let packet = visitor.hello("client").property(SessionExpiry(3600));
    packet.will(will.property(WillDelay(delay)))
}

#[test]
fn wills_are_judged_by_topic_and_payload_at_every_door_when_the_client_connects() {
    at_every_door("on-publish or on-message for wills", |visitor| {
        let refused = visitor.hello("client").will(will("refused/will", "x"));
        visitor.is_turned_away(&refused, 0x87);
        let poisoned = visitor.hello("client").will(will("open/will", "poison"));
        visitor.is_turned_away(&poisoned, 0x99);
    });
}

#[test]
fn wills_are_looked_into_at_every_door_when_they_are_sent() {
    at_every_door("on-message for wills", |visitor| {
        let mut watcher = visitor.house.watcher();
        let topic = unique("open/");
        watcher.subscribe(&topic, 0);
        for (payload, expected) in [("gone", "gone"), ("water", "wine")] {
            let packet = visitor.hello("client").will(will(&topic, payload));
            visitor.join(&packet).vanish();
            watcher.expect_message(&topic, expected);
        }
    });
}

#[test]
fn delayed_wills_are_looked_into_at_every_door_when_their_delay_is_over() {
    let house = House::open();
    let of_5_0 = house.visitors().into_iter().filter(|one| one.version == V5);
    let left: Vec<_> = of_5_0
        .map(|visitor| {
            let topic = unique("open/");
            let mut watcher = house.watcher();
            watcher.subscribe(&topic, 0);
            visitor
                .join(&waiting(&visitor, will(&topic, "water"), 1))
                .vanish();
            (visitor, (watcher, topic))
        })
        .collect();
    each("on-message for delayed wills", left, |_, (mut watcher, topic)| {
        watcher.expect_message(&topic, "wine");
    });
}

/// Wills that the second edition refuses, for their topic and for their payload, and one that it does not.
fn wills(name: &str) -> [Will; 3] {
    [
        will(format!("souring/{name}"), "x"),
        will(format!("open/{name}"), "souring"),
        will(format!("open/{name}"), "good"),
    ]
}

/// One that sees all of these.
fn watching(house: &House, name: &str) -> Peer {
    let mut watcher = house.watcher();
    watcher.subscribe(&format!("+/{name}"), 0);
    watcher
}

/// Of the three wills that this sends, two are refused.
fn two_are_refused(visitor: &Visitor<'_>, (mut watcher, name): (Peer, String), send: impl FnOnce()) {
    let before = visitor.house.refused();
    send();
    watcher.expect_message(&format!("open/{name}"), "good");
    eventually("two are refused", || visitor.house.refused() == before + 2);
    watcher.expect_silence();
}

#[test]
fn wills_are_judged_at_every_door_by_the_policy_of_the_time_when_they_are_sent() {
    let house = House::open();
    let joined: Vec<_> = house
        .visitors()
        .into_iter()
        .map(|visitor| {
            let name = unique("will");
            let join = |will| visitor.join(&visitor.hello("client").will(will));
            (visitor, (wills(&name).map(join), (watching(&house, &name), name)))
        })
        .collect();
    house.replace_policy();
    each(
        "on-publish or on-message",
        joined,
        |visitor, (clients, watched)| {
            two_are_refused(visitor, watched, || clients.into_iter().for_each(Peer::vanish));
        },
    );
}

#[test]
fn delayed_wills_are_judged_at_every_door_by_the_policy_of_the_time_when_they_are_sent() {
    let house = House::open();
    let of_5_0 = house.visitors().into_iter().filter(|one| one.version == V5);
    let left: Vec<_> = of_5_0
        .map(|visitor| {
            let name = unique("will");
            let leave = |will| {
                let packet = waiting(&visitor, will, 3600);
                visitor.join(&packet).vanish();
                packet
            };
            (
                visitor,
                (wills(&name).map(leave), (watching(&house, &name), name)),
            )
        })
        .collect();
    house.replace_policy();
    each("on-publish or on-message", left, |visitor, (packets, watched)| {
        // A session that begins anew ends the old one, and so the delay.
        two_are_refused(visitor, watched, || {
            for mut packet in packets {
                packet.will = None;
                visitor.join(&packet).vanish();
            }
        });
    });
}
