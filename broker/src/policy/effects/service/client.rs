//! HTTP on the wire: from the operator's words to a client, from a policy's question to a request, and back.

use super::super::spec::{ServiceSpec, read_file};
use super::address::{self, Resolver};
use crate::policy::question::{HttpMethod, HttpRequest, HttpResponse};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// How long a connection waits for the next request. Short, because common servers close theirs after five seconds, and
/// a request that meets a closing connection fails.
const IDLE: Duration = Duration::from_secs(3);
/// Headers of an answer, all together.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Path and query.
const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Headers a policy may add.
const HEADERS_MAX: usize = 32;
/// Of them, those that are the broker's: they say where a message ends, where it goes, and how.
const OWN_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A client for one service, with all that it adds to requests.
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    base: String,
    response_bytes_max: usize,
}

/// Why there is no answer.
pub(super) enum Trouble {
    /// What the policy asks cannot be sent.
    Unusable(String),
    /// The service is not there, or does not speak as it should, or says that it cannot.
    Down(String),
    /// The service has answered what is not taken.
    NotTaken(String),
}

/// The texts of all files and variables of a service, in order.
pub(super) fn contents(spec: &ServiceSpec) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    for header in &spec.headers {
        let text = header.value.read();
        texts.push(text.map_err(|wrong| format!("header `{}`: {wrong}", header.name))?);
    }
    let identity = spec
        .identity
        .as_ref()
        .map(|(certificate, key)| [certificate, key]);
    for path in spec.ca.iter().chain(identity.into_iter().flatten()) {
        texts.push(read_file(path)?);
    }
    Ok(texts)
}

impl HttpClient {
    /// A client from the words of the operator and the contents of the files that they name.
    pub(super) fn new(spec: &ServiceSpec, contents: &[String]) -> Result<Self, String> {
        if let Some(address) = spec.url.address()
            && let Some(networks) = &spec.allow_addresses
            && !address::is_allowed(address, Some(networks))
        {
            return Err(format!(
                "allow_addresses does not allow {address}, the address in its url"
            ));
        }
        let mut contents = contents.iter().map(String::as_str);
        let mut headers = Vec::new();
        for (header, value) in spec.headers.iter().zip(contents.by_ref()) {
            let wrong = || format!("header `{}` cannot be sent", header.name);
            let name = HeaderName::try_from(&header.name).map_err(|_| wrong())?;
            if is_own(&name) {
                return Err(format!("header `{name}` is the broker's own"));
            }
            let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.push((name, value));
        }
        let mut http = HttpConnector::new_with_resolver(Resolver {
            networks: spec.allow_addresses.as_deref().map(Arc::from),
        });
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(spec.timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(spec, contents)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(spec.in_flight_max as usize)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Ok(Self {
            client,
            headers,
            base: spec.url.to_string(),
            response_bytes_max: spec.response_bytes_max,
        })
    }

    /// Sends a request and reads the whole answer. Call it on a runtime with I/O and time.
    pub(super) async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Trouble> {
        let request = self.request(request).map_err(Trouble::Unusable)?;
        let response = self.client.request(request).await;
        let response = response.map_err(|error| Trouble::Down(root_cause(&error)))?;
        self.read(response).await
    }

    fn request(&self, asked: &HttpRequest) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::from(asked.body.clone()));
        *request.method_mut() = match asked.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Post => Method::POST,
            HttpMethod::Put => Method::PUT,
        };
        *request.uri_mut() = self.target(asked)?;
        if asked.headers.len() > HEADERS_MAX {
            return Err(format!("more than {HEADERS_MAX} headers"));
        }
        let headers = request.headers_mut();
        for (name, value) in &asked.headers {
            let name = HeaderName::try_from(name).map_err(|_| "a header's name is none")?;
            if is_own(&name) || self.headers.iter().any(|(operators, _)| *operators == name) {
                return Err(format!("the header `{name}` is not for policies to set"));
            }
            let value = HeaderValue::try_from(value).map_err(|_| format!("the value of `{name}` is none"))?;
            headers.append(name, value);
        }
        if let Some(content_type) = &asked.content_type {
            let value = HeaderValue::try_from(content_type).map_err(|_| "the content type is none")?;
            headers.insert(CONTENT_TYPE, value);
        }
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        Ok(request)
    }

    /// The URL of the service with a path and a query behind it, in which nothing can end or leave its part.
    fn target(&self, asked: &HttpRequest) -> Result<Uri, String> {
        let mut target = self.base.clone();
        let base_bytes = target.len();
        for segment in &asked.path {
            if matches!(segment.as_str(), "" | "." | "..") {
                return Err("a segment of the path is empty, `.` or `..`".into());
            }
            target.push('/');
            encode(&mut target, segment);
        }
        if target.ends_with(|last| last != '/') && asked.path.is_empty() && !self.base_has_path() {
            target.push('/');
        }
        for (index, (name, value)) in asked.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            encode(&mut target, name);
            target.push('=');
            encode(&mut target, value);
        }
        if target.len() - base_bytes > TARGET_BYTES_MAX {
            return Err(format!("path and query are longer than {TARGET_BYTES_MAX} bytes"));
        }
        target
            .parse()
            .map_err(|error| format!("path and query are no part of a URL: {error}"))
    }

    fn base_has_path(&self) -> bool {
        self.base
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/'))
    }

    async fn read(&self, response: Response<hyper::body::Incoming>) -> Result<HttpResponse, Trouble> {
        let status = response.status();
        if status.is_redirection() {
            return Err(Trouble::NotTaken(format!(
                "it answered {}, and redirects are not followed",
                status.as_u16()
            )));
        }
        if status.is_server_error() {
            return Err(Trouble::Down(format!("it answered {}", status.as_u16())));
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let bytes_max = self.response_bytes_max;
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Trouble::NotTaken(format!("its answer is longer than {bytes_max} bytes")),
            None => Trouble::Down(root_cause(&*error)),
        })?;
        Ok(HttpResponse {
            status: status.as_u16(),
            content_type,
            body: body.to_bytes(),
        })
    }
}

