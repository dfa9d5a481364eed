//! Testing a policy on the host: no broker, no WebAssembly, plain `cargo test`.
//!
//! ```
//! use serde_json::json;
//! use sluice_policy::prelude::*;
//! use sluice_policy::testing;
//!
//! #[derive(serde::Deserialize)]
//! struct Gate {
//!     #[serde(default)]
//!     banned: Vec<String>,
//! }
//!
//! #[policy]
//! impl Policy for Gate {
//!     type Settings = Self;
//!
//!     async fn on_connect(&self, request: &ConnectRequest, _: &Ask) -> Connect {
//!         if self.banned.contains(&request.client_id) {
//!             return Connect::deny(Reason::Banned);
//!         }
//!         Connect::admit(Admission::new().grants([Grant::allow("public/#")]))
//!     }
//! }
//!
//! let gate = testing::policy::<Gate>(json!({ "banned": ["mallory"] }))?;
//! assert_eq!(gate.connect(&testing::client("mallory")), Connect::deny(Reason::Banned));
//!
//! let alice = gate.admit(&testing::client("alice"));
//! assert!(alice.may_publish("public/news"));
//! assert!(!alice.may_subscribe("#"));
//! # Ok::<(), String>(())
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::bindings::host::sluice::policy::services::{
    Answer, ConnectOutcome, Effect, HttpRequest, HttpResponse, TokenCheck, VerifiedToken,
};
use crate::bindings::host::sluice::policy::types::{Event, Message, PasswordCheck};
use crate::connect::{Connect, Refresh, RefreshRequest};
use crate::content::{Content, ContentRequest};
use crate::export;
use crate::host::log::Level;
use crate::policy::Policy;
use crate::publish::{Publish, PublishRequest};
use crate::subscribe::{Subscribe, SubscribeRequest};

pub use double::{Ban, SessionAction};
pub use requests::{Client, certificate, client, message, publish, response, subscribe};
pub use session::Session;

pub(crate) mod double;
mod grants;
mod requests;
mod session;

/// Whether a password fits a hash.
type Fits = dyn Fn(&str, &[u8]) -> bool;
/// What a service says.
type Services = dyn Fn(&HttpRequest) -> Result<HttpResponse, String>;
/// The claims of a token of an issuer, with the seconds it is good for, or what is wrong with it.
type Tokens = dyn Fn(&str, &[u8]) -> Result<(serde_json::Value, u32), String>;

/// A policy at work, with a broker played around it.
pub struct Tested<P> {
    policy: P,
    world: Rc<RefCell<double::World>>,
    fits: Box<Fits>,
    services: Box<Services>,
    tokens: Box<Tokens>,
    asked: RefCell<Vec<HttpRequest>>,
    challenges: RefCell<Vec<Vec<u8>>>,
    respond: Box<Respond>,
    failure: Option<String>,
    passwords_checked: Cell<usize>,
}

/// A client's answer to a challenge; `None`: it does not answer.
type Respond = dyn Fn(&[u8]) -> Option<Option<Vec<u8>>>;

/// Loads a policy as the broker does: makes it from these settings and runs its self-test. Until
/// [`Tested::passwords`] says otherwise no password fits.
///
/// # Errors
/// What the operator would be told.
pub fn policy<P: Policy>(settings: serde_json::Value) -> Result<Tested<P>, String> {
    let world = Rc::default();
    let settings = settings.to_string();
    let policy = double::within(&world, || {
        let policy: P = export::configure(&settings)?;
        policy.self_test().map_err(|error| error.to_string())?;
        Ok::<_, String>(policy)
    })?;
    Ok(Tested {
        policy,
        world,
        fits: Box::new(|_, _| false),
        services: Box::new(|request| Err(format!("there is no service `{}`", request.service))),
        tokens: Box::new(|_, _| Err("nobody signed it".to_owned())),
        asked: RefCell::default(),
        challenges: RefCell::default(),
        respond: Box::new(|_| None),
        failure: None,
        passwords_checked: Cell::new(0),
    })
}

