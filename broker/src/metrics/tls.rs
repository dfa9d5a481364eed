//! What is counted of encryption: handshakes by how they end, and when the files that listeners name come to their end.

use super::{Counter, Exposition, Gauge};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Part of [`super::Metrics`].
#[derive(Debug, Default)]
pub struct TlsMetrics {
    /// Handshakes that have begun and not ended.
    pub handshakes_under_way: Gauge,
    full: Counter,
    resumed: Counter,
    /// *event*, in the order of [`HandshakeFailure::ALL`].
    failed: [Counter; HandshakeFailure::ALL.len()],
    expiries: Mutex<Expiries>,
}

/// Listener and file, with the end of the validity of what is in it in seconds of Unix time.
pub type ExpiryByFile = BTreeMap<(String, String), u64>;

#[derive(Debug, Default)]
struct Expiries {
    certificates: ExpiryByFile,
    crls: ExpiryByFile,
}

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// A revocation list that it needs has expired.
    CrlExpired,
    /// A revocation list cannot be used.
    CrlInvalid,
    /// No revocation list is of the issuer.
    CrlMissing,
    /// The client's certificate has expired.
    Expired,
    /// The client's certificate is damaged, not for clients, or too long a chain.
    Invalid,
    /// The client's certificate is not valid yet.
    NotYetValid,
    /// The client's certificate was revoked.
    Revoked,
    /// The client's certificate is signed by itself.
    SelfSigned,
    /// The client's certificate comes from an authority that is not known.
    UnknownIssuer,
    /// The client left in the middle.
    ClientLeft,
    /// The client does not take what the listener proves itself with.
    ClientRefused,
    /// Too many others were under way.
    Displaced,
    /// The two have no version, cipher suite or protocol in common.
    Incompatible,
    /// The client has no certificate, and one is required.
    NoCertificate,
    /// The client does not speak TLS.
    NotTls,
    /// The client does not keep to TLS.
    Protocol,
    /// It took too long.
    Timeout,
}

impl HandshakeFailure {
    /// Each of them.
    pub const ALL: [Self; 17] = [
        Self::CrlExpired,
        Self::CrlInvalid,
        Self::CrlMissing,
        Self::Expired,
        Self::Invalid,
        Self::NotYetValid,
        Self::Revoked,
        Self::SelfSigned,
        Self::UnknownIssuer,
        Self::ClientLeft,
        Self::ClientRefused,
        Self::Displaced,
        Self::Incompatible,
        Self::NoCertificate,
        Self::NotTls,
        Self::Protocol,
        Self::Timeout,
    ];

    /// As logs and metrics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CrlExpired => "crl_expired",
            Self::CrlInvalid => "crl_invalid",
            Self::CrlMissing => "crl_missing",
            Self::Expired => "certificate_expired",
            Self::Invalid => "certificate_invalid",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::Revoked => "certificate_revoked",
            Self::SelfSigned => "certificate_self_signed",
            Self::UnknownIssuer => "certificate_unknown_issuer",
            Self::ClientLeft => "client_left",
            Self::ClientRefused => "client_refused",
            Self::Displaced => "displaced",
            Self::Incompatible => "incompatible",
            Self::NoCertificate => "no_certificate",
            Self::NotTls => "not_tls",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
        }
    }
}

impl TlsMetrics {
    /// A handshake has led to a connection.
    pub fn completed(&self, is_resumed: bool) {
        if is_resumed {
            self.resumed.inc();
        } else {
            self.full.inc();
        }
    }

    /// A handshake came to nothing.
    pub fn failed(&self, failure: HandshakeFailure) {
        let counters = HandshakeFailure::ALL.iter().zip(&self.failed);
        for (_, counter) in counters.filter(|(of, _)| **of == failure) {
            counter.inc();
        }
    }

    /// Replaces the files that listeners name: those with certificates and those with revocation lists.
    pub fn set_expiries(&self, certificates: ExpiryByFile, crls: ExpiryByFile) {
        *self.expiries.lock() = Expiries { certificates, crls };
    }

    pub(super) fn render(&self, text: &mut Exposition) {
        for (resumed, counter) in [("false", &self.full), ("true", &self.resumed)] {
            text.counter(
                "sluice_tls_handshakes_total",
                "TLS handshakes that led to a connection.",
                &[("resumed", resumed)],
                counter.get(),
            );
        }
        for (failure, counter) in HandshakeFailure::ALL.iter().zip(&self.failed) {
            text.counter(
                "sluice_tls_handshakes_failed_total",
                "TLS handshakes that came to nothing.",
                &[("reason", failure.name())],
                counter.get(),
            );
        }
        text.gauge(
            "sluice_tls_handshakes_under_way",
            "TLS handshakes that have begun and not ended.",
            &[],
            self.handshakes_under_way.get(),
        );
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let expiries = self.expiries.lock();
        for (name, help, files) in [
            (
                "sluice_tls_certificate_expires_seconds",
                "Seconds until the first certificate that counts in a file expires; 0: it has.",
                &expiries.certificates,
            ),
            (
                "sluice_tls_crl_expires_seconds",
                "Seconds until the first revocation list in a file expires; 0: it has.",
                &expiries.crls,
            ),
        ] {
            for ((listener, file), end) in files {
                let labels = [("listener", listener.as_str()), ("file", file)];
                text.gauge(name, help, &labels, end.saturating_sub(now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_count_of_its_own() {
        let metrics = TlsMetrics::default();
        for (index, failure) in HandshakeFailure::ALL.into_iter().enumerate() {
            for _ in 0..=index {
                metrics.failed(failure);
            }
        }
        let mut text = Exposition::default();
        metrics.render(&mut text);
        let text = text.into_string();
        for (index, failure) in HandshakeFailure::ALL.into_iter().enumerate() {
            let line = format!(
                "sluice_tls_handshakes_failed_total{{reason=\"{}\"}} {}",
                failure.name(),
                index + 1
            );
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }

    #[test]
    fn what_has_expired_has_no_seconds_left() {
        let metrics = TlsMetrics::default();
        let of = |end| [(("a".to_owned(), "x.pem".to_owned()), end)].into();
        metrics.set_expiries(of(1), of(u64::MAX));
        let mut text = Exposition::default();
        metrics.render(&mut text);
        let text = text.into_string();
        let expired = "sluice_tls_certificate_expires_seconds{listener=\"a\",file=\"x.pem\"} 0";
        assert!(text.lines().any(|line| line == expired), "{text}");
        assert!(
            !text.contains("sluice_tls_crl_expires_seconds{listener=\"a\",file=\"x.pem\"} 0\n"),
            "{text}"
        );
    }
}
