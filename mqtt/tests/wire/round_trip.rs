//! decode(encode(packet)) is the packet, for packets of every shape.

use crate::strategy::{before_5, of_5, publish};
use crate::{V5, V31, V311, decoded, encoded};
use proptest::prelude::{prop_assert_eq, proptest};
use sluice_mqtt::packet::{Packet, Publish};
use sluice_mqtt::wire::{PublishHead, publish_bytes};

proptest! {
    #[test]
    fn packets_of_5_come_back(packet in of_5()) {
        prop_assert_eq!(decoded(V5, &encoded(&packet, V5)), Ok(Some(packet)));
    }

    #[test]
    fn packets_before_5_come_back((version, packet) in before_5()) {
        prop_assert_eq!(decoded(version, &encoded(&packet, version)), Ok(Some(packet)));
    }

    #[test]
    fn a_packet_of_5_sent_to_an_older_client_is_one_it_understands(packet in of_5()) {
        for version in [V31, V311] {
            let bytes = encoded(&packet, version);
            match &packet {
                Packet::Auth(_) => assert!(bytes.is_empty()),
                // A topic is not replaced by an alias there, and a CONNECT names its own version.
                Packet::Publish(Publish { topic: None, .. }) | Packet::Connect(_) => {}
                _ => {
                    let again = decoded(version, &bytes).unwrap().unwrap();
                    assert_eq!(encoded(&again, version), bytes);
                }
            }
        }
    }

    #[test]
    fn the_announced_size_of_a_publish_is_right(publish in publish(V5)) {
        let head = PublishHead {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            packet_id: publish.packet_id,
            topic: publish.topic.as_deref().unwrap_or("").as_bytes(),
            alias: publish.properties.topic_alias,
            expiry_seconds: publish.properties.message_expiry_seconds,
            subscription_ids: &publish.properties.subscription_ids,
            forwarded: &publish.properties.forwarded,
        };
        for version in [V311, V5] {
            let bytes = encoded(&Packet::Publish(publish.clone()), version);
            prop_assert_eq!(publish_bytes(&head, publish.payload.len(), version), bytes.len());
        }
    }
}