impl<P: Policy> Tested<P> {
    /// Says which password fits which hash.
    #[must_use]
    pub fn passwords(self, fits: impl Fn(&str, &[u8]) -> bool + 'static) -> Self {
        Self {
            fits: Box::new(fits),
            ..self
        }
    }

    /// Says how a client answers to challenges, in order.
    #[must_use]
    pub fn responses<T: AsRef<[u8]>>(self, responses: impl IntoIterator<Item = T>) -> Self {
        let responses: VecDeque<_> = responses
            .into_iter()
            .map(|data| Some(data.as_ref().to_vec()))
            .collect();
        let responses = RefCell::new(responses);
        Self {
            respond: Box::new(move |_| responses.borrow_mut().pop_front()),
            ..self
        }
    }

    /// Says how a client answers to each challenge; `None`: it goes away.
    #[must_use]
    pub fn responding(self, respond: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) -> Self {
        Self {
            respond: Box::new(move |challenge| respond(challenge).map(Some)),
            ..self
        }
    }

    /// Says what services answer, see [`response`]; an error is one that cannot be reached. Without this none can.
    #[must_use]
    pub fn services(self, answer: impl Fn(&HttpRequest) -> Result<HttpResponse, String> + 'static) -> Self {
        Self {
            services: Box::new(answer),
            ..self
        }
    }

    /// Says which tokens of which issuer are right: their claims and the seconds they are good for, or what is wrong.
    /// Without this all are wrong.
    #[must_use]
    pub fn tokens(
        self,
        check: impl Fn(&str, &[u8]) -> Result<(serde_json::Value, u32), String> + 'static,
    ) -> Self {
        Self {
            tokens: Box::new(check),
            ..self
        }
    }

    /// Makes the broker unable to do what the policy asks, for this reason.
    #[must_use]
    pub fn failing(self, why: &str) -> Self {
        Self {
            failure: Some(why.to_owned()),
            ..self
        }
    }

