//! A WebSocket, to the driver a socket like any other: its bytes are the payload of binary frames.

use super::frames::{Decoder, FrameLimits, Requests, Violation};
use crate::net::link::Socket;
use crate::throttle::{Bucket, Rate};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// A stream after its upgrade. Reading gives the payload of whatever frames and parts of frames are there; each write
/// becomes one frame, whose payload is not copied.
pub(in crate::net) struct WebSocket<S> {
    /// In a box, because a connection's task has room for its socket several times over.
    inner: Box<Inner<S>>,
}

struct Inner<S> {
    stream: S,
    decoder: Decoder,
    /// Frames without payload that the client may still send.
    idle_frames: Bucket,
    /// A Ping to be answered once there is room: the last one.
    ping: Option<Vec<u8>>,
    /// Goes out before all else: the header of a frame, or a whole frame of control.
    ahead: Vec<u8>,
    ahead_written: usize,
    /// Payload that the frame begun last is still to have.
    owed: usize,
    /// Close, with this code, to be said once the frame begun last is whole.
    close: Option<Option<u16>>,
    /// Close was said, or is to be: nothing may follow it.
    has_said_close: bool,
    /// The client sent Close, or has broken a rule: nothing more is read.
    is_deaf: bool,
}

impl<S: Socket> WebSocket<S> {
    pub(super) fn new(stream: S, limits: FrameLimits) -> Self {
        Self {
            inner: Box::new(Inner {
                stream,
                decoder: Decoder::new(limits),
                idle_frames: Bucket::new(IDLE_FRAMES, Instant::now()),
                ping: None,
                ahead: Vec::new(),
                ahead_written: 0,
                owed: 0,
                close: None,
                has_said_close: false,
                is_deaf: false,
            }),
        }
    }
}

impl<S: Socket> Inner<S> {
    /// Ready once nothing is to go out before the next frame, or the rest of this one.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self
            .ahead
            .get(self.ahead_written..)
            .filter(|rest| !rest.is_empty())
        {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.ahead_written += count,
            }
        }
        self.ahead = Vec::new();
        self.ahead_written = 0;
        Poll::Ready(Ok(()))
    }

    /// The same, for what is to be said between two frames: an answer to a Ping, Close.
    fn poll_controls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Within a frame nothing else can be said. Its payload will be written: it is in the connection's output.
        if self.owed > 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_ahead(cx))?;
        if let Some(ping) = self.ping.take() {
            self.put_ahead(OpCode::Control(Control::Pong), &ping);
        }
        if let Some(code) = self.close.take() {
            let payload = code.map(u16::to_be_bytes);
            let payload = payload.as_ref().map_or(&[][..], |code| &code[..]);
            self.put_ahead(OpCode::Control(Control::Close), payload);
        }
        self.poll_ahead(cx)
    }

    fn put_ahead(&mut self, opcode: OpCode, payload: &[u8]) {
        self.begin_frame(opcode, payload.len());
        self.ahead.extend_from_slice(payload);
    }

    fn begin_frame(&mut self, opcode: OpCode, length: usize) {
        let header = FrameHeader {
            opcode,
            mask: None,
            ..FrameHeader::default()
        };
        // Writing to a Vec cannot fail.
        let _ = header.format(length as u64, &mut self.ahead);
    }

    /// Says Close as soon as that can be; nothing follows it.
    fn close(&mut self, code: Option<u16>) {
        if !std::mem::replace(&mut self.has_said_close, true) {
            self.close = Some(code);
            self.ping = None;
        }
    }

    /// Takes apart what has come, answers what is to be answered; how much of it is payload.
    fn take_in(&mut self, bytes: &mut [u8]) -> Result<usize, Violation> {
        let mut requests = Requests::default();
        let payload = self.decoder.decode(bytes, &mut requests)?;
        if requests.idle_frames > 0 {
            let now = Instant::now();
            self.idle_frames.charge(f64::from(requests.idle_frames), now);
            if self.idle_frames.tokens(now) < 0.0 {
                return Err(Violation::Restless);
            }
        }
        self.ping = requests
            .ping
            .or(self.ping.take())
            .filter(|_| !self.has_said_close);
        if let Some(code) = requests.close {
            self.is_deaf = true;
            self.close(code);
        }
        Ok(payload)
    }

    /// Waits for the client's Close, which it owes us, or for the end of the stream: closing earlier could cost it what
    /// we have said last.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 1024];
        for _ in 0..FAREWELL_READS {
            if self.is_deaf {
                return Poll::Ready(());
            }
            let mut room = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room)) {
                Ok(()) if !room.filled().is_empty() => {
                    self.is_deaf = self.take_in(room.filled_mut()).is_err() || self.is_deaf;
                }
                _ => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}

