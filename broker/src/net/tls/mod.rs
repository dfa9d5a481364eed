//! Encryption of connections: the only part of the broker that knows how it is done.
//!
//! [`Acceptors`] are made of a configuration and the files it names, all or none; each is in force for the connections
//! that come after. An [`Acceptor`] turns a socket into an encrypted one, on the worker that will drive it.

mod by_name;
mod certificate;
mod clients;
mod distinguished_name;
mod failure;
mod finding;
mod handshake;
mod material;
mod pem;
pub(super) mod protocol;
mod socket;
mod stored;
#[cfg(test)]
mod tests;
mod turns;
mod under_way;
mod verifier;
mod watch;

pub(super) use socket::Encrypted;
pub(super) use turns::Turns;
pub use watch::FileWatch;

use crate::config::{Config, Problem, Tls, TlsVersion};
use by_name::ByName;
use clients::Clients;
use finding::{Expiry, Finding};
use material::Material;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::NoClientAuth;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{self, ServerConfig, SupportedProtocolVersion};
use under_way::UnderWay;

/// How each listener encrypts.
#[derive(Clone, Debug, Default)]
pub struct Acceptors {
    by_listener: HashMap<String, Acceptor>,
    /// What deserves attention without being wrong.
    pub warnings: Vec<Problem>,
}

/// How one listener encrypts. Clones share what it knows of earlier sessions.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    /// `None`: clients are not asked for a certificate.
    clients: Option<Clients>,
    handshake_timeout: Duration,
    handshakes_max: usize,
    under_way: Arc<UnderWay>,
    /// Of each certificate with its key.
    certificates: Vec<[u8; 32]>,
    certificates_expire: Vec<Expiry>,
    /// Two that are equal prove the same, in the same versions, to the same clients.
    digest: [u8; 32],
}

/// What was read of the files of a configuration.
pub struct Loaded {
    /// Of the listeners whose files are right.
    pub acceptors: Acceptors,
    /// What is wrong with those of the others.
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// All, or what is wrong.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn complete(self) -> Result<Acceptors, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(self.acceptors)
        } else {
            Err(self.problems)
        }
    }
}

impl Acceptors {
    /// Reads and checks the files that the configuration names, as of `now`. What is `in_force` already is never refused
    /// for having come to its end: that would not make it better, and keep back whatever else is to change.
    #[must_use]
    pub fn load(config: &Config, now: SystemTime, in_force: &Self) -> Loaded {
        let provider = Arc::new(ring::default_provider());
        let mut acceptors = Self::default();
        let mut problems = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let Some(tls) = &listener.tls else { continue };
            let problem = |finding| problem(config, index, finding);
            match Acceptor::new(tls, &provider, now, in_force.get(&listener.name)) {
                Ok((acceptor, found)) => {
                    acceptors.insert(listener.name.clone(), acceptor);
                    acceptors.warnings.extend(found.into_iter().map(problem));
                }
                Err(found) => problems.extend(found.into_iter().map(problem)),
            }
        }
        Loaded { acceptors, problems }
    }

    /// That of a listener.
    pub(super) fn get(&self, listener: &str) -> Option<&Acceptor> {
        self.by_listener.get(listener)
    }

    pub(super) fn insert(&mut self, listener: String, acceptor: Acceptor) {
        self.by_listener.insert(listener, acceptor);
    }

    /// The listeners that prove something else, or to others, than `in_force` has them do, in order.
    #[must_use]
    pub fn changed_from(&self, in_force: &Self) -> Vec<&str> {
        let changed = self.by_listener.iter().filter(|(listener, acceptor)| {
            in_force
                .get(listener)
                .is_none_or(|before| before.digest != acceptor.digest)
        });
        let mut listeners: Vec<_> = changed.map(|(listener, _)| listener.as_str()).collect();
        listeners.sort_unstable();
        listeners
    }
}