    /// Lets a client connect. Each thing that `on_connect` awaits is a round of its own, as in the broker.
    ///
    /// # Panics
    /// When the policy has not decided after 8 rounds, as many as the broker allows.
    pub fn connect(&self, client: &Client) -> Connect {
        const ROUNDS_MAX: usize = 8;
        let mut answers = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let outcome = double::within(&self.world, || {
                export::on_connect(&self.policy, client.0.clone(), answers.clone())
            });
            match outcome {
                ConnectOutcome::Deny(denial) => return Connect::Deny(denial),
                ConnectOutcome::Admit(terms) => return Connect::admit(terms),
                ConnectOutcome::Abstain => return Connect::Abstain,
                ConnectOutcome::Wait(effects) => {
                    answers.extend(effects.into_iter().map(|effect| self.carry_out(effect)));
                }
            }
        }
        #[expect(clippy::panic, reason = "this fails the author's test")]
        {
            panic!("on_connect has not decided after {ROUNDS_MAX} rounds of questions");
        }
    }

    /// Lets a client connect that must be let in, and returns its session.
    ///
    /// # Panics
    /// When it is not let in.
    pub fn admit(&self, client: &Client) -> Session<'_, P> {
        #[expect(clippy::panic, reason = "this fails the author's test")]
        match self.connect(client) {
            Connect::Admit(terms) => Session::new(self, client, *terms),
            other => panic!("{} was not let in: {other:?}", client.0.client_id),
        }
    }

    /// Lets the policy judge a session again; [`Client::refresh`] makes the request.
    pub fn refresh(&self, request: &RefreshRequest) -> Refresh {
        double::within(&self.world, || self.policy.on_refresh(request))
    }

    /// Lets the policy judge a message: a topic, or [`publish`] with changes.
    pub fn publish(&self, request: impl Into<PublishRequest>) -> Publish {
        double::within(&self.world, || self.policy.on_publish(&request.into()))
    }

    /// Lets the policy judge a subscription: a filter, or [`subscribe`] with changes.
    pub fn subscribe(&self, request: impl Into<SubscribeRequest>) -> Subscribe {
        double::within(&self.world, || self.policy.on_subscribe(&request.into()))
    }

    /// Shows the policy the content of a message.
    pub fn content(&self, tag: u64, message: Message) -> Content {
        double::within(&self.world, || {
            self.policy.on_message(ContentRequest {
                session: 1,
                tag,
                message,
            })
        })
    }

    /// Tells the policy of an event.
    pub fn event(&self, session: u64, tag: u64, event: &Event) {
        double::within(&self.world, || self.policy.on_event(session, tag, event));
    }

    /// What the policy has logged, such as `warn: nobody is admitted`.
    pub fn log(&self) -> Vec<String> {
        let line = |(level, text): &(Level, String)| {
            let level = match level {
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                Level::Debug => "debug",
            };
            format!("{level}: {text}")
        };
        self.world.borrow().log.iter().map(line).collect()
    }

    /// The value of one of the policy's counters.
    pub fn counter(&self, name: &str) -> u64 {
        self.world
            .borrow()
            .counters
            .get(name)
            .copied()
            .unwrap_or_default()
    }

    /// What the policy did to sessions, oldest first.
    pub fn actions(&self) -> Vec<SessionAction> {
        self.world.borrow().actions.clone()
    }

    /// The bans of the policy that are in force, oldest first.
    pub fn bans(&self) -> Vec<Ban> {
        let world = self.world.borrow();
        let in_force = |ban: &&Ban| ban.until_unix_milliseconds > world.now_unix_milliseconds;
        world.bans.iter().filter(in_force).cloned().collect()
    }

    fn actions_len(&self) -> usize {
        self.world.borrow().actions.len()
    }

    /// The requests the policy has made to services, oldest first.
    pub fn http_requests(&self) -> Vec<HttpRequest> {
        self.asked.borrow().clone()
    }

    /// What the policy has sent to clients in AUTH packets, oldest first.
    pub fn challenges(&self) -> Vec<Vec<u8>> {
        self.challenges.borrow().clone()
    }

    /// How many passwords the policy had checked.
    pub fn passwords_checked(&self) -> usize {
        self.passwords_checked.get()
    }

    /// Moves the clock, which begins at 0, forward.
    pub fn advance(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = &mut self.world.borrow_mut().now_unix_milliseconds;
        *now = now.saturating_add(milliseconds);
    }

    /// Does something with [`crate::host`] as this policy would, such as reading what it keeps there.
    pub fn within<T>(&self, work: impl FnOnce(&P) -> T) -> T {
        double::within(&self.world, || work(&self.policy))
    }

    fn carry_out(&self, effect: Effect) -> Answer {
        if let Some(why) = &self.failure {
            return Answer::Failed(why.clone());
        }
        match effect {
            Effect::VerifyPassword(PasswordCheck { hash, password }) => {
                self.passwords_checked.set(self.passwords_checked.get() + 1);
                Answer::Password((self.fits)(&hash, &password))
            }
            Effect::Challenge(data) => {
                let response = (self.respond)(&data);
                self.challenges.borrow_mut().push(data);
                match response {
                    Some(data) => Answer::Response(data),
                    None => Answer::Failed("the client does not answer".to_owned()),
                }
            }
            Effect::Http(request) => {
                let answer = (self.services)(&request);
                self.asked.borrow_mut().push(request);
                answer.map_or_else(Answer::Failed, Answer::Http)
            }
            Effect::VerifyJwt(TokenCheck { issuer, token }) => {
                let verdict = (self.tokens)(&issuer, &token);
                Answer::Token(verdict.map(|(claims, expires_in_seconds)| VerifiedToken {
                    claims: claims.to_string(),
                    expires_in_seconds,
                }))
            }
        }
    }
}

impl<P> fmt::Debug for Tested<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tested")
            .field("world", &self.world.borrow())
            .finish_non_exhaustive()
    }
}
