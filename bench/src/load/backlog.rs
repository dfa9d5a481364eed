//! Bytes on their way into a socket.

use rustix::io::Errno;
use rustix::net::SendFlags;
use std::os::fd::OwnedFd;

/// What waits for a socket, of which it may have taken the beginning.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// How many of them the socket has taken.
    written: usize,
}

impl Backlog {
    /// How many bytes the socket has not taken yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything, to append to.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Lets `fill` write at most so many bytes behind the others and say how many they were.
    pub(super) fn append<E>(
        &mut self,
        bytes_max: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let end = self.bytes.len();
        self.bytes.resize(end + bytes_max, 0);
        let filled = fill(self.bytes.get_mut(end..).unwrap_or_default());
        self.bytes
            .truncate(end + filled.as_ref().copied().unwrap_or_default());
        filled.map(|_| ())
    }

    /// Writes as much as the socket takes. A broken one is noticed with the next read.
    pub(super) fn send(&mut self, socket: &OwnedFd) {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            match rustix::net::send(socket, rest, SendFlags::NOSIGNAL) {
                Ok(length) => self.written += length,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
    }
}
