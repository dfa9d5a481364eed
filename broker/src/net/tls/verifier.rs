//! Verifies certificates of clients as rustls does, within bounds and by authorities within their time, and remembers of
//! a refused one whose it was.

use super::certificate;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::VerifierBuilderError;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

/// What makes a verifier of rustls of some authorities.
pub(super) trait Rules: fmt::Debug + Send + Sync {
    /// # Errors
    /// When there are no authorities, or a revocation list cannot be used.
    fn verifier(
        &self,
        authorities: RootCertStore,
    ) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError>;
}

/// An authority that clients may have their certificate from, and its validity in seconds of Unix time.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// Verifies against the authorities that are within their time, which rustls does not look at.
#[derive(Debug)]
pub(super) struct Verifier {
    rules: Box<dyn Rules>,
    authorities: Vec<Authority>,
    /// Of all authorities: for what does not depend on them.
    all: Arc<dyn ClientCertVerifier>,
    current: Mutex<Current>,
}

/// The verifier for some stretch of time.
#[derive(Clone, Debug)]
struct Current {
    since: u64,
    until: u64,
    /// `None`: there is no authority, and nobody gets in.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl Verifier {
    /// # Errors
    /// Those of the rules.
    pub(super) fn new(
        rules: Box<dyn Rules>,
        authorities: Vec<Authority>,
    ) -> Result<Self, VerifierBuilderError> {
        let all = rules.verifier(store(authorities.iter()))?;
        let current = Mutex::new(Current {
            since: authorities
                .iter()
                .map(|authority| authority.begin)
                .max()
                .unwrap_or(0),
            until: authorities
                .iter()
                .map(|authority| authority.end)
                .min()
                .unwrap_or(0),
            verifier: Some(Arc::clone(&all)),
        });
        Ok(Self {
            rules,
            authorities,
            all,
            current,
        })
    }

    fn at(&self, now: u64) -> Option<Arc<dyn ClientCertVerifier>> {
        let mut current = self.current.lock();
        if !(current.since..=current.until).contains(&now) {
            let valid = |authority: &&Authority| (authority.begin..=authority.end).contains(&now);
            let moments = self
                .authorities
                .iter()
                .flat_map(|of| [of.begin, of.end.saturating_add(1)]);
            let moments: BTreeSet<u64> = moments.collect();
            let next = moments.range(now.saturating_add(1)..).next();
            *current = Current {
                since: moments.range(..=now).next_back().copied().unwrap_or(0),
                until: next.map_or(u64::MAX, |next| next - 1),
                // Without any authority there is none, which is as it should be.
                verifier: self
                    .rules
                    .verifier(store(self.authorities.iter().filter(valid)))
                    .ok(),
            };
        }
        current.verifier.clone()
    }
}

fn store<'a>(authorities: impl Iterator<Item = &'a Authority>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(authorities.map(|authority| authority.certificate.clone()));
    store
}

/// A certificate that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Subject, serial number and issuer.
    pub(super) whose: String,
    /// Whether it names itself as its issuer.
    pub(super) is_self_issued: bool,
}

thread_local! {
    /// rustls has no place for it in its errors. A handshake is computed in one go, by one thread: what is here after
    /// a failure is of that failure.
    static REFUSED: RefCell<Option<Refused>> = const { RefCell::new(None) };
}

/// Whose certificate was refused by this thread since the last time.
pub(super) fn take_refused() -> Option<Refused> {
    REFUSED.take()
}

impl ClientCertVerifier for Verifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        let bytes: usize = all.map(|certificate| certificate.len()).sum();
        let verified = if intermediates.len() > INTERMEDIATES_MAX || bytes > CHAIN_BYTES_MAX {
            Err(CertificateError::ApplicationVerificationFailure.into())
        } else if let Some(verifier) = self.at(now.as_secs()) {
            verifier.verify_client_cert(end_entity, intermediates, now)
        } else {
            Err(CertificateError::UnknownIssuer.into())
        };
        if verified.is_err() {
            REFUSED.set(Some(Refused {
                whose: certificate::describe(end_entity),
                is_self_issued: certificate::is_self_issued(end_entity),
            }));
        }
        verified
    }

    fn offer_client_auth(&self) -> bool {
        self.all.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.all.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.all.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.all.supported_verify_schemes()
    }
}

/// Longer chains than anybody has, which somebody else would have to check.
const INTERMEDIATES_MAX: usize = 8;
/// A session ticket holds the chain, and has room for 64 KiB.
pub(super) const CHAIN_BYTES_MAX: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::server::WebPkiClientVerifier;

    #[derive(Debug)]
    struct Plain;

    impl Rules for Plain {
        fn verifier(
            &self,
            authorities: RootCertStore,
        ) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
            let provider = Arc::new(ring::default_provider());
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build()
        }
    }

    fn authority(begin: u64, end: u64) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Authority {
            certificate,
            begin,
            end,
        }
    }

    #[test]
    fn authorities_count_within_their_time_whatever_the_clock_does() {
        let verifier = Verifier::new(Box::new(Plain), vec![authority(10, 30), authority(20, 40)])
            .expect("two authorities");
        let count = |now| verifier.at(now).map_or(0, |of| of.root_hint_subjects().len());
        for (now, expected) in [
            (20, 2),
            (30, 2),
            (31, 1),
            (40, 1),
            (41, 0),
            (u64::MAX, 0),
            (9, 0),
            (10, 1),
            (19, 1),
            (25, 2),
        ] {
            assert_eq!(count(now), expected, "{now}");
        }
    }

    #[test]
    fn a_chain_is_looked_at_no_further_than_it_may_be_long() {
        let own = authority(0, u64::MAX);
        let verifier = Verifier::new(Box::new(Plain), vec![own.clone()]).expect("an authority");
        let verify = |others: &[CertificateDer<'_>]| {
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(2_000_000_000));
            verifier
                .verify_client_cert(&own.certificate, others, now)
                .expect_err("an error")
        };
        let too_long = Error::from(CertificateError::ApplicationVerificationFailure);
        let other = own.certificate.clone();
        assert_ne!(verify(&vec![other.clone(); INTERMEDIATES_MAX]), too_long);
        assert_eq!(verify(&vec![other; INTERMEDIATES_MAX + 1]), too_long);
        let large = CertificateDer::from(vec![0; CHAIN_BYTES_MAX]);
        assert_eq!(verify(&[large]), too_long);
        assert!(take_refused().is_some() && take_refused().is_none());
    }
}
