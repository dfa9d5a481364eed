//! Conversations between a client and the state machines.

mod alias;
mod authentication;
mod closing;
mod delivering;
mod handshake;
mod receiving;

use super::{Breach, CloseCause, Connection, Event};
use crate::packet::Version;
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
    assert!(size_of::<Event>() <= 256, "{}", size_of::<Event>());
}
