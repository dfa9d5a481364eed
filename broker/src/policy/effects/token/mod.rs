//! JSON Web Tokens (RFC 7519): which are right, and what they claim.

mod keys;
mod signature;

use super::spec::IssuerSpec;
use crate::policy::notice::printable;
use crate::policy::question::VerifiedToken;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use keys::Key;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

/// Longest token. Those of common issuers have one or two KiB.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// An issuer with its keys, from its configuration to its replacement.
pub(super) struct Issuer {
    keys: Vec<Key>,
    /// Without algorithms: those are the key's.
    validation: Validation,
    leeway: Duration,
}

impl Issuer {
    /// Reads the keys of an issuer. They are read again with each reload.
    ///
    /// # Errors
    /// When a file cannot be read or understood, or nothing could ever be verified.
    pub(super) fn load(spec: &IssuerSpec) -> Result<Self, String> {
        signature::install();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = spec.leeway.as_secs();
        validation.validate_nbf = true;
        // A claim that is checked must be there: one that is missing, or no text, is not right.
        let mut required = vec!["exp"];
        if !spec.issuers.is_empty() {
            validation.set_issuer(&spec.issuers);
            required.push("iss");
        }
        if !spec.audiences.is_empty() {
            validation.set_audience(&spec.audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Ok(Self {
            keys: keys::load(spec)?,
            validation,
            leeway: spec.leeway,
        })
    }

    /// The claims of a token, if it is right: signed by one of the keys, in time, by and for whom the operator says.
    ///
    /// # Errors
    /// What is wrong with the token.
    pub(super) fn verify(&self, token: &[u8]) -> Result<VerifiedToken, String> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(format!("the token is longer than {TOKEN_BYTES_MAX} bytes"));
        }
        let header = decode_header(token).map_err(|_| "this is no JSON Web Token")?;
        if header.crit.is_some() {
            // RFC 7515 section 4.1.11: what is critical must be understood.
            return Err("the token has a critical header that is not understood".into());
        }
        let fits = |key: &&Key| {
            key.algorithms.contains(&header.alg)
                && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
        };
        let mut wrong = "no key of the issuer fits the token's algorithm and key id".to_owned();
        for key in self.keys.iter().filter(fits) {
            let validation = Validation {
                algorithms: vec![header.alg],
                ..self.validation.clone()
            };
            match decode::<Map<String, Value>>(token, &key.decoding, &validation) {
                Ok(data) => return self.verified(data.claims),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {
                    wrong = "the signature is wrong".to_owned();
                }
                // It is the issuer's, but not right; no other key changes that.
                Err(error) => return Err(printable(&explain(error.kind()))),
            }
        }
        Err(wrong)
    }

    fn verified(&self, claims: Map<String, Value>) -> Result<VerifiedToken, String> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        // The validation has found it to be a number of this kind.
        let expires = Duration::try_from_secs_f64(expires).unwrap_or(Duration::MAX);
        let left = expires.saturating_add(self.leeway).saturating_sub(now);
        Ok(VerifiedToken {
            claims: Value::Object(claims).to_string(),
            expires_in_seconds: u32::try_from(left.as_secs()).unwrap_or(u32::MAX),
        })
    }
}

fn explain(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired".into(),
        ErrorKind::ImmatureSignature => "the token is not valid yet".into(),
        ErrorKind::InvalidIssuer => "the token is of another issuer".into(),
        ErrorKind::InvalidAudience => "the token is for another audience".into(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the token does not say `{claim}`"),
        ErrorKind::InvalidClaimFormat(claim) => format!("`{claim}` of the token is not what it must be"),
        other => format!("this is no JSON Web Token: {other:?}"),
    }
}

#[cfg(test)]
mod tests;
