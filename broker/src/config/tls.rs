//! How a listener encrypts, and what it asks of its clients' certificates: which files, which versions, which rules.
//! `net::tls` reads and checks what is in the files.

use super::table::{Parsed, Table, Wrong};
use super::value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// The encryption of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// What the listener proves itself with, never empty. The first is for clients that ask for no name, or for one that
    /// is in none of them.
    pub certificates: Vec<CertificateFiles>,
    /// Versions it speaks, in ascending order, never empty.
    pub versions: Vec<TlsVersion>,
    /// From the accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Handshakes that are under way at the same time. One too many ends the oldest.
    pub handshakes_max: usize,
    /// Sessions that are kept for clients of TLS 1.2 that resume without a ticket.
    pub stored_sessions_max: usize,
    /// Whether a certificate that has expired is offered all the same.
    pub serve_expired: bool,
    /// What is asked of clients; `None`: no certificate.
    pub clients: Option<ClientCertificates>,
    /// What a certificate says of who the client is; `None`: the policies' business alone.
    pub identity: Option<IdentityRule>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM file with the listener's certificate, then those of the authorities between it and the root.
    pub certificate: PathBuf,
    /// PEM file with the private key of the first certificate, not encrypted.
    pub key: PathBuf,
}

/// A version of TLS that is still considered safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// Who may complete a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Whether clients without a certificate are refused.
    pub is_required: bool,
    /// PEM file with the certificates of the authorities that clients may have theirs from.
    pub authorities: PathBuf,
    /// Files with certificate revocation lists, PEM or DER. Empty: nothing counts as revoked.
    pub crls: Vec<PathBuf>,
    /// Which certificates must be on none of the lists.
    pub crl_check: CrlCheck,
}

/// How far revocation reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrlCheck {
    /// The client's certificate and those of all authorities below the root: each needs a list of its issuer.
    Chain,
    /// The client's certificate alone.
    Leaf,
}

/// How a client is named by its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityRule {
    /// Where the name is.
    pub field: IdentityField,
    /// Whether the client identifier has to be that name, too.
    pub is_client_id: bool,
}

/// Something in a certificate that can name a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityField {
    /// The common name of the subject.
    CommonName,
    /// The DNS name of the subjectAltName.
    SanDns,
    /// The URI of the subjectAltName.
    SanUri,
    /// The e-mail address of the subjectAltName.
    SanEmail,
    /// The SHA-256 of the certificate, lower-case hexadecimal.
    Fingerprint,
}

impl Tls {
    /// From the accept to the end of the handshake, unless it is configured.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
    /// Handshakes under way at the same time, unless it is configured.
    pub const HANDSHAKES_MAX: usize = 1_024;
    /// Sessions that are kept, unless it is configured.
    pub const STORED_SESSIONS_MAX: usize = 4_096;

    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let certificates = self.certificates.iter();
        let certificates = certificates.flat_map(|files| [&files.certificate, &files.key]);
        let clients = self.clients.iter();
        let clients = clients.flat_map(|clients| std::iter::once(&clients.authorities).chain(&clients.crls));
        certificates.chain(clients).map(PathBuf::as_path)
    }
}

impl IdentityField {
    /// As the configuration says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let known = FIELDS.iter().find(|(_, field)| *field == self);
        known.map_or("", |(name, _)| name)
    }
}

/// `None`: a problem was noted.
pub(super) fn read(mut table: Table<'_, '_>, base: &Path) -> Option<Tls> {
    let default = certificate(&mut table, base);
    let mut tls = Tls {
        certificates: Vec::new(),
        versions: vec![TlsVersion::V12, TlsVersion::V13],
        handshake_timeout: Tls::HANDSHAKE_TIMEOUT,
        handshakes_max: Tls::HANDSHAKES_MAX,
        stored_sessions_max: Tls::STORED_SESSIONS_MAX,
        serve_expired: false,
        clients: None,
        identity: None,
    };
    let by_name = table.tables("sni").unwrap_or_default();
    let by_name = by_name.into_iter().map(|mut table| {
        let files = certificate(&mut table, base);
        table.finish();
        files
    });
    let certificates: Option<Vec<_>> = std::iter::once(default).chain(by_name).collect();
    table.read("versions", &mut tls.versions, versions);
    table.read(
        "handshake_timeout",
        &mut tls.handshake_timeout,
        value::duration(HANDSHAKE_TIMEOUT_MIN..=HANDSHAKE_TIMEOUT_MAX),
    );
    table.read(
        "handshakes_max",
        &mut tls.handshakes_max,
        value::integer(1..=1_000_000),
    );
    table.read(
        "stored_sessions_max",
        &mut tls.stored_sessions_max,
        value::integer(0..=1_000_000),
    );
    table.read("serve_expired", &mut tls.serve_expired, value::boolean);
    tls.clients = clients(&mut table, base);
    tls.identity = identity(&mut table, tls.clients.as_ref());
    table.finish();
    tls.certificates = certificates?;
    Some(tls)
}

