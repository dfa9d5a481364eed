//! The files on disk: certificates, keys and revocation lists, as PEM and, for lists, as they are.

use super::finding::Finding;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// All certificates of a PEM file; what else is in it is passed over.
pub(super) fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let text = read_file(path, key, FILE_BYTES_MAX)?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| not_pem(path, key, &error))?;
    if chain.is_empty() {
        let what = format!("{} has no certificate in it", path.display());
        let remedy = format!(
            "it needs a block -----BEGIN CERTIFICATE-----; `openssl x509 -inform der -in {} -out chain.pem` makes one \
             of a binary file",
            path.display()
        );
        return Err(Finding::new(key, what, remedy));
    }
    Ok(chain)
}

/// The first private key of a PEM file.
pub(super) fn private_key(path: &Path, key: &str) -> Result<PrivateKeyDer<'static>, Finding> {
    let text = read_file(path, key, FILE_BYTES_MAX)?;
    let encrypted = ENCRYPTED
        .iter()
        .any(|mark| text.windows(mark.len()).any(|window| window == mark.as_bytes()));
    if encrypted {
        let remedy = format!(
            "nobody is there to enter its passphrase; `openssl pkey -in {} -out key.pem` writes it without one, to be \
             readable by the broker only",
            path.display()
        );
        return Err(Finding::new(
            key,
            format!("{} is encrypted", path.display()),
            remedy,
        ));
    }
    match PrivateKeyDer::pem_slice_iter(&text).next() {
        Some(Ok(found)) => Ok(found),
        Some(Err(error)) => Err(not_pem(path, key, &error)),
        None => Err(Finding::new(
            key,
            format!("{} has no private key in it", path.display()),
            "it needs a block -----BEGIN PRIVATE KEY-----",
        )),
    }
}

/// A warning when everybody on this machine may read or change the key.
pub(super) fn exposed(path: &Path, key: &str) -> Option<Finding> {
    const OTHERS_READ_OR_WRITE: u32 = 0o006;
    let mode = std::fs::metadata(path).ok()?.mode();
    (mode & OTHERS_READ_OR_WRITE != 0).then(|| {
        let what = format!("{} is open to every user of this machine", path.display());
        let remedy = format!(
            "make it the broker's: `chmod 600 {}`, and renew it if this machine has other users",
            path.display()
        );
        Finding::new(key, what, remedy)
    })
}

/// The revocation lists of a file, PEM or DER.
pub(super) fn revocation_lists(
    path: &Path,
    key: &str,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Finding> {
    /// With which every DER list begins and no PEM file does.
    const SEQUENCE: u8 = 0x30;
    let text = read_file(path, key, CRL_BYTES_MAX)?;
    if text.first() == Some(&SEQUENCE) {
        return Ok(vec![text.into()]);
    }
    let lists: Result<Vec<_>, pem::Error> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    let lists = lists.map_err(|error| not_pem(path, key, &error))?;
    if lists.is_empty() {
        let what = format!("{} has no revocation list in it", path.display());
        let remedy = "it needs a block -----BEGIN X509 CRL-----, or the list in DER";
        return Err(Finding::new(key, what, remedy));
    }
    Ok(lists)
}

fn read_file(path: &Path, key: &str, bytes_max: u64) -> Result<Vec<u8>, Finding> {
    let unreadable = |what: String| Finding::new(key, what, READABLE);
    let failed = |error: std::io::Error| unreadable(format!("{} cannot be read: {error}", path.display()));
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(bytes_max + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > bytes_max {
        let mebibytes = bytes_max >> 20;
        return Err(unreadable(format!(
            "{} is larger than {mebibytes} MiB",
            path.display()
        )));
    }
    Ok(text)
}

fn not_pem(path: &Path, key: &str, error: &pem::Error) -> Finding {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no end",
        pem::Error::IllegalSectionStart { .. } => "a block begins with a broken line",
        pem::Error::Base64Decode(_) => "a block is not base64",
        _ => "a block cannot be read",
    };
    Finding::new(key, format!("{} is damaged: {what}", path.display()), WHOLE)
}

/// The marks of PKCS #8 and of the older format of OpenSSL.
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
const READABLE: &str = "check the path, and whether the broker's user may read it";
pub(super) const WHOLE: &str = "was it copied as a whole?";
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A million entries and more.
const CRL_BYTES_MAX: u64 = 64 << 20;
