//! One CONNECT on its way through a chain of policies.

use super::Host;
use super::effects::Underway;
use super::gate::{Gate, Seat};
use super::local::{resting, settle, take_instance, with_bench};
use super::notice::{Fault, FaultKind, Hook};
use super::reason::connack_reason;
use super::refusal::{denied, failure, nobody_admits};
use super::set::{Chain, Policy, PolicySet};
use super::terms::{Subject, Terms, combine, combine_connack};
use super::verdict::{
    Admission, Answer, ConnackOverrides, ConnectOutcome, ConnectRequest, Decision, Denial, Effect, Refusal,
};
use super::wasm::{Instance, Patience, thread_cpu_time};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Times a policy may ask for effects in one CONNECT.
const ROUNDS_MAX: usize = 8;
/// Effects it may ask for each time.
const EFFECTS_MAX: usize = 8;

/// A CONNECT, or a re-authentication, that is being judged. The generation that begins finishes it; whether it is
/// still in force is for [`Gate::is_current`] to say. Dropping it gives up.
pub struct Judging {
    host: Arc<Host>,
    set: Arc<PolicySet>,
    chain: Chain,
    question: Question,
    seats: Vec<Seat>,
    connack: ConnackOverrides,
    /// Times the policy whose turn it is has asked for effects.
    rounds: usize,
    /// Begun, and not yet answered.
    effects: VecDeque<Underway>,
    /// Sent and not yet answered.
    challenge: Option<Vec<u8>>,
}

