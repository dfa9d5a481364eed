//! The client's side of TLS. Every broker is spoken to alike: one version, one suite, no resumption.

use super::backlog::Backlog;
use crate::failure::{During, Result};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// How clients encrypt, and whom they trust: TLS 1.3 with AES-256-GCM and X25519, which Sluice and Mosquitto would
/// agree on by themselves.
#[derive(Clone)]
pub struct Encryption {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

/// What the broker sent is no TLS, or not from whom it should be.
#[derive(Debug)]
pub(super) struct Broken;

/// One connection's encryption.
pub(super) struct Session {
    tls: UnbufferedClientConnection,
    /// The beginning of a record that was read only in part.
    begun: Vec<u8>,
    /// Records that the socket has not taken yet.
    pub(super) sealed: Backlog,
    is_established: bool,
}

impl Encryption {
    /// Trusts the broker whose certificate this is (DER), or one that it signed, if it is made out to `name`.
    ///
    /// # Errors
    /// When the certificate or the name is none.
    pub fn trusting(certificate_der: &[u8], name: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(certificate_der.to_vec()))
            .during("the certificate cannot be trusted")?;
        let provider = CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .during("TLS 1.3 cannot be spoken")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Every handshake is to cost the same.
        config.resumption = Resumption::disabled();
        let server = ServerName::try_from(name.to_owned()).during(name)?;
        Ok(Self {
            config: Arc::new(config),
            server,
        })
    }

    /// The same with the first certificate of a PEM text.
    ///
    /// # Errors
    /// As [`Encryption::trusting`].
    pub fn trusting_pem(certificate_pem: &[u8], name: &str) -> Result<Self> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem).during("it has no certificate")?;
        Self::trusting(&certificate, name)
    }

    /// A session whose first words are ready to be sent.
    pub(super) fn session(&self) -> Result<Session> {
        const FAILED: &str = "the TLS handshake cannot begin";
        let tls = UnbufferedClientConnection::new(Arc::clone(&self.config), self.server.clone());
        let mut session = Session {
            tls: tls.during(FAILED)?,
            begun: Vec::new(),
            sealed: Backlog::default(),
            is_established: false,
        };
        match session.open(&mut [], |_| Ok(())) {
            Ok(_) => Ok(session),
            Err(Broken) => Err(crate::failure::Failure::new(FAILED)),
        }
    }
}

impl Session {
    /// Puts the beginning of a record that was read earlier where the rest of it will follow. Returns its length.
    pub(super) fn resume(&mut self, buffer: &mut [u8]) -> usize {
        let begun = self.begun.len();
        if let Some(start) = buffer.get_mut(..begun) {
            start.copy_from_slice(&self.begun);
        }
        begun
    }

    /// Takes what was read, from [`Session::resume`] on, and hands over what every whole record of it says.
    ///
    /// # Errors
    /// [`Broken`], also if `found` says so.
    pub(super) fn receive(
        &mut self,
        records: &mut [u8],
        found: impl FnMut(&[u8]) -> std::result::Result<(), Broken>,
    ) -> std::result::Result<(), Broken> {
        let taken = self.open(records, found)?;
        self.begun.clear();
        self.begun
            .extend_from_slice(records.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Makes records of what a client says: a single one, unless it is more than 16 KiB. What is said before the
    /// handshake is complete waits.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) fn seal(&mut self, plain: &mut Vec<u8>) -> std::result::Result<(), Broken> {
        if !self.is_established || plain.is_empty() {
            return Ok(());
        }
        loop {
            match self.tls.process_tls_records(&mut []).state.map_err(broken)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let records = plain.len() / RECORD_BYTES_MAX + 1;
                    self.sealed
                        .append(plain.len() + records * OVERHEAD_BYTES, |room| {
                            traffic.encrypt(plain, room).map_err(broken)
                        })?;
                    plain.clear();
                    return Ok(());
                }
                // A renewal of keys, which goes before.
                ConnectionState::EncodeTlsData(mut message) => {
                    self.sealed.append(RECORD_BYTES_MAX + OVERHEAD_BYTES, |room| {
                        message.encode(room).map_err(broken)
                    })?;
                }
                ConnectionState::TransmitTlsData(message) => message.done(),
                _ => return Err(Broken),
            }
        }
    }

    /// Goes as far as whole records lead, and returns how many bytes that was.
    fn open(
        &mut self,
        records: &mut [u8],
        mut found: impl FnMut(&[u8]) -> std::result::Result<(), Broken>,
    ) -> std::result::Result<usize, Broken> {
        let mut taken = 0;
        loop {
            let rest = records.get_mut(taken..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(rest);
            let mut goes_on = true;
            match state.map_err(broken)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(broken)?;
                        discard += record.discard;
                        found(record.payload)?;
                    }
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    self.sealed.append(RECORD_BYTES_MAX + OVERHEAD_BYTES, |room| {
                        message.encode(room).map_err(broken)
                    })?;
                }
                ConnectionState::TransmitTlsData(message) => message.done(),
                // The end of the socket follows, and is what counts.
                ConnectionState::PeerClosed => {}
                ConnectionState::WriteTraffic(_) => {
                    self.is_established = true;
                    goes_on = false;
                }
                _ => goes_on = false,
            }
            taken += discard;
            if !goes_on {
                return Ok(taken);
            }
        }
    }
}

fn broken<E>(_: E) -> Broken {
    Broken
}

/// Of what is said. RFC 8446, 5.1.
const RECORD_BYTES_MAX: usize = 1 << 14;
/// Header, kind and tag. RFC 8446, 5.2.
const OVERHEAD_BYTES: usize = 5 + 1 + 16;
