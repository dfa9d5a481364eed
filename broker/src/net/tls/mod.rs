//! Encryption of connections: the only part of the broker that knows how it is done.
//!
//! [`Acceptors`] are made of a configuration and the files it names, all or none; each is in force for the connections
//! that come after. An [`Acceptor`] turns a socket into an encrypted one, on the worker that will drive it.

mod handshake;
mod material;
pub(super) mod protocol;
mod socket;
#[cfg(test)]
mod tests;

pub(super) use handshake::Turns;
pub(super) use socket::Encrypted;

use crate::config::{Config, Problem, Tls, TlsVersion};
use material::{Finding, Material};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::ServerSessionMemoryCache;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{self, ServerConfig, SupportedProtocolVersion};

/// How each listener encrypts.
#[derive(Debug, Default)]
pub struct Acceptors {
    by_listener: HashMap<String, Acceptor>,
    /// What deserves attention without being wrong.
    pub warnings: Vec<Problem>,
}

/// How one listener encrypts. Clones share what it knows of earlier sessions.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    handshake_timeout: Duration,
    expires_unix_seconds: u64,
    identity: [u8; 32],
}

impl Acceptors {
    /// Reads and checks the files that the configuration names, as of `now`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(config: &Config, now: SystemTime) -> Result<Self, Vec<Problem>> {
        let provider = Arc::new(ring::default_provider());
        let mut by_listener = HashMap::new();
        let (mut warnings, mut problems) = (Vec::new(), Vec::new());
        for (index, listener) in config.listeners.iter().enumerate() {
            let Some(tls) = &listener.tls else { continue };
            let problem = |finding| problem(config, index, finding);
            match Acceptor::new(tls, &provider, now) {
                Ok((acceptor, found)) => {
                    by_listener.insert(listener.name.clone(), acceptor);
                    warnings.extend(found.into_iter().map(problem));
                }
                Err(found) => problems.extend(found.into_iter().map(problem)),
            }
        }
        if problems.is_empty() {
            Ok(Self {
                by_listener,
                warnings,
            })
        } else {
            Err(problems)
        }
    }

    /// That of a listener.
    pub(super) fn get(&self, listener: &str) -> Option<&Acceptor> {
        self.by_listener.get(listener)
    }
}

impl Acceptor {
    fn new(
        tls: &Tls,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
    ) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        let material = Material::read(tls, provider, now)?;
        let identity = identity(tls, &material);
        let config = server_config(tls, provider, material.certified).map_err(|error| {
            let what = format!("cannot be used for encryption: {error}");
            vec![Finding {
                key: "certificate",
                what,
                remedy: String::new(),
            }]
        })?;
        let acceptor = Self {
            config: Arc::new(config),
            handshake_timeout: tls.handshake_timeout,
            expires_unix_seconds: material.expires_unix_seconds,
            identity,
        };
        Ok((acceptor, material.warnings))
    }

    /// Takes the place of an earlier one. When they prove the same in the same way, clients can resume their sessions.
    pub(super) fn after(&self, earlier: Option<&Self>) -> Self {
        let same = earlier.filter(|earlier| earlier.identity == self.identity);
        Self {
            config: Arc::clone(&same.unwrap_or(self).config),
            ..self.clone()
        }
    }

    /// End of the certificate's validity, in seconds of Unix time.
    pub(super) fn expires_unix_seconds(&self) -> u64 {
        self.expires_unix_seconds
    }
}

fn server_config(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    certified: rustls::sign::CertifiedKey,
) -> Result<ServerConfig, rustls::Error> {
    let version = |version: &TlsVersion| -> &'static SupportedProtocolVersion {
        match version {
            TlsVersion::V12 => &rustls::version::TLS12,
            TlsVersion::V13 => &rustls::version::TLS13,
        }
    };
    let versions: Vec<_> = tls.versions.iter().map(version).collect();
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    // What a ticket holds is with the client; the storage is for clients of TLS 1.2 that take none.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(STORED_SESSIONS_MAX);
    // A client keeps one connection: one ticket is all it can use.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Two that are equal offer the same certificate with the same key in the same versions.
fn identity(tls: &Tls, material: &Material) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for version in &tls.versions {
        add(&[*version as u8]);
    }
    add(material.key_der.secret_der());
    for certificate in &material.certified.cert {
        add(certificate);
    }
    hash.finalize().into()
}

fn problem(config: &Config, listener: usize, finding: Finding) -> Problem {
    Problem {
        file: config.file.clone(),
        line: None,
        key: format!("listener[{listener}].tls.{}", finding.key),
        what: finding.what,
        remedy: finding.remedy,
    }
}

/// About 200 B each.
const STORED_SESSIONS_MAX: usize = 4_096;
