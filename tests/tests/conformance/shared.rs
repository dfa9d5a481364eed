//! Shared subscriptions (5.0, section 4.8.2).

use crate::brokers::broker;
use sluice_tests::packet::{
    Connect, NO_LOCAL, RETAIN_AS_PUBLISHED, V5, connect, puback, publish, pubrec, subscribe,
};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{ReceiveMaximum, SubscriptionId};
use sluice_tests::reply::{Delivered, Reply};
use sluice_tests::unique;

fn member(filter: &str, options: u8) -> Peer {
    let mut peer = broker().client(V5);
    peer.subscribe(filter, options);
    peer
}

fn lasting_member(filter: &str) -> (Peer, Connect) {
    let lasting = connect(V5, unique("member")).lasting();
    let (mut peer, _) = broker().join(&lasting);
    peer.subscribe(filter, 2);
    (peer, lasting)
}

/// What has arrived for this member, acknowledged.
fn share_of(peer: &mut Peer) -> Vec<Delivered> {
    let share = peer.drain();
    for delivered in &share {
        peer.acknowledge(delivered);
    }
    share
}

// v5[4.8.2-1]
#[test]
fn each_message_goes_to_one_member_of_the_group() {
    let topic = unique("work/");
    let filter = format!("$share/{}/{topic}", unique("group"));
    let mut members: Vec<Peer> = (0..3).map(|_| member(&filter, 1)).collect();
    let mut publisher = broker().client(V5);
    for number in 0..30 {
        publisher.publish(publish(&topic, format!("{number:02}")).qos(1));
    }
    let shares: Vec<Vec<Delivered>> = members.iter_mut().map(share_of).collect();
    let mut payloads: Vec<_> = shares
        .iter()
        .flatten()
        .map(|delivered| delivered.payload.clone())
        .collect();
    payloads.sort();
    let expected: Vec<_> = (0..30)
        .map(|number| format!("{number:02}").into_bytes())
        .collect();
    assert_eq!(payloads, expected, "each message once");
    assert!(
        shares.iter().all(|share| !share.is_empty()),
        "every member has a share"
    );
}

// v5[4.8.2-2] traps[25]
#[test]
fn each_group_and_each_plain_subscription_gets_its_own_copy() {
    let topic = unique("work/");
    let mut first = member(&format!("$share/{}/{topic}", unique("group")), 1);
    let mut second = member(&format!("$share/{}/{topic}", unique("group")), 1);
    let mut plain = member(&topic, 1);
    broker().client(V5).publish(publish(&topic, "x").qos(1));
    for peer in [&mut first, &mut second, &mut plain] {
        peer.take(&topic, "x", 1);
        peer.expect_silence();
    }
}

// v5[4.8.2-2] traps[25]
#[test]
fn a_client_with_a_shared_and_a_plain_subscription_gets_both() {
    let topic = unique("work/");
    let mut peer = member(&topic, 1);
    peer.subscribe(&format!("$share/{}/{topic}", unique("group")), 1);
    peer.subscribe(&format!("$share/{}/{topic}", unique("group")), 1);
    broker().client(V5).publish(publish(&topic, "x").qos(1));
    for _ in 0..3 {
        peer.take(&topic, "x", 1);
    }
    peer.expect_silence();
}

// v5[4.8.2-2]
#[test]
fn groups_of_one_name_with_different_filters_are_different_subscriptions() {
    let root = unique("work");
    let group = unique("group");
    let mut narrow = member(&format!("$share/{group}/{root}/a"), 1);
    let mut wide = member(&format!("$share/{group}/{root}/#"), 1);
    broker()
        .client(V5)
        .publish(publish(format!("{root}/a"), "x").qos(1));
    narrow.take(&format!("{root}/a"), "x", 1);
    wide.take(&format!("{root}/a"), "x", 1);
}

// v5[3.3.1-9] traps[10]
#[test]
fn a_shared_subscription_gets_no_retained_messages() {
    let topic = unique("retained/");
    broker()
        .client(V5)
        .publish(publish(&topic, "stored").qos(1).retain());
    let filter = format!("$share/{}/{topic}", unique("group"));
    let mut peer = member(&filter, 1);
    peer.subscribe(&filter, 1);
    peer.expect_silence();
}

// v5[3.3.1-12 3.3.1-13] traps[11]
#[test]
fn retain_as_published_counts_for_shared_subscriptions() {
    for (options, expected) in [(1, false), (1 | RETAIN_AS_PUBLISHED, true)] {
        let topic = unique("live/");
        let mut peer = member(&format!("$share/{}/{topic}", unique("group")), options);
        broker().client(V5).publish(publish(&topic, "x").qos(1).retain());
        let delivered = peer.take(&topic, "x", 1);
        peer.assert(delivered.retain == expected, "the flag as published, or 0");
    }
}

// v5[3.3.4-3] traps[24]
#[test]
fn a_shared_subscription_carries_its_identifier() {
    let topic = unique("work/");
    let mut peer = broker().client(V5);
    let filter = format!("$share/{}/{topic}", unique("group"));
    peer.request_subscription(subscribe(100).filter(&filter, 1).property(SubscriptionId(77)));
    broker().client(V5).publish(publish(&topic, "x").qos(1));
    assert_eq!(peer.take(&topic, "x", 1).subscription_ids(), [77]);
}

// v5[4.8.2-3] traps[27]
#[test]
fn the_granted_qos_of_the_chosen_member_counts() {
    let topic = unique("work/");
    let filter = format!("$share/{}/{topic}", unique("group"));
    let mut members: Vec<(u8, Peer)> = (0..=2).map(|qos| (qos, member(&filter, qos))).collect();
    let mut publisher = broker().client(V5);
    for _ in 0..30 {
        publisher.publish(publish(&topic, "x").qos(2));
    }
    let mut received = 0;
    for (granted, peer) in &mut members {
        for delivered in share_of(peer) {
            assert_eq!(delivered.qos, *granted, "min of published and granted");
            received += 1;
        }
    }
    assert_eq!(received, 30);
}

