//! How large a packet and a payload may be.

use crate::{client, identified, policed};
use sluice_tests::packet::{BOTH, Encode, Publish, V5, Version, Will, connect, publish, will};
use sluice_tests::property::Property::{MaximumPacketSize, User};
use sluice_tests::unique;

pub const BUDGETS: &str = r#"
packet-1000 = { packet_bytes_max = 1000 }
payload-100 = { payload_bytes_max = 100 }
"#;

/// A message with this QoS whose packet has so many bytes: payload, or nothing but properties or topic.
fn sized(version: Version, qos: u8, bytes: usize, is_hollow: bool) -> Publish {
    let topic = unique("size/");
    let of = |filling: usize| {
        let filling = "x".repeat(filling);
        let message = match (is_hollow, version) {
            (false, _) => publish(&topic, filling),
            (true, V5) => publish(&topic, "").property(User("n".into(), filling)),
            (true, _) => publish(format!("{topic}{filling}"), ""),
        };
        identified(message.qos(qos), 7)
    };
    let rest = of(bytes / 2).bytes(version).len() - bytes / 2;
    let message = of(bytes - rest);
    assert_eq!(message.bytes(version).len(), bytes);
    message
}

#[test]
fn a_packet_may_have_so_many_bytes_on_the_wire_and_not_one_more() {
    for version in BOTH {
        for qos in 0..=2 {
            for is_hollow in [false, true] {
                let mut client = client(version, "packet-1000");
                client.publish(sized(version, qos, 1_000, is_hollow));
                client.send(sized(version, qos, 1_001, is_hollow));
                client.expect_disconnected(&[0x95]);
            }
        }
    }
}

#[test]
fn the_largest_packet_is_announced() {
    let (peer, connack) = policed().join(&connect(V5, unique("client")).username("packet-1000"));
    peer.assert(
        connack.properties.contains(&MaximumPacketSize(1_000)),
        "Maximum Packet Size",
    );
}

#[test]
fn a_packet_too_large_is_not_waited_for() {
    for version in BOTH {
        for first_byte in [0x30, 0x32, 0x34, 0x82] {
            let mut client = client(version, "packet-1000");
            // A remaining length of 998 bytes would make 1,001; none of them comes.
            client.send([first_byte, 0xE6, 0x07]);
            client.expect_disconnected(&[0x95]);
        }
    }
}

#[test]
fn a_payload_too_large_is_refused_alone() {
    for version in BOTH {
        for qos in 0..=2 {
            let topic = unique("size/");
            let mut watcher = policed().client(version);
            watcher.subscribe(&topic, qos);
            let mut client = client(version, "payload-100");
            // Only the payload counts.
            let largest = publish(&topic, "x".repeat(100)).property(User("n".into(), "v".repeat(500)));
            client.publish(largest.qos(qos));
            let reason = client.try_publish(publish(&topic, "y".repeat(101)).qos(qos));
            let refused = if version == V5 && qos > 0 { 0x97 } else { 0 };
            client.assert(reason == refused, &format!("0x{reason:02X}"));
            client.publish(publish(&topic, "z").qos(qos));
            watcher.take(&topic, "x".repeat(100), qos);
            watcher.take(&topic, "z", qos);
            client.ping();
        }
    }
}

/// Whether a client with this budget is let in with this will.
fn is_admitted(version: Version, budget: &str, testament: Will) -> bool {
    let packet = connect(version, unique("client"))
        .username(budget)
        .will(testament);
    let (mut peer, connack) = policed().try_join(&packet);
    if connack.code != 0 {
        peer.assert(version != V5 || connack.code == 0x97, "Quota exceeded");
        peer.expect_closed();
    }
    connack.code == 0
}

#[test]
fn a_will_too_large_to_be_published_by_its_client_is_refused() {
    for version in BOTH {
        let with = |bytes: usize| will("w", "x".repeat(bytes)).qos(1);
        assert!(is_admitted(version, "payload-100", with(100)));
        assert!(!is_admitted(version, "payload-100", with(101)));
        assert!(is_admitted(version, "packet-1000", with(900)));
        assert!(!is_admitted(version, "packet-1000", with(1_000)));
        let wordy = |bytes: usize| with(1).property(User("n".into(), "v".repeat(bytes)));
        assert!(is_admitted(version, "packet-1000", wordy(900)));
        assert!(version != V5 || !is_admitted(version, "packet-1000", wordy(1_000)));
    }
}
