//! JSON Web Tokens that the broker has checked.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::host::sluice::policy::services::VerifiedToken;
use crate::bindings::host::sluice::policy::types::{Admission, Budget};

/// A token whose signature, time, issuer and audience are right; see [`Ask::verify_jwt`](crate::Ask::verify_jwt).
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    claims: Value,
    expires_in_seconds: u32,
}

impl Token {
    /// A token that a test makes up.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_claims(claims: Value, expires_in_seconds: u32) -> Self {
        Self {
            claims,
            expires_in_seconds,
        }
    }

    /// All claims, a JSON object.
    pub fn claims(&self) -> &Value {
        &self.claims
    }

    /// A claim that is a text.
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// The claims as a type of the policy's own.
    ///
    /// # Errors
    /// When they are something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.claims)
    }

    /// Whole seconds until it expires.
    pub fn expires_in_seconds(&self) -> u32 {
        self.expires_in_seconds
    }
}

impl From<VerifiedToken> for Token {
    fn from(verified: VerifiedToken) -> Self {
        Self {
            // The broker made this text from an object; anything else is a token without claims.
            claims: serde_json::from_str(&verified.claims).unwrap_or_default(),
            expires_in_seconds: verified.expires_in_seconds,
        }
    }
}

impl Budget {
    /// The client may stay connected until the token expires, and no longer; with a fresh one it may re-authenticate
    /// before (MQTT 5.0 section 4.12.1), which counts anew. A limit that is stricter already stays.
    #[must_use]
    pub fn until(mut self, token: &Token) -> Self {
        let left = token.expires_in_seconds;
        self.connection_seconds_max = Some(self.connection_seconds_max.map_or(left, |max| max.min(left)));
        self
    }
}

impl Admission {
    /// Lets the client stay connected until the token expires, see [`Budget::until`].
    #[must_use]
    pub fn until(mut self, token: &Token) -> Self {
        self.budget = self.budget.until(token);
        self
    }
}
