//! What a listener proves itself with: a certificate chain and its key, read from PEM files and checked before any
//! client sees them.

use crate::config::Tls;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// A chain and its key that fit each other, within their time.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) certified: CertifiedKey,
    /// End of the certificate's validity, in seconds of Unix time.
    pub(super) expires_unix_seconds: u64,
    /// The key as it was read: to tell whether it has changed.
    pub(super) key_der: PrivateKeyDer<'static>,
    /// What deserves attention without being wrong.
    pub(super) warnings: Vec<Finding>,
}

/// Something about one of the files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The key of the configuration that names the file.
    pub(super) key: &'static str,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Finding {
    fn of_certificate(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (what, remedy) = (what.into(), remedy.into());
        Self {
            key: "certificate",
            what,
            remedy,
        }
    }

    fn of_key(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            key: "key",
            ..Self::of_certificate(what, remedy)
        }
    }
}

impl Material {
    /// Reads both files.
    ///
    /// # Errors
    /// Everything that is wrong with them at the time `now`.
    pub(super) fn read(tls: &Tls, provider: &CryptoProvider, now: SystemTime) -> Result<Self, Vec<Finding>> {
        let (chain, key) = match (read_chain(&tls.certificate), read_key(&tls.key)) {
            (Ok(chain), Ok(key)) => (chain, key),
            (Err(one), Err(other)) => return Err(vec![one, other]),
            (Err(finding), _) | (_, Err(finding)) => return Err(vec![finding]),
        };
        let leaf = parse_leaf(&tls.certificate, &chain);
        let usable = load_key(&tls.key, &key, provider);
        let (leaf, signing) = match (leaf, usable) {
            (Ok(leaf), Ok(signing)) => (leaf, signing),
            (Err(one), Err(other)) => return Err(vec![one, other]),
            (Err(finding), _) | (_, Err(finding)) => return Err(vec![finding]),
        };
        let mut wrong = Vec::new();
        if !belongs(&*signing, &leaf) {
            wrong.push(Finding::of_key(
                format!(
                    "{} does not belong to the certificate in {}",
                    tls.key.display(),
                    tls.certificate.display()
                ),
                "the first certificate there must be the one that was made for this key",
            ));
        }
        let mut warnings = Vec::new();
        match check_time(&tls.certificate, &leaf, now) {
            Ok(warning) => warnings.extend(warning),
            Err(finding) => wrong.push(finding),
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let expires_unix_seconds = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0);
        drop(leaf);
        Ok(Self {
            certified: CertifiedKey::new(chain, signing),
            expires_unix_seconds,
            key_der: key,
            warnings,
        })
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let text = read_file(path).map_err(|what| Finding::of_certificate(what, READABLE))?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| Finding::of_certificate(not_pem(path, &error), WHOLE))?;
    if chain.is_empty() {
        let remedy = format!(
            "it needs a block -----BEGIN CERTIFICATE-----; `openssl x509 -inform der -in {} -out chain.pem` makes one \
             of a binary file",
            path.display()
        );
        return Err(Finding::of_certificate(
            format!("{} has no certificate in it", path.display()),
            remedy,
        ));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Finding> {
    let text = read_file(path).map_err(|what| Finding::of_key(what, READABLE))?;
    let encrypted = ENCRYPTED
        .iter()
        .any(|mark| text.windows(mark.len()).any(|window| window == mark.as_bytes()));
    if encrypted {
        let remedy = format!(
            "nobody is there to enter its passphrase; `openssl pkey -in {} -out key.pem` writes it without one, to be \
             readable by the broker only",
            path.display()
        );
        return Err(Finding::of_key(
            format!("{} is encrypted", path.display()),
            remedy,
        ));
    }
    match PrivateKeyDer::pem_slice_iter(&text).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(Finding::of_key(not_pem(path, &error), WHOLE)),
        None => Err(Finding::of_key(
            format!("{} has no private key in it", path.display()),
            "it needs a block -----BEGIN PRIVATE KEY-----",
        )),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than 1 MiB", path.display()));
    }
    Ok(text)
}

fn not_pem(path: &Path, error: &pem::Error) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no end",
        pem::Error::IllegalSectionStart { .. } => "a block begins with a broken line",
        pem::Error::Base64Decode(_) => "a block is not base64",
        _ => "a block cannot be read",
    };
    format!("{} is damaged: {what}", path.display())
}

fn parse_leaf<'c>(path: &Path, chain: &'c [CertificateDer<'static>]) -> Result<X509Certificate<'c>, Finding> {
    let der = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let parsed = X509Certificate::from_der(der);
    parsed.map(|(_, leaf)| leaf).map_err(|error| {
        Finding::of_certificate(
            format!("the first certificate in {} is damaged: {error}", path.display()),
            WHOLE,
        )
    })
}

fn load_key(
    path: &Path,
    key: &PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, Finding> {
    provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|error| {
            Finding::of_key(
                format!("{} cannot be used: {error}", path.display()),
                "use a key for ECDSA with P-256 or P-384, Ed25519, or RSA with 2048 to 8192 bits",
            )
        })
}

/// Compared here and not by rustls, which refuses certificates of version 1; some clients take them.
fn belongs(signing: &dyn SigningKey, leaf: &X509Certificate<'_>) -> bool {
    signing
        .public_key()
        .is_none_or(|public| public.as_ref() == leaf.public_key().raw)
}

/// A warning when the end is near.
fn check_time(path: &Path, leaf: &X509Certificate<'_>, now: SystemTime) -> Result<Option<Finding>, Finding> {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = leaf.validity();
    let (begin, end) = (validity.not_before, validity.not_after);
    let path = path.display();
    if now > end.timestamp() {
        let what = format!("the certificate in {path} expired on {}", date(end));
        return Err(Finding::of_certificate(what, "renew it"));
    }
    if now < begin.timestamp() {
        let what = format!("the certificate in {path} is not valid before {}", date(begin));
        return Err(Finding::of_certificate(
            what,
            "is the clock of this machine right?",
        ));
    }
    let days = (end.timestamp() - now) / DAY_SECONDS;
    if days >= EXPIRY_WARNING_DAYS {
        return Ok(None);
    }
    let what = format!("the certificate in {path} expires in {days} d, on {}", date(end));
    Ok(Some(Finding::of_certificate(what, "renew it and reload")))
}

fn date(time: ASN1Time) -> String {
    let date = time.to_datetime().date();
    format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// The marks of PKCS #8 and of the older format of OpenSSL.
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
const READABLE: &str = "check the path, and whether the broker's user may read it";
const WHOLE: &str = "was it copied as a whole?";
const FILE_BYTES_MAX: u64 = 1 << 20;
const DAY_SECONDS: i64 = 24 * 3600;
const EXPIRY_WARNING_DAYS: i64 = 30;
