//! What an operator does to a running broker over its admin socket, as its clients notice it.

mod bans;
mod client_limits;
mod kept;
mod limits;
mod unread;

use serde_json::Value;
use sluice_tests::broker::Broker;
use sluice_tests::packet::publish;
use sluice_tests::peer::Peer;
use sluice_tests::unique;

/// A broker with one listener, `default`, and what else the configuration says.
fn broker(more: &str) -> Broker {
    Broker::with_config(&config(more))
}

fn config(more: &str) -> String {
    format!("{more}\n[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n")
}

/// A command that must be obeyed; what it said.
fn obeyed(broker: &Broker, arguments: &[&str]) -> String {
    let said = broker.sluice(arguments);
    said.unwrap_or_else(|why| panic!("{arguments:?}: {why}"))
}

/// The same with `--json`.
fn told(broker: &Broker, arguments: &[&str]) -> Value {
    let said = obeyed(broker, &[arguments, &["--json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|why| panic!("{why}: {said}"))
}

/// The reason of the PUBACK for a payload of so many bytes.
fn publish_bytes(peer: &mut Peer, bytes: usize) -> u8 {
    peer.try_publish(publish(unique("size/"), "x".repeat(bytes)).qos(1))
}

/// The reasons of the PUBACKs for so many messages, sent with one write.
fn publish_at_once(peer: &mut Peer, count: usize) -> Vec<u8> {
    let topic = unique("rate/");
    let packets: Vec<_> = (0..count)
        .map(|_| publish(&topic, "x").qos(1).id(peer.next_packet_id()))
        .collect();
    let ids: Vec<_> = packets.iter().filter_map(|packet| packet.packet_id).collect();
    let packets: Vec<_> = packets.iter().map(|packet| packet as _).collect();
    peer.send_all(&packets);
    ids.into_iter().map(|id| peer.expect_puback(id).reason).collect()
}

const QUOTA_EXCEEDED: u8 = 0x97;
