//! A socket with its protocol state: bytes in, bytes out, nothing decided.

use crate::metrics::Metrics;
use bytes::{BufMut, BytesMut};
use sluice_mqtt::conn::Connection;
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Sleep;

/// Bytes asked of the socket at once, at most. A whole buffer of packets is handled before anything is written.
const READ_BYTES: usize = 64 * 1024;
/// The same of a client that is not in yet: its CONNECT keeps the buffer it came in, and may wait for long.
const HELLO_BYTES: usize = 1024;
/// Largest part of a packet that is copied to lend its buffer to others while the rest is awaited.
const PART_BYTES_MAX: usize = 4 * 1024;
/// Below this the session is asked for more to send: enough for one large write, small for each client.
pub(super) const OUTPUT_FILL_BYTES: usize = 64 * 1024;
/// Above this nothing more is read from a client that does not read.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Of a client whose CONNECT is being judged, what it sends meanwhile and no more; then TCP makes it wait.
const WAITING_BYTES_MAX: usize = 4 * 1024;
/// Chunks per vectored write.
const WRITE_CHUNKS: usize = 16;

thread_local! {
    /// The read buffer of this worker: an idle connection holds none.
    static SPARE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// What a link waits for.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}

/// What reading gave.
pub(super) enum Read {
    /// So many more bytes in the input.
    Bytes(usize),
    /// The peer has closed its side.
    End,
}

/// What writing came to.
pub(super) struct Written {
    pub(super) bytes: usize,
    /// The socket takes no more for now; whoever asked is woken when it does.
    pub(super) is_blocked: bool,
}

/// What has crossed the wire, headers included, after decryption and before encryption.
#[derive(Clone, Copy, Default)]
pub(super) struct Moved {
    pub(super) read: u64,
    pub(super) written: u64,
}

/// One socket, its input, and the state of the protocol on it.
pub(super) struct Link<S> {
    socket: S,
    input: BytesMut,
    pub(super) conn: Connection,
    /// Written and not yet flushed.
    unflushed: bool,
    timer: Option<Pin<Box<Sleep>>>,
    moved: Moved,
    metrics: Arc<Metrics>,
}

impl<S: Socket> Link<S> {
    pub(super) fn new(socket: S, conn: Connection, metrics: Arc<Metrics>) -> Self {
        Self {
            socket,
            input: BytesMut::new(),
            conn,
            unflushed: false,
            timer: None,
            moved: Moved::default(),
            metrics,
        }
    }

    /// Everything that has crossed the wire so far.
    pub(super) fn moved(&self) -> Moved {
        self.moved
    }

    /// Bytes that were read and not looked at, or only in part.
    pub(super) fn input_bytes(&self) -> usize {
        self.input.len()
    }

    /// The next protocol event in what was read.
    pub(super) fn next(&mut self, now: Instant) -> Option<sluice_mqtt::conn::Event> {
        self.conn.next(&mut self.input, now)
    }

    /// Whether a PUBLISH with QoS 0 or 1 is next, as far as its first byte tells.
    pub(super) fn next_is_message(&self) -> bool {
        const PUBLISH: u8 = 0x30;
        self.input
            .first()
            .is_some_and(|first| first & 0b1111_0100 == PUBLISH)
    }

    /// Whether the client takes what it is sent fast enough to be read from.
    pub(super) fn may_read(&mut self) -> bool {
        self.conn.output().len() < OUTPUT_BYTES_MAX
    }

    /// Writes what there is, at most `bytes_max`.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn write(&mut self, bytes_max: usize, cx: &mut Context<'_>) -> io::Result<Written> {
        let mut bytes = 0;
        let mut is_blocked = false;
        while bytes < bytes_max && !self.conn.output().is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS];
            let count = self.conn.output().chunks_within(bytes_max - bytes, &mut slices);
            let chunks = slices.get(..count).unwrap_or_default();
            let socket = Pin::new(&mut self.socket);
            let written = match chunks {
                // The kernel takes one chunk for less than a list of one.
                [only] => socket.poll_write(cx, only),
                several => socket.poll_write_vectored(cx, several),
            };
            match written? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.conn.output().advance(count);
                    self.unflushed = true;
                    bytes += count;
                }
                Poll::Pending => {
                    is_blocked = true;
                    break;
                }
            }
        }
        if bytes > 0 {
            self.moved.written += bytes as u64;
            self.metrics.bytes_sent.add(bytes as u64);
        }
        if self.unflushed && !is_blocked {
            is_blocked = Pin::new(&mut self.socket).poll_flush(cx)?.is_pending();
            self.unflushed = is_blocked;
        }
        Ok(Written { bytes, is_blocked })
    }

    /// Ready once everything is written.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write(usize::MAX, cx)?.is_blocked {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    /// Reads once, at most `bytes_max`.
    pub(super) fn poll_read(&mut self, bytes_max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        if self.input.capacity() <= PART_BYTES_MAX {
            let part = std::mem::replace(&mut self.input, SPARE.take());
            self.input.extend_from_slice(&part);
        }
        self.input
            .reserve(READ_BYTES - self.input.len().min(READ_BYTES / 2));
        let read = self.poll_fill(bytes_max, cx);
        if self.input.is_empty() {
            self.give_back();
        } else if read.is_pending() {
            self.keep_part(PART_BYTES_MAX);
        }
        read
    }

    /// Reads once, into a buffer of the connection's own.
    fn poll_read_hello(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        self.input.reserve(HELLO_BYTES);
        let read = self.poll_fill(READ_BYTES, cx);
        if self.input.is_empty() {
            // Whoever says nothing costs no buffer.
            self.input = BytesMut::new();
        }
        read
    }

    /// Reads once into the room there is.
    fn poll_fill(&mut self, bytes_max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let mut room = (&mut self.input).limit(bytes_max);
        let read = pin!(self.socket.read_buf(&mut room)).poll(cx);
        read.map_ok(|count| {
            self.moved.read += count as u64;
            self.metrics.bytes_received.add(count as u64);
            if count == 0 { Read::End } else { Read::Bytes(count) }
        })
    }

    /// Lets the worker's next connection use the buffer, once all that was read has been handled.
    pub(super) fn give_back(&mut self) {
        if self.input.is_empty() {
            let mut buffer = std::mem::take(&mut self.input);
            buffer.clear();
            SPARE.with_borrow_mut(|spare| {
                if spare.capacity() < buffer.capacity() {
                    *spare = buffer;
                }
            });
        }
    }

    /// Keeps what there is of a packet, if it has so many bytes at most, in no more room than that takes, and lets others
    /// use the buffer: the rest may be long in coming.
    fn keep_part(&mut self, bytes_max: usize) {
        if self.input.len() <= bytes_max && self.input.len() < self.input.capacity() / 2 {
            let part = BytesMut::from(&*self.input);
            self.input.clear();
            self.give_back();
            self.input = part;
        }
    }

    /// Ready once `deadline` is reached.
    pub(super) fn poll_timer(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        // A deadline that only moves on, as keep alive does with every packet, lets the timer fire early once
        // instead of being set anew each time.
        if timer.is_elapsed() || timer.deadline().into_std() > deadline {
            timer.as_mut().reset(deadline.into());
        }
        timer.as_mut().poll(cx)
    }

    /// Ready with the next event of the connection, a closed socket or a deadline; nothing else is going on.
    pub(super) async fn converse(&mut self) -> io::Result<Option<sluice_mqtt::conn::Event>> {
        loop {
            let now = Instant::now();
            if let Some(event) = self.next(now) {
                return Ok(Some(event));
            }
            if self.conn.is_closed() {
                return Ok(None);
            }
            let deadline = self.conn.deadline();
            let read = std::future::poll_fn(|cx| {
                if let Poll::Ready(Err(error)) = self.poll_write_all(cx) {
                    return Poll::Ready(Err(error));
                }
                if let Poll::Ready(read) = self.poll_read_hello(cx) {
                    return Poll::Ready(read.map(Some));
                }
                // Whoever is not let in yet costs as many bytes as it has sent, and no buffer.
                self.keep_part(usize::MAX);
                self.poll_timer(deadline, cx).map(|()| Ok(None))
            });
            match read.await? {
                Some(Read::Bytes(_)) => {}
                Some(Read::End) => return Ok(None),
                None => {
                    if let Some(event) = self.conn.timeout(Instant::now()) {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// Waits for something else; `None`: the peer has gone before, and has left nothing to be looked at. The connection
    /// holds no read buffer meanwhile, only what the peer sends without waiting, up to [`WAITING_BYTES_MAX`] and one read.
    pub(super) async fn while_open<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut has_ended = false;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            while !has_ended && self.input.len() < WAITING_BYTES_MAX {
                match self.poll_read(WAITING_BYTES_MAX, cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(Read::Bytes(_))) => {}
                    // A client need not wait for CONNACK with its messages (section 3.1.4), nor stay after them.
                    Poll::Ready(Ok(Read::End)) if !self.input.is_empty() => has_ended = true,
                    Poll::Ready(Ok(Read::End) | Err(_)) => return Poll::Ready(None),
                }
            }
            self.keep_little();
            Poll::Pending
        })
        .await
    }

    /// Gives the read buffer back, and keeps what is in it in one of its size.
    fn keep_little(&mut self) {
        if self.input.capacity() > 2 * WAITING_BYTES_MAX {
            let rest = BytesMut::from(self.input.as_ref());
            self.input.clear();
            self.give_back();
            self.input = rest;
        }
    }

    /// Writes what is left, within `patience`, and closes the socket.
    pub(super) async fn close(mut self, patience: std::time::Duration) {
        let farewell = std::future::poll_fn(|cx| {
            std::task::ready!(self.poll_write_all(cx))?;
            Pin::new(&mut self.socket).poll_shutdown(cx)
        });
        // A peer that does not take its farewell in time does not get it.
        let _ = tokio::time::timeout(patience, farewell).await;
    }
}
