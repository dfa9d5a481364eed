//! Frames of WebSocket (RFC 6455 section 5) as they come from a client. No I/O: payload is unmasked where it lies and
//! passed on at once, whatever is still missing of its frame. So nothing is stored for a client but a header.

use std::fmt;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// What a client may send at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameLimits {
    /// Of one frame, without its header.
    pub(super) frame_bytes_max: u64,
    /// Of all frames of one message.
    pub(super) message_bytes_max: u64,
}

/// A rule that the client has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// The header is none that a client may send.
    Header,
    /// The payload is not masked.
    Unmasked,
    /// A frame of control is fragmented or too long, or says Close in a wrong way.
    Control,
    /// A message begins within another, or goes on without having begun.
    Order,
    /// MQTT is in binary frames [MQTT-6.0.0-1].
    Text,
    /// Larger than the listener takes.
    TooLarge,
    /// Far more frames without any payload than a client has use for.
    Restless,
}

impl Violation {
    /// What the client is told (RFC 6455 section 7.4.1).
    pub(super) fn code(self) -> u16 {
        let code = match self {
            Self::Header | Self::Unmasked | Self::Control | Self::Order => CloseCode::Protocol,
            Self::Text => CloseCode::Unsupported,
            Self::TooLarge => CloseCode::Size,
            Self::Restless => CloseCode::Policy,
        };
        code.into()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "WebSocket: malformed frame",
            Self::Unmasked => "WebSocket: frame without a mask",
            Self::Control => "WebSocket: malformed control frame",
            Self::Order => "WebSocket: frame out of order",
            Self::Text => "WebSocket: text frame, but MQTT is in binary frames",
            Self::TooLarge => "WebSocket: frame or message larger than frame_bytes_max or message_bytes_max",
            Self::Restless => "WebSocket: too many frames without payload",
        })
    }
}

impl std::error::Error for Violation {}

/// What a client wants answered beyond its payload.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Payload of the last Ping; only that one has to be answered (section 5.5.3).
    pub(super) ping: Option<Vec<u8>>,
    /// The client says that nothing more will come; `Some(None)`: without a code.
    pub(super) close: Option<Option<u16>>,
    /// Frames that brought nothing: of control, or empty.
    pub(super) idle_frames: u32,
}

/// Takes apart what a client sends.
#[derive(Debug)]
pub(super) struct Decoder {
    limits: FrameLimits,
    /// The beginning of a header, until it is whole.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    frame: Option<Frame>,
    is_in_message: bool,
    message_bytes: u64,
    /// Payload of a frame of control, until it is whole.
    control: Vec<u8>,
    is_closed: bool,
}

/// A frame whose header has come.
#[derive(Debug)]
struct Frame {
    control: Option<Control>,
    is_final: bool,
    is_empty: bool,
    left: u64,
    /// Turned so that its first byte is for the next one of the payload.
    mask: [u8; 4],
}

