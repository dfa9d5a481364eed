//! What a policy refuses, and how each version is told.

use crate::brokers::{guarded, guarded_by_itself, guarded_config};
use sluice_tests::broker::Signal;
use sluice_tests::packet::{BOTH, PINGREQ, V5, V311, connect, publish, subscribe, will};
use sluice_tests::property::Property::ServerKeepAlive;
use sluice_tests::{eventually, unique};

// v311[3.2.2-4 3.2.2-5 3.1.4-5] v5[3.1.4-2 3.2.2-6 3.2.2-7 3.2.2-8 4.13.2-1]
#[test]
fn who_is_turned_away_is_told_why_and_closed() {
    for (version, username, code) in [
        (V5, "banned", 0x8A),
        (V311, "banned", 5),
        (V5, "misnamed", 0x85),
        (V311, "misnamed", 2),
    ] {
        let mut peer = guarded().peer(version);
        peer.send_all(&[&connect(version, unique("c")).username(username), &PINGREQ]);
        let connack = peer.expect_connack();
        peer.assert(connack.code == code, "the reason of the policy");
        peer.expect_closed();
    }
}

// v5[3.1.3-8] v311[3.1.3-9]
#[test]
fn a_rejected_client_id_is_told_so() {
    for (version, code) in [(V5, 0x85), (V311, 2)] {
        let (mut peer, connack) = guarded().try_join(&connect(version, unique("c")).username("misnamed"));
        peer.assert(connack.code == code, "identifier not valid");
        peer.expect_closed();
    }
}

// v311[3.3.5-2] v5[3.3.4-1 3.4.2-1 3.5.2-1] traps[57]
#[test]
fn a_refused_publish_is_answered_and_goes_nowhere() {
    for version in BOTH {
        let name = unique("t");
        let mut watcher = guarded().client(version);
        watcher.subscribe(&format!("+/{name}"), 2);
        let mut publisher = guarded().client(version);
        let expected = if version == V5 { 0x87 } else { 0 };
        for qos in 0..=2 {
            let reason = publisher.try_publish(publish(format!("forbidden/{name}"), "x").qos(qos));
            let expected = if qos == 0 { 0 } else { expected };
            publisher.assert(
                reason == expected,
                "0x87 in 5.0, a positive acknowledgement before",
            );
        }
        publisher.publish(publish(format!("open/{name}"), "x").qos(1));
        watcher.take(&format!("open/{name}"), "x", 1);
        watcher.expect_silence();
    }
}

// v5[4.3.3-9]
#[test]
fn after_a_refusing_pubrec_the_id_is_a_new_message() {
    let name = unique("t");
    let mut watcher = guarded().client(V5);
    watcher.subscribe(&format!("+/{name}"), 2);
    let mut publisher = guarded().client(V5);
    for _ in 0..2 {
        let reason = publisher.try_publish(publish(format!("forbidden/{name}"), "x").qos(2).id(5));
        publisher.assert(reason == 0x87, "refused");
    }
    publisher.publish(publish(format!("open/{name}"), "x").qos(2).id(5).dup());
    watcher.take(&format!("open/{name}"), "x", 2);
}

// v311[3.9.3-2] v5[3.9.3-2 3.8.4-7]
#[test]
fn a_refused_subscription_is_told_and_receives_nothing() {
    for version in BOTH {
        let name = unique("t");
        let mut peer = guarded().client(version);
        let request = subscribe(1)
            .filter(format!("open/{name}"), 1)
            .filter(format!("forbidden/{name}"), 1);
        let refused = if version == V5 { 0x87 } else { 0x80 };
        assert_eq!(peer.request_subscription(request), [1, refused]);
        let request = subscribe(2).filter(format!("$share/g/forbidden/{name}"), 1);
        assert_eq!(peer.request_subscription(request), [refused]);
        guarded()
            .client(version)
            .publish(publish(format!("open/{name}"), "x").qos(1));
        peer.take(&format!("open/{name}"), "x", 1);
        peer.expect_silence();
    }
}

// traps[7]
#[test]
fn a_will_needs_the_same_permission_as_a_publish() {
    for version in BOTH {
        let name = unique("t");
        let mut watcher = guarded().client(version);
        watcher.subscribe(&format!("+/{name}"), 1);
        let testament = will(format!("forbidden/{name}"), "gone").qos(1);
        let (peer, _) = guarded().try_join(&connect(version, unique("c")).will(testament));
        peer.vanish();
        let (peer, _) =
            guarded().join(&connect(version, unique("c")).will(will(format!("open/{name}"), "gone").qos(1)));
        peer.vanish();
        watcher.take(&format!("open/{name}"), "gone", 1);
        watcher.expect_silence();
    }
}

// traps[16]
#[test]
fn a_retained_message_stays_when_its_author_may_no_longer_publish() {
    let broker = guarded_by_itself();
    for (version, prefix) in [(V311, "attic"), (V5, "cellar")] {
        let mut author = broker.client(version);
        let topic = format!("{prefix}/kept");
        author.publish(publish(&topic, "kept").qos(1).retain());
        let closed = guarded_config(&format!("[\"{prefix}/\"]"));
        std::fs::write(broker.dir().join("sluice.toml"), closed).expect("the configuration is written");
        broker.signal(Signal::HUP);
        // It was allowed when it was published; what is refused now is to replace or remove it.
        let mut witness = broker.client(V5);
        eventually("the new settings are in force", || {
            witness.try_publish(publish(format!("{prefix}/other"), "x").qos(1)) == 0x87
        });
        author.try_publish(publish(&topic, "").qos(1).retain());
        let mut reader = broker.client(version);
        reader.subscribe("+/kept", 1);
        let delivered = reader.take(&topic, "kept", 1);
        reader.assert(delivered.retain, "the retained message");
        // Clean up for the next version, whose reader would hear it.
        std::fs::write(broker.dir().join("sluice.toml"), guarded_config("[]"))
            .expect("the configuration is written");
        broker.signal(Signal::HUP);
        eventually("the author may remove it again", || {
            witness.try_publish(publish(&topic, "").qos(1).retain()) < 0x80
        });
    }
}

// v5[3.1.2-21 3.2.2-21]
#[test]
fn a_keep_alive_set_by_the_policy_is_told_and_enforced() {
    let (mut peer, connack) = guarded().join(&connect(V5, unique("c")).keep_alive(0).username("brisk"));
    peer.assert(connack.properties.contains(&ServerKeepAlive(1)), "one second");
    peer.expect_disconnected(&[0x8D]);
}
