//! The client's side of WebSocket, over any transport.

use crate::transport::Transport;
use std::io::{self, Read, Write};
use tungstenite::client::client;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::Uri;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Bytes, ClientRequestBuilder, Error, Message, WebSocket};

/// A WebSocket; what is written goes out as binary messages.
pub struct Framed {
    socket: WebSocket<Transport>,
    /// Payload of a message that was read only in part.
    rest: Bytes,
    frame_bytes_max: usize,
    closed_with: Option<CloseFrame>,
}

/// Asks for a WebSocket at this path, with further header lines.
///
/// # Errors
/// The HTTP status of a refusal, or 0 if there was none.
///
/// # Panics
/// When what is asked for is no request.
pub fn upgrade(stream: Transport, path: &str, lines: &[(&str, &str)]) -> Result<Transport, u16> {
    let uri: Uri = format!("ws://broker.test{path}").parse().expect("a URI");
    let mut request = ClientRequestBuilder::new(uri).with_sub_protocol("mqtt");
    for (name, value) in lines {
        request = request.with_header(*name, *value);
    }
    match client(request, stream) {
        Ok((socket, response)) => {
            let spoken = response.headers().get("sec-websocket-protocol");
            assert_eq!(spoken.expect("a subprotocol"), "mqtt", "[MQTT-6.0.0-4]");
            Ok(Transport::Framed(Box::new(Framed {
                socket,
                rest: Bytes::new(),
                frame_bytes_max: usize::MAX,
                closed_with: None,
            })))
        }
        Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(_) => Err(0),
    }
}

impl Framed {
    /// From now on messages go out in frames of at most so many bytes.
    pub fn split_at(&mut self, bytes: usize) {
        self.frame_bytes_max = bytes;
    }

    /// Sends this message as it is.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, message: Message) -> io::Result<()> {
        self.socket.send(message).map_err(into_io)
    }

    /// The next message of any kind.
    ///
    /// # Errors
    /// The socket's, or that it is closed.
    pub fn receive(&mut self) -> io::Result<Message> {
        self.socket.read().map_err(into_io)
    }

    /// What the broker said when it closed; `None`: it has not, or without a code.
    #[must_use]
    pub fn closed_with(&self) -> Option<&CloseFrame> {
        self.closed_with.as_ref()
    }

    pub(crate) fn carrier(&self) -> &Transport {
        self.socket.get_ref()
    }
}

impl Read for Framed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(payload)) => self.rest = payload,
                Ok(Message::Close(frame)) => self.closed_with = frame,
                Ok(Message::Text(_)) => return Err(io::Error::other("the broker sent text")),
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(0),
                Err(error) => return Err(into_io(error)),
            }
        }
        let count = bytes.len().min(self.rest.len());
        bytes[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

impl Write for Framed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let frames = bytes.chunks(self.frame_bytes_max.min(bytes.len()).max(1));
        let last = frames.len().saturating_sub(1);
        for (index, payload) in frames.enumerate() {
            let opcode = if index == 0 { Data::Binary } else { Data::Continue };
            let frame = Frame::message(payload.to_vec(), OpCode::Data(opcode), index == last);
            self.socket.send(Message::Frame(frame)).map_err(into_io)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush().map_err(into_io)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
