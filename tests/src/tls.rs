//! The client's side of TLS, and certificates for the broker's.

use crate::PATIENCE;
use crate::transport::{Transport, tcp};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

pub use rustls::HandshakeKind;
pub use rustls::version::{TLS12, TLS13};

/// Both versions.
pub static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The name that certificates are made for and clients ask for.
pub const NAME: &str = "broker.test";

/// A certificate that signs itself, and its key.
pub struct Identity {
    /// For the broker: `certificate`.
    pub certificate_pem: String,
    /// For the broker: `key`.
    pub key_pem: String,
    der: CertificateDer<'static>,
}

/// What a client insists on, with what it remembers of earlier sessions.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

impl Identity {
    /// One that is valid.
    #[must_use]
    pub fn new() -> Self {
        Self::until(4096)
    }

    /// One that ends with the first day of a year.
    #[must_use]
    pub fn until(year: i32) -> Self {
        Self::of(NAME, year)
    }

    /// One for another name, or for an address.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn of(name: &str, year: i32) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(1975, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }

    /// A client that trusts this identity and no other.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_speaking(&VERSIONS, &[])
    }

    /// A client that speaks these versions and offers these protocols by ALPN.
    ///
    /// # Panics
    /// When the certificate is not understood.
    #[must_use]
    pub fn client_speaking(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        config.resumption = Resumption::in_memory_sessions(8);
        Client(Arc::new(config))
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Opens a connection and completes the handshake.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// When the broker does not even accept.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Transport> {
        let name = ServerName::try_from(NAME).expect("a name");
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        let socket = tcp(address);
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = Box::new(StreamOwned::new(session, socket));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Transport::Encrypted(stream))
    }
}