/// What the policy whose turn it is is asked.
struct Question {
    request: Arc<ConnectRequest>,
    subject: Arc<Subject>,
    answers: Vec<Answer>,
    is_last_round: bool,
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
        let question = Question {
            subject: Arc::new(Subject::of(&request)),
            request,
            answers: Vec::new(),
            is_last_round: false,
        };
        Self {
            host,
            set,
            seats: Vec::with_capacity(chain.len()),
            chain,
            question,
            connack: ConnackOverrides::default(),
            rounds: 0,
            effects: VecDeque::new(),
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
            while let Some(effect) = self.effects.pop_front() {
                match effect {
                    Underway::Password { hash, password } => {
                        let answer = self.host.effects.verify_password(hash, password).await;
                        self.question.answers.push(answer);
                    }
                    Underway::Asked(asked) => self.question.answers.push(asked.answer().await),
                    Underway::Answered(answer) => self.question.answers.push(answer),
                    Underway::Challenge(_) if self.question.request.auth_method.is_none() => {
                        let problem = "the client does not use enhanced authentication";
                        self.question.answers.push(Answer::Failed(problem.into()));
                    }
                    Underway::Challenge(data) => {
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
            self.question.answers.push(Answer::Response(data));
        }
    }

    /// Asks the policy whose turn it is. It takes its seat, asks for effects, or refuses.
    async fn ask(&mut self, index: usize) -> Option<Refusal> {
        let generation = self.set.generation;
        let Some((policy, mut seat)) = self.set.policies.get(index).zip(Seat::new(&self.set, index)) else {
            return Some(nobody_admits(generation));
        };
        let policy = Arc::clone(policy);
        seat.judged_by = policy.id;
        if !policy.exports.connect {
            self.seats.push(seat);
            return None;
        }
        self.question.is_last_round = self.rounds >= ROUNDS_MAX;
        let outcome = match self.ask_here(&policy) {
            Some(outcome) => outcome,
            None => self.ask_on_pool(Arc::clone(&policy)).await,
        };
        match outcome {
            Err(fault) => return Some(failure(&seat, generation, &fault)),
            Ok(Outcome::Deny(denial)) => return Some(denied(&seat, generation, denial, connack_reason)),
            Ok(Outcome::Wait(effects)) => {
                self.rounds += 1;
                let granted = &policy.spec.resources;
                let begin = |effect| self.host.effects.begin(&policy.name, granted, effect);
                self.effects = effects.into_iter().map(begin).collect();
                return None;
            }
            Ok(Outcome::Admit(terms, connack)) => {
                seat.terms = Some(terms);
                self.connack = combine_connack(std::mem::take(&mut self.connack), connack);
            }
            Ok(Outcome::Abstain) => {}
        }
        self.seats.push(seat);
        self.rounds = 0;
        self.question.answers.clear();
        None
    }

    /// On this thread, if the policy is known to be quick.
    fn ask_here(&self, policy: &Arc<Policy>) -> Option<Result<Outcome, Fault>> {
        with_bench(&self.host, |bench| {
            bench.connect(&self.host, policy, self.set.generation, |instance| {
                self.question.put(&self.host, instance, Patience::OfPublish)
            })
        })?
    }

    /// On the blocking pool: a slow answer would be felt by every client of this thread.
    async fn ask_on_pool(&mut self, policy: Arc<Policy>) -> Result<Outcome, Fault> {
        let interrupted = || Fault::new(FaultKind::Host, "the call was interrupted");
        let Ok(turn) = Arc::clone(&policy.turns).acquire_owned().await else {
            return Err(interrupted());
        };
        let (host, generation) = (Arc::clone(&self.host), self.set.generation);
        let question = Question {
            request: Arc::clone(&self.question.request),
            subject: Arc::clone(&self.question.subject),
            answers: std::mem::take(&mut self.question.answers),
            is_last_round: self.question.is_last_round,
        };
        let asked = tokio::task::spawn_blocking(move || {
            let outcome = question.put_to(&host, &policy, generation);
            drop(turn);
            (outcome, question.answers)
        });
        let (outcome, answers) = asked.await.map_err(|_| interrupted())?;
        self.question.answers = answers;
        outcome
    }

    fn conclude(&mut self) -> Decision {
        let seats = std::mem::take(&mut self.seats);
        let terms = seats.iter().filter_map(|seat| seat.terms.as_ref());
        let Some(combined) = combine(terms, &self.host.shared) else {
            return Decision::Deny(nobody_admits(self.set.generation));
        };
        let admission = Admission {
            connack: std::mem::take(&mut self.connack),
            ..combined.admission()
        };
        let gate = Gate::new(
            Arc::clone(&self.host),
            &self.set,
            Arc::clone(&self.question.subject),
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
            .field("request", &self.question.request)
            .finish_non_exhaustive()
    }
}

/// A policy's answer, checked.
enum Outcome {
    Deny(Denial),
    Admit(Arc<Terms>, ConnackOverrides),
    Abstain,
    Wait(Vec<Effect>),
}

impl Question {
    /// Puts it to an instance off the shelf, with the whole time that a policy has.
    fn put_to(&self, host: &Host, policy: &Arc<Policy>, generation: u64) -> Result<Outcome, Fault> {
        if !policy.health.may_be_called() {
            return Err(resting());
        }
        let mut instance = take_instance(host, policy, generation)?;
        let started = thread_cpu_time();
        let outcome = self.put(host, &mut instance, Patience::Whole);
        policy.pace.answered(thread_cpu_time().saturating_sub(started));
        let is_spent = settle(host, policy, generation, Hook::Connect, &mut instance, &outcome);
        if !is_spent {
            policy.put_back(instance);
        }
        outcome
    }

    fn put(&self, host: &Host, instance: &mut Instance, patience: Patience) -> Result<Outcome, Fault> {
        let outcome = instance.connect(&self.request, &self.answers, patience)?;
        let bad = |what: String| Err(Fault::new(FaultKind::BadVerdict, what));
        match outcome {
            ConnectOutcome::Deny(denial) => Ok(Outcome::Deny(denial)),
            ConnectOutcome::Abstain => Ok(Outcome::Abstain),
            ConnectOutcome::Admit(admission) => {
                let (terms, connack) = Terms::compile(*admission, &self.subject, &host.shared)?;
                Ok(Outcome::Admit(terms, connack))
            }
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
