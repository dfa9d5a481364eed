//! What lies below a WebSocket, or below MQTT where it is not plain TCP.

use super::tls::Encrypted;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream of bytes to a client.
pub(super) enum Carrier {
    Tcp(TcpStream),
    Tls(Encrypted),
}

/// Hands a call on to whichever it is.
macro_rules! carried {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Carrier::Tcp(stream) => {
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
