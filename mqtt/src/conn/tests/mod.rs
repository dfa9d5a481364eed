//! Conversations between a client and the state machines.

mod alias;
mod authentication;
mod closing;
mod delivering;
mod handshake;
mod receiving;
mod sizes;

use super::{Breach, CloseCause, Connection, Event};
use crate::packet::{Packet, Version};
use crate::reason::ReasonCode;
use crate::testing::{Pair, connect, disconnect, publish, pubrel, subscribe};
use crate::wire::WireError;

const V3: [Version; 2] = [Version::V31, Version::V311];
const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn breach(breach: Breach) -> CloseCause {
    CloseCause::Breach(breach)
}

fn wire(error: impl Into<WireError>) -> CloseCause {
    CloseCause::Wire(error.into())
}

#[test]
fn an_idle_connection_and_its_events_are_small() {
    assert!(size_of::<Connection>() <= 640, "{}", size_of::<Connection>());
    assert!(size_of::<Event>() <= 112, "{}", size_of::<Event>());
}

#[test]
fn how_the_bytes_are_cut_makes_no_difference() {
    for version in ALL {
        let packets: [Packet; 7] = [
            connect(version).into(),
            publish("t", "one", 1, 1).into(),
            Packet::PingReq,
            publish("t", "two", 2, 2).into(),
            subscribe(3, "a/+"),
            pubrel(2, ReasonCode::SUCCESS),
            disconnect(ReasonCode::SUCCESS),
        ];
        let mut whole = Pair::new(connect(version));
        let mut cut = Pair::new(connect(version));
        for packet in packets {
            whole.queue(packet.clone());
            cut.queue(packet);
        }
        whole.serve();
        cut.serve_bytewise();
        assert!(cut.disconnected.is_some());
        assert_eq!(cut.routed, whole.routed);
        assert_eq!(cut.unread(), whole.unread());
    }
}
