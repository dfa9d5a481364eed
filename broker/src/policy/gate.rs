//! The policy side of one session: judges everything it does, always by the set in force.

use super::Host;
use super::cache::{Key, VerdictCache};
use super::grant::{Cause, Ruling};
use super::local::{Bench, with_bench};
use super::notice::{Fault, FaultKind, Hook};
use super::packed::{Code, Packed};
use super::reason::{FAULT, connack_reason, disconnect_reason, publish_reason, subscribe_reason};
use super::set::PolicySet;
use super::terms::{Subject, Terms, combine, interval, is_sendable, sendable_denial};
use super::verdict::{
    Admission, Budget, ContentMessage, ContentOutcome, ContentVerdict, Denial, PublishVerdict, RefreshCause,
    RefreshOutcome, RefreshVerdict, Refusal, SessionEvent, SubscribeVerdict,
};
use super::wasm::RefreshSubject;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Judges one session. Moves between threads with it.
pub struct Gate {
    host: Arc<Host>,
    sitting: Sitting,
}

/// All of a gate but the host, so that both can be borrowed at once.
struct Sitting {
    subject: Arc<Subject>,
    /// In the order of the chain of generation `seated`.
    seats: Vec<Seat>,
    seated: u64,
    /// The last generation that judged the session as a whole: at CONNECT or refresh.
    judged: u64,
    combined: Admission,
    cache: VerdictCache,
}

/// What one policy of the chain has to do with the session.
pub(super) struct Seat {
    pub(super) policy: Arc<str>,
    /// Its place in the set.
    pub(super) index: usize,
    /// The module that judged the session; 0: none yet.
    pub(super) judged_by: u64,
    /// `None`: it abstained.
    pub(super) terms: Option<Terms>,
    exports: Exports,
}

#[derive(Clone, Copy, Default)]
struct Exports {
    publish: bool,
    subscribe: bool,
    content: bool,
    events: bool,
}

impl Seat {
    /// A seat for a policy that has not said anything about the session.
    pub(super) fn new(set: &PolicySet, index: usize) -> Option<Self> {
        let policy = set.policies.get(index)?;
        Some(Self {
            policy: Arc::clone(&policy.name),
            index,
            judged_by: 0,
            terms: None,
            exports: Exports {
                publish: policy.exports("publish"),
                subscribe: policy.exports("subscribe"),
                content: policy.exports("content"),
                events: policy.exports("events"),
            },
        })
    }

    fn tag(&self) -> u64 {
        self.terms.as_ref().map_or(0, |terms| terms.tag)
    }
}

impl Gate {
    /// For a client that `set` admitted.
    pub(super) fn new(
        host: Arc<Host>,
        set: &PolicySet,
        subject: Subject,
        seats: Vec<Seat>,
        combined: Admission,
    ) -> Self {
        let sitting = Sitting {
            subject: Arc::new(subject),
            seats,
            seated: set.generation,
            judged: set.generation,
            combined,
            cache: VerdictCache::default(),
        };
        Self { host, sitting }
    }