impl Acceptor {
    fn new(
        tls: &Tls,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
        before: Option<&Self>,
    ) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        let (mut materials, mut wrong) = (Vec::new(), Vec::new());
        for (index, files) in tls.certificates.iter().enumerate() {
            let place = index
                .checked_sub(1)
                .map_or_else(String::new, |nth| format!("sni[{nth}]."));
            let lenient = |digest: &[u8; 32]| {
                tls.serve_expired || before.is_some_and(|before| before.certificates.contains(digest))
            };
            match Material::read(files, &place, provider, now, lenient) {
                Ok(material) => materials.push(material),
                Err(found) => wrong.extend(found),
            }
        }
        let clients_before = before.and_then(|before| before.clients.as_ref());
        let clients = tls.clients.as_ref();
        let clients = clients.map(|clients| Clients::read(clients, provider, now, clients_before));
        let clients = clients.transpose().unwrap_or_else(|found| {
            wrong.extend(found);
            None
        });
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let (by_name, mut warnings) = ByName::new(&materials);
        let digest = digest(tls, &materials, clients.as_ref());
        let config = server_config(tls, provider, by_name, clients.as_ref()).map_err(|error| {
            let what = format!("cannot be used for encryption: {error}");
            vec![Finding::new("certificate", what, "")]
        })?;
        warnings.extend(
            materials
                .iter_mut()
                .flat_map(|material| std::mem::take(&mut material.warnings)),
        );
        warnings.extend(clients.iter().flat_map(|clients| clients.warnings.clone()));
        let acceptor = Self {
            config: Arc::new(config),
            clients,
            handshake_timeout: tls.handshake_timeout,
            handshakes_max: tls.handshakes_max,
            under_way: Arc::default(),
            certificates: materials.iter().map(|material| material.digest).collect(),
            certificates_expire: materials.into_iter().map(|material| material.expiry).collect(),
            digest,
        };
        Ok((acceptor, warnings))
    }

    /// Takes the place of an earlier one. When they prove the same to the same clients, clients can resume their
    /// sessions.
    pub(super) fn after(&self, earlier: Option<&Self>) -> Self {
        let same = earlier.filter(|earlier| earlier.digest == self.digest);
        Self {
            config: Arc::clone(&same.unwrap_or(self).config),
            under_way: Arc::clone(&earlier.unwrap_or(self).under_way),
            ..self.clone()
        }
    }

    /// For the metrics: files with certificates of the listener and of authorities, each with the end of the validity of
    /// what is in it, in seconds of Unix time.
    pub(super) fn certificates_expire(&self) -> impl Iterator<Item = (&str, u64)> {
        let authorities = self.clients.iter().map(|clients| &clients.authorities_expire);
        let all = self.certificates_expire.iter().chain(authorities);
        all.map(|expiry| (expiry.file.as_str(), expiry.unix_seconds))
    }

    /// The same of revocation lists.
    pub(super) fn crls_expire(&self) -> impl Iterator<Item = (&str, u64)> {
        let lists = self.clients.iter().flat_map(|clients| &clients.lists_expire);
        lists.map(|expiry| (expiry.file.as_str(), expiry.unix_seconds))
    }
}

fn server_config(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    certificates: ByName,
    clients: Option<&Clients>,
) -> Result<ServerConfig, rustls::Error> {
    let version = |version: &TlsVersion| -> &'static SupportedProtocolVersion {
        match version {
            TlsVersion::V12 => &rustls::version::TLS12,
            TlsVersion::V13 => &rustls::version::TLS13,
        }
    };
    let versions: Vec<_> = tls.versions.iter().map(version).collect();
    let verifier: Arc<dyn ClientCertVerifier> = match clients {
        Some(clients) => Arc::clone(&clients.verifier) as _,
        None => Arc::new(NoClientAuth {}),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    // What a ticket holds is with the client, sealed with keys that change every six hours.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = stored::sessions(tls.stored_sessions_max);
    // A client keeps one connection: one ticket is all it can use.
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn digest(tls: &Tls, materials: &[Material], clients: Option<&Clients>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for version in &tls.versions {
        hash.update([*version as u8]);
    }
    hash.update(tls.stored_sessions_max.to_be_bytes());
    hash.update(materials.len().to_be_bytes());
    for material in materials {
        hash.update(material.digest);
    }
    hash.update(clients.map_or([0; 32], |clients| clients.digest));
    hash.finalize().into()
}

fn problem(config: &Config, listener: usize, finding: Finding) -> Problem {
    let key = format!("listener[{listener}].tls.{}", finding.key);
    Problem {
        file: config.file.clone(),
        line: config.lines.of(&key),
        key,
        what: finding.what,
        remedy: finding.remedy,
    }
}
