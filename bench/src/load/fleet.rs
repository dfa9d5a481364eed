//! Many connections to one broker, driven by one thread: large reads, large writes, no memory per message.

use crate::clock::{Nanos, now};
use crate::failure::{During, Result};
use crate::wire::{Packet, Scanner, Version};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::net::SocketAddr;
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
    address: SocketAddr,
    version: Version,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
}

struct Connection {
    /// `None` once closed.
    socket: Option<OwnedFd>,
    scanner: Scanner,
    out: Vec<u8>,
    /// Bytes of `out` that were written already.
    written: usize,
    reads: bool,
    awaits_room: bool,
}

impl Fleet {
    /// No connections yet.
    ///
    /// # Errors
    /// When the system has no epoll instance left.
    pub fn new(address: SocketAddr, version: Version) -> Result<Self> {
        Ok(Self {
            address,
            version,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES],
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// The version that all its clients speak.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many connections are open.
    pub fn open_count(&self) -> usize {
        self.connections
            .iter()
            .filter(|connection| connection.socket.is_some())
            .count()
    }

    /// Opens a connection and sends `hello` as soon as it stands.
    ///
    /// # Errors
    /// When the system refuses, for instance because there are too many open files.
    pub fn open(&mut self, hello: &[u8]) -> Result<ClientId> {
        let client = self.connections.len();
        self.connections.push(Connection {
            socket: None,
            scanner: Scanner::new(self.version),
            out: Vec::new(),
            written: 0,
            reads: true,
            awaits_room: true,
        });
        self.reopen(client, hello)?;
        Ok(client)
    }

    /// Opens a closed connection anew.
    ///
    /// # Errors
    /// As [`Fleet::open`].
    pub fn reopen(&mut self, client: ClientId, hello: &[u8]) -> Result<()> {
        let socket = dial(self.address).during("a connection cannot be opened")?;
        let Some(connection) = self.connections.get_mut(client) else {
            return Ok(());
        };
        connection.scanner = Scanner::new(self.version);
        connection.out.clear();
        connection.out.extend_from_slice(hello);
        connection.written = 0;
        connection.reads = true;
        // Being writable is how a socket tells that it is connected.
        connection.awaits_room = true;
        epoll::add(
            &self.epoll,
            &socket,
            epoll::EventData::new_u64(client as u64),
            connection.interest(),
        )?;
        connection.socket = Some(socket);
        Ok(())
    }

    /// Closes a connection.
    pub fn close(&mut self, client: ClientId) {
        if let Some(connection) = self.connections.get_mut(client) {
            connection.socket = None;
        }
    }

    /// Whether a connection is open.
    pub fn is_open(&self, client: ClientId) -> bool {
        self.connections
            .get(client)
            .is_some_and(|connection| connection.socket.is_some())
    }

    /// What waits to be written to a client, to append to. Write it with [`Fleet::flush`].
    pub fn out(&mut self, client: ClientId) -> Option<&mut Vec<u8>> {
        let connection = self.connections.get_mut(client)?;
        connection.socket.as_ref()?;
        Some(&mut connection.out)
    }

    /// Bytes that the kernel did not take yet.
    pub fn backlog(&self, client: ClientId) -> usize {
        self.connections
            .get(client)
            .map_or(0, |connection| connection.out.len() - connection.written)
    }

    /// Writes what waits for a client; what the kernel does not take follows when it has room.
    pub fn flush(&mut self, client: ClientId) {
        let Some(connection) = self.connections.get_mut(client) else {
            return;
        };
        connection.flush();
        connection.follow_room(&self.epoll, client);
    }

    /// Reads from a client, or leaves its data with the kernel until the broker cannot write any more.
    pub fn set_reading(&mut self, client: ClientId, reads: bool) {
        if let Some(connection) = self.connections.get_mut(client) {
            connection.reads = reads;
            connection.register(&self.epoll, client);
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
                connection.socket = None;
                handler.closed(client);
                continue;
            }
            if connection.written < connection.out.len() || connection.awaits_room {
                connection.flush();
                connection.follow_room(&self.epoll, client);
            }
        }
        Ok(())
    }
}

impl Connection {
    fn interest(&self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.reads);
        flags.set(epoll::EventFlags::OUT, self.awaits_room);
        flags
    }

    fn register(&self, epoll: &OwnedFd, client: ClientId) {
        if let Some(socket) = &self.socket {
            let data = epoll::EventData::new_u64(client as u64);
            // Fails only for a socket that is not in the set, and all are.
            let _ = epoll::modify(epoll, socket, data, self.interest());
        }
    }

    /// One read, as large as there is something. `false`: the connection is over.
    fn read(&mut self, buffer: &mut [u8], client: ClientId, handler: &mut impl Handler) -> bool {
        let Some(socket) = &self.socket else { return true };
        let length = match rustix::io::read(socket, &mut *buffer) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        let now = now();
        let out = &mut self.out;
        let bytes = buffer.get(..length).unwrap_or_default();
        self.scanner
            .feed(bytes, |packet| handler.packet(client, packet, now, out))
            .is_ok()
    }

    /// A broken connection is noticed with the next read.
    fn flush(&mut self) {
        let Some(socket) = &self.socket else { return };
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match rustix::net::send(socket, rest, rustix::net::SendFlags::NOSIGNAL) {
                Ok(length) => self.written += length,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
        self.out.clear();
        self.written = 0;
    }

    fn follow_room(&mut self, epoll: &OwnedFd, client: ClientId) {
        let awaits_room = !self.out.is_empty();
        if awaits_room != self.awaits_room {
            self.awaits_room = awaits_room;
            self.register(epoll, client);
        }
    }
}

/// A socket that is connecting, without Nagle's delays.
fn dial(address: SocketAddr) -> std::result::Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
