//! One CONNECT on its way through a chain of policies.

use super::Host;
use super::gate::{Gate, Seat};
use super::local::{settle, take_instance};
use super::notice::{Fault, FaultKind, Hook};
use super::reason::connack_reason;
use super::refusal::{denied, failure, nobody_admits};
use super::set::{Chain, Policy, PolicySet};
use super::terms::{Subject, Terms, combine, combine_connack};
use super::verdict::{
    Admission, Answer, ConnackOverrides, ConnectOutcome, ConnectRequest, Decision, Effect, Refusal,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Times a policy may ask for effects in one CONNECT.
const ROUNDS_MAX: usize = 8;
/// Effects it may ask for each time.
const EFFECTS_MAX: usize = 4;

/// A CONNECT, or a re-authentication, that is being judged. The generation that begins finishes it; whether it is
/// still in force is for [`Gate::is_current`] to say. Dropping it gives up.
pub struct Judging {
    host: Arc<Host>,
    set: Arc<PolicySet>,
    chain: Chain,
    request: Arc<ConnectRequest>,
    subject: Subject,
    seats: Vec<Seat>,
    connack: ConnackOverrides,
    round: Round,
    /// Sent and not yet answered.
    challenge: Option<Vec<u8>>,
}

/// How far the policy whose turn it is has come.
#[derive(Default)]
struct Round {
    number: usize,
    answers: Vec<Answer>,
    effects: VecDeque<Effect>,
}

/// What the caller is to do next.
#[derive(Debug)]
pub enum Step {
    /// Send the client an AUTH packet with this data, then [`Judging::answer`].
    Challenge(Vec<u8>),
    /// It is decided.
    Decided(Decision),
}

impl Judging {
    pub(super) fn new(host: Arc<Host>, request: Arc<ConnectRequest>) -> Self {
        let set = host.current.load_full();
        let chain = Arc::clone(set.chain(&request.peer.listener));
        let subject = Subject::of(&request);
        Self {
            host,
            set,
            chain,
            subject,
            request,
            seats: Vec::new(),
            connack: ConnackOverrides::default(),
            round: Round::default(),
            challenge: None,
        }
    }

    /// Goes on until the client has to answer or it is decided. Call it on a tokio runtime. A decision is final:
    /// do not call it again.
    pub async fn step(&mut self) -> Step {
        if let Some(challenge) = &self.challenge {
            return Step::Challenge(challenge.clone());
        }
        while let Some(index) = self.chain.get(self.seats.len()).copied() {
            while let Some(effect) = self.round.effects.pop_front() {
                match effect {
                    Effect::VerifyPassword { hash, password } => {
                        let answer = self.host.passwords.verify(hash, password).await;
                        self.round.answers.push(answer);
                    }
                    Effect::Challenge(_) if self.request.auth_method.is_none() => {
                        let problem = "the client does not use enhanced authentication";
                        self.round.answers.push(Answer::Failed(problem.into()));
                    }
                    Effect::Challenge(data) => {
                        self.challenge = Some(data.clone());
                        return Step::Challenge(data);
                    }
                }
            }
            if let Some(refusal) = self.ask(index).await {
                return Step::Decided(Decision::Deny(refusal));
            }
        }
        Step::Decided(self.conclude())
    }

    /// The client's answer to the challenge. Without one it does nothing.
    pub fn answer(&mut self, data: Option<Vec<u8>>) {
        if self.challenge.take().is_some() {
            self.round.answers.push(Answer::Response(data));
        }
    }

    /// Asks the policy whose turn it is. It takes its seat, asks for effects, or refuses.
    async fn ask(&mut self, index: usize) -> Option<Refusal> {
        let Some((policy, mut seat)) = self.set.policies.get(index).zip(Seat::new(&self.set, index)) else {
            return Some(nobody_admits(self.set.generation));
        };
        seat.judged_by = policy.id;
        if !policy.exports("connect") {
            self.seats.push(seat);
            return None;
        }
        let (generation, policy) = (self.set.generation, Arc::clone(policy));
        let call = Call {
            host: Arc::clone(&self.host),
            policy: Arc::clone(&policy),
            generation,
            request: Arc::clone(&self.request),
            answers: std::mem::take(&mut self.round.answers),
            subject: self.subject.clone(),
            is_last_round: self.round.number >= ROUNDS_MAX,
        };
        // On the blocking pool: 20 ms of a slow policy would be felt by every client of this thread.
        let Ok(turn) = Arc::clone(&policy.turns).acquire_owned().await else {
            return Some(nobody_admits(generation));
        };
        let called = tokio::task::spawn_blocking(move || {
            let result = call.run();
            drop(turn);
            result
        });
        let Ok((result, answers)) = called.await else {
            return Some(failure(
                &seat,
                generation,
                &Fault::new(FaultKind::Host, "the call was interrupted"),
            ));
        };
        match result {
            Err(fault) => return Some(failure(&seat, generation, &fault)),
            Ok(Outcome::Deny(denial)) => return Some(denied(&seat, generation, denial, connack_reason)),
            Ok(Outcome::Wait(effects)) => {
                self.round.number += 1;
                self.round.answers = answers;
                self.round.effects = effects.into();
                return None;
            }
            Ok(Outcome::Admit(admitted)) => {
                let (terms, connack) = *admitted;
                seat.terms = Some(terms);
                self.connack = combine_connack(std::mem::take(&mut self.connack), connack);
            }
            Ok(Outcome::Abstain) => {}
        }
        self.seats.push(seat);
        self.round = Round::default();
        None
    }

    fn conclude(&mut self) -> Decision {
        let seats = std::mem::take(&mut self.seats);
        if !seats.iter().any(|seat| seat.terms.is_some()) {
            return Decision::Deny(nobody_admits(self.set.generation));
        }
        let combined = combine(seats.iter().filter_map(|seat| seat.terms.as_ref()));
        let admission = Admission {
            connack: std::mem::take(&mut self.connack),
            ..combined.clone()
        };
        let gate = Gate::new(
            Arc::clone(&self.host),
            &self.set,
            self.subject.clone(),
            seats,
            combined,
        );
        Decision::Admit {
            gate: Box::new(gate),
            admission: Box::new(admission),
        }
    }
}

impl fmt::Debug for Judging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judging")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// One call of `on-connect`, on whatever thread.
struct Call {
    host: Arc<Host>,
    policy: Arc<Policy>,
    generation: u64,
    request: Arc<ConnectRequest>,
    answers: Vec<Answer>,
    subject: Subject,
    is_last_round: bool,
}

/// A policy's answer, checked.
enum Outcome {
    Deny(super::verdict::Denial),
    Admit(Box<(Terms, ConnackOverrides)>),
    Abstain,
    Wait(Vec<Effect>),
}

impl Call {
    /// The outcome, and the answers for the next round.
    fn run(self) -> (Result<Outcome, Fault>, Vec<Answer>) {
        let result = self.call();
        (result, self.answers)
    }

    fn call(&self) -> Result<Outcome, Fault> {
        let Self {
            host,
            policy,
            generation,
            ..
        } = self;
        if !policy.health.may_be_called() {
            return Err(Fault::new(
                FaultKind::Resting,
                "it exhausted its deadlines and is not called for a while",
            ));
        }
        let mut instance = take_instance(host, policy, *generation)?;
        let result = instance
            .connect(&self.request, &self.answers)
            .and_then(|outcome| self.check(outcome));
        let is_spent = settle(host, policy, *generation, Hook::Connect, &mut instance, &result);
        if !is_spent {
            policy.put_back(instance);
        }
        result
    }

    fn check(&self, outcome: ConnectOutcome) -> Result<Outcome, Fault> {
        let bad = |what: String| Err(Fault::new(FaultKind::BadVerdict, what));
        match outcome {
            ConnectOutcome::Deny(denial) => Ok(Outcome::Deny(denial)),
            ConnectOutcome::Abstain => Ok(Outcome::Abstain),
            ConnectOutcome::Admit(admission) => Ok(Outcome::Admit(Box::new(Terms::compile(
                *admission,
                &self.subject,
            )?))),
            ConnectOutcome::Wait(_) if self.is_last_round => {
                bad(format!("it waits for more after {ROUNDS_MAX} rounds"))
            }
            ConnectOutcome::Wait(effects) if effects.is_empty() || effects.len() > EFFECTS_MAX => {
                bad(format!(
                    "it waits for {} effects; 1 to {EFFECTS_MAX} are allowed",
                    effects.len()
                ))
            }
            ConnectOutcome::Wait(effects) => Ok(Outcome::Wait(effects)),
        }
    }
}
