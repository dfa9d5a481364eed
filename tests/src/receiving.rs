//! What waits for a client: all of it, acknowledged as a conforming client does.

use crate::packet::{puback, pubcomp, publish, pubrec, pubrel, subscribe};
use crate::peer::Peer;
use crate::reply::{Delivered, Reply};
use crate::unique;

/// Receives and acknowledges until nothing more waits. A QoS 2 message of the client to itself marks the end: nothing
/// that was queued before it comes after it, not even what the broker has to store first. Its queue must have room.
pub fn everything(peer: &mut Peer) -> Vec<Delivered> {
    let end = unique("end/");
    let (subscribed, published) = (peer.next_packet_id(), peer.next_packet_id());
    peer.send(subscribe(subscribed).filter(&end, 2));
    peer.send(publish(&end, "").qos(2).id(published));
    let mut messages = Vec::new();
    let mut end_identifier = None;
    let (mut is_sent, mut is_received) = (false, false);
    while !(is_sent && is_received) {
        match peer.receive() {
            Reply::SubAck(_) | Reply::PubAck(_) => {}
            Reply::PubRec(acked) => peer.send(pubrel(acked.packet_id)),
            Reply::PubComp(_) => is_sent = true,
            Reply::PubRel(acked) => {
                peer.send(pubcomp(acked.packet_id));
                is_received |= end_identifier == Some(acked.packet_id);
            }
            Reply::Publish(delivered) => {
                match delivered.qos {
                    0 => {}
                    1 => peer.send(puback(delivered.packet_id)),
                    _ => peer.send(pubrec(delivered.packet_id)),
                }
                if delivered.topic == end {
                    end_identifier = Some(delivered.packet_id);
                } else {
                    messages.push(delivered);
                }
            }
            _ => peer.fail("expected messages only"),
        }
    }
    peer.unsubscribe(&end);
    messages
}

/// Their payloads as text.
#[must_use]
pub fn payloads(messages: &[Delivered]) -> Vec<String> {
    let text = |delivered: &Delivered| String::from_utf8_lossy(&delivered.payload).into_owned();
    messages.iter().map(text).collect()
}
