//! UNSUBSCRIBE and UNSUBACK.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, V5, connect, pubcomp, publish, pubrec, unsubscribe};
use sluice_tests::unique;

// v311[3.10.4-4 3.10.4-2 2.3.1-7] v5[3.10.4-4 3.10.4-2 2.2.1-6]
#[test]
fn after_unsuback_no_message_comes() {
    for version in BOTH {
        let topic = unique("left/");
        let mut peer = broker().client(version);
        peer.subscribe(&topic, 2);
        let mut publisher = broker().client(version);
        publisher.publish(publish(&topic, "heard").qos(1));
        peer.take(&topic, "heard", 1);
        peer.unsubscribe(&topic);
        publisher.publish(publish(&topic, "not heard").qos(1));
        peer.expect_silence();
    }
}

// v311[3.10.4-5] v5[3.10.4-5 3.11.3-2]
#[test]
fn unsubscribing_from_nothing_is_answered_too() {
    for version in BOTH {
        let mut peer = broker().client(version);
        peer.send(unsubscribe(0xABCD).filter(unique("never/")));
        let codes = peer.expect_unsuback(0xABCD).codes;
        let expected: &[u8] = if version == V5 { &[0x11] } else { &[] };
        peer.assert(codes == expected, "No subscription existed");
    }
}

// v311[3.10.4-6] v5[3.10.4-6 3.11.3-1 3.11.3-2]
#[test]
fn several_filters_get_one_unsuback_with_a_code_each_in_their_order() {
    for version in BOTH {
        let (first, second) = (unique("a/"), unique("b/"));
        let mut peer = broker().client(version);
        peer.subscribe(&first, 0);
        peer.subscribe(&second, 0);
        peer.send(
            unsubscribe(5)
                .filter(&first)
                .filter("not/there")
                .filter(&second)
                .filter(&first),
        );
        let codes = peer.expect_unsuback(5).codes;
        let expected: &[u8] = if version == V5 {
            &[0x00, 0x11, 0x00, 0x11]
        } else {
            &[]
        };
        peer.assert(codes == expected, "one code per filter");
        let mut publisher = broker().client(version);
        publisher.publish(publish(&first, "x").qos(1));
        publisher.publish(publish(&second, "x").qos(1));
        peer.expect_silence();
    }
}

// v311[3.10.4-1 4.7.3-4] v5[3.10.4-1 4.7.3-4]
#[test]
fn only_the_same_bytes_are_unsubscribed() {
    for version in BOTH {
        let topic = unique("Exact/");
        let mut peer = broker().client(version);
        peer.subscribe(&topic, 0);
        let parent = topic.split('/').next().expect("a first level").to_owned();
        for other in [
            topic.to_lowercase(),
            format!("{topic}/"),
            format!("/{topic}"),
            format!("{parent}/+"),
            "#".into(),
        ] {
            let codes = peer.unsubscribe(&other).codes;
            peer.assert(version != V5 || codes == [0x11], "another filter");
        }
        broker().client(version).publish(publish(&topic, "x"));
        peer.take(&topic, "x", 0);
        let codes = peer.unsubscribe(&topic).codes;
        peer.assert(version != V5 || codes == [0x00], "this filter");
    }
}

// v311[3.10.4-3] v5[3.10.4-3]
#[test]
fn a_delivery_that_has_begun_is_completed_after_unsubscribing() {
    for version in BOTH {
        let topic = unique("begun/");
        let lasting = connect(version, unique("lasting")).lasting();
        let (mut peer, _) = broker().join(&lasting);
        peer.subscribe(&topic, 2);
        let mut publisher = broker().client(version);
        publisher.publish(publish(&topic, "one").qos(1));
        publisher.publish(publish(&topic, "two").qos(2));
        let one = peer.expect_message(&topic, "one").packet_id;
        let two = peer.expect_message(&topic, "two").packet_id;
        peer.unsubscribe(&topic);
        peer.send(pubrec(two));
        peer.expect_pubrel(two);
        peer.vanish();
        // Neither is forgotten: the first is sent again, the second released again.
        let (mut peer, _) = broker().join(&lasting);
        let again = peer.take(&topic, "one", 1);
        peer.assert(again.dup && again.packet_id == one, "the same message");
        peer.expect_pubrel(two);
        peer.send(pubcomp(two));
        peer.expect_silence();
    }
}

// v5[3.10.4-1]
#[test]
fn the_other_overlapping_subscription_stays() {
    for version in BOTH {
        let topic = unique("overlap/");
        let mut peer = broker().client(version);
        peer.subscribe(&topic, 1);
        peer.subscribe(&format!("{topic}/#"), 1);
        peer.unsubscribe(&topic);
        broker().client(version).publish(publish(&topic, "x").qos(1));
        peer.take(&topic, "x", 1);
        peer.expect_silence();
    }
}
