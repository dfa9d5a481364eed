//! What the broker does for policies between two rounds of a CONNECT: it checks passwords and tokens, and asks services.
//!
//! Nothing of it runs on the thread of a connection but the check of a token, which takes about as long as a policy's
//! call: passwords have a pool, services a thread of their own.

mod hash;
mod password;
mod service;
pub(super) mod spec;
mod token;

pub use password::PasswordChecks;
pub use service::ServiceStatus;

use super::notice::{PolicyError, PolicyErrorKind, PolicyObserver};
use super::question::{Answer, Effect, HttpRequest};
use super::spec::PoliciesConfig;
use arc_swap::ArcSwap;
use password::PasswordPool;
use service::Service;
use spec::{Resource, Resources};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};
use token::Issuer;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Threads that look names up: the system's resolver blocks.
const LOOKUPS_MAX: usize = 8;

/// Everything the broker does for policies.
pub(super) struct Effects {
    passwords: PasswordPool,
    outside: ArcSwap<Outside>,
    services: ServiceThread,
}

/// The services and issuers in force.
#[derive(Default)]
pub(super) struct Outside {
    services: BTreeMap<String, Arc<Service>>,
    issuers: BTreeMap<String, Arc<Issuer>>,
}

/// An effect that has been begun.
pub(super) enum Underway {
    Password { hash: String, password: Vec<u8> },
    Challenge(Vec<u8>),
    Asked(AskedService),
    Answered(Answer),
}

impl Effects {
    pub(super) fn new() -> Self {
        Self {
            passwords: PasswordPool::new(),
            outside: ArcSwap::default(),
            services: ServiceThread::default(),
        }
    }

    /// Services and issuers as configured; what has not changed goes on as it is. Nothing is in force yet.
    pub(super) fn prepare(
        &self,
        config: &PoliciesConfig,
        observer: &Arc<dyn PolicyObserver>,
        errors: &mut Vec<PolicyError>,
    ) -> Outside {
        let now = self.outside.load();
        let mut next = Outside::default();
        let mut wrong = |resource: Resource, what: String| {
            errors.push(PolicyError {
                policy: String::new(),
                kind: PolicyErrorKind::Resource(resource, what),
            });
        };
        for spec in &config.services {
            let name = spec.name.clone();
            match Service::renew(spec.clone(), now.services.get(&name), observer) {
                Ok(service) => drop(next.services.insert(name, service)),
                Err(what) => wrong(Resource::Service(name), what),
            }
        }
        for spec in &config.issuers {
            let name = spec.name.clone();
            match Issuer::load(spec) {
                Ok(issuer) => drop(next.issuers.insert(name, Arc::new(issuer))),
                Err(what) => wrong(Resource::Issuer(name), what),
            }
        }
        if !next.services.is_empty()
            && let Err(error) = self.services.start()
        {
            errors.push(PolicyError {
                policy: String::new(),
                kind: PolicyErrorKind::Host(format!("the thread for services cannot start: {error}")),
            });
        }
        next
    }

    /// Puts services and issuers in force. Requests under way end with the service they were made to.
    pub(super) fn put_in_force(&self, outside: Outside) {
        self.outside.store(Arc::new(outside));
    }

    /// Begins what can go on by itself; several effects of one round run side by side.
    pub(super) fn begin(&self, policy: &Arc<str>, granted: &Resources, effect: Effect) -> Underway {
        match effect {
            Effect::VerifyPassword { hash, password } => Underway::Password { hash, password },
            Effect::Challenge(data) => Underway::Challenge(data),
            Effect::Http(request) => self.ask(policy, granted, *request),
            Effect::VerifyJwt { issuer, token } => Underway::Answered(self.verify(granted, issuer, &token)),
        }
    }

    pub(super) async fn verify_password(&self, hash: String, password: Vec<u8>) -> Answer {
        self.passwords.verify(hash, password).await
    }

    fn ask(&self, policy: &Arc<str>, granted: &Resources, request: HttpRequest) -> Underway {
        let resource = Resource::Service(request.service.clone());
        let outside = self.outside.load();
        let service = match outside.services.get(&request.service) {
            _ if !granted.contains(&resource) => return not_granted(&resource),
            None => {
                return Underway::Answered(Answer::Failed(format!(
                    "there is no service `{}`",
                    request.service
                )));
            }
            Some(service) => service,
        };
        if let Some(answer) = service.kept(policy, &request) {
            return Underway::Answered(answer);
        }
        let (service, policy) = (Arc::clone(service), Arc::clone(policy));
        let asked = self
            .services
            .spawn(async move { service.ask(&policy, &request).await });
        match asked {
            Some(asked) => Underway::Asked(asked),
            None => Underway::Answered(Answer::Failed("the thread for services does not run".into())),
        }
    }

    fn verify(&self, granted: &Resources, issuer: String, token: &[u8]) -> Answer {
        let resource = Resource::Issuer(issuer);
        if !granted.contains(&resource) {
            return Answer::Failed(format!("`{resource}` is not granted to this policy"));
        }
        let outside = self.outside.load();
        let (Resource::Issuer(name) | Resource::Service(name)) = &resource;
        match outside.issuers.get(name) {
            None => Answer::Failed(format!("there is no issuer `{name}`")),
            Some(issuer) => Answer::Token(issuer.verify(token)),
        }
    }

    /// How the services fare, by name.
    pub(super) fn services(&self) -> Vec<ServiceStatus> {
        self.outside
            .load()
            .services
            .values()
            .map(|service| service.status())
            .collect()
    }

    pub(super) fn password_checks(&self) -> PasswordChecks {
        self.passwords.checks()
    }
}

fn not_granted(resource: &Resource) -> Underway {
    Underway::Answered(Answer::Failed(format!(
        "`{resource}` is not granted to this policy"
    )))
}

/// The thread on which requests to services are made, once there are services.
#[derive(Default)]
struct ServiceThread(OnceLock<Runtime>);

impl ServiceThread {
    fn start(&self) -> io::Result<()> {
        if self.0.get().is_none() {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(LOOKUPS_MAX)
                .thread_name("sluice-services")
                .enable_all()
                .build()?;
            if let Err(second) = self.0.set(runtime) {
                second.shutdown_background();
            }
        }
        Ok(())
    }

    fn spawn(&self, asking: impl Future<Output = Answer> + Send + 'static) -> Option<AskedService> {
        Some(AskedService(self.0.get()?.spawn(asking)))
    }
}

impl Drop for ServiceThread {
    fn drop(&mut self) {
        // The last handle may be dropped on a thread of another runtime, where waiting is not allowed.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A request to a service. Dropping it gives the request up.
pub(super) struct AskedService(JoinHandle<Answer>);

impl AskedService {
    pub(super) async fn answer(mut self) -> Answer {
        let answer = (&mut self.0).await;
        answer.unwrap_or_else(|_| Answer::Failed("the request was interrupted".into()))
    }
}

impl Drop for AskedService {
    fn drop(&mut self) {
        self.0.abort();
    }
}