fn certificate(table: &mut Table<'_, '_>, base: &Path) -> Option<CertificateFiles> {
    let certificate = table.required("certificate", value::path(base));
    let key = table.required("key", value::path(base));
    Some(CertificateFiles {
        certificate: certificate?,
        key: key?,
    })
}

fn versions(list: &DeValue<'_>) -> Parsed<Vec<TlsVersion>> {
    let remedy = "use a list of \"1.2\" and \"1.3\"";
    let mut accepted = BTreeSet::new();
    for text in value::texts(list)? {
        accepted.insert(match text.as_str() {
            "1.2" => TlsVersion::V12,
            "1.3" => TlsVersion::V13,
            "1.0" | "1.1" => return Err(Wrong::new(format!("TLS {text} is not safe"), remedy)),
            _ => return Err(Wrong::new(format!("\"{text}\" is not a version of TLS"), remedy)),
        });
    }
    if accepted.is_empty() {
        return Err(Wrong::new("no client could connect", remedy));
    }
    Ok(accepted.into_iter().collect())
}

/// `None`: clients are not asked for a certificate, or a problem was noted.
fn clients(table: &mut Table<'_, '_>, base: &Path) -> Option<ClientCertificates> {
    let mut wanted = Wanted::None;
    table.read("client_certificates", &mut wanted, value::choice(&WANTED));
    let authorities = table.value("client_ca", value::path(base));
    let crls = table.value("crls", |list| {
        let names = value::texts(list)?;
        Ok(names.iter().map(|name| base.join(name)).collect::<Vec<_>>())
    });
    let crl_check = table.value("crl_check", value::choice(&CRL_CHECKS));
    if wanted == Wanted::None {
        for (key, is_there) in [
            ("client_ca", authorities.is_some()),
            ("crls", crls.is_some()),
            ("crl_check", crl_check.is_some()),
        ] {
            if is_there {
                let remedy = "set client_certificates to \"optional\" or \"required\", or remove this";
                table.problem(key, Wrong::new("clients are not asked for a certificate", remedy));
            }
        }
        return None;
    }
    if authorities.is_none() {
        let remedy = "name a PEM file with the certificates of the authorities that clients have theirs from";
        table.problem("client_ca", Wrong::new("is missing", remedy));
    }
    Some(ClientCertificates {
        is_required: wanted == Wanted::Required,
        authorities: authorities?,
        crls: crls.unwrap_or_default(),
        crl_check: crl_check.unwrap_or(CrlCheck::Chain),
    })
}

fn identity(table: &mut Table<'_, '_>, clients: Option<&ClientCertificates>) -> Option<IdentityRule> {
    let field = table.value("identity", value::choice(&FIELDS));
    let mut is_client_id = false;
    table.read("client_id", &mut is_client_id, value::choice(&CLIENT_IDS));
    let Some(field) = field else {
        if is_client_id {
            let remedy = "say with `identity` where it is in the certificate";
            table.problem("client_id", Wrong::new("there is no identity", remedy));
        }
        return None;
    };
    // A client without a certificate would go by the name it gives itself, among those that proved theirs.
    if !clients.is_some_and(|clients| clients.is_required) {
        let remedy = "set client_certificates = \"required\"";
        table.problem(
            "identity",
            Wrong::new("not every client has a certificate", remedy),
        );
    }
    Some(IdentityRule { field, is_client_id })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    None,
    Optional,
    Required,
}

const WANTED: [(&str, Wanted); 3] = [
    ("none", Wanted::None),
    ("optional", Wanted::Optional),
    ("required", Wanted::Required),
];
const CRL_CHECKS: [(&str, CrlCheck); 2] = [("chain", CrlCheck::Chain), ("leaf", CrlCheck::Leaf)];
const FIELDS: [(&str, IdentityField); 5] = [
    ("cn", IdentityField::CommonName),
    ("san-dns", IdentityField::SanDns),
    ("san-uri", IdentityField::SanUri),
    ("san-email", IdentityField::SanEmail),
    ("fingerprint", IdentityField::Fingerprint),
];
const CLIENT_IDS: [(&str, bool); 2] = [("any", false), ("identity", true)];
const HANDSHAKE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
const HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
