//! What lies below a WebSocket, or below MQTT where it is not plain TCP.

use super::tls::Encrypted;
use rustix::net::{RecvFlags, recv};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection on its way to the thread that drives it.
pub(super) enum Incoming {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// A stream of bytes to a client.
pub(super) enum Carrier {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Encrypted),
}

impl Incoming {
    /// Has the runtime of this thread watch it.
    pub(super) fn watched(self) -> io::Result<Carrier> {
        Ok(match self {
            Self::Tcp(socket) => Carrier::Tcp(TcpStream::from_std(socket)?),
            Self::Unix(socket) => Carrier::Unix(UnixStream::from_std(socket)?),
        })
    }
}

impl Carrier {
    /// Receives with these flags. Nothing that is encrypted can be received so.
    pub(super) async fn receive(&self, room: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        fn now(socket: impl AsFd, room: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
            let (count, _) = recv(socket, room, flags)?;
            Ok(count)
        }
        match self {
            Self::Tcp(socket) => {
                let received = socket.async_io(Interest::READABLE, || now(socket, &mut *room, flags));
                received.await
            }
            Self::Unix(socket) => {
                let received = socket.async_io(Interest::READABLE, || now(socket, &mut *room, flags));
                received.await
            }
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Hands a call on to whichever it is.
macro_rules! carried {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Carrier::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Carrier::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Carrier::Tls(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}
impl AsyncRead for Carrier {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        carried!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        carried!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        carried!(self, stream => stream.poll_write_vectored(cx, chunks))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carried!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carried!(self, stream => stream.poll_shutdown(cx))
    }
}
