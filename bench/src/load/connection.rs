//! One connection of the fleet: its socket, what is encrypted of it, its place in the stream.

use super::backlog::Backlog;
use super::encryption::{Broken, Encryption, Session};
use super::fleet::{ClientId, Handler};
use crate::clock::now;
use crate::failure::{During, Result};
use crate::wire::{Scanner, Version};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, ipproto, sockopt};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Where a broker listens, and what is spoken there.
#[derive(Clone)]
pub struct Door {
    /// The address.
    pub address: SocketAddr,
    /// The version of MQTT.
    pub version: Version,
    /// TLS, if it is spoken.
    pub encryption: Option<Encryption>,
}

pub(super) struct Connection {
    /// `None` once closed.
    socket: Option<OwnedFd>,
    scanner: Scanner,
    session: Option<Box<Session>>,
    /// What the client says. With TLS it is in `session` from the next write on.
    out: Backlog,
    reads: bool,
    awaits_room: bool,
}

impl Connection {
    /// One that is closed.
    pub(super) fn closed(version: Version) -> Self {
        Self {
            socket: None,
            scanner: Scanner::new(version),
            session: None,
            out: Backlog::default(),
            reads: true,
            awaits_room: false,
        }
    }

    /// Connects it anew; `hello` is sent as soon as it stands.
    pub(super) fn open(
        &mut self,
        door: &Door,
        epoll: &OwnedFd,
        client: ClientId,
        hello: &[u8],
    ) -> Result<()> {
        let socket = dial(door.address).during("a connection cannot be opened")?;
        *self = Self::closed(door.version);
        self.out.bytes().extend_from_slice(hello);
        if let Some(encryption) = &door.encryption {
            self.session = Some(Box::new(encryption.session()?));
        }
        // Being writable is how a socket tells that it is connected.
        self.awaits_room = true;
        epoll::add(epoll, &socket, data(client), self.interest())?;
        self.socket = Some(socket);
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    pub(super) fn close(&mut self) {
        self.socket = None;
        self.session = None;
    }

    /// What waits to be written, to append to; `None` once closed.
    pub(super) fn out(&mut self) -> Option<&mut Vec<u8>> {
        self.socket.as_ref()?;
        Some(self.out.bytes())
    }

    /// Bytes that the socket has not taken yet.
    pub(super) fn backlog(&self) -> usize {
        let sealed = self.session.as_ref().map_or(0, |session| session.sealed.len());
        self.out.len() + sealed
    }

    /// Whether there is something to write, or something was and it has to be said that no more is.
    pub(super) fn wants_to_write(&self) -> bool {
        self.awaits_room || self.backlog() > 0
    }

    pub(super) fn set_reading(&mut self, epoll: &OwnedFd, client: ClientId, reads: bool) {
        self.reads = reads;
        self.register(epoll, client);
    }

    /// One read, as large as there is something. `false`: the connection is over.
    pub(super) fn read(&mut self, buffer: &mut [u8], client: ClientId, handler: &mut impl Handler) -> bool {
        let Some(socket) = &self.socket else { return true };
        let begun = self.session.as_mut().map_or(0, |session| session.resume(buffer));
        let length = match rustix::io::read(socket, buffer.get_mut(begun..).unwrap_or_default()) {
            Ok(0) => return false,
            Ok(length) => begun + length,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        let now = now();
        let (scanner, out) = (&mut self.scanner, self.out.bytes());
        let mut scan = |bytes: &[u8]| {
            let fed = scanner.feed(bytes, |packet| handler.packet(client, packet, now, out));
            fed.map_err(|_| Broken)
        };
        let bytes = buffer.get_mut(..length).unwrap_or_default();
        match &mut self.session {
            Some(session) => session.receive(bytes, scan).is_ok(),
            None => scan(bytes).is_ok(),
        }
    }

    /// With TLS: makes a record of what the client says.
    pub(super) fn seal(&mut self) {
        let (Some(socket), Some(session)) = (&self.socket, &mut self.session) else {
            return;
        };
        if session.seal(self.out.bytes()).is_err() {
            // The next read finds the end and tells the handler.
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
        }
    }

    /// Writes what there is; a broken connection is noticed with the next read.
    pub(super) fn write(&mut self, epoll: &OwnedFd, client: ClientId) {
        self.seal();
        let Some(socket) = &self.socket else { return };
        let waiting = match &mut self.session {
            Some(session) => &mut session.sealed,
            None => &mut self.out,
        };
        waiting.send(socket);
        let awaits_room = !waiting.is_empty();
        if awaits_room != self.awaits_room {
            self.awaits_room = awaits_room;
            self.register(epoll, client);
        }
    }

    fn interest(&self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.reads);
        flags.set(epoll::EventFlags::OUT, self.awaits_room);
        flags
    }

    fn register(&self, epoll: &OwnedFd, client: ClientId) {
        if let Some(socket) = &self.socket {
            // Fails only for a socket that is not in the set, and all are.
            let _ = epoll::modify(epoll, socket, data(client), self.interest());
        }
    }
}

fn data(client: ClientId) -> epoll::EventData {
    epoll::EventData::new_u64(client as u64)
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