impl<S: Socket> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner;
        for _ in 0..READS_AT_ONCE {
            // Who does not take our answers is not read: they would pile up.
            ready!(inner.poll_controls(cx))?;
            if inner.is_deaf {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut inner.stream).poll_read(cx, buf))?;
            let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let taken = inner.take_in(fresh);
            buf.set_filled(before + taken.unwrap_or(0));
            match taken {
                Ok(0) => {}
                Ok(_) => return Poll::Ready(Ok(())),
                Err(violation) => {
                    inner.is_deaf = true;
                    inner.close(Some(violation.code()));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)));
                }
            }
        }
        // Others on this thread want to be served as well.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Socket> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.inner;
        let offered = chunks.iter().map(|chunk| chunk.len()).sum();
        // Nothing may follow Close (RFC 6455 section 5.5.1), and nobody waits for it.
        if offered == 0 || (inner.has_said_close && inner.owed == 0) {
            return Poll::Ready(Ok(offered));
        }
        if inner.owed == 0 {
            ready!(inner.poll_controls(cx))?;
            inner.begin_frame(OpCode::Data(Data::Binary), offered);
            inner.owed = offered;
        }
        loop {
            let header = inner.ahead.get(inner.ahead_written..).unwrap_or_default();
            let header_bytes = header.len();
            let mut slices = [IoSlice::new(&[]); CHUNKS_MAX];
            let count = gather(header, chunks, inner.owed, &mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            let written = ready!(Pin::new(&mut inner.stream).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_header = written.min(header_bytes);
            inner.ahead_written += of_header;
            if of_header == header_bytes {
                inner.ahead = Vec::new();
                inner.ahead_written = 0;
            }
            let of_payload = written - of_header;
            inner.owed -= of_payload;
            if of_payload > 0 {
                return Poll::Ready(Ok(of_payload));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner;
        ready!(inner.poll_controls(cx))?;
        Pin::new(&mut inner.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner;
        inner.close(Some(CloseCode::Normal.into()));
        ready!(inner.poll_controls(cx))?;
        ready!(Pin::new(&mut inner.stream).poll_flush(cx))?;
        ready!(inner.poll_farewell(cx));
        // An answer to the client's Close, if that came only now, is not needed: it has ours.
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

/// The header, then as much of the chunks as the frame is still to have; how many slices that is.
fn gather<'a>(
    header: &'a [u8],
    chunks: &'a [IoSlice<'_>],
    owed: usize,
    slices: &mut [IoSlice<'a>; CHUNKS_MAX],
) -> usize {
    let mut left = owed;
    let payload = chunks.iter().map_while(|chunk| {
        let part = chunk
            .get(..left.min(chunk.len()))
            .filter(|part| !part.is_empty())?;
        left -= part.len();
        Some(part)
    });
    let all = std::iter::once(header)
        .filter(|header| !header.is_empty())
        .chain(payload);
    slices
        .iter_mut()
        .zip(all)
        .map(|(slice, part)| *slice = IoSlice::new(part))
        .count()
}

/// Slices of one write: a header, and as many chunks as the driver writes at once.
const CHUNKS_MAX: usize = 17;
/// Reads that bring no payload before others get their turn.
const READS_AT_ONCE: usize = 8;
/// Reads of up to 1 KiB after our Close.
const FAREWELL_READS: usize = 64;
/// A client sends a Ping every few seconds, if at all.
const IDLE_FRAMES: Rate = Rate {
    per_second: 10,
    burst: 100,
};
