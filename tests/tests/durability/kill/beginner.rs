//! A client that begins anew now and then: what it was told is gone must not come back.

use super::wire::{Gone, Wire};
use super::world::World;
use sluice_tests::packet::{Connect, Version, connect};
use std::net::SocketAddr;

/// A client that discards its session with every third connection, and keeps none then.
pub struct Beginner {
    connect: Connect,
    connections: u32,
    /// Whether the broker must have a session; `None`: a connection was not answered.
    has_session: Option<bool>,
}

impl Beginner {
    /// One that has not connected yet.
    pub fn new(index: usize, version: Version) -> Self {
        Self {
            connect: connect(version, format!("beginner-{index}")),
            connections: index as u32,
            has_session: Some(false),
        }
    }

    /// Connects, and waits for the end.
    pub async fn run(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        self.connections += 1;
        let begins_anew = self.connections.is_multiple_of(3);
        let expected = std::mem::take(&mut self.has_session);
        let packet = self.connect.clone();
        let packet = if begins_anew { packet } else { packet.lasting() };
        let (mut wire, session_present) = Wire::join_any(world, address, &packet).await?;
        let expected = if begins_anew { Some(false) } else { expected };
        assert!(
            expected.is_none_or(|expected| expected == session_present),
            "Session Present is {session_present} for {}",
            String::from_utf8_lossy(&packet.client_id)
        );
        self.has_session = Some(!begins_anew);
        match wire.receive().await {
            Err(gone) => Err(gone),
            Ok(other) => panic!("a beginner: unexpected {other:?}"),
        }
    }
}