    /// Judges a message the client publishes, or its will. The topic is without the mount point and aliases.
    pub fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload_bytes: u32) -> PublishVerdict {
        let Self { host, sitting } = self;
        let key = Key {
            qos,
            retain,
            payload_bytes,
        };
        with_bench(host, |bench| sitting.publish(host, bench, topic, key))
            .unwrap_or_else(|| PublishVerdict::Deny(reentered()))
    }

    /// Judges a subscription to a filter without mount point and `$share/name/`. `options` are the bits of
    /// `on-subscribe` in `wit/policy.wit`.
    pub fn subscribe(&mut self, filter: &str, options: u32) -> SubscribeVerdict {
        let Self { host, sitting } = self;
        with_bench(host, |bench| sitting.subscribe(host, bench, filter, options))
            .unwrap_or_else(|| SubscribeVerdict::Deny(reentered()))
    }

    /// Whether [`Gate::content`] has anything to ask; if not, it need not be called.
    pub fn has_content(&mut self) -> bool {
        let Self { host, sitting } = self;
        with_bench(host, |bench| {
            sitting.follow(&bench.set);
            sitting.seats.iter().any(|seat| seat.exports.content)
        })
        .unwrap_or(true)
    }

    /// Shows a message that was allowed to the policies that want to see its content, one after the other.
    pub fn content(&mut self, message: ContentMessage) -> ContentVerdict {
        let Self { host, sitting } = self;
        with_bench(host, |bench| sitting.content(host, bench, message))
            .unwrap_or_else(|| ContentVerdict::Deny(reentered()))
    }

    /// Whether the set in force has judged the session. If not, call [`Gate::refresh`].
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.sitting.judged == self.host.generation.load(Ordering::Acquire)
    }

    /// Judges the session again. Policies whose module has not changed are not asked because of a swap.
    pub fn refresh(&mut self, cause: RefreshCause) -> RefreshVerdict {
        let Self { host, sitting } = self;
        with_bench(host, |bench| sitting.refresh(host, bench, cause))
            .unwrap_or_else(|| RefreshVerdict::Deny(reentered()))
    }

    /// How long after an admission or refresh the next [`RefreshCause::Interval`] is due.
    #[must_use]
    pub fn refresh_after(&self) -> Option<Duration> {
        interval(&self.sitting.combined)
    }

    /// What to enforce.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.sitting.combined.budget
    }

    /// Replaces the budget that one policy set and returns what to enforce now. `None`: the policy does not judge
    /// this session and has no say.
    pub fn set_budget(&mut self, policy: &str, budget: Budget) -> Option<&Budget> {
        let sitting = &mut self.sitting;
        let seat = sitting.seats.iter_mut().find(|seat| &*seat.policy == policy)?;
        seat.terms.as_mut()?.budget = budget;
        let terms = sitting.seats.iter().filter_map(|seat| seat.terms.as_ref());
        sitting.combined.budget = combine(terms).budget;
        Some(&sitting.combined.budget)
    }

    /// Whether the policy is in the session's chain.
    #[must_use]
    pub fn is_judged_by(&self, policy: &str) -> bool {
        self.sitting.seats.iter().any(|seat| &*seat.policy == policy)
    }

    /// Who the client is, if a policy said so.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.sitting.combined.principal.as_deref()
    }

    /// Prefix of every topic of the client.
    #[must_use]
    pub fn mountpoint(&self) -> Option<&str> {
        self.sitting.combined.mountpoint.as_deref()
    }

    /// Of all policies.
    #[must_use]
    pub fn attributes(&self) -> &[(String, String)] {
        &self.sitting.combined.attributes
    }

    /// As in the request.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.sitting.subject.session
    }

    /// Tells the policies that the session is online.
    pub fn connected(&mut self, resumed: bool) {
        let subject = Arc::clone(&self.sitting.subject);
        let principal = self.sitting.combined.principal.clone();
        let principal = principal.as_deref();
        self.tell(&SessionEvent::Connected {
            client_id: &subject.client_id,
            principal,
            resumed,
        });
    }

    /// Tells the policies that the session is offline.
    pub fn disconnected(&mut self, reason: u8, will_published: bool) {
        let subject = Arc::clone(&self.sitting.subject);
        self.tell(&SessionEvent::Disconnected {
            client_id: &subject.client_id,
            reason,
            will_published,
        });
    }

    /// Tells the policies how many messages left the session's queue unsent since it was last told.
    pub fn overflowed(&mut self, messages: u64) {
        self.tell(&SessionEvent::QueueOverflow(messages));
    }

    fn tell(&mut self, event: &SessionEvent<'_>) {
        let Self { host, sitting } = self;
        with_bench(host, |bench| {
            sitting.follow(&bench.set);
            let session = sitting.subject.session;
            for seat in sitting.seats.iter().filter(|seat| seat.exports.events) {
                // A fault is reported; there is nothing to refuse.
                let _ = bench.call(host, seat.index, Hook::Event, |instance| {
                    instance.event(session, seat.tag(), event)
                });
            }
        });
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("session", &self.sitting.subject.session)
            .field("principal", &self.sitting.combined.principal)
            .field("judged", &self.sitting.judged)
            .finish_non_exhaustive()
    }
}

impl Sitting {
    /// Takes the seats of a newer set: policies that are gone leave, new ones come without terms.
    fn follow(&mut self, set: &PolicySet) {
        if self.seated != set.generation {
            self.reseat(set);
        }
    }

    #[cold]
    fn reseat(&mut self, set: &PolicySet) {
        let mut before = std::mem::take(&mut self.seats);
        for index in set.chain(&self.subject.peer.listener).iter() {
            let Some(mut seat) = Seat::new(set, *index) else {
                continue;
            };
            if let Some(known) = before.iter().position(|old| old.policy == seat.policy) {
                let known = before.swap_remove(known);
                seat.terms = known.terms;
                seat.judged_by = known.judged_by;
            }
            self.seats.push(seat);
        }
        self.seated = set.generation;
        self.cache.clear();
    }

