//! What a listener holds against the certificates of its clients: authorities and revocation lists, read from files and
//! checked before any client meets them.

use super::distinguished_name::rfc4514;
use super::finding::{Age, Expiry, Finding, age, date, unix_seconds};
use super::pem;
use super::verifier::{Authority, Rules, Verifier};
use crate::config::{ClientCertificates, CrlCheck};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::CertificateRevocationListDer;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, X509Certificate};

/// Who may come, by certificate.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    pub(super) verifier: Arc<Verifier>,
    /// Tells whether the same clients may come as elsewhere.
    pub(super) digest: [u8; 32],
    /// Of all authorities.
    authorities: [u8; 32],
    /// Of each revocation list.
    lists: Vec<[u8; 32]>,
    pub(super) authorities_expire: Expiry,
    pub(super) lists_expire: Vec<Expiry>,
    /// What deserves attention without being wrong.
    pub(super) warnings: Vec<Finding>,
}

/// A revocation list that can be used.
struct List {
    der: CertificateRevocationListDer<'static>,
    digest: [u8; 32],
}

impl Clients {
    /// Reads all files, as of `now`. `before` is what is in force: that it has come to its end is no reason to refuse
    /// it, because it lets nobody in by itself; but nothing that has ended takes its place.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn read(
        clients: &ClientCertificates,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
        before: Option<&Self>,
    ) -> Result<Self, Vec<Finding>> {
        let mut warnings = Vec::new();
        let authorities = authorities(&clients.authorities, now, before, &mut warnings);
        let (lists, lists_expire, mut wrong) = lists(clients, now, before, &mut warnings);
        let authorities = match authorities {
            Ok(usable) if wrong.is_empty() => usable,
            Ok(_) => return Err(wrong),
            Err(finding) => {
                wrong.insert(0, finding);
                return Err(wrong);
            }
        };
        let mut hash = Sha256::new();
        hash.update([u8::from(clients.is_required), clients.crl_check as u8]);
        hash.update(authorities.digest);
        for list in &lists {
            hash.update(list.digest);
        }
        let digests = lists.iter().map(|list| list.digest).collect();
        let rules = ByFiles {
            is_required: clients.is_required,
            crl_check: clients.crl_check,
            lists: lists.into_iter().map(|list| list.der).collect(),
            provider: Arc::clone(provider),
        };
        let verifier = Verifier::new(Box::new(rules), authorities.all).map_err(|error| {
            let remedy = "complete lists of version 2 are understood, neither delta nor indirect ones";
            vec![Finding::new(CRLS, format!("cannot be used: {error}"), remedy)]
        })?;
        Ok(Self {
            verifier: Arc::new(verifier),
            digest: hash.finalize().into(),
            authorities: authorities.digest,
            lists: digests,
            authorities_expire: authorities.expire,
            lists_expire,
            warnings,
        })
    }
}

/// What is in the file with the authorities.
struct Authorities {
    all: Vec<Authority>,
    digest: [u8; 32],
    /// Of those that are valid.
    expire: Expiry,
}

fn authorities(
    path: &Path,
    now: SystemTime,
    before: Option<&Clients>,
    warnings: &mut Vec<Finding>,
) -> Result<Authorities, Finding> {
    let shown = path.display();
    let (mut all, mut hash) = (Vec::new(), Sha256::new());
    let (mut first_end, mut last_end): (Option<ASN1Time>, Option<ASN1Time>) = (None, None);
    for (index, der) in pem::certificates(path, CLIENT_CA)?.into_iter().enumerate() {
        let which = format!("certificate {} in {shown}", index + 1);
        let damaged =
            |error: String| Finding::new(CLIENT_CA, format!("{which} is damaged: {error}"), pem::WHOLE);
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| damaged(error.to_string()))?;
        RootCertStore::empty()
            .add(der.clone())
            .map_err(|error| damaged(error.to_string()))?;
        let name = rfc4514(parsed.subject());
        // Whoever has the key of an anchor can issue certificates, whatever its own certificate says.
        if !parsed.is_ca() {
            let what = format!("{which}, {name}, is not of an authority");
            let remedy =
                "name authorities here (basicConstraints CA:TRUE), not their clients: each could be anybody";
            return Err(Finding::new(CLIENT_CA, what, remedy));
        }
        let (begin, end) = (parsed.validity().not_before, parsed.validity().not_after);
        let is_valid = check_authority(&format!("{name} in {shown}"), begin, end, now, warnings);
        last_end = Some(last_end.map_or(end, |last| last.max(end)));
        if is_valid {
            first_end = Some(first_end.map_or(end, |first| first.min(end)));
        }
        hash.update(Sha256::digest(&der));
        all.push(Authority {
            begin: unix_seconds(begin),
            end: unix_seconds(end),
            certificate: der.clone(),
        });
    }
    let digest = hash.finalize().into();
    let is_lenient = before.is_some_and(|before| before.authorities == digest);
    match first_end.or(last_end.filter(|_| is_lenient)) {
        Some(end) => Ok(Authorities {
            all,
            digest,
            expire: Expiry::of(path, end),
        }),
        None => {
            let what = format!("{shown} has no authority in it that is valid now");
            Err(Finding::new(
                CLIENT_CA,
                what,
                "renew them: no client could connect",
            ))
        }
    }
}

