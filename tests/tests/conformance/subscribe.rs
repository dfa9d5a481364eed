//! SUBSCRIBE and SUBACK, overlapping subscriptions, identifiers and options.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, Encode, NO_LOCAL, V5, V31, V311, publish, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::SubscriptionId;
use sluice_tests::reply::{Delivered, Reply};
use sluice_tests::unique;

// v311[3.8.4-1 3.8.4-2 2.3.1-7] v5[3.8.4-1 3.8.4-2 2.2.1-6]
#[test]
fn a_subscribe_is_answered_with_its_packet_id() {
    for version in [V31, V311, V5] {
        let mut peer = broker().client(version);
        for id in [1, 0x1234, 0xFFFF] {
            let codes = peer.request_subscription(subscribe(id).filter(unique("t/"), 0));
            peer.assert(codes == [0], "granted");
        }
        peer.ping();
    }
}

#[test]
fn in_3_1_a_subscribe_may_be_sent_again_with_dup() {
    let mut peer = broker().client(V31);
    let mut packet = subscribe(7).filter(unique("t/"), 1).bytes(V31);
    for _ in 0..2 {
        peer.send(&packet);
        let codes = peer.expect_suback(7).codes;
        peer.assert(codes == [1], "granted");
        packet[0] |= 0x08;
    }
}

// v311[3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2] v5[3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2]
#[test]
fn several_filters_get_one_suback_with_a_code_each_in_their_order() {
    for version in BOTH {
        let root = unique("many/");
        let mut peer = broker().client(version);
        let asked = [2, 0, 1, 1, 0, 2, 2];
        let mut request = subscribe(9);
        for (number, qos) in asked.iter().enumerate() {
            request = request.filter(format!("{root}/{number}"), *qos);
        }
        assert_eq!(peer.request_subscription(request), asked);
        let mut publisher = broker().client(version);
        for (number, qos) in asked.iter().enumerate() {
            let topic = format!("{root}/{number}");
            publisher.publish(publish(&topic, "x").qos(2));
            peer.take(&topic, "x", *qos);
        }
        peer.expect_silence();
    }
}

// v311[3.8.4-3] v5[3.8.4-3]
#[test]
fn an_identical_filter_replaces_the_subscription() {
    for version in BOTH {
        let topic = unique("replaced/");
        let mut peer = broker().client(version);
        let mut publisher = broker().client(version);
        for qos in [2, 0, 1] {
            peer.subscribe(&topic, qos);
            publisher.publish(publish(&topic, "x").qos(2));
            peer.take(&topic, "x", qos);
            peer.expect_silence();
        }
    }
}

// v311[3.8.4-3] v5[3.8.4-4]
#[test]
fn replacing_a_subscription_loses_nothing() {
    for version in BOTH {
        let topic = unique("flow/");
        let mut peer = broker().client(version);
        peer.subscribe(&topic, 1);
        let mut publisher = broker().client(version);
        let publishing = {
            let topic = topic.clone();
            std::thread::spawn(move || {
                for number in 0..60 {
                    publisher.publish(publish(&topic, format!("{number}")).qos(1));
                }
            })
        };
        let mut received = 0;
        let mut packet_id = 1000;
        let mut subacks = 0;
        while received < 60 {
            if packet_id < 1020 {
                packet_id += 1;
                peer.send(subscribe(packet_id).filter(&topic, 1));
            }
            match peer.receive() {
                Reply::SubAck(_) => subacks += 1,
                Reply::Publish(delivered) => {
                    peer.assert(
                        delivered.payload == format!("{received}").as_bytes(),
                        "the next message",
                    );
                    peer.acknowledge(&delivered);
                    received += 1;
                }
                _ => peer.fail("expected messages and SUBACKs"),
            }
        }
        publishing.join().expect("all were published");
        peer.assert(subacks > 0, "subscriptions were replaced meanwhile");
    }
}

/// Every copy of one message that reaches the client.
fn copies(peer: &mut Peer, publisher: &mut Peer, topic: &str) -> Vec<Delivered> {
    publisher.publish(publish(topic, "x").qos(2));
    peer.drain()
}

// v311[3.3.5-1] v5[3.3.4-2] traps[22]
#[test]
fn overlapping_subscriptions_deliver_with_the_highest_matching_qos() {
    for version in BOTH {
        let topic = unique("overlap/");
        let mut peer = broker().client(version);
        let mut publisher = broker().client(version);
        for (filter, qos) in [
            (format!("{topic}/#"), 1),
            (topic.clone(), 0),
            (format!("{topic}/+"), 2),
        ] {
            peer.subscribe(&filter, qos);
        }
        let copies = copies(&mut peer, &mut publisher, &topic);
        let highest = copies.iter().map(|copy| copy.qos).max();
        assert_eq!(highest, Some(1), "{copies:?}");
    }
}

