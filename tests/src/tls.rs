//! The client's side of TLS, and certificates for the broker's.

use crate::PATIENCE;
use crate::authority::Credentials;
use crate::transport::{Transport, tcp};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, date_time_ymd};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};
use std::io;
use std::net::{SocketAddr, TcpStream};
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
pub struct Client {
    config: Arc<ClientConfig>,
    name: String,
}

impl Identity {
    /// One that is valid.
    #[must_use]
    pub fn new() -> Self {
        Self::until(4096)
    }

    /// One that ends with the first day of a year.
    #[must_use]
    pub fn until(year: i32) -> Self {
        Self::of_name(NAME, year)
    }

    /// One for another name, or for an address, that ends with the first day of a year.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn of_name(name: &str, year: i32) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(1975, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        Self::of(&params, &KeyPair::generate().expect("a key"))
    }

    /// One for these names, with an Ed25519 key or one for ECDSA.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn named(names: &[&str], is_ed25519: bool) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let kind = if is_ed25519 {
            &PKCS_ED25519
        } else {
            &PKCS_ECDSA_P256_SHA256
        };
        let params = CertificateParams::new(names).expect("names");
        Self::of(&params, &KeyPair::generate_for(kind).expect("a key"))
    }

    fn of(params: &CertificateParams, key: &KeyPair) -> Self {
        let certificate = params.self_signed(key).expect("a certificate");
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

    /// One that proves itself with a certificate.
    #[must_use]
    pub fn client_with(&self, credentials: &Credentials) -> Client {
        self.make_client(&VERSIONS, &[], Some(credentials), ring::default_provider())
    }

    /// The same, in one version.
    #[must_use]
    pub fn client_with_speaking(
        &self,
        credentials: &Credentials,
        version: &'static SupportedProtocolVersion,
    ) -> Client {
        self.make_client(&[version], &[], Some(credentials), ring::default_provider())
    }

    /// One that does not understand signatures of Ed25519.
    #[must_use]
    pub fn client_without_ed25519(&self) -> Client {
        let mut provider = ring::default_provider();
        let algorithms = &mut provider.signature_verification_algorithms;
        let others = algorithms.mapping.iter().copied();
        let others: Vec<_> = others
            .filter(|(scheme, _)| *scheme != SignatureScheme::ED25519)
            .collect();
        algorithms.mapping = others.leak();
        self.make_client(&VERSIONS, &[], None, provider)
    }

    /// A client that speaks these versions and offers these protocols by ALPN.
    #[must_use]
    pub fn client_speaking(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Client {
        self.make_client(versions, protocols, None, ring::default_provider())
    }

    fn make_client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
        credentials: Option<&Credentials>,
        provider: CryptoProvider,
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match credentials {
            None => config.with_no_client_auth(),
            Some(credentials) => config
                .with_client_auth_cert(credentials.chain.clone(), credentials.key())
                .expect("a certificate"),
        };
        config.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        config.resumption = Resumption::in_memory_sessions(8);
        Client {
            config: Arc::new(config),
            name: NAME.to_owned(),
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Asks for a host of another name.
    #[must_use]
    pub fn asking_for(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// Opens a connection and completes the handshake.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// When the broker does not even accept.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Transport> {
        self.shake_hands(tcp(address))
    }

    /// Completes the handshake on a connection that is open.
    ///
    /// # Errors
    /// Why that fails.
    ///
    /// # Panics
    /// Never: the name is one.
    pub fn shake_hands(&self, socket: TcpStream) -> io::Result<Transport> {
        let name = ServerName::try_from(self.name.clone()).expect("a name");
        let session = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = Box::new(StreamOwned::new(session, socket));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Transport::Encrypted(stream))
    }
}
