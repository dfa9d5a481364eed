//! What a peer's bytes travel through: TCP, TLS over it, a unix socket, or WebSocket over any of them.

use crate::PATIENCE;
use crate::websocket::Framed;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection to the broker.
pub enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS; the handshake happens with the first read or write.
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// A unix socket.
    Local(UnixStream),
    /// WebSocket.
    Framed(Box<Framed>),
}

impl Transport {
    /// A TCP connection.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self::Plain(tcp(address))
    }

    /// A connection over a unix socket.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn local(path: &Path) -> Self {
        let socket = UnixStream::connect(path).expect("the broker accepts connections");
        socket
            .set_write_timeout(Some(PATIENCE))
            .expect("a write timeout can be set");
        Self::Local(socket)
    }

    /// The TCP socket below.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Encrypted(stream) => &stream.sock,
            Self::Framed(stream) => stream.carrier().socket(),
            Self::Local(_) => panic!("the connection is not over TCP"),
        }
    }

    /// How long a read waits.
    ///
    /// # Panics
    /// When that cannot be set.
    pub fn set_read_timeout(&self, patience: Duration) {
        let set = match self {
            Self::Local(socket) => socket.set_read_timeout(Some(patience)),
            Self::Framed(stream) => return stream.carrier().set_read_timeout(patience),
            Self::Plain(_) | Self::Encrypted(_) => self.socket().set_read_timeout(Some(patience)),
        };
        set.expect("a read timeout can be set");
    }

    /// The frames.
    ///
    /// # Panics
    /// When there are none.
    pub fn framed(&mut self) -> &mut Framed {
        match self {
            Self::Framed(stream) => stream,
            _ => panic!("the connection is no WebSocket"),
        }
    }

    /// What is known of the encryption.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn session(&self) -> &ClientConnection {
        match self {
            Self::Plain(_) | Self::Local(_) | Self::Framed(_) => panic!("the connection is not encrypted"),
            Self::Encrypted(stream) => &stream.conn,
        }
    }
}

/// A TCP connection that does not wait for ever.
///
/// # Panics
/// When it cannot be opened.
#[must_use]
pub fn tcp(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the broker accepts connections");
    socket.set_nodelay(true).expect("TCP_NODELAY can be set");
    socket
        .set_write_timeout(Some(PATIENCE))
        .expect("a write timeout can be set");
    socket
}

impl Read for Transport {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(bytes),
            Self::Encrypted(stream) => stream.read(bytes),
            Self::Local(socket) => socket.read(bytes),
            Self::Framed(stream) => stream.read(bytes),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
            Self::Local(socket) => socket.write(bytes),
            Self::Framed(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
            Self::Local(socket) => socket.flush(),
            Self::Framed(stream) => stream.flush(),
        }
    }
}
