//! What a peer's bytes travel through: TCP, or TLS over it.

use crate::PATIENCE;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection to the broker.
pub enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS; the handshake happens with the first read or write.
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
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
        }
    }

    /// What is known of the encryption.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn session(&self) -> &ClientConnection {
        match self {
            Self::Plain(_) => panic!("the connection is not encrypted"),
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
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}
