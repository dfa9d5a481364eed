//! Waiting for the broker while a client connects.
//!
//! Nothing waits inside a policy. `on_connect` is run from its start with the answers the broker has given so far;
//! where it awaits one that is missing, the run ends, the broker does what was asked and runs `on_connect` again with
//! one answer more. So the code before an `.await` runs more than once and must do the same each time.

use std::cell::RefCell;
use std::future::pending;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::bindings::host::sluice::policy::types::{Answer, ConnectOutcome, Effect, PasswordCheck};
use crate::connect::{Connect, Password};
use crate::reason::Reason;

/// What `on_connect` may ask of the broker, in at most 8 rounds. Asking for several things at once (joined futures)
/// is one.
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

    /// Whether the password fits the hash, a PHC string such as `$argon2id$v=19$...` (`sluice passwd` makes them). The
    /// broker computes it on threads of its own.
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

    async fn carry_out(&self, effect: impl FnOnce() -> Effect) -> Answer {
        let index = self.run.borrow().awaited;
        self.run.borrow_mut().awaited += 1;
        match self.answers.get(index) {
            Some(Answer::Failed(why)) => {
                self.run.borrow_mut().failure = Some(why.clone());
                pending().await
            }
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
    };
    panic!("`{asked}` was answered with {given}: does on_connect ask the same things in each run?")
}
