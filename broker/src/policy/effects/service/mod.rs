//! A service that policies may ask: at most so many requests at a time, so many waiting, so long; an answer that may be
//! given again is not asked for again; and one that fails is left alone for a while.
//!
//! Whatever goes wrong is an [`Answer::Failed`], and the SDK makes a refusal of it: nobody gets in because a service is
//! down.

mod address;
mod breaker;
mod client;
mod kept;

use super::spec::ServiceSpec;
use crate::policy::notice::{PolicyNotice, PolicyObserver, ServiceNotice, printable};
use crate::policy::question::{Answer, HttpRequest, HttpResponse};
use breaker::{Breaker, Turn};
use client::{HttpClient, Trouble};
use kept::{Kept, Question};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

/// One service, from its configuration to its replacement.
pub(super) struct Service {
    spec: ServiceSpec,
    /// Of the files and variables that the configuration names.
    contents: Vec<String>,
    client: HttpClient,
    turns: Semaphore,
    waiting: AtomicUsize,
    breaker: Breaker,
    kept: Kept,
    counts: Counts,
    observer: Arc<dyn PolicyObserver>,
}

/// What became of requests.
#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    reused: AtomicU64,
    failed: AtomicU64,
    not_taken: AtomicU64,
    timed_out: AtomicU64,
    shed: AtomicU64,
    left_alone: AtomicU64,
    unusable: AtomicU64,
    microseconds: AtomicU64,
}

/// How a service fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Requests since it was configured, by what became of them.
    pub requests: Vec<(&'static str, u64)>,
    /// Time for which answered and failed requests were under way.
    pub time: Duration,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that wait for their turn.
    pub waiting: u64,
    /// It failed too often and is left alone.
    pub is_left_alone: bool,
    /// Bytes of the answers that are kept.
    pub cache_bytes: u64,
}

/// Why a request got no answer.
enum Failure {
    Unusable(String),
    Shed,
    LeftAlone,
    /// While it waited, or while the service did not answer.
    TimedOut {
        asked: bool,
    },
    Down(String),
    NotTaken(String),
}

impl Service {
    /// A service as configured; one that has not changed, with its files, goes on as it is.
    ///
    /// # Errors
    /// What is wrong with the configuration or the files that it names.
    pub(super) fn renew(
        spec: ServiceSpec,
        old: Option<&Arc<Self>>,
        observer: &Arc<dyn PolicyObserver>,
    ) -> Result<Arc<Self>, String> {
        let contents = client::contents(&spec)?;
        if let Some(old) = old
            && old.spec == spec
            && old.contents == contents
        {
            return Ok(Arc::clone(old));
        }
        Ok(Arc::new(Self {
            client: HttpClient::new(&spec, &contents)?,
            contents,
            turns: Semaphore::new(spec.in_flight_max as usize),
            waiting: AtomicUsize::new(0),
            breaker: Breaker::new(spec.failures_max, spec.retry_after),
            kept: Kept::new(spec.cache_bytes_max),
            counts: Counts::default(),
            observer: Arc::clone(observer),
            spec,
        }))
    }

    /// An answer that was given before and may be given again: no request is made.
    pub(super) fn kept(&self, policy: &str, request: &HttpRequest) -> Option<Answer> {
        if request.reuse_success_seconds == 0 && request.reuse_other_seconds == 0 {
            return None;
        }
        let response = self.kept.get(&kept::question(policy, request), Instant::now())?;
        self.counts.reused.fetch_add(1, Ordering::Relaxed);
        Some(Answer::Http(response))
    }

    /// Asks. Call it on a runtime with I/O and time; when the future is dropped the request is given up.
    pub(super) async fn ask(&self, policy: &str, request: &HttpRequest) -> Answer {
        match self.answer(request).await {
            Ok(response) => {
                self.counts.answered.fetch_add(1, Ordering::Relaxed);
                self.keep(kept::question(policy, request), request, &response);
                Answer::Http(response)
            }
            Err(failure) => Answer::Failed(self.report(failure)),
        }
    }

