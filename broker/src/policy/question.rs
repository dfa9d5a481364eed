//! What a policy may ask of the broker while a client connects, and what the broker answers.
//!
//! Mirrors `wit/types.wit` and `wit/asking.wit`; their comments apply here too.

use bytes::Bytes;
use std::fmt;

/// Something slow or interactive that the broker does for a policy before asking it again.
#[derive(Clone, PartialEq, Eq)]
pub enum Effect {
    /// Check a password.
    VerifyPassword {
        /// In one of the forms that `effects/hash.rs` knows.
        hash: String,
        /// What the client claims.
        password: Vec<u8>,
    },
    /// Send the client an AUTH packet.
    Challenge(Vec<u8>),
    /// Ask a service.
    Http(Box<HttpRequest>),
    /// Check a JSON Web Token.
    VerifyJwt {
        /// Name of the issuer in the configuration.
        issuer: String,
        /// What the client claims.
        token: Vec<u8>,
    },
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VerifyPassword { .. } => "VerifyPassword",
            Self::Challenge(_) => "Challenge",
            Self::Http(_) => "Http",
            Self::VerifyJwt { .. } => "VerifyJwt",
        })
    }
}

/// A request to a service of the configuration. The policy chooses what is behind the configured URL, never the URL.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Name of the service.
    pub service: String,
    /// GET, POST or PUT.
    pub method: HttpMethod,
    /// Segments after the path of the service, not encoded.
    pub path: Vec<String>,
    /// Parameters, not encoded.
    pub query: Vec<(String, String)>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Type of the body.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// Seconds for which an answer with status 2xx may be given again.
    pub reuse_success_seconds: u32,
    /// The same for any other status.
    pub reuse_other_seconds: u32,
}

/// How a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
}

/// What a service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// Neither 3xx nor 5xx.
    pub status: u16,
    /// Type of the body.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// A token whose signature, time, issuer and audience are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// A JSON object.
    pub claims: String,
    /// Whole seconds until it expires.
    pub expires_in_seconds: u32,
}

/// The broker's answer to one effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It could not be carried out, and why.
    Failed(String),
    /// Whether the password fits the hash.
    Password(bool),
    /// The data of the client's AUTH packet.
    Response(Option<Vec<u8>>),
    /// What the service said.
    Http(HttpResponse),
    /// The claims of the token, or what is wrong with it.
    Token(Result<VerifiedToken, String>),
}
