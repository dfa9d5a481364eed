//! One end of a connection that is expected to break: packets in and out, without blocking.

use super::world::World;
use sluice_tests::PATIENCE;
use sluice_tests::packet::{Connect, Encode, Version};
use sluice_tests::reply::Reply;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The broker was killed: the connection is over.
#[derive(Debug)]
pub struct Gone;

/// A connection.
pub struct Wire<'a> {
    world: &'a World,
    stream: TcpStream,
    version: Version,
    buffer: Vec<u8>,
    name: String,
    hope: String,
}

impl<'a> Wire<'a> {
    /// Opens a connection, sends CONNECT and waits for the answer, which must admit the client to its session.
    pub async fn join(world: &'a World, address: SocketAddr, connect: &Connect) -> Result<Self, Gone> {
        let (wire, session_present) = Self::join_any(world, address, connect).await?;
        world.admitted(&wire.name, session_present);
        Ok(wire)
    }

    /// The same whether or not it has a session; also Session Present.
    pub async fn join_any(
        world: &'a World,
        address: SocketAddr,
        connect: &Connect,
    ) -> Result<(Self, bool), Gone> {
        let name = String::from_utf8_lossy(&connect.client_id).into_owned();
        let Ok(stream) = TcpStream::connect(address).await else {
            return world.gone(&name, "it cannot connect");
        };
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        let mut wire = Self {
            world,
            stream,
            version: connect.version,
            buffer: Vec::new(),
            name,
            hope: String::new(),
        };
        wire.send(connect.bytes(connect.version)).await?;
        match wire.receive().await? {
            Reply::ConnAck(connack) if connack.code == 0 => Ok((wire, connack.session_present)),
            other => panic!("{}: {other:?} in answer to CONNECT", wire.name),
        }
    }

    /// The version it speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Sends one or several packets.
    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.stream.write_all(&bytes).await {
            Ok(()) => Ok(()),
            // What came before the end may still be read.
            Err(_) if self.world.is_killed() => Ok(()),
            Err(error) => self.world.gone(&self.name, &format!("it cannot send: {error}")),
        }
    }

    /// The next packet; may be given up and asked for again.
    pub async fn receive(&mut self) -> Result<Reply, Gone> {
        loop {
            if let Some(reply) = self.decode() {
                return Ok(reply);
            }
            let reading = self.stream.read_buf(&mut self.buffer);
            match tokio::time::timeout(PATIENCE, reading).await {
                Ok(Ok(0)) => return self.world.gone(&self.name, "the connection was closed"),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return self.world.gone(&self.name, &format!("it cannot read: {error}")),
                Err(_) => panic!("{}: no packet for {PATIENCE:?}; {}", self.name, self.hope),
            }
        }
    }

    /// What is waited for, should it not come.
    pub fn hope(&mut self, hope: String) {
        self.hope = hope;
    }

    fn decode(&mut self) -> Option<Reply> {
        match Reply::decode(&mut self.buffer, self.version) {
            Ok(reply) => reply,
            Err(why) => panic!("{}: the broker sent a malformed packet: {why}", self.name),
        }
    }
}
