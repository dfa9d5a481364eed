//! An encrypted connection, to the driver a socket like any other, and the socket below it.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A socket after its handshake.
pub(in crate::net) struct Encrypted {
    /// In a box, because a connection's task has room for its socket several times over.
    stream: Box<TlsStream<Ciphertext>>,
}

/// The socket below the encryption. rustls asks for 4 KiB at a time; the kernel is asked for as much as the driver asks
/// of a plain socket.
pub(super) struct Ciphertext {
    socket: TcpStream,
    input: Vec<u8>,
    /// How much of the input has been taken.
    taken: usize,
}

thread_local! {
    /// The buffer of this worker: a connection holds one only while there is something in it.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Encrypted {
    pub(super) fn new(stream: TlsStream<Ciphertext>) -> Self {
        Self {
            stream: Box::new(stream),
        }
    }
}

impl Ciphertext {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            input: Vec::new(),
            taken: 0,
        }
    }

    /// Ready when there is input, or the end of it.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.taken < self.input.len() {
            return Poll::Ready(Ok(()));
        }
        SPARE.with_borrow_mut(|spare| std::mem::swap(spare, &mut self.input));
        self.input.reserve(READ_BYTES);
        let read = pin!(self.socket.read_buf(&mut self.input)).poll(cx);
        self.give_back();
        read.map_ok(drop)
    }

    /// Lets the worker's next connection use the buffer, once nothing is left in it.
    fn give_back(&mut self) {
        if self.taken == self.input.len() {
            self.input.clear();
            self.taken = 0;
            let buffer = std::mem::take(&mut self.input);
            SPARE.with_borrow_mut(|spare| {
                if spare.capacity() < buffer.capacity() {
                    *spare = buffer;
                }
            });
        }
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut *self.stream).poll_read(cx, buf) {
            // Many clients close without the farewell of TLS. Nothing can be cut off that way: packets say how long
            // they are, and a session ends well with DISCONNECT only.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write_vectored(cx, chunks)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Ciphertext {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_input(cx))?;
        let rest = self.input.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..count).unwrap_or_default());
        self.taken += count;
        self.give_back();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ciphertext {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, chunks)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Bytes asked of the kernel at once: four records.
const READ_BYTES: usize = 64 * 1024;