/// Whether an authority counts now; a warning when it does not, or soon will not.
fn check_authority(
    name: &str,
    begin: ASN1Time,
    end: ASN1Time,
    now: SystemTime,
    warnings: &mut Vec<Finding>,
) -> bool {
    let (is_valid, what, remedy) = match age(begin, end, CA_WARNING_DAYS, now) {
        Age::Valid => return true,
        Age::Ending(days) => (
            true,
            format!("{name} expires in {days} d, on {}", date(end)),
            "renew it; its clients are refused from then on",
        ),
        Age::Expired => (
            false,
            format!("{name} expired on {}: its clients are refused", date(end)),
            "remove it, and renew it if it is still needed",
        ),
        Age::NotYetValid => (
            false,
            format!(
                "{name} is not valid before {}: its clients are refused",
                date(begin)
            ),
            "is the clock of this machine right?",
        ),
    };
    warnings.push(Finding::new(CLIENT_CA, what, remedy));
    is_valid
}

/// All revocation lists, when each file's first one ends, and everything that is wrong with them.
fn lists(
    clients: &ClientCertificates,
    now: SystemTime,
    before: Option<&Clients>,
    warnings: &mut Vec<Finding>,
) -> (Vec<List>, Vec<Expiry>, Vec<Finding>) {
    let (mut lists, mut expire, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for path in &clients.crls {
        let ders = match pem::revocation_lists(path, CRLS) {
            Ok(ders) => ders,
            Err(finding) => {
                wrong.push(finding);
                continue;
            }
        };
        let mut first_end: Option<ASN1Time> = None;
        for der in ders {
            let digest = Sha256::digest(&der).into();
            // Of a list that was taken before its end, or with which we start, nobody is better off without it.
            let is_lenient = before.is_none_or(|before| before.lists.contains(&digest));
            match end_of_list(path, &der, now) {
                Ok((end, None)) => first_end = Some(first_end.map_or(end, |first| first.min(end))),
                Ok((end, Some(finding))) if is_lenient || finding.is_ending => {
                    first_end = Some(first_end.map_or(end, |first| first.min(end)));
                    warnings.push(finding.finding);
                }
                Ok((_, Some(finding))) => {
                    wrong.push(finding.finding);
                    continue;
                }
                Err(finding) => {
                    wrong.push(finding);
                    continue;
                }
            }
            lists.push(List { der, digest });
        }
        expire.extend(first_end.map(|end| Expiry::of(path, end)));
    }
    (lists, expire, wrong)
}

/// Something about the time of a list.
struct OutOfTime {
    finding: Finding,
    /// It is valid still.
    is_ending: bool,
}

fn end_of_list(
    path: &Path,
    der: &CertificateRevocationListDer<'_>,
    now: SystemTime,
) -> Result<(ASN1Time, Option<OutOfTime>), Finding> {
    let shown = path.display();
    let damaged = |what: String| Finding::new(CRLS, what, pem::WHOLE);
    let parsed = CertificateRevocationList::from_der(der);
    let (_, list) =
        parsed.map_err(|error| damaged(format!("a revocation list in {shown} is damaged: {error}")))?;
    let issuer = rfc4514(list.issuer());
    let Some(end) = list.next_update() else {
        let what =
            format!("the revocation list of {issuer} in {shown} does not say when the next one is due");
        return Err(Finding::new(
            CRLS,
            what,
            "it needs the field nextUpdate (RFC 5280 section 5.1.2.5)",
        ));
    };
    let out_of_time = match age(list.last_update(), end, CRL_WARNING_DAYS, now) {
        Age::Valid => None,
        Age::Ending(_) => Some(OutOfTime {
            finding: Finding::new(
                CRLS,
                format!("the revocation list of {issuer} in {shown} ends within a day"),
                "fetch the next one; from then on the clients of this authority are refused",
            ),
            is_ending: true,
        }),
        Age::Expired => Some(OutOfTime {
            finding: Finding::new(
                CRLS,
                format!(
                    "the revocation list of {issuer} in {shown} expired on {}",
                    date(end)
                ),
                "fetch the next one; until then the clients of this authority are refused",
            ),
            is_ending: false,
        }),
        Age::NotYetValid => Some(OutOfTime {
            finding: Finding::new(
                CRLS,
                format!("the revocation list of {issuer} in {shown} is from the future"),
                "is the clock of this machine right?",
            ),
            is_ending: false,
        }),
    };
    Ok((end, out_of_time))
}

/// How clients are verified, whoever the authorities are.
#[derive(Debug)]
struct ByFiles {
    is_required: bool,
    crl_check: CrlCheck,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Rules for ByFiles {
    fn verifier(
        &self,
        authorities: RootCertStore,
    ) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
        // Of a certificate whose issuer has no list here nobody knows whether it was revoked: it is refused, as it is
        // under a list that has ended.
        let provider = Arc::clone(&self.provider);
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
            .with_crls(self.lists.iter().cloned())
            .enforce_revocation_expiration();
        if self.crl_check == CrlCheck::Leaf {
            builder = builder.only_check_end_entity_revocation();
        }
        if !self.is_required {
            builder = builder.allow_unauthenticated();
        }
        builder.build()
    }
}

const CLIENT_CA: &str = "client_ca";
const CRLS: &str = "crls";
const CA_WARNING_DAYS: i64 = 30;
/// Lists are renewed every few days.
const CRL_WARNING_DAYS: i64 = 1;

#[cfg(test)]
mod tests;