// v5[3.3.4-2 3.3.4-3 3.3.4-4 3.3.4-5] traps[22]
#[test]
fn overlapping_subscriptions_deliver_all_their_identifiers() {
    let topic = unique("overlap/");
    let mut peer = broker().client(V5);
    let filters = [
        (format!("{topic}/#"), 1, Some(7)),
        (topic.clone(), 2, Some(300)),
        (format!("{topic}/+"), 2, Some(9)),
    ];
    for (number, (filter, qos, id)) in filters.into_iter().enumerate() {
        let mut request = subscribe(100 + number as u16).filter(filter, qos);
        request.properties.extend(id.map(SubscriptionId));
        peer.request_subscription(request);
    }
    let copies = copies(&mut peer, &mut broker().client(V5), &topic);
    let mut ids: Vec<u32> = copies.iter().flat_map(Delivered::subscription_ids).collect();
    ids.sort_unstable();
    assert_eq!(ids, [7, 300], "each matching identifier once: {copies:?}");
    if let [copy] = &copies[..] {
        assert_eq!(copy.qos, 2, "one copy has the highest QoS");
    } else {
        let by_id = |id| {
            copies
                .iter()
                .find(|copy| copy.subscription_ids() == [id])
                .map(|copy| copy.qos)
        };
        assert_eq!(
            (by_id(7), by_id(300)),
            (Some(1), Some(2)),
            "each copy has the QoS of its subscription"
        );
    }
}

// v5[3.3.4-3 3.3.4-4] traps[22]
#[test]
fn equal_identifiers_and_subscriptions_without_one_overlap_as_well() {
    let topic = unique("overlap/");
    let mut peer = broker().client(V5);
    for (number, (filter, id)) in [(topic.clone(), None), (format!("{topic}/#"), Some(5))]
        .into_iter()
        .enumerate()
    {
        let mut request = subscribe(100 + number as u16).filter(filter, 1);
        request.properties.extend(id.map(SubscriptionId));
        peer.request_subscription(request);
    }
    let copies = copies(&mut peer, &mut broker().client(V5), &topic);
    let ids: Vec<u32> = copies.iter().flat_map(Delivered::subscription_ids).collect();
    assert_eq!(ids, [5], "{copies:?}");
}

// v5[3.3.4-3] traps[23]
#[test]
fn subscription_identifiers_of_other_clients_are_not_seen() {
    let topic = unique("private/");
    let mut with = broker().client(V5);
    with.request_subscription(subscribe(100).filter(&topic, 1).property(SubscriptionId(11)));
    let mut other = broker().client(V5);
    other.request_subscription(subscribe(100).filter(&topic, 1).property(SubscriptionId(22)));
    let mut without = broker().client(V5);
    without.subscribe(&topic, 1);
    let mut old = broker().client(V311);
    old.subscribe(&topic, 1);
    broker().client(V5).publish(publish(&topic, "x").qos(1));
    assert_eq!(with.take(&topic, "x", 1).subscription_ids(), [11]);
    assert_eq!(other.take(&topic, "x", 1).subscription_ids(), [22]);
    assert_eq!(without.take(&topic, "x", 1).subscription_ids(), [0; 0]);
    old.take(&topic, "x", 1);
}

// v5[3.8.4-3 3.3.4-3]
#[test]
fn replacing_a_subscription_replaces_its_identifier() {
    let topic = unique("renumbered/");
    let mut peer = broker().client(V5);
    let mut publisher = broker().client(V5);
    for (number, id) in [Some(1), Some(268_435_455), None].into_iter().enumerate() {
        let mut request = subscribe(100 + number as u16).filter(&topic, 1);
        request.properties.extend(id.map(SubscriptionId));
        peer.request_subscription(request);
        publisher.publish(publish(&topic, "x").qos(1));
        let delivered = peer.take(&topic, "x", 1);
        assert_eq!(delivered.subscription_ids(), id.into_iter().collect::<Vec<_>>());
    }
}

// v5[3.8.3-3]
#[test]
fn with_no_local_a_client_does_not_get_its_own_messages() {
    let topic = unique("own/");
    let mut peer = broker().client(V5);
    peer.subscribe(&topic, 1 | NO_LOCAL);
    peer.publish(publish(&topic, "own").qos(1));
    broker().client(V5).publish(publish(&topic, "another's").qos(1));
    peer.take(&topic, "another's", 1);
    peer.expect_silence();
    // Without the option it does.
    peer.subscribe(&topic, 0);
    peer.send(publish(&topic, "own"));
    peer.take(&topic, "own", 0);
}

// v5[3.2.2-10 3.8.4-7]
#[test]
fn every_qos_may_be_asked_for() {
    for version in BOTH {
        let mut peer = broker().client(version);
        let topic = unique("t/");
        for qos in 0..=2 {
            let codes = peer.request_subscription(subscribe(100 + u16::from(qos)).filter(&topic, qos));
            peer.assert(
                codes.len() == 1 && codes[0] <= qos,
                "granted at most as asked, not refused",
            );
        }
    }
}

// v311[3.8.3-2]
#[test]
fn wildcards_are_supported_so_no_filter_needs_to_be_rejected_for_them() {
    for version in BOTH {
        let mut peer = broker().client(version);
        let root = unique("w");
        for filter in ["#", "+", "+/+", "/#", "/+", "+/#"] {
            peer.subscribe(&format!("{root}/{filter}"), 0);
        }
    }
}

// v311[3.9.3-2]
#[test]
fn a_subscription_is_heard_as_soon_as_it_is_granted() {
    for version in BOTH {
        for _ in 0..20 {
            let topic = unique("soon/");
            let mut peer = broker().client(version);
            peer.subscribe(&topic, 0);
            peer.send(publish(&topic, "x"));
            peer.take(&topic, "x", 0);
        }
    }
}
