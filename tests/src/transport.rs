//! What a peer's bytes travel through: TCP, TLS over it, or WebSocket over either.

use crate::PATIENCE;
use crate::websocket::Framed;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection to the broker.
pub enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS; the handshake happens with the first read or write.
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
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

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Encrypted(stream) => &stream.sock,
            Self::Framed(stream) => stream.tcp(),
        }
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
            Self::Plain(_) | Self::Framed(_) => panic!("the connection is not encrypted"),
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
            Self::Framed(stream) => stream.read(bytes),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
            Self::Framed(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
            Self::Framed(stream) => stream.flush(),
        }
    }
}
