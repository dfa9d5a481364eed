//! Many connections to one broker, driven by one thread: large reads, large writes, no memory per message.

use super::connection::{Connection, Door};
use crate::clock::Nanos;
use crate::failure::{During, Result};
use crate::wire::{Packet, Version};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A connection of the fleet, from 0 in the order they were opened.
pub type ClientId = usize;

/// Who is told what the brokers says.
pub trait Handler {
    /// A packet came. What is appended to `answer` is sent with the next write to that client.
    fn packet(&mut self, client: ClientId, packet: Packet, now: Nanos, answer: &mut Vec<u8>);

    /// The broker closed a connection, or it broke. It is closed on this side already.
    fn closed(&mut self, client: ClientId);
}

/// One read takes up to this much; it is shared by all connections.
const READ_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;

/// Connections to one broker.
pub struct Fleet {
    door: Door,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
}

impl Fleet {
    /// No connections yet.
    ///
    /// # Errors
    /// When the system has no epoll instance left.
    pub fn new(door: Door) -> Result<Self> {
        Ok(Self {
            door,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES],
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// The version that all its clients speak.
    pub fn version(&self) -> Version {
        self.door.version
    }

    /// How many connections are open.
    pub fn open_count(&self) -> usize {
        let open = self.connections.iter().filter(|connection| connection.is_open());
        open.count()
    }

    /// Opens a connection and sends `hello` as soon as it stands.
    ///
    /// # Errors
    /// When the system refuses, for instance because there are too many open files.
    pub fn open(&mut self, hello: &[u8]) -> Result<ClientId> {
        let client = self.connections.len();
        self.connections.push(Connection::closed(self.door.version));
        self.reopen(client, hello)?;
        Ok(client)
    }

    /// Opens a closed connection anew.
    ///
    /// # Errors
    /// As [`Fleet::open`].
    pub fn reopen(&mut self, client: ClientId, hello: &[u8]) -> Result<()> {
        match self.connections.get_mut(client) {
            Some(connection) => connection.open(&self.door, &self.epoll, client, hello),
            None => Ok(()),
        }
    }

    /// Closes a connection.
    pub fn close(&mut self, client: ClientId) {
        if let Some(connection) = self.connections.get_mut(client) {
            connection.close();
        }
    }

    /// Whether a connection is open.
    pub fn is_open(&self, client: ClientId) -> bool {
        self.connections.get(client).is_some_and(Connection::is_open)
    }

    /// What waits to be written to a client, to append to. Write it with [`Fleet::flush`].
    pub fn out(&mut self, client: ClientId) -> Option<&mut Vec<u8>> {
        self.connections.get_mut(client)?.out()
    }

    /// Bytes that the kernel did not take yet.
    pub fn backlog(&self, client: ClientId) -> usize {
        self.connections.get(client).map_or(0, Connection::backlog)
    }

    /// With TLS: makes a record of what waits for a client.
    pub fn end_record(&mut self, client: ClientId) {
        if let Some(connection) = self.connections.get_mut(client) {
            connection.seal();
        }
    }

    /// Writes what waits for a client, with TLS as one record; what the kernel does not take follows when it has room.
    pub fn flush(&mut self, client: ClientId) {
        if let Some(connection) = self.connections.get_mut(client) {
            connection.write(&self.epoll, client);
        }
    }

    /// Reads from a client, or leaves its data with the kernel until the broker cannot write any more.
    pub fn set_reading(&mut self, client: ClientId, reads: bool) {
        if let Some(connection) = self.connections.get_mut(client) {
            connection.set_reading(&self.epoll, client, reads);
        }
    }

    /// Waits until a connection has something to do, no longer than `timeout` (whole milliseconds), and does it.
    ///
    /// # Errors
    /// When waiting itself fails.
    pub fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> Result<()> {
        let timeout = Timespec::try_from(timeout).during("a timeout is too long")?;
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let client = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let Some(connection) = self.connections.get_mut(client) else {
                continue;
            };
            let flags = event.flags;
            let to_read =
                flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            let alive = !to_read || connection.read(&mut self.buffer, client, handler);
            if !alive {
                connection.close();
                handler.closed(client);
            } else if connection.wants_to_write() {
                connection.write(&self.epoll, client);
            }
        }
        Ok(())
    }
}
