//! Waiting for the broker while a client connects.
//!
//! Nothing waits inside a policy. `on_connect` is run from its start with the answers the broker has given so far;
//! where it awaits one that is missing, the run ends, the broker does what was asked and runs `on_connect` again with
//! one answer more. So the code before an `.await` runs more than once and must do the same each time.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::bindings::host::sluice::policy::services::{
    Answer, ConnectOutcome, Effect, HttpRequest, HttpResponse, TokenCheck,
};
use crate::bindings::host::sluice::policy::types::PasswordCheck;
use crate::connect::{Connect, Password};
use crate::reason::Reason;
use crate::token::Token;

/// What `on_connect` may ask of the broker, in at most 8 rounds. Asking for several things at once ([`Ask::http_all`],
/// joined futures; at most 8) is one.
///
/// When the broker cannot do what was asked, the client is refused with 0x88 Server unavailable and the cause is
/// logged; `on_connect` does not continue.
#[derive(Debug)]
pub struct Ask {
    nonce: Vec<u8>,
    answers: Vec<Answer>,
    run: RefCell<Run>,
}

#[derive(Debug, Default)]
struct Run {
    /// Effects awaited in this run, the answered ones included.
    awaited: usize,
    unanswered: Vec<Effect>,
    failure: Option<String>,
}

impl Ask {
    pub(crate) fn new(nonce: Vec<u8>, answers: Vec<Answer>) -> Self {
        Self {
            nonce,
            answers,
            run: RefCell::default(),
        }
    }

    /// 32 unpredictable bytes, the same each time `on_connect` runs for one request: for challenges.
    pub fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    /// Whether the password fits the hash. The broker computes it on threads of its own, and refuses hashes that cost
    /// too much. It takes
    ///
    /// - `$argon2id$v=19$m=...,t=...,p=...$SALT$HASH`, also argon2i and argon2d: what `sluice passwd` makes;
    /// - `$2a$`, `$2b$`, `$2x$`, `$2y$`: bcrypt;
    /// - `$pbkdf2-sha512$i=ROUNDS,l=BYTES$SALT$HASH` and `$pbkdf2-sha256$...`: PHC strings, and the form without names,
    ///   `$pbkdf2-sha512$ROUNDS$SALT$HASH`;
    /// - `$7$ROUNDS$SALT$HASH`: PBKDF2-SHA512 of Mosquitto's password file;
    /// - `PBKDF2$sha512$ROUNDS$SALT$HASH`, also sha256: mosquitto-go-auth;
    /// - `emqx$pbkdf2$sha512$ROUNDS$SALT$HASH`, also sha256: salt and hexadecimal hash as EMQX stores them.
    pub async fn verify_password(&self, hash: &str, password: &Password) -> bool {
        let check = || {
            Effect::VerifyPassword(PasswordCheck {
                hash: hash.to_owned(),
                password: password.as_bytes().to_vec(),
            })
        };
        match self.carry_out(check).await {
            Answer::Password(fits) => fits,
            other => mismatch("verify_password", &other),
        }
    }

    /// Sends the client an AUTH packet and returns the data of its answer; for clients that connected with an
    /// [`auth_method`](crate::ConnectRequest::auth_method).
    pub async fn challenge(&self, data: impl Into<Vec<u8>>) -> Option<Vec<u8>> {
        match self.carry_out(|| Effect::Challenge(data.into())).await {
            Answer::Response(data) => data,
            other => mismatch("challenge", &other),
        }
    }

    /// Asks a service of the operator's configuration, and returns what it said. When it cannot be reached, does not
    /// answer in time, or answers with a redirect, a server error or too much, the client is refused.
    pub async fn http(&self, request: HttpRequest) -> HttpResponse {
        match self.carry_out(|| Effect::Http(request)).await {
            Answer::Http(response) => response,
            other => mismatch("http", &other),
        }
    }

