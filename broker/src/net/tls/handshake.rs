//! From an accepted socket to an encrypted one: within a deadline, and without keeping others on its worker waiting.

use super::Acceptor;
use super::socket::Encrypted;
use crate::config::quantity::duration_text;
use crate::event::Event;
use crate::net::Shared;
use crate::policy::verdict::{Peer, TlsPeer};
use crate::report;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::{self, InvalidMessage, ServerConnection};
use tokio_rustls::server::TlsStream;

/// Whose turn it is on a worker to compute its part of a handshake. That takes up to some milliseconds, and after a
/// restart every client comes at once: with one turn per round of the worker, those that are connected already wait for
/// one computation at most.
#[derive(Clone)]
pub(in crate::net) struct Turns(Arc<Semaphore>);

/// Why there is no connection.
enum Failure {
    /// The client left before it had said anything.
    Silent,
    Late(Duration),
    Broken(io::Error),
}

impl Turns {
    pub(in crate::net) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Acceptor {
    /// Performs the handshake and notes in `peer` what came of it. `None`: there is no connection, and the operator
    /// has been told why.
    pub(in crate::net) async fn accept(
        &self,
        socket: TcpStream,
        peer: &mut Arc<Peer>,
        shared: &Shared,
        turns: &Turns,
    ) -> Option<Encrypted> {
        let mut stopping = shared.stopping.clone();
        // What a handshake needs is given back with its end, not kept in the connection's task.
        let handshake = Box::pin(tokio::time::timeout(
            self.handshake_timeout,
            self.shake_hands(socket, turns),
        ));
        let done = tokio::select! {
            done = handshake => done.unwrap_or(Err(Failure::Late(self.handshake_timeout))),
            // Whoever is not in yet is not waited for.
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        };
        match done {
            Ok(stream) => {
                let tls = tls_peer(stream.get_ref().1);
                Arc::make_mut(peer).tls = Some(Box::new(tls));
                Some(Encrypted::new(stream))
            }
            Err(Failure::Silent) => None,
            Err(failure) => {
                let text = &failure.to_string();
                shared.events.emit(Event::TlsHandshakeFailed {
                    origin: report::origin(peer),
                    text,
                });
                shared.failed(peer, text);
                None
            }
        }
    }

    async fn shake_hands(&self, socket: TcpStream, turns: &Turns) -> Result<TlsStream<TcpStream>, Failure> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await;
        let hello = hello.map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                Failure::Broken(error)
            } else {
                Failure::Silent
            }
        })?;
        let turn = turns.0.acquire().await;
        let config = Arc::clone(&self.config);
        let rest = hello.into_stream_with(config, |session| {
            session.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        });
        tokio::task::yield_now().await;
        drop(turn);
        rest.await.map_err(Failure::Broken)
    }
}

/// What policies see of the encryption.
fn tls_peer(session: &ServerConnection) -> TlsPeer {
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "",
    };
    let suite = session.negotiated_cipher_suite();
    let suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    TlsPeer {
        version: version.to_owned(),
        // rustls tells the suites of the versions apart by their names, IANA does not.
        cipher: suite.replacen("TLS13_", "TLS_", 1),
        sni: session.server_name().map(str::to_owned),
        certificate: None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the client left"),
            Self::Late(patience) => write!(f, "not complete within {}", duration_text(*patience)),
            Self::Broken(error) => {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                match cause {
                    Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                        f.write_str("the client does not speak TLS")
                    }
                    _ => error.fmt(f),
                }
            }
        }
    }
}

/// What is encrypted and not yet taken by the socket: as much as the driver writes at once.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