    fn publish(&mut self, host: &Host, bench: &mut Bench, topic: &str, key: Key) -> PublishVerdict {
        self.follow(&bench.set);
        if let Some(verdict) = self.cache.get(topic, key) {
            return verdict.clone();
        }
        // The shortest lifetime that any hook allows; none: no hook was asked, and the rules are as quick as a cache.
        let mut reusable_ticks = None;
        let verdict = self.judge_publish(host, bench, topic, key, &mut reusable_ticks);
        if let Some(ticks @ 1..) = reusable_ticks {
            self.cache.put(
                topic,
                key,
                &verdict,
                Duration::from_millis(u64::from(ticks) * 100),
            );
        }
        verdict
    }

    fn judge_publish(
        &self,
        host: &Host,
        bench: &mut Bench,
        topic: &str,
        key: Key,
        reusable_ticks: &mut Option<u16>,
    ) -> PublishVerdict {
        let session = self.subject.session;
        let mut allowed = None;
        for seat in &self.seats {
            let refuse = |reason, text| refusal(seat, self.seated, publish_reason(reason), text);
            match seat.terms.as_ref().and_then(|terms| terms.grants.as_ref()) {
                Some(grants) => match grants.publish(topic, key.qos, key.retain) {
                    Ruling::Deny(cause) => return PublishVerdict::Deny(refuse(0, Some(cause.to_string()))),
                    Ruling::Allow(_) => {
                        allowed.get_or_insert(0);
                        continue;
                    }
                    Ruling::Consult(_) if !seat.exports.publish => {
                        return PublishVerdict::Deny(refuse(0, Some(no_hook(Hook::Publish))));
                    }
                    Ruling::Consult(_) => {}
                },
                None if !seat.exports.publish => continue,
                None => {}
            }
            let answer = bench.call(host, seat.index, Hook::Publish, |instance| {
                let bits = instance.publish(
                    session,
                    seat.tag(),
                    topic,
                    (key.qos, key.retain, key.payload_bytes),
                )?;
                Packed::publish(bits)
            });
            let packed = match answer {
                Ok(packed) => packed,
                Err(fault) => {
                    *reusable_ticks = None;
                    return PublishVerdict::Deny(failure(seat, self.seated, &fault));
                }
            };
            *reusable_ticks =
                Some(reusable_ticks.map_or(packed.cache_ticks, |ticks| ticks.min(packed.cache_ticks)));
            match packed.code {
                Code::Allow => {
                    allowed.get_or_insert(0);
                }
                Code::Throttle => allowed = Some(allowed.unwrap_or(0).max(packed.throttle_ms)),
                Code::Abstain => {}
                Code::Deny => return PublishVerdict::Deny(refuse(packed.reason, None)),
                Code::Drop => return PublishVerdict::Drop(refuse(packed.reason, None)),
                Code::Disconnect => {
                    *reusable_ticks = None;
                    let reason = disconnect_reason(packed.reason);
                    return PublishVerdict::Disconnect(refusal(seat, self.seated, reason, None));
                }
            }
        }
        match allowed {
            Some(throttle_ms) => PublishVerdict::Allow { throttle_ms },
            None => PublishVerdict::Deny(nobody_allows(self.seated)),
        }
    }