    /// The same, for a policy that knows what to do when there is no answer, which must not be to let anybody in: the
    /// error says why there is none.
    ///
    /// # Errors
    /// Where [`Ask::http`] would refuse the client.
    pub async fn try_http(&self, request: HttpRequest) -> Result<HttpResponse, String> {
        match self.outcome(|| Effect::Http(request)).await {
            Answer::Http(response) => Ok(response),
            Answer::Failed(why) => Err(why),
            other => mismatch("try_http", &other),
        }
    }

    /// Several requests at once, at most 8; the answers are in the same order. When one fails the client is refused.
    pub async fn http_all(&self, requests: impl IntoIterator<Item = HttpRequest>) -> Vec<HttpResponse> {
        let mut asked: Vec<_> = requests
            .into_iter()
            .map(|request| Box::pin(self.http(request)))
            .collect();
        let mut answered: Vec<Option<HttpResponse>> = asked.iter().map(|_| None).collect();
        poll_fn(|context| {
            for (question, place) in asked.iter_mut().zip(&mut answered) {
                if place.is_none()
                    && let Poll::Ready(response) = question.as_mut().poll(context)
                {
                    *place = Some(response);
                }
            }
            match answered.iter().all(Option::is_some) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        answered.into_iter().flatten().collect()
    }

    /// Checks a JSON Web Token with the keys of an issuer of the operator's configuration: signature, time, issuer and
    /// audience.
    ///
    /// # Errors
    /// What is wrong with the token. When it cannot be checked at all the client is refused.
    pub async fn verify_jwt(&self, issuer: &str, token: impl AsRef<[u8]>) -> Result<Token, String> {
        let check = || {
            Effect::VerifyJwt(TokenCheck {
                issuer: issuer.to_owned(),
                token: token.as_ref().to_vec(),
            })
        };
        match self.carry_out(check).await {
            Answer::Token(verdict) => verdict.map(Token::from),
            other => mismatch("verify_jwt", &other),
        }
    }

    /// The answer, unless the broker could not give one: then nothing goes on.
    async fn carry_out(&self, effect: impl FnOnce() -> Effect) -> Answer {
        match self.outcome(effect).await {
            Answer::Failed(why) => {
                self.run.borrow_mut().failure = Some(why);
                pending().await
            }
            answer => answer,
        }
    }

    async fn outcome(&self, effect: impl FnOnce() -> Effect) -> Answer {
        let index = self.run.borrow().awaited;
        self.run.borrow_mut().awaited += 1;
        match self.answers.get(index) {
            Some(answer) => answer.clone(),
            None => {
                self.run.borrow_mut().unanswered.push(effect());
                pending().await
            }
        }
    }

    /// Runs `on_connect` once, as far as the answers go.
    pub(crate) fn run(self, judge: impl AsyncFnOnce(&Self) -> Connect) -> ConnectOutcome {
        let polled = pin!(judge(&self))
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(Connect::Deny(denial)) => ConnectOutcome::Deny(denial),
            Poll::Ready(Connect::Admit(terms)) => ConnectOutcome::Admit(*terms),
            Poll::Ready(Connect::Abstain) => ConnectOutcome::Abstain,
            Poll::Pending => self.run.into_inner().unfinished(),
        }
    }
}

impl Run {
    fn unfinished(self) -> ConnectOutcome {
        if let Some(why) = self.failure {
            crate::log::warn!("the broker could not do what was asked: {why}");
            let denial = Reason::ServerUnavailable.because("the credentials could not be checked");
            return ConnectOutcome::Deny(denial);
        }
        assert!(
            !self.unanswered.is_empty(),
            "on_connect awaits something that is not a method of `Ask`: nothing will ever wake it"
        );
        ConnectOutcome::Wait(self.unanswered)
    }
}

#[expect(
    clippy::panic,
    reason = "the broker or the policy is broken; a trap refuses the client"
)]
fn mismatch(asked: &str, answer: &Answer) -> ! {
    let given = match answer {
        Answer::Failed(_) => "a failure",
        Answer::Password(_) => "a password check",
        Answer::Response(_) => "an authentication response",
        Answer::Http(_) => "what a service said",
        Answer::Token(_) => "a token's claims",
    };
    panic!("`{asked}` was answered with {given}: does on_connect ask the same things in each run?")
}
