//! What the operator says about services that policies may ask, and about issuers of tokens.

use crate::network::Network;
use hyper::Uri;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// A service that policies may ask over HTTP when they are granted `http:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// For policies, logs and metrics.
    pub name: String,
    /// Where it is; a policy adds to its path and query only.
    pub url: ServiceUrl,
    /// From the question to the whole answer, waiting for a turn included.
    pub timeout: Duration,
    /// Requests under way at the same time.
    pub in_flight_max: u32,
    /// Requests that wait for their turn; further ones fail.
    pub queue_max: u32,
    /// Largest body of an answer.
    pub response_bytes_max: usize,
    /// Bytes of answers that are kept for reuse; 0: none.
    pub cache_bytes_max: usize,
    /// Longest time an answer is reused, whatever the policy says.
    pub cache_time_max: Duration,
    /// The only addresses it may be at. `None`: any but this machine, its link and those for special use.
    pub allow_addresses: Option<Vec<Network>>,
    /// Headers that the broker adds, and no policy sees.
    pub headers: Vec<HeaderSpec>,
    /// PEM file with the authorities its certificate is verified against. `None`: those the system trusts.
    pub ca: Option<PathBuf>,
    /// Certificate and key that the broker shows, PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Failures in a row after which it is left alone for [`ServiceSpec::retry_after`].
    pub failures_max: u32,
    /// How long it is left alone; then one request tries whether it is back.
    pub retry_after: Duration,
}

impl ServiceSpec {
    /// A service with the default limits.
    #[must_use]
    pub fn new(name: impl Into<String>, url: ServiceUrl) -> Self {
        Self {
            name: name.into(),
            url,
            timeout: Duration::from_secs(5),
            in_flight_max: 64,
            queue_max: 1_024,
            response_bytes_max: 16 * 1024,
            cache_bytes_max: 1024 * 1024,
            cache_time_max: Duration::from_secs(5 * 60),
            allow_addresses: None,
            headers: Vec::new(),
            ca: None,
            identity: None,
            failures_max: 10,
            retry_after: Duration::from_secs(5),
        }
    }
}

/// One header that the broker adds to each request to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSpec {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: Secret,
}

/// A text that should not stand in a configuration, or may.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Here it is.
    Text(String),
    /// In a file; blanks and line ends around it do not count.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

impl Secret {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text(_) | Self::Env(_) => None,
        }
    }
}

impl ServiceSpec {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let identity = self.identity.iter();
        let identity = identity.flat_map(|(certificate, key)| [certificate.as_path(), key.as_path()]);
        let headers = self.headers.iter().filter_map(|header| header.value.file());
        self.ca.as_deref().into_iter().chain(identity).chain(headers)
    }
}

impl IssuerSpec {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let secret = self.secret.as_ref().and_then(Secret::file);
        self.keys.iter().map(PathBuf::as_path).chain(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Env(name) => write!(f, "Env({name})"),
        }
    }
}

impl Secret {
    /// The text.
    ///
    /// # Errors
    /// When the file or the variable is not there, is too long, or is empty.
    pub(super) fn read(&self) -> Result<String, String> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::File(path) => read_file(path)?,
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name} is not set, or is no text"))?,
        };
        let text = text.trim();
        match text.is_empty() {
            true => Err(format!("{self:?} is empty")),
            false => Ok(text.to_owned()),
        }
    }
}

/// Far more than any key, certificate or set of them.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A small file, as text.
pub(super) fn read_file(path: &std::path::Path) -> Result<String, String> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than 1 MiB", path.display()));
    }
    Ok(text)
}

/// The URL of a service: scheme, host, port and the beginning of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    pub(super) is_https: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    /// As in a URL.
    pub(super) authority: String,
    /// Begins with `/` unless it is empty, does not end with it.
    pub(super) path: String,
}

impl ServiceUrl {
    /// Whether requests are encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The address in the URL, when it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The host in the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, that of the scheme if none is written.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = if self.is_https { 443 } else { 80 };
        let behind = self.authority.rsplit_once(':').map(|(_, port)| port);
        behind.and_then(|port| port.parse().ok()).unwrap_or(usual)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl FromStr for ServiceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("is no URL: {error}"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("begins neither with https:// nor with http://".into()),
        };
        let authority = uri.authority().ok_or("names no host")?.as_str().to_owned();
        if authority.contains('@') {
            return Err("has a user name; write the secret as a header".into());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("has a query or a fragment; policies add the query".into());
        }
        let written = uri.host().ok_or("names no host")?;
        let port = authority.strip_prefix(written).unwrap_or_default();
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return Err("has a port that is none".into());
        }
        let host = written.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = host.unwrap_or(written);
        if host.is_empty() {
            return Err("names no host".into());
        }
        Ok(Self {
            is_https,
            host: host.to_owned(),
            authority,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// An issuer whose tokens policies may have checked when they are granted `jwt:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSpec {
    /// For policies and logs.
    pub name: String,
    /// Files with public keys: PEM (`PUBLIC KEY`), or a JSON Web Key Set (RFC 7517).
    pub keys: Vec<PathBuf>,
    /// The key of HS256, HS384 and HS512, as text.
    pub secret: Option<Secret>,
    /// The algorithms that are accepted (RFC 7518 section 3.1). Empty: all that fit the keys.
    pub algorithms: Vec<String>,
    /// One of these must be the `iss` of a token. Empty: any, or none.
    pub issuers: Vec<String>,
    /// One of these must be in the `aud` of a token. Empty: a token must have none.
    pub audiences: Vec<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

impl IssuerSpec {
    /// An issuer without keys.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            keys: Vec::new(),
            secret: None,
            algorithms: Vec::new(),
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::ZERO,
        }
    }
}

/// Something of the configuration that a policy may ask when it is granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// `http:NAME`: a service.
    Service(String),
    /// `jwt:NAME`: an issuer of tokens.
    Issuer(String),
}

/// What a policy may ask.
pub type Resources = BTreeSet<Resource>;

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "http:{name}"),
            Self::Issuer(name) => write!(f, "jwt:{name}"),
        }
    }
}

impl Resource {
    /// Reads `http:NAME` or `jwt:NAME`; `None`: it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("http", name) => Some(Self::Service(name.to_owned())),
            ("jwt", name) => Some(Self::Issuer(name.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_and_the_beginning_of_a_path() {
        let url: ServiceUrl = "https://auth.example:8443/mqtt/v1/".parse().unwrap();
        assert_eq!((url.host(), url.path.as_str()), ("auth.example", "/mqtt/v1"));
        assert_eq!(url.to_string(), "https://auth.example:8443/mqtt/v1");
        let url: ServiceUrl = "http://[::1]:80".parse().unwrap();
        assert_eq!(url.address(), Some("::1".parse().unwrap()));
        assert_eq!(url.to_string(), "http://[::1]:80");
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_url_of_a_service() {
        for text in [
            "",
            "auth.example",
            "/mqtt",
            "ftp://auth.example",
            "http://",
            "http://user:secret@auth.example",
            "http://auth.example/?key=secret",
            "http://auth.example/#x",
            "http://auth.example:0",
            "http://auth.example:99999",
            "http://auth example",
        ] {
            assert!(text.parse::<ServiceUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::Text("hunter2".into());
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(Secret::Text(" hunter2\n".into()).read().unwrap(), "hunter2");
        assert!(Secret::Text(" \n".into()).read().is_err());
        assert!(Secret::Env("SLUICE_NO_SUCH_VARIABLE".into()).read().is_err());
    }
}
