//! Why a handshake came to nothing, for the log and the metrics.

use super::finding::date;
use super::verifier::Refused;
use crate::config::quantity::duration_text;
use crate::metrics::HandshakeFailure;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{CertificateError, Error, InvalidMessage};
use x509_parser::prelude::ASN1Time;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client left before it had said anything.
    Silent,
    /// It was not complete in time.
    Late(Duration),
    /// So many others were under way, and this one had taken longest.
    Displaced(usize),
    /// Whatever rustls or the socket said, and of a refused certificate whose it was.
    Broken(io::Error, Option<Refused>),
    /// What a certificate that was verified says cannot be read.
    Unreadable(String),
}

impl Failure {
    pub(super) fn reason(&self) -> HandshakeFailure {
        match self {
            Self::Silent => HandshakeFailure::ClientLeft,
            Self::Late(_) => HandshakeFailure::Timeout,
            Self::Displaced(_) => HandshakeFailure::Displaced,
            Self::Unreadable(_) => HandshakeFailure::Invalid,
            Self::Broken(error, refused) => match tls_error(error) {
                Some(error) => reason(error, refused.as_ref()),
                None => HandshakeFailure::ClientLeft,
            },
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|cause| cause.downcast_ref())
}

fn reason(error: &Error, refused: Option<&Refused>) -> HandshakeFailure {
    match error {
        Error::InvalidCertificate(error) => certificate_reason(error, refused),
        Error::NoCertificatesPresented => HandshakeFailure::NoCertificate,
        Error::InvalidCertRevocationList(_) => HandshakeFailure::CrlInvalid,
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => HandshakeFailure::NotTls,
        Error::AlertReceived(_) => HandshakeFailure::ClientRefused,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeFailure::Incompatible,
        _ => HandshakeFailure::Protocol,
    }
}

fn certificate_reason(error: &CertificateError, refused: Option<&Refused>) -> HandshakeFailure {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => HandshakeFailure::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => HandshakeFailure::NotYetValid,
        E::Revoked => HandshakeFailure::Revoked,
        E::UnknownIssuer if refused.is_some_and(|refused| refused.is_self_issued) => {
            HandshakeFailure::SelfSigned
        }
        E::UnknownIssuer => HandshakeFailure::UnknownIssuer,
        E::UnknownRevocationStatus => HandshakeFailure::CrlMissing,
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => HandshakeFailure::CrlExpired,
        _ => HandshakeFailure::Invalid,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the client left"),
            Self::Late(patience) => write!(f, "not complete within {}", duration_text(*patience)),
            Self::Displaced(most) => write!(
                f,
                "{most} other handshakes were under way (handshakes_max), and this one had taken longest"
            ),
            Self::Unreadable(what) => write!(f, "the client's certificate cannot be read: {what}"),
            Self::Broken(error, refused) => {
                match tls_error(error) {
                    Some(error) => write_error(f, error, refused.as_ref())?,
                    None => write!(f, "{error}")?,
                }
                match refused {
                    Some(refused) => write!(f, " ({})", refused.whose),
                    None => Ok(()),
                }
            }
        }
    }
}

/// In the words of an operator; what is rare in those of rustls.
fn write_error(f: &mut fmt::Formatter<'_>, error: &Error, refused: Option<&Refused>) -> fmt::Result {
    use CertificateError as E;
    let Error::InvalidCertificate(certificate) = error else {
        return match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                f.write_str("the client does not speak TLS")
            }
            Error::NoCertificatesPresented => {
                f.write_str("the client has no certificate, and one is required")
            }
            Error::InvalidCertRevocationList(error) => {
                write!(f, "a revocation list cannot be used: {error:?}")
            }
            _ => write!(f, "{error}"),
        };
    };
    match certificate {
        E::ExpiredContext { not_after, .. } => {
            write!(f, "the client's certificate expired on {}", day(*not_after))
        }
        E::NotValidYetContext { not_before, .. } => {
            write!(
                f,
                "the client's certificate is not valid before {}",
                day(*not_before)
            )
        }
        E::Revoked => f.write_str("the client's certificate was revoked"),
        E::UnknownIssuer if refused.is_some_and(|refused| refused.is_self_issued) => {
            f.write_str("the client's certificate is signed by itself and is not in client_ca")
        }
        E::UnknownIssuer => f.write_str("the client's certificate comes from no authority in client_ca"),
        E::UnknownRevocationStatus => {
            f.write_str("crls has no revocation list for the client's certificate or one above it")
        }
        E::ExpiredRevocationListContext { next_update, .. } => write!(
            f,
            "the revocation list for the client's certificate expired on {}",
            day(*next_update)
        ),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            f.write_str("the client's certificate is not for clients (extended key usage)")
        }
        E::ApplicationVerificationFailure => f.write_str("the client's chain of certificates is too long"),
        _ => write!(f, "{error}"),
    }
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    ASN1Time::from_timestamp(seconds).map_or_else(|_| seconds.to_string(), |time| date(time).to_string())
}
