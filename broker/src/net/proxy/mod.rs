//! The PROXY protocol: a load balancer says on whose behalf it connects, before anything else is said.

mod extensions;
mod header;
#[cfg(test)]
mod tests;

use super::carrier::Carrier;
use crate::policy::verdict::{Certificate, Peer, TlsPeer};
use header::{BYTES_MAX, Client, Header, Malformed};
use rustix::net::RecvFlags;
use std::fmt;
use std::io;

/// What came of waiting for a header.
#[derive(Debug)]
pub(super) enum Announced {
    /// The peer is now the client that the proxy speaks for.
    Client,
    /// The proxy only looks whether somebody answers.
    Check,
}

/// Why nobody was announced.
#[derive(Debug)]
pub(super) enum Unannounced {
    /// The proxy left before it had said anything.
    Silent,
    Malformed(Malformed),
    /// It left in the middle, or the socket failed.
    Broken(io::Error),
}

impl fmt::Display for Unannounced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the proxy left"),
            Self::Malformed(why) => why.fmt(f),
            Self::Broken(error) => write!(f, "the PROXY header broke off: {error}"),
        }
    }
}

/// Reads the header, and not a byte beyond it, and puts what it says into `peer`, whose address so far is the proxy's.
///
/// # Errors
/// There is no header that can be used.
pub(super) async fn announced(socket: &Carrier, peer: &mut Peer) -> Result<Announced, Unannounced> {
    let mut bytes = Vec::new();
    let header = loop {
        let taken = bytes.len();
        bytes.resize(taken + CHUNK_BYTES.min(BYTES_MAX - taken), 0);
        let room = bytes.get_mut(taken..).unwrap_or_default();
        let seen = receive(socket, room, RecvFlags::PEEK).await?;
        if seen == 0 {
            return Err(match taken {
                0 => Unannounced::Silent,
                _ => Unannounced::Broken(io::ErrorKind::UnexpectedEof.into()),
            });
        }
        bytes.truncate(taken + seen);
        let parsed = header::parse(&bytes).map_err(Unannounced::Malformed)?;
        // All that was seen belongs to the header unless it ends before.
        let until = parsed.as_ref().map_or(bytes.len(), |(_, length)| *length);
        let room = bytes.get_mut(taken..until).unwrap_or_default();
        take(socket, room).await?;
        if let Some((header, _)) = parsed {
            break header;
        }
    };
    match header {
        Header::Local => Ok(Announced::Check),
        Header::Client(client) => {
            become_client(peer, *client);
            Ok(Announced::Client)
        }
    }
}

/// Reads what was seen already.
async fn take(socket: &Carrier, mut room: &mut [u8]) -> Result<(), Unannounced> {
    while !room.is_empty() {
        match receive(socket, room, RecvFlags::empty()).await? {
            0 => return Err(Unannounced::Broken(io::ErrorKind::UnexpectedEof.into())),
            count => room = room.get_mut(count..).unwrap_or_default(),
        }
    }
    Ok(())
}

async fn receive(socket: &Carrier, room: &mut [u8], flags: RecvFlags) -> Result<usize, Unannounced> {
    socket.receive(room, flags).await.map_err(Unannounced::Broken)
}

fn become_client(peer: &mut Peer, client: Client) {
    let proxy = std::mem::replace(&mut peer.address, client.source.ip().to_string());
    peer.port = client.source.port();
    peer.proxied_by = Some(proxy);
    peer.unique_id = client.extensions.unique_id;
    let authority = client.extensions.authority;
    peer.tls = client.extensions.tls.map(|tls| {
        Box::new(TlsPeer {
            version: tls.version,
            cipher: tls.cipher,
            sni: authority,
            certificate: tls.common_name.map(|name| Certificate {
                subject_cn: Some(name),
                ..Certificate::default()
            }),
        })
    });
}

/// Bytes looked at at once: most headers whole.
const CHUNK_BYTES: usize = 512;