    async fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        let deadline = tokio::time::Instant::now() + self.spec.timeout;
        if !self.breaker.may_admit(Instant::now()) {
            return Err(Failure::LeftAlone);
        }
        let turn = timeout_at(deadline, self.turn()).await;
        let _turn = turn.map_err(|_| Failure::TimedOut { asked: false })??;
        let started = Instant::now();
        // It may have been found to be down while this request waited.
        let pass = self.breaker.admit(started).ok_or(Failure::LeftAlone)?;
        let sent = timeout_at(deadline, self.client.send(request)).await;
        let now = Instant::now();
        let took = u64::try_from((now - started).as_micros()).unwrap_or(u64::MAX);
        self.counts.microseconds.fetch_add(took, Ordering::Relaxed);
        let (result, turn) = match sent {
            Ok(Ok(response)) => (Ok(response), pass.succeeded()),
            Ok(Err(Trouble::NotTaken(what))) => (Err(Failure::NotTaken(what)), pass.succeeded()),
            Ok(Err(Trouble::Unusable(what))) => {
                drop(pass);
                return Err(Failure::Unusable(what));
            }
            Ok(Err(Trouble::Down(what))) => (Err(Failure::Down(what)), pass.failed(now)),
            Err(_) => (Err(Failure::TimedOut { asked: true }), pass.failed(now)),
        };
        match turn {
            Turn::Same => {}
            Turn::Opened => self.notice(ServiceNotice::LeftAlone(self.spec.retry_after)),
            Turn::Closed => self.notice(ServiceNotice::Back),
        }
        result
    }

    /// Waits for a turn, unless too many do.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let waiting = Waiting::join(&self.waiting, self.spec.queue_max as usize).ok_or(Failure::Shed)?;
        let turn = self.turns.acquire().await;
        drop(waiting);
        // They are never closed.
        turn.map_err(|_| Failure::Shed)
    }

    fn keep(&self, question: Question, request: &HttpRequest, response: &HttpResponse) {
        let seconds = match response.status {
            200..300 => request.reuse_success_seconds,
            _ => request.reuse_other_seconds,
        };
        let time = Duration::from_secs(seconds.into()).min(self.spec.cache_time_max);
        self.kept.put(question, response, time, Instant::now());
    }

    /// Counts and tells a failure; the text is what the policy learns.
    fn report(&self, failure: Failure) -> String {
        let name = &self.spec.name;
        let counts = &self.counts;
        let (count, is_news, what) = match failure {
            Failure::Unusable(what) => (&counts.unusable, true, what),
            Failure::Shed => (&counts.shed, true, "too many requests wait for it".to_owned()),
            Failure::LeftAlone => (
                &counts.left_alone,
                false,
                "it failed too often and is left alone".to_owned(),
            ),
            Failure::TimedOut { asked: false } => (
                &counts.timed_out,
                true,
                "a request waited too long for its turn".to_owned(),
            ),
            Failure::TimedOut { asked: true } => {
                let what = format!("it did not answer within {:?}", self.spec.timeout);
                (&counts.timed_out, true, what)
            }
            Failure::Down(what) => (&counts.failed, true, what),
            Failure::NotTaken(what) => (&counts.not_taken, true, what),
        };
        count.fetch_add(1, Ordering::Relaxed);
        // From the network: it could forge a line of the log.
        let what = printable(&what);
        if is_news {
            self.notice(ServiceNotice::Failed(what.clone()));
        }
        format!("service `{name}`: {what}")
    }

    fn notice(&self, what: ServiceNotice) {
        self.observer.observe(&PolicyNotice::Service {
            service: self.spec.name.as_str().into(),
            what,
        });
    }

    pub(super) fn status(&self) -> ServiceStatus {
        let counts = &self.counts;
        let requests = [
            ("answered", &counts.answered),
            ("reused", &counts.reused),
            ("failed", &counts.failed),
            ("not-taken", &counts.not_taken),
            ("timed-out", &counts.timed_out),
            ("shed", &counts.shed),
            ("left-alone", &counts.left_alone),
            ("unusable", &counts.unusable),
        ];
        let in_flight = (self.spec.in_flight_max as usize).saturating_sub(self.turns.available_permits());
        ServiceStatus {
            name: self.spec.name.clone(),
            requests: requests
                .map(|(what, count)| (what, count.load(Ordering::Relaxed)))
                .to_vec(),
            time: Duration::from_micros(counts.microseconds.load(Ordering::Relaxed)),
            in_flight: in_flight as u64,
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
            is_left_alone: self.breaker.is_open(),
            cache_bytes: self.kept.bytes() as u64,
        }
    }
}

/// A place in a queue; given back also when the client goes away while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// `None`: the queue is full.
    fn join(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let joined = Self(waiting);
        // Dropping `joined` takes it back.
        (waiting.fetch_add(1, Ordering::Relaxed) < max).then_some(joined)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