    fn subscribe(&mut self, host: &Host, bench: &mut Bench, filter: &str, options: u32) -> SubscribeVerdict {
        self.follow(&bench.set);
        let session = self.subject.session;
        let [requested, ..] = (options & 3).to_le_bytes();
        let mut allowed = false;
        let mut granted = requested.min(2);
        for seat in &self.seats {
            let refuse = |reason, text| refusal(seat, self.seated, subscribe_reason(reason), text);
            match seat.terms.as_ref().and_then(|terms| terms.grants.as_ref()) {
                Some(grants) => match grants.subscribe(filter) {
                    Ruling::Deny(cause) => return SubscribeVerdict::Deny(refuse(0, Some(cause.to_string()))),
                    Ruling::Allow(qos_max) => {
                        allowed = true;
                        granted = granted.min(qos_max);
                        continue;
                    }
                    Ruling::Consult(_) if !seat.exports.subscribe => {
                        return SubscribeVerdict::Deny(refuse(0, Some(no_hook(Hook::Subscribe))));
                    }
                    Ruling::Consult(qos_max) => granted = granted.min(qos_max),
                },
                None if !seat.exports.subscribe => continue,
                None => {}
            }
            let answer = bench.call(host, seat.index, Hook::Subscribe, |instance| {
                Packed::subscribe(instance.subscribe(session, seat.tag(), filter, options)?)
            });
            let packed = match answer {
                Ok(packed) => packed,
                Err(fault) => return SubscribeVerdict::Deny(failure(seat, self.seated, &fault)),
            };
            match packed.code {
                Code::Allow | Code::Throttle => {
                    allowed = true;
                    granted = granted.min(packed.qos.unwrap_or(2));
                }
                Code::Abstain => {}
                Code::Deny | Code::Drop => return SubscribeVerdict::Deny(refuse(packed.reason, None)),
                Code::Disconnect => {
                    let reason = disconnect_reason(packed.reason);
                    return SubscribeVerdict::Disconnect(refusal(seat, self.seated, reason, None));
                }
            }
        }
        if allowed {
            SubscribeVerdict::Allow { qos: granted }
        } else {
            SubscribeVerdict::Deny(nobody_allows(self.seated))
        }
    }

    fn content(&mut self, host: &Host, bench: &mut Bench, message: ContentMessage) -> ContentVerdict {
        self.follow(&bench.set);
        let session = self.subject.session;
        // A policy may make a message larger, within reason.
        let bytes_max = message.payload.len().saturating_mul(2);
        let mut message = message;
        let mut is_replaced = false;
        for seat in self.seats.iter().filter(|seat| seat.exports.content) {
            let answer = bench.call(host, seat.index, Hook::Content, |instance| {
                let outcome = instance.content(session, seat.tag(), &message, bytes_max)?;
                match &outcome {
                    ContentOutcome::Replace(new) => check_message(new).map(|()| outcome),
                    _ => Ok(outcome),
                }
            });
            let refuse = |reason| refusal(seat, self.seated, publish_reason(reason), None);
            match answer {
                Ok(ContentOutcome::Keep) => {}
                Ok(ContentOutcome::Replace(new)) => {
                    message = *new;
                    is_replaced = true;
                }
                Ok(ContentOutcome::Drop) => return ContentVerdict::Drop(refuse(0)),
                Ok(ContentOutcome::Deny(reason)) => return ContentVerdict::Deny(refuse(reason)),
                Err(fault) => return ContentVerdict::Deny(failure(seat, self.seated, &fault)),
            }
        }
        if is_replaced {
            ContentVerdict::Replace(Box::new(message))
        } else {
            ContentVerdict::Keep
        }
    }

    fn refresh(&mut self, host: &Host, bench: &mut Bench, cause: RefreshCause) -> RefreshVerdict {
        self.follow(&bench.set);
        self.judged = self.seated;
        let mut is_changed = false;
        for position in 0..self.seats.len() {
            match self.refresh_seat(host, bench, position, cause) {
                Ok(changed) => is_changed |= changed,
                Err(refusal) => return RefreshVerdict::Deny(refusal),
            }
        }
        // [`combine`] also notices that a policy with terms has left the chain.
        let combined = combine(self.seats.iter().filter_map(|seat| seat.terms.as_ref()));
        if !self.seats.iter().any(|seat| seat.terms.is_some()) {
            return RefreshVerdict::Deny(nobody_admits(self.seated));
        }
        if combined.mountpoint != self.combined.mountpoint {
            let text = Some("the mount point of a live session cannot change".to_owned());
            let refusal = Refusal {
                text,
                ..nobody_admits(self.seated)
            };
            return RefreshVerdict::Deny(refusal);
        }
        is_changed |= combined != self.combined;
        if is_changed {
            self.cache.clear();
            self.combined = combined.clone();
            return RefreshVerdict::Changed(Box::new(combined));
        }
        RefreshVerdict::Keep
    }

