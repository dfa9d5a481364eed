//! MQTT over WebSocket (section 6 of both versions): a request over HTTP becomes a stream of frames, whose payload is
//! MQTT.
//!
//! The library takes apart requests and headers of frames. What it would do with payload, collect whole messages, would
//! let everybody who has a socket occupy a megabyte before saying who it is; here payload passes through.

mod frames;
mod socket;
#[cfg(test)]
mod tests;
mod upgrade;

pub(super) use socket::WebSocket;

use super::link::Socket;
use crate::config;
use crate::network::Network;
use crate::policy::verdict::Peer;
use frames::FrameLimits;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use upgrade::{Agreed, Refused};

/// Why there is no WebSocket.
#[derive(Debug)]
pub(super) enum Failed {
    /// The client left before it had asked for one.
    Silent,
    /// It was told why.
    Refused(Refused),
    /// It left in the middle, or the socket failed.
    Broken(io::Error),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the client left"),
            Self::Refused(why) => why.fmt(f),
            Self::Broken(error) => write!(f, "the HTTP request broke off: {error}"),
        }
    }
}

/// Reads the request and answers it. `proxies`: those who must tell whom they forward for, if the stream comes from one
/// of them; what they tell is put into `peer`.
///
/// # Errors
/// There is none.
pub(super) async fn upgrade<S: Socket>(
    mut stream: S,
    settings: &config::WebSocket,
    proxies: Option<&[Network]>,
    peer: &mut Peer,
) -> Result<WebSocket<S>, Failed> {
    let agreed = match read_head(&mut stream).await? {
        Some(head) => upgrade::judge(&head, settings, proxies),
        None => Err(Refused::TooLong),
    };
    match agreed {
        Ok(Agreed {
            response,
            forwarded_for,
        }) => {
            say(&mut stream, &response).await?;
            if let Some(client) = forwarded_for {
                let proxy = std::mem::replace(&mut peer.address, client.ip().to_string());
                peer.port = client.port();
                peer.proxied_by = Some(proxy);
            }
            let limits = FrameLimits {
                frame_bytes_max: settings.frame_bytes_max,
                message_bytes_max: settings.message_bytes_max,
            };
            Ok(WebSocket::new(stream, limits))
        }
        Err(why) => {
            // Whoever does not take the answer in time does not get it.
            let response = why.response();
            let farewell = say_goodbye(&mut stream, response.as_bytes());
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
            Err(Failed::Refused(why))
        }
    }
}

/// Everything up to the empty line, and what came with it. `None`: too much.
async fn read_head<S: Socket>(stream: &mut S) -> Result<Option<Vec<u8>>, Failed> {
    let mut head = Vec::with_capacity(1024);
    loop {
        let before = head.len();
        let room = HEAD_BYTES_MAX - before;
        let mut limited = (&mut *stream).take(room as u64);
        if limited.read_buf(&mut head).await.map_err(Failed::Broken)? == 0 {
            return match (before, room) {
                (_, 0) => Ok(None),
                (0, _) => Err(Failed::Silent),
                _ => Err(Failed::Broken(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        // Only now parsed: a head that comes byte by byte would be parsed a thousand times.
        let fresh = head
            .get(before.saturating_sub(END_OF_HEAD.len() - 1)..)
            .unwrap_or_default();
        if fresh.windows(END_OF_HEAD.len()).any(|bytes| bytes == END_OF_HEAD) {
            return Ok(Some(head));
        }
    }
}

async fn say<S: Socket>(stream: &mut S, bytes: &[u8]) -> Result<(), Failed> {
    stream.write_all(bytes).await.map_err(Failed::Broken)?;
    stream.flush().await.map_err(Failed::Broken)
}

/// Closing while there is something unread would take back what was said.
async fn say_goodbye<S: Socket>(stream: &mut S, bytes: &[u8]) -> Result<(), Failed> {
    say(stream, bytes).await?;
    stream.shutdown().await.map_err(Failed::Broken)?;
    let mut rest = (&mut *stream).take(REST_BYTES_MAX);
    let mut scratch = [0; 1024];
    while rest.read(&mut scratch).await.map_err(Failed::Broken)? > 0 {}
    Ok(())
}

/// How long a client may take to read a refusal.
const FAREWELL: Duration = Duration::from_secs(1);
/// What is read of a request that was refused already.
const REST_BYTES_MAX: u64 = 64 * 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const HEAD_BYTES_MAX: usize = 8 * 1024;
