//! What load balancers and monitoring ask over HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! On a thread of its own: it answers while policies are compiled, and while the broker drains.

use super::listener::ListenError;
use crate::event::{Event, Events};
use crate::metrics::Metrics;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at the same time, about 20 KiB each; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;
/// How long one may last. Whoever asks again may connect again.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Largest request.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Tells those who ask how far the broker is. Clones are one.
#[derive(Clone, Default)]
pub struct Health(Arc<State>);

#[derive(Default)]
struct State {
    phase: AtomicU8,
    /// All metrics as text, once there is more to tell than what is counted.
    exposition: OnceLock<Exposition>,
}

type Exposition = Box<dyn Fn() -> String + Send + Sync>;

/// How far the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Stopping,
}

impl Health {
    /// Answers from now on: alive, and not ready yet.
    ///
    /// # Errors
    /// The address cannot be had, or there is no thread.
    pub fn serve(&self, address: SocketAddr, events: &Events) -> Result<(), ListenError> {
        let fail = |error| ListenError::new("the health endpoint".to_owned(), address, &error);
        let listener = net::TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let (health, metrics) = (self.clone(), Arc::clone(events.metrics()));
        let answer = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async move {
                accept(TcpListener::from_std(listener)?, health, metrics).await;
                Ok::<_, io::Error>(())
            })
        };
        let answer = move || {
            if let Err(error) = answer() {
                tracing::error!(%error, "the health endpoint does not answer");
            }
        };
        thread::Builder::new()
            .name("sluice-health".to_owned())
            .spawn(answer)
            .map_err(fail)?;
        events.emit(Event::HealthListening {
            address: &address.to_string(),
        });
        Ok(())
    }

    /// Clients can connect from now on; `exposition` gives all metrics.
    pub fn ready(&self, exposition: impl Fn() -> String + Send + Sync + 'static) {
        // Whoever was first tells the same.
        let _ = self.0.exposition.set(Box::new(exposition));
        self.0.phase.store(Phase::Ready as u8, Ordering::Relaxed);
    }

    /// They cannot any more.
    pub fn stopping(&self) {
        self.0.phase.store(Phase::Stopping as u8, Ordering::Relaxed);
    }

    fn exposition(&self, metrics: &Metrics) -> String {
        let all = self.0.exposition.get().map(|exposition| exposition());
        all.unwrap_or_else(|| metrics.render())
    }

    fn phase(&self) -> Phase {
        let phase = self.0.phase.load(Ordering::Relaxed);
        let all = [Phase::Ready, Phase::Stopping];
        all.into_iter()
            .find(|known| *known as u8 == phase)
            .unwrap_or(Phase::Starting)
    }
}

async fn accept(listener: TcpListener, health: Health, metrics: Arc<Metrics>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let connection = serve(socket, health.clone(), Arc::clone(&metrics));
                tokio::spawn(async move {
                    // Whoever takes longer, or breaks off, has no answer: it is for itself to know.
                    let _ = tokio::time::timeout(CONNECTION_MAX, connection).await;
                    drop(permit);
                });
            }
            // Out of file descriptors: others must end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(socket: TcpStream, health: Health, metrics: Arc<Metrics>) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &health, &metrics);
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .await
}

fn answer(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are served here\n");
        refusal
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match (path, health.phase()) {
        ("/livez", _) => text(StatusCode::OK, "alive\n"),
        ("/readyz", Phase::Ready) => text(StatusCode::OK, "ready\n"),
        ("/readyz", Phase::Starting) => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        ("/readyz", Phase::Stopping) => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        ("/metrics", _) => {
            let mut exposition = text(StatusCode::OK, health.exposition(metrics));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            exposition.headers_mut().insert(CONTENT_TYPE, kind);
            exposition
        }
        _ => text(StatusCode::NOT_FOUND, "here are /livez, /readyz and /metrics\n"),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
