//! From an accepted socket to an encrypted one: within a deadline, and without keeping others on its worker waiting.

use super::failure::Failure;
use super::socket::Encrypted;
use super::turns::Turns;
use super::verifier::take_refused;
use super::{Acceptor, certificate};
use crate::event::Event;
use crate::net::Shared;
use crate::policy::verdict::{Peer, TlsPeer};
use crate::report;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::server::danger::ClientCertVerifier as _;
use tokio_rustls::rustls::{self, HandshakeKind, ServerConnection};
use tokio_rustls::server::TlsStream;

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
        let place = self.under_way.begin(self.handshakes_max, &shared.metrics);
        // What a handshake needs is given back with its end, not kept in the connection's task.
        let handshake = Box::pin(tokio::time::timeout(
            self.handshake_timeout,
            self.shake_hands(socket, turns),
        ));
        let done = tokio::select! {
            done = handshake => done.unwrap_or(Err(Failure::Late(self.handshake_timeout))),
            () = place.given_away() => Err(Failure::Displaced(self.handshakes_max)),
            // Whoever is not in yet is not waited for.
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        };
        drop(place);
        match done {
            Ok((stream, tls)) => {
                let is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                shared.metrics.tls.completed(is_resumed);
                Arc::make_mut(peer).tls = Some(Box::new(tls));
                Some(Encrypted::new(stream))
            }
            Err(Failure::Silent) => None,
            Err(failure) => {
                let text = &failure.to_string();
                shared.events.emit(Event::TlsHandshakeFailed {
                    origin: report::origin(peer),
                    failure: failure.reason(),
                    text,
                });
                shared.failed(peer, text);
                None
            }
        }
    }

    async fn shake_hands(
        &self,
        socket: TcpStream,
        turns: &Turns,
    ) -> Result<(TlsStream<TcpStream>, TlsPeer), Failure> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await;
        let hello = hello.map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                Failure::Broken(error, None)
            } else {
                Failure::Silent
            }
        })?;
        let config = Arc::clone(&self.config);
        let answer =
            || hello.into_stream_with(config, |session| session.set_buffer_limit(Some(BUFFER_BYTES_MAX)));
        let mut rest = turns.compute(answer).await;
        let rest = std::future::poll_fn(|cx| {
            Pin::new(&mut rest).poll(cx).map(|done| {
                let stream = done.map_err(|error| Failure::Broken(error, take_refused()))?;
                let tls = self.examine(stream.get_ref().1)?;
                Ok((stream, tls))
            })
        });
        turns.complete(rest).await
    }

    /// What policies see of the encryption, once it is certain that the client may come.
    fn examine(&self, session: &ServerConnection) -> Result<TlsPeer, Failure> {
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        };
        let suite = session.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let certificates = session.peer_certificates().unwrap_or_default();
        let refused = |error| Failure::Broken(io::Error::other(error), take_refused());
        if let Some(clients) = &self.clients {
            match certificates.split_first() {
                // A resumed session brings the certificate of the one before, which may have come to its end since.
                Some((own, others)) if session.handshake_kind() == Some(HandshakeKind::Resumed) => {
                    let verified = clients.verifier.verify_client_cert(own, others, UnixTime::now());
                    verified.map_err(refused)?;
                }
                None if clients.verifier.client_auth_mandatory() => {
                    return Err(refused(rustls::Error::NoCertificatesPresented));
                }
                _ => {}
            }
        }
        let certificate = certificates.first().map(certificate::read);
        Ok(TlsPeer {
            version: version.to_owned(),
            // rustls tells the suites of the versions apart by their names, IANA does not.
            cipher: suite.replacen("TLS13_", "TLS_", 1),
            sni: session.server_name().map(str::to_owned),
            certificate: certificate.transpose().map_err(Failure::Unreadable)?,
        })
    }
}

/// What is encrypted and not yet taken by the socket: as much as the driver writes at once.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
