//! A service over HTTP that answers as a test says: also late, badly, or not at all.

use crate::PATIENCE;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig, ServerConnection, StreamOwned, WantsVerifier};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the service does.
pub enum Answer {
    /// Answers with this status and body.
    Say(u16, String),
    /// Sends these bytes, whatever they mean, and closes.
    Bytes(Vec<u8>),
    /// Closes without a word.
    Hangup,
}

/// `200`, with this body.
#[must_use]
pub fn ok(body: impl Into<String>) -> Answer {
    Answer::Say(200, body.into())
}

/// A service; it lasts as long as the test program.
#[derive(Clone)]
pub struct Service {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    changed: Condvar,
}

type Answers = dyn Fn(&Request) -> Answer + Send + Sync;

impl Service {
    /// One that answers so. The function may wait: each connection has a thread of its own.
    #[must_use]
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve(None, Arc::new(answer))
    }

    /// The same over TLS, with this certificate and key in PEM.
    ///
    /// # Panics
    /// When they are none.
    #[must_use]
    pub fn over_tls(
        (certificate, key): (&str, &str),
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let config = server().with_no_client_auth();
        Self::encrypted(config, certificate, key, Arc::new(answer))
    }

    /// The same for clients that prove themselves with a certificate of this authority, in PEM.
    ///
    /// # Panics
    /// When they are none.
    #[must_use]
    pub fn over_mutual_tls(
        (certificate, key): (&str, &str),
        authority: &str,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate");
        roots.add(authority).expect("an authority");
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().expect("a verifier");
        let config = server().with_client_cert_verifier(verifier);
        Self::encrypted(config, certificate, key, Arc::new(answer))
    }

    fn encrypted(
        config: ConfigBuilder<ServerConfig, WantsServerCert>,
        certificate: &str,
        key: &str,
        answer: Arc<Answers>,
    ) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = config.with_single_cert(chain, key);
        let config = config.expect("certificate and key belong together");
        Self::serve(Some(Arc::new(config)), answer)
    }

    fn serve(tls: Option<Arc<ServerConfig>>, answer: Arc<Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a bound socket");
        let seen = Arc::<Seen>::default();
        let service = Self {
            address,
            seen: Arc::clone(&seen),
        };
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (tls, answer, seen) = (tls.clone(), Arc::clone(&answer), Arc::clone(&seen));
                // A test may have hundreds of them.
                let thread = std::thread::Builder::new().stack_size(256 * 1024);
                let serving = thread.spawn(move || match tls {
                    None => converse(socket, &*answer, &seen),
                    Some(config) => {
                        let session = ServerConnection::new(config).expect("a session");
                        converse(StreamOwned::new(session, socket), &*answer, &seen);
                    }
                });
                serving.expect("a thread");
            }
        });
        service
    }

    /// Where it is, without a scheme.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.seen
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until so many requests have come.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_for_requests(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut requests = self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
        while requests.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} requests came", requests.len());
            let waited = self.seen.changed.wait_timeout(requests, left);
            requests = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn server() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
}

/// Answers one request after the other until the peer closes or an answer says so.
fn converse<S: Read + Write>(stream: S, answer: &Answers, seen: &Seen) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        seen.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        seen.changed.notify_all();
        let answer = answer(&request);
        let stream = stream.get_mut();
        // A peer that has gone does not get its answer.
        let _ = match answer {
            Answer::Say(status, body) => {
                let bytes = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {bytes}\r\ncontent-type: text/plain\r\n\r\n"
                );
                stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())
            }
            Answer::Bytes(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Answer::Hangup => return,
        };
        let _ = stream.flush();
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(1..) => Some(line.trim_end().to_owned()),
            _ => None,
        }
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        target,
        headers,
        body,
    })
}

/// Holds back whoever comes until it is opened.
#[derive(Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Lets all through, those that wait and those that come.
    pub fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let mut is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The port of a service that is not there: nobody listens.
///
/// # Panics
/// When the system has no port.
#[must_use]
pub fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("a bound socket")
}

/// A service that accepts and never reads: the sockets wait in the kernel.
///
/// # Panics
/// When the system has no port.
#[must_use]
pub fn deaf() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a bound socket");
    (listener, address)
}
