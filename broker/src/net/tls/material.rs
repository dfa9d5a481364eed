//! What a listener proves itself with: a certificate chain and its key, checked before any client sees them.

use super::finding::{Age, Expiry, Finding, age, date};
use super::pem;
use crate::config::CertificateFiles;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A chain and its key that fit each other.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) certified: Arc<CertifiedKey>,
    /// The host names that the certificate is for, in lower case; of wildcards the whole `*.example.com`.
    pub(super) names: BTreeSet<String>,
    pub(super) expiry: Expiry,
    /// Tells whether the chain and the key are the same as others.
    pub(super) digest: [u8; 32],
    /// What deserves attention without being wrong.
    pub(super) warnings: Vec<Finding>,
}

impl Material {
    /// Reads both files. `place` goes before the names of their keys in the configuration. One that is not within its
    /// time at `now` is an error unless `lenient` says otherwise of its digest.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn read(
        files: &CertificateFiles,
        place: &str,
        provider: &CryptoProvider,
        now: SystemTime,
        lenient: impl Fn(&[u8; 32]) -> bool,
    ) -> Result<Self, Vec<Finding>> {
        let (certificate_key, key_key) = (format!("{place}certificate"), format!("{place}key"));
        let (chain, key) = both(
            pem::certificates(&files.certificate, &certificate_key),
            pem::private_key(&files.key, &key_key),
        )?;
        let (leaf, signing) = both(
            parse(&files.certificate, &certificate_key, &chain),
            load_key(&files.key, &key_key, &key, provider),
        )?;
        let mut wrong = Vec::new();
        if !belongs(&*signing, &leaf) {
            let what = format!(
                "{} does not belong to the certificate in {}",
                files.key.display(),
                files.certificate.display()
            );
            let remedy = "the first certificate there must be the one that was made for this key";
            wrong.push(Finding::new(&key_key, what, remedy));
        }
        let digest = digest(&chain, &key);
        let mut warnings = Vec::new();
        match check_time(&files.certificate, &certificate_key, &leaf, now) {
            Ok(warning) => warnings.extend(warning),
            Err(finding) if lenient(&digest) => warnings.push(finding),
            Err(finding) => wrong.push(finding),
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        warnings.extend(check_chain(&files.certificate, &certificate_key, &chain, now));
        warnings.extend(pem::exposed(&files.key, &key_key));
        let expiry = Expiry::of(&files.certificate, leaf.validity().not_after);
        let names = names(&leaf);
        drop(leaf);
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, signing)),
            names,
            expiry,
            digest,
            warnings,
        })
    }
}

fn both<A, B>(one: Result<A, Finding>, other: Result<B, Finding>) -> Result<(A, B), Vec<Finding>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(vec![one, other]),
        (Err(finding), _) | (_, Err(finding)) => Err(vec![finding]),
    }
}

fn parse<'c>(
    path: &Path,
    key: &str,
    chain: &'c [CertificateDer<'static>],
) -> Result<X509Certificate<'c>, Finding> {
    let der = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let parsed = X509Certificate::from_der(der);
    parsed.map(|(_, leaf)| leaf).map_err(|error| {
        let what = format!("the first certificate in {} is damaged: {error}", path.display());
        Finding::new(key, what, pem::WHOLE)
    })
}

fn load_key(
    path: &Path,
    key: &str,
    found: &PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, Finding> {
    let loaded = provider.key_provider.load_private_key(found.clone_key());
    loaded.map_err(|error| {
        let what = format!("{} cannot be used: {error}", path.display());
        let remedy = "use a key for ECDSA with P-256 or P-384, Ed25519, or RSA with 2048 to 8192 bits";
        Finding::new(key, what, remedy)
    })
}

/// Compared here and not by rustls, which refuses certificates of version 1; some clients take them.
fn belongs(signing: &dyn SigningKey, leaf: &X509Certificate<'_>) -> bool {
    signing
        .public_key()
        .is_none_or(|public| public.as_ref() == leaf.public_key().raw)
}

/// A warning when the end is near.
fn check_time(
    path: &Path,
    key: &str,
    leaf: &X509Certificate<'_>,
    now: SystemTime,
) -> Result<Option<Finding>, Finding> {
    let (begin, end) = (leaf.validity().not_before, leaf.validity().not_after);
    let path = path.display();
    match age(begin, end, EXPIRY_WARNING_DAYS, now) {
        Age::Valid => Ok(None),
        Age::Ending(days) => {
            let what = format!("the certificate in {path} expires in {days} d, on {}", date(end));
            Ok(Some(Finding::new(key, what, "renew it and reload")))
        }
        Age::Expired => {
            let what = format!("the certificate in {path} expired on {}", date(end));
            let remedy = "renew it, or set serve_expired if no client of yours minds";
            Err(Finding::new(key, what, remedy))
        }
        Age::NotYetValid => {
            let what = format!("the certificate in {path} is not valid before {}", date(begin));
            Err(Finding::new(key, what, "is the clock of this machine right?"))
        }
    }
}

/// Warnings about the certificates after the first. No more than that: a chain may well end in one that has expired,
/// for old clients that know it and do not mind.
fn check_chain(path: &Path, key: &str, chain: &[CertificateDer<'static>], now: SystemTime) -> Vec<Finding> {
    let mut warnings = Vec::new();
    for (index, der) in chain.iter().enumerate().skip(1) {
        let (path, number) = (path.display(), index + 1);
        let Ok((_, authority)) = X509Certificate::from_der(der) else {
            let what = format!("certificate {number} in {path} is damaged");
            warnings.push(Finding::new(key, what, pem::WHOLE));
            continue;
        };
        let (begin, end) = (authority.validity().not_before, authority.validity().not_after);
        let what = match age(begin, end, EXPIRY_WARNING_DAYS, now) {
            Age::Valid => continue,
            Age::Ending(days) => {
                format!(
                    "certificate {number} in {path} expires in {days} d, on {}",
                    date(end)
                )
            }
            Age::Expired => format!("certificate {number} in {path} expired on {}", date(end)),
            Age::NotYetValid => format!(
                "certificate {number} in {path} is not valid before {}",
                date(begin)
            ),
        };
        let remedy = "your authority has a newer one; clients may refuse the whole chain for it";
        warnings.push(Finding::new(key, what, remedy));
    }
    warnings
}

/// Those of the subjectAltName; of an old certificate without any, the common name.
fn names(leaf: &X509Certificate<'_>) -> BTreeSet<String> {
    let alternative = leaf.subject_alternative_name().ok().flatten();
    let alternative = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    let names: BTreeSet<String> = alternative
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if !names.is_empty() {
        return names;
    }
    let common = leaf.subject().iter_common_name();
    common
        .filter_map(|name| name.as_str().ok())
        .map(str::to_ascii_lowercase)
        .collect()
}

fn digest(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let chain = chain.iter().map(AsRef::as_ref);
    for part in chain.chain([key.secret_der()]) {
        let part: &[u8] = part;
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

const EXPIRY_WARNING_DAYS: i64 = 30;