impl Decoder {
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            frame: None,
            is_in_message: false,
            message_bytes: 0,
            control: Vec::new(),
            is_closed: false,
        }
    }

    /// Moves the payload of messages to the beginning of `bytes`; how much that is. Behind a Close nothing is looked
    /// at.
    pub(super) fn decode(&mut self, bytes: &mut [u8], requests: &mut Requests) -> Result<usize, Violation> {
        let (mut read, mut payload) = (0, 0);
        while read < bytes.len() && !self.is_closed {
            let Some(frame) = &mut self.frame else {
                read += self.read_header(bytes.get(read..).unwrap_or_default())?;
                self.end_frame(requests)?;
                continue;
            };
            let here = usize::try_from(frame.left)
                .unwrap_or(usize::MAX)
                .min(bytes.len() - read);
            let part = read..read + here;
            let chunk = bytes.get_mut(part.clone()).unwrap_or_default();
            unmask(chunk, &mut frame.mask);
            frame.left -= here as u64;
            if frame.control.is_some() {
                self.control.extend_from_slice(chunk);
            } else {
                bytes.copy_within(part, payload);
                payload += here;
            }
            read += here;
            self.end_frame(requests)?;
        }
        Ok(payload)
    }

    /// Reads as much of a header as there is; how many bytes that took.
    fn read_header(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let have = usize::from(self.header_bytes);
        // A header is at most so long: what is behind it stays where it is.
        let fresh = bytes.len().min(HEADER_BYTES_MAX - have);
        let (from, to) = (bytes.get(..fresh), self.header.get_mut(have..have + fresh));
        if let (Some(from), Some(to)) = (from, to) {
            to.copy_from_slice(from);
        }
        let known = self.header.get(..have + fresh).unwrap_or_default();
        let mut cursor = Cursor::new(known);
        match FrameHeader::parse(&mut cursor).map_err(|_| Violation::Header)? {
            None => {
                self.header_bytes = u8::try_from(known.len()).unwrap_or(u8::MAX);
                Ok(fresh)
            }
            Some((header, length)) => {
                let taken = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
                self.header_bytes = 0;
                self.begin_frame(&header, length)?;
                Ok(taken.saturating_sub(have))
            }
        }
    }

    fn begin_frame(&mut self, header: &FrameHeader, length: u64) -> Result<(), Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::Header);
        }
        let mask = header.mask.ok_or(Violation::Unmasked)?;
        let control = match header.opcode {
            OpCode::Control(control) => {
                if !header.is_final || length > CONTROL_BYTES_MAX {
                    return Err(Violation::Control);
                }
                Some(control)
            }
            OpCode::Data(data) => {
                self.begin_data(data, length)?;
                None
            }
        };
        self.frame = Some(Frame {
            control,
            is_final: header.is_final,
            is_empty: length == 0,
            left: length,
            mask,
        });
        Ok(())
    }

    fn begin_data(&mut self, data: Data, length: u64) -> Result<(), Violation> {
        match (data, self.is_in_message) {
            (Data::Text, _) => return Err(Violation::Text),
            (Data::Binary, false) => self.message_bytes = 0,
            (Data::Continue, true) => {}
            (Data::Binary, true) | (Data::Continue, false) => return Err(Violation::Order),
            (Data::Reserved(_), _) => return Err(Violation::Header),
        }
        self.message_bytes = self.message_bytes.saturating_add(length);
        if length > self.limits.frame_bytes_max || self.message_bytes > self.limits.message_bytes_max {
            return Err(Violation::TooLarge);
        }
        self.is_in_message = true;
        Ok(())
    }

    /// Does what a frame says that is whole.
    fn end_frame(&mut self, requests: &mut Requests) -> Result<(), Violation> {
        let Some(frame) = self.frame.take_if(|frame| frame.left == 0) else {
            return Ok(());
        };
        let Some(control) = frame.control else {
            self.is_in_message = !frame.is_final;
            requests.idle_frames += u32::from(frame.is_empty);
            return Ok(());
        };
        requests.idle_frames += 1;
        // Taken, not cleared: most clients never need its memory again.
        let payload = std::mem::take(&mut self.control);
        match control {
            Control::Ping => requests.ping = Some(payload),
            Control::Pong => {}
            Control::Close => {
                self.is_closed = true;
                requests.close = Some(close_code(&payload)?);
            }
            Control::Reserved(_) => return Err(Violation::Header),
        }
        Ok(())
    }
}

/// Section 5.5.1: nothing, or a code and a reason in UTF-8.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk::<2>().ok_or(Violation::Control)?;
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() || std::str::from_utf8(reason).is_err() {
        return Err(Violation::Control);
    }
    Ok(Some(code))
}

/// Section 5.3. The mask is left as the bytes behind these need it.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let twice = [a, b, c, d, a, b, c, d];
    let turn = bytes.len() % 4;
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ u64::from_ne_bytes(twice)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(twice) {
        *byte ^= mask;
    }
    mask.rotate_left(turn);
}

/// Two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
/// Section 5.5.
const CONTROL_BYTES_MAX: u64 = 125;