// v5[3.8.3-4] traps[28]
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let mut peer = broker().client(V5);
    peer.send(subscribe(1).filter(format!("$share/g/{}", unique("t/")), NO_LOCAL));
    peer.expect_disconnected(&[0x82]);
}

// v5[4.8.2-1 4.8.2-2] traps[29]
#[test]
fn ill_formed_share_names_are_refused() {
    for filter in [
        "$share/g",
        "$share/g/",
        "$share//t",
        "$share/",
        "$share/a+/t",
        "$share/+/t",
        "$share/#/t",
        "$share/g/t#",
    ] {
        let mut peer = broker().client(V5);
        peer.send(subscribe(1).filter(filter, 0));
        match peer.receive() {
            Reply::SubAck(codes) => peer.assert(codes.codes == [0x8F], "Topic Filter invalid"),
            Reply::Disconnect(notice) => {
                peer.assert([0x8F, 0x81, 0x82].contains(&notice.reason), "a reason that fits");
                peer.expect_closed();
            }
            _ => peer.fail("expected a refusal"),
        }
    }
}

// v5[4.8.2-6] traps[37]
#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let topic = unique("work/");
    let filter = format!("$share/{}/{topic}", unique("group"));
    let mut members = [member(&filter, 2), member(&filter, 2)];
    let mut publisher = broker().client(V5);
    for qos in [1, 1, 2, 2] {
        publisher.publish(publish(&topic, "x").qos(qos));
    }
    let mut refused = 0;
    for peer in &mut members {
        for delivered in peer.drain() {
            let ack = if delivered.qos == 1 {
                puback(delivered.packet_id)
            } else {
                pubrec(delivered.packet_id)
            };
            peer.send(ack.reason(0x80));
            refused += 1;
        }
        peer.ping();
    }
    assert_eq!(refused, 4);
    for peer in &mut members {
        peer.expect_silence();
    }
}

// v5[4.8.2-4]
#[test]
fn a_qos_2_message_in_progress_is_finished_with_its_member() {
    let topic = unique("work/");
    let filter = format!("$share/{}/{topic}", unique("group"));
    let (mut first, lasting) = lasting_member(&filter);
    broker().client(V5).publish(publish(&topic, "x").qos(2));
    let begun = first.expect_message(&topic, "x");
    let mut second = member(&filter, 2);
    first.vanish();
    second.expect_silence();
    let (mut first, _) = broker().join(&lasting);
    let again = first.take(&topic, "x", 2);
    first.assert(
        again.dup && again.packet_id == begun.packet_id,
        "the same exchange",
    );
    second.expect_silence();
}

// v5[4.8.2-5] traps[26]
#[test]
fn a_qos_2_message_in_progress_dies_with_the_session_of_its_member() {
    let topic = unique("work/");
    let filter = format!("$share/{}/{topic}", unique("group"));
    let (mut first, lasting) = lasting_member(&filter);
    broker().client(V5).publish(publish(&topic, "x").qos(2));
    first.expect_message(&topic, "x");
    let mut second = member(&filter, 2);
    first.vanish();
    // The session ends: a clean start, then gone without expiry.
    let (first, _) = broker().join(&connect(V5, &lasting.client_id));
    first.leave();
    second.expect_silence();
    broker().client(V5).publish(publish(&topic, "next").qos(2));
    second.take(&topic, "next", 2);
}

// v5[4.8.2-3] traps[26]
#[test]
fn no_message_is_lost_while_a_member_with_a_lasting_session_is_away() {
    let topic = unique("work/");
    let filter = format!("$share/{}/{topic}", unique("group"));
    let (away, lasting) = lasting_member(&filter);
    away.leave();
    let mut present = member(&filter, 1);
    let mut publisher = broker().client(V5);
    for _ in 0..10 {
        publisher.publish(publish(&topic, "x").qos(1));
    }
    let taken = share_of(&mut present).len();
    let (mut back, _) = broker().join(&lasting);
    let kept = share_of(&mut back).len();
    assert_eq!(
        taken + kept,
        10,
        "{taken} went to the member that was there, {kept} waited"
    );
}

// v5[4.9.0-2]
#[test]
fn a_member_that_takes_nothing_does_not_stop_the_group_for_ever() {
    let topic = unique("work/");
    let filter = format!("$share/{}/{topic}", unique("group"));
    let (mut slow, _) = broker().join(&connect(V5, unique("slow")).property(ReceiveMaximum(1)));
    slow.subscribe(&filter, 1);
    let mut quick = member(&filter, 1);
    let mut publisher = broker().client(V5);
    for number in 0..20 {
        publisher.publish(publish(&topic, format!("{number}")).qos(1));
    }
    assert!(!share_of(&mut quick).is_empty(), "the other member receives");
    // The slow one gets its own share when it acknowledges.
    let first = slow.expect_publish();
    slow.acknowledge(&first);
    slow.expect_publish();
}

// v5[3.10.4-1]
#[test]
fn leaving_the_group_leaves_the_rest_to_the_others() {
    let topic = unique("work/");
    let filter = format!("$share/{}/{topic}", unique("group"));
    let mut leaving = member(&filter, 1);
    let mut staying = member(&filter, 1);
    leaving.unsubscribe(&filter);
    let mut publisher = broker().client(V5);
    for number in 0..5 {
        publisher.publish(publish(&topic, format!("{number}")).qos(1));
        staying.take(&topic, format!("{number}"), 1);
    }
    leaving.expect_silence();
}
