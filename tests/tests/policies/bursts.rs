//! Messages that arrive together, which a policy judges with one call: to a client it makes no difference.

use crate::{gated, gated_config, join};
use sluice_tests::broker::Broker;
use sluice_tests::guests;
use sluice_tests::packet::{BOTH, Encode, Publish, V5, V311, Version, frame, publish, subscribe};
use sluice_tests::peer::Peer;
use std::time::{Duration, Instant};

/// Success, denied, and denied because the policy broke.
const ALLOWED: u8 = 0x00;
const DENIED: u8 = 0x87;
const BROKEN: u8 = 0x83;

/// A broker with the policy `herald`, a client that it judges, and one that sees every message that gets through.
fn stage(version: Version) -> (Broker, Peer, Peer) {
    let broker = gated("herald", "{}");
    let mut witness = join(&broker, "calm", version);
    witness.subscribe("#", 0);
    let client = join(&broker, "gate", version);
    (broker, client, witness)
}

/// Sends everything with one write, so that it is read at once.
fn send(client: &mut Peer, packets: &[Publish]) {
    let packets: Vec<&dyn Encode> = packets.iter().map(|packet| packet as &dyn Encode).collect();
    client.send_all(&packets);
}

/// A message of QoS 1; its payload is its packet identifier.
fn message(topic: &str, id: u16) -> Publish {
    publish(topic, id.to_string()).qos(1).id(id)
}

/// So many bursts of messages that are allowed: a policy is shown more at once with each.
fn warm_up(client: &mut Peer, witness: &mut Peer) {
    for _ in 0..8 {
        let burst: Vec<_> = (1..=100).map(|id| message("allow", id)).collect();
        send(client, &burst);
        for id in 1..=100 {
            assert_eq!(client.expect_puback(id).reason, ALLOWED);
            witness.expect_message("allow", id.to_string());
        }
    }
}

#[test]
fn each_message_of_a_burst_has_its_own_verdict_and_the_order_stays() {
    for version in BOTH {
        let (_broker, mut client, mut witness) = stage(version);
        warm_up(&mut client, &mut witness);
        let topic = |id: u16| match id % 5 {
            0 => "deny",
            1 => "drop",
            _ => "allow",
        };
        let burst: Vec<_> = (1..=300).map(|id| message(topic(id), id)).collect();
        send(&mut client, &burst);
        for id in 1..=300 {
            // Before 5.0 there is no way to tell.
            let reason = match topic(id) {
                "deny" if version == V5 => DENIED,
                _ => ALLOWED,
            };
            assert_eq!(client.expect_puback(id).reason, reason, "{id}");
        }
        for id in (1..=300).filter(|id| topic(*id) == "allow") {
            witness.expect_message("allow", id.to_string());
        }
    }
}

#[test]
fn a_burst_beyond_the_receive_maximum_is_taken_bit_by_bit() {
    let config = format!("{}\n[limits]\nreceive_max = 10\n", gated_config("{}"));
    let broker = Broker::with_files(&config, &[("gate.wasm", &guests::wasm("herald"))]);
    // Before 5.0 a client is not told how many answers it may await.
    let mut client = join(&broker, "gate", V311);
    for _ in 0..8 {
        let burst: Vec<_> = (1..=100).map(|id| message("allow", id)).collect();
        send(&mut client, &burst);
        for id in 1..=100 {
            client.expect_puback(id);
        }
    }
}

#[test]
fn messages_of_every_qos_keep_their_order() {
    let (_broker, mut client, mut witness) = stage(V5);
    warm_up(&mut client, &mut witness);
    let burst: Vec<_> = (1..=90)
        .map(|id: u16| match id % 3 {
            0 => publish("allow", id.to_string()),
            qos => publish("allow", id.to_string()).qos(qos as u8).id(id),
        })
        .collect();
    send(&mut client, &burst);
    for id in 1..=90 {
        witness.expect_message("allow", id.to_string());
    }
}

#[test]
fn what_comes_behind_a_throttle_waits_for_its_end() {
    let (_broker, mut client, mut witness) = stage(V5);
    warm_up(&mut client, &mut witness);
    let started = Instant::now();
    let burst = [
        message("allow", 1),
        message("slow", 2),
        message("slow", 3),
        message("allow", 4),
    ];
    let filter = subscribe(5).filter("own/#", 0);
    let mut packets: Vec<&dyn Encode> = burst.iter().map(|packet| packet as &dyn Encode).collect();
    packets.push(&filter);
    client.send_all(&packets);
    for id in 1..=4 {
        assert_eq!(client.expect_puback(id).reason, ALLOWED);
        witness.expect_message(
            ["allow", "slow", "slow", "allow"][usize::from(id - 1)],
            id.to_string(),
        );
    }
    client.expect_suback(5);
    assert!(
        started.elapsed() >= Duration::from_millis(800),
        "it waits for each of the two"
    );
}

#[test]
fn a_disconnect_in_a_burst_takes_nothing_from_what_came_before_and_lets_nothing_through_behind() {
    for version in BOTH {
        let (broker, mut client, mut witness) = stage(version);
        warm_up(&mut client, &mut witness);
        let burst = [
            message("allow", 1),
            message("allow", 2),
            message("end", 3),
            message("allow", 4),
        ];
        send(&mut client, &burst);
        client.skip_to_end();
        let mut other = join(&broker, "calm", version);
        other.publish(publish("allow", "afterwards").qos(1));
        for payload in ["1", "2", "afterwards"] {
            witness.expect_message("allow", payload);
        }
    }
}

#[test]
fn a_broken_packet_behind_a_burst_takes_nothing_from_it() {
    for version in BOTH {
        let (_broker, mut client, mut witness) = stage(version);
        warm_up(&mut client, &mut witness);
        let burst = [message("allow", 1), message("allow", 2), message("allow", 3)];
        // It looks like one more message until it is read: its topic is a wildcard.
        let broken = frame(0x30, b"\0\x01#\0");
        let mut packets: Vec<&dyn Encode> = burst.iter().map(|packet| packet as &dyn Encode).collect();
        packets.push(&broken);
        client.send_all(&packets);
        client.skip_to_end();
        for payload in ["1", "2", "3"] {
            witness.expect_message("allow", payload);
        }
    }
}

#[test]
fn the_message_that_breaks_the_policy_is_denied_and_its_neighbours_are_not() {
    let (broker, mut client, mut witness) = stage(V5);
    warm_up(&mut client, &mut witness);
    let topic = |id: u16| if id == 20 { "panic" } else { "allow" };
    let burst: Vec<_> = (1..=40).map(|id| message(topic(id), id)).collect();
    send(&mut client, &burst);
    for id in 1..=40 {
        let reason = client.expect_puback(id).reason;
        assert_eq!(reason, if id == 20 { BROKEN } else { ALLOWED }, "{id}");
    }
    for id in (1..=40).filter(|id| *id != 20) {
        witness.expect_message("allow", id.to_string());
    }
    broker.wait_for_log("the fault", |line| {
        line.is("policy_fault") && line.has("hook", "on-publish")
    });
}
