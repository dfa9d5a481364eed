//! A second connection with the same client identifier.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, V5, V311, connect, publish};
use sluice_tests::unique;

// v311[3.1.4-2] v5[3.1.4-3] traps[1]
#[test]
fn the_old_connection_is_told_session_taken_over() {
    for version in BOTH {
        let id = unique("twin");
        let (mut old, _) = broker().join(&connect(version, &id));
        let (mut new, _) = broker().join(&connect(version, &id));
        old.expect_disconnected(&[0x8E]);
        new.ping();
    }
}

// v311[3.1.4-2] v5[3.1.4-3]
#[test]
fn a_client_of_another_version_takes_over_as_well() {
    for (old, new) in [(V5, V311), (V311, V5)] {
        let id = unique("twin");
        let (mut old, _) = broker().join(&connect(old, &id));
        let (mut new, _) = broker().join(&connect(new, &id));
        old.expect_disconnected(&[0x8E]);
        new.ping();
    }
}

// v311[3.1.2-4 3.2.2-2] v5[3.1.2-5 3.2.2-3] traps[6]
#[test]
fn the_end_of_the_old_connection_leaves_the_session_to_the_new_one() {
    for version in BOTH {
        let topic = unique("kept/");
        let lasting = connect(version, unique("twin")).lasting();
        let (mut old, _) = broker().join(&lasting);
        old.subscribe(&topic, 1);
        for _ in 0..5 {
            let (new, connack) = broker().join(&lasting);
            new.assert(connack.session_present, "the session goes on");
            old.expect_disconnected(&[0x8E]);
            old = new;
        }
        broker().client(version).publish(publish(&topic, "x").qos(1));
        old.take(&topic, "x", 1);
        old.ping();
        old.leave();
        let (peer, connack) = broker().join(&lasting);
        peer.assert(connack.session_present, "the session is still there");
    }
}

// v311[3.1.2-6 3.2.2-1] v5[3.1.2-4 3.2.2-2] traps[6]
#[test]
fn a_clean_takeover_gets_a_session_that_the_old_one_cannot_end() {
    for version in BOTH {
        let topic = unique("kept/");
        let id = unique("twin");
        let (mut old, _) = broker().join(&connect(version, &id));
        old.subscribe(&unique("other/"), 1);
        let (mut new, connack) = broker().join(&connect(version, &id));
        new.assert(!connack.session_present, "a clean start");
        new.subscribe(&topic, 1);
        old.expect_disconnected(&[0x8E]);
        broker().client(version).publish(publish(&topic, "x").qos(1));
        new.take(&topic, "x", 1);
    }
}

// v311[4.4.0-1] v5[4.4.0-1]
#[test]
fn a_takeover_resends_what_the_old_connection_had_not_acknowledged() {
    for version in BOTH {
        let topic = unique("unacked/");
        let lasting = connect(version, unique("twin")).lasting();
        let (mut old, _) = broker().join(&lasting);
        old.subscribe(&topic, 1);
        broker().client(version).publish(publish(&topic, "x").qos(1));
        let first = old.expect_message(&topic, "x");
        let (mut new, _) = broker().join(&lasting);
        let again = new.take(&topic, "x", 1);
        new.assert(
            again.dup && again.packet_id == first.packet_id,
            "DUP 1 and the same identifier",
        );
    }
}

#[test]
fn many_takeovers_at_once_leave_one_connection() {
    for version in BOTH {
        let topic = unique("crowd/");
        let id = unique("twin");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let packet = connect(version, &id).lasting();
                std::thread::spawn(move || broker().join(&packet).0)
            })
            .collect();
        let mut peers: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().expect("joined"))
            .collect();
        // Whoever came last is unknown; a last one settles it.
        let (mut last, connack) = broker().join(&connect(version, &id).lasting());
        last.assert(connack.session_present, "one session for all");
        for peer in &mut peers {
            peer.expect_disconnected(&[0x8E]);
        }
        last.subscribe(&topic, 1);
        broker().client(version).publish(publish(&topic, "x").qos(1));
        last.take(&topic, "x", 1);
        last.expect_silence();
    }
}