    /// Asks one policy again, if there is a reason to. True when its terms are new.
    fn refresh_seat(
        &mut self,
        host: &Host,
        bench: &mut Bench,
        position: usize,
        cause: RefreshCause,
    ) -> Result<bool, Refusal> {
        let generation = self.seated;
        let (Some(seat), subject) = (self.seats.get_mut(position), &self.subject) else {
            return Ok(false);
        };
        let Some(policy) = bench.set.policies.get(seat.index) else {
            return Ok(false);
        };
        let (id, has_hook) = (policy.id, policy.exports("connect"));
        let is_due = match cause {
            RefreshCause::Swap => seat.judged_by != id,
            RefreshCause::Interval => {
                seat.judged_by != id
                    || seat
                        .terms
                        .as_ref()
                        .is_some_and(|terms| terms.refresh_seconds.is_some())
            }
        };
        if !is_due {
            return Ok(false);
        }
        if !has_hook {
            // A module that admits nobody vouches for nobody its predecessor let in.
            seat.judged_by = id;
            return Ok(seat.terms.take().is_some());
        }
        let outcome = bench.call(host, seat.index, Hook::Refresh, |instance| {
            let outcome = instance.refresh(&RefreshSubject {
                session: subject.session,
                tag: seat.tag(),
                cause,
                client_id: &subject.client_id,
                username: subject.username.as_deref(),
                principal: seat.terms.as_ref().and_then(|terms| terms.principal.as_deref()),
                attributes: seat.terms.as_ref().map_or(&[], |terms| &terms.attributes),
                peer: &subject.peer,
            })?;
            Ok(match outcome {
                RefreshOutcome::Keep => Ok(None),
                RefreshOutcome::Deny(denial) => Err(denial),
                RefreshOutcome::Admit(admission) => Ok(Some(Terms::compile(*admission, subject)?.0)),
            })
        });
        match outcome {
            Ok(Ok(new)) => {
                seat.judged_by = id;
                let is_new = new.is_some();
                seat.terms = new.or(seat.terms.take());
                Ok(is_new)
            }
            Ok(Err(denial)) => Err(denied(seat, generation, denial, disconnect_reason)),
            Err(fault) => Err(failure(seat, generation, &fault)),
        }
    }
}

fn check_message(message: &ContentMessage) -> Result<(), Fault> {
    let texts = [&message.content_type, &message.response_topic];
    let properties = message
        .user_properties
        .iter()
        .flat_map(|(name, value)| [name, value]);
    let is_valid = message.qos <= 2
        && !message.topic.is_empty()
        && !message.topic.contains(['+', '#'])
        && message
            .response_topic
            .as_ref()
            .is_none_or(|topic| !topic.contains(['+', '#']))
        && message
            .correlation_data
            .as_ref()
            .is_none_or(|data| data.len() <= 65_535)
        && texts
            .into_iter()
            .flatten()
            .chain(properties)
            .chain([&message.topic])
            .all(|text| is_sendable(text));
    if is_valid {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::BadVerdict,
        "its message cannot be published: topic, QoS or a string is not valid",
    ))
}

fn refusal(seat: &Seat, generation: u64, reason: u8, text: Option<String>) -> Refusal {
    Refusal {
        policy: Arc::clone(&seat.policy),
        generation,
        reason,
        text,
        server_reference: None,
        fault: false,
    }
}

pub(super) fn failure(seat: &Seat, generation: u64, fault: &Fault) -> Refusal {
    Refusal {
        fault: true,
        ..refusal(seat, generation, FAULT, Some(fault.to_string()))
    }
}

pub(super) fn denied(seat: &Seat, generation: u64, denial: Denial, reason: fn(u8) -> u8) -> Refusal {
    let denial = sendable_denial(denial);
    Refusal {
        server_reference: denial.server_reference,
        ..refusal(seat, generation, reason(denial.reason), denial.reason_string)
    }
}

fn no_hook(hook: Hook) -> String {
    format!(
        "{}: a grant consults {hook}, which the policy does not export",
        Cause::Rule
    )
}

/// Stands in for the name of a policy where none decided.
const NO_POLICY: &str = "(no policy)";

fn nobody(generation: u64, reason: u8, text: &str) -> Refusal {
    Refusal {
        policy: NO_POLICY.into(),
        generation,
        reason,
        text: Some(text.to_owned()),
        server_reference: None,
        fault: false,
    }
}

fn nobody_allows(generation: u64) -> Refusal {
    nobody(generation, publish_reason(0), "no policy allows it")
}

pub(super) fn nobody_admits(generation: u64) -> Refusal {
    nobody(generation, connack_reason(0), "no policy admits the client")
}

/// An observer called a gate, which it must not.
fn reentered() -> Refusal {
    Refusal {
        fault: true,
        ..nobody(0, FAULT, "a policy was called from inside a policy's call")
    }
}