fn is_own(name: &HeaderName) -> bool {
    OWN_HEADERS.contains(&name.as_str())
}

/// The client's side of TLS: the authorities and the identity of the service, else what the system trusts and nothing.
fn tls<'c>(spec: &ServiceSpec, mut contents: impl Iterator<Item = &'c str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if spec.ca.is_some() {
        for authority in certificates(contents.next().unwrap_or_default(), "ca")? {
            roots.add(authority).map_err(|error| format!("ca: {error}"))?;
        }
    } else if spec.url.is_https() {
        let (trusted, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if trusted == 0 {
            return Err("the system trusts no authority; name a file with `ca`".into());
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    if spec.identity.is_none() {
        return Ok(config.with_no_client_auth());
    }
    let chain = certificates(contents.next().unwrap_or_default(), "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(contents.next().unwrap_or_default().as_bytes());
    let key = key.map_err(|error| format!("key: no private key in PEM: {error}"))?;
    config
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("certificate and key: {error}"))
}

fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| format!("{what}: not PEM: {error}"))?;
    match found.is_empty() {
        true => Err(format!("{what}: no certificate in PEM")),
        false => Ok(found),
    }
}

/// Every byte that is not unreserved (RFC 3986 section 2.3) as `%XX`.
fn encode(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// What an error comes from: the wrappers say no more than that there is one.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::effects::spec::{HeaderSpec, Secret};

    fn client(url: &str) -> HttpClient {
        let mut spec = ServiceSpec::new("s", url.parse().unwrap());
        spec.headers.push(HeaderSpec {
            name: "Authorization".into(),
            value: Secret::Text("Bearer token".into()),
        });
        HttpClient::new(&spec, &contents(&spec).unwrap()).unwrap()
    }

    fn asked() -> HttpRequest {
        HttpRequest {
            service: "s".into(),
            method: HttpMethod::Post,
            path: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            content_type: None,
            body: Vec::new(),
            reuse_success_seconds: 0,
            reuse_other_seconds: 0,
        }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_policy_cannot_leave_the_path_it_is_given() {
        let client = client("http://192.0.2.1:8080/mqtt/");
        let target = |path: &[&str]| {
            let path = texts(path);
            client
                .target(&HttpRequest { path, ..asked() })
                .map(|uri| uri.to_string())
        };
        assert_eq!(target(&[]).unwrap(), "http://192.0.2.1:8080/mqtt");
        assert_eq!(target(&["a", "b"]).unwrap(), "http://192.0.2.1:8080/mqtt/a/b");
        assert_eq!(
            target(&["../x?y#z", "@evil.example", "%2e%2e", "ü"]).unwrap(),
            "http://192.0.2.1:8080/mqtt/..%2Fx%3Fy%23z/%40evil.example/%252e%252e/%C3%BC"
        );
        for path in [&[".."][..], &["a", "."], &[""]] {
            assert!(target(path).is_err(), "{path:?}");
        }
        assert!(target(&["x".repeat(TARGET_BYTES_MAX).as_str()]).is_err());
    }

    #[test]
    fn the_query_is_encoded_and_a_url_without_a_path_gets_one() {
        let query = vec![
            ("a&b".to_owned(), "c=d e".to_owned()),
            ("f".to_owned(), String::new()),
        ];
        let uri = client("http://192.0.2.1")
            .target(&HttpRequest { query, ..asked() })
            .unwrap();
        assert_eq!(uri.to_string(), "http://192.0.2.1/?a%26b=c%3Dd%20e&f=");
    }

    #[test]
    fn headers_of_the_broker_and_the_operator_are_not_for_policies() {
        let client = client("http://192.0.2.1");
        let with = |name: &str, value: &str| {
            let headers = vec![(name.to_owned(), value.to_owned())];
            client.request(&HttpRequest { headers, ..asked() })
        };
        let request = with("X-Request-Id", "7").unwrap();
        assert_eq!(request.headers()["x-request-id"], "7");
        assert_eq!(request.headers()["authorization"], "Bearer token");
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "AUTHORIZATION",
            "a b",
            "",
        ] {
            assert!(with(name, "x").is_err(), "{name}");
        }
        assert!(with("x", "a\r\nhost: evil").is_err());
    }

    #[test]
    fn an_address_in_the_url_must_be_among_those_allowed() {
        let mut spec = ServiceSpec::new("s", "http://127.0.0.1:1".parse().unwrap());
        assert!(HttpClient::new(&spec, &[]).is_ok(), "the operator has named it");
        spec.allow_addresses = Some(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(HttpClient::new(&spec, &[]).is_err());
    }

    #[test]
    fn files_that_are_no_certificates_are_refused() {
        let mut spec = ServiceSpec::new("s", "https://auth.example".parse().unwrap());
        spec.ca = Some("ca.pem".into());
        let error = HttpClient::new(&spec, &texts(&["nothing"])).err().unwrap();
        assert_eq!(error, "ca: no certificate in PEM");
        let error = contents(&spec).unwrap_err();
        assert!(error.contains("ca.pem"), "{error}");
    }
}
