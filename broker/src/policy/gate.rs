//! The policy side of one session: judges everything it does, always by the set in force.

use super::Host;
use super::cache::VerdictCache;
use super::local::with_bench;
use super::notice::Hook;
use super::refusal::reentered;
use super::set::{Exports, PolicySet};
use super::terms::{Subject, Terms, combine};
use super::verdict::{
    Budget, ContentMessage, ContentVerdict, Limit, PublishFacts, PublishVerdict, RefreshCause,
    RefreshVerdict, SessionEvent, SubscribeVerdict,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

mod judge;
pub(super) mod many;
mod recall;
mod refresh;
#[cfg(test)]
mod tests;

pub use recall::RecallError;

/// Judges one session. Moves between threads with it.
///
/// Hooks that are asked are those of the set in force, at once. The terms of the session (grants, tag, budget) are
/// those of the module that admitted it until [`Gate::refresh`]: ask [`Gate::is_current`] before each packet, and
/// refresh first when it is not.
pub struct Gate {
    host: Arc<Host>,
    sitting: Sitting,
}

/// All of a gate but the host, so that both can be borrowed at once. There is one per session, connected or not: what
/// may be equal for many of them is shared, what most of them never need is made when it is.
struct Sitting {
    subject: Arc<Subject>,
    /// In the order of the chain of generation `seated`.
    seats: Box<[Seat]>,
    seated: u64,
    /// The last generation that judged the session as a whole: at CONNECT or refresh; 0: none since it was recalled.
    judged: u64,
    /// What the terms of all seats amounted to then.
    combined: Arc<Terms>,
    may_ask: MayAsk,
    /// Made for the first verdict that may be reused.
    cache: Option<Box<VerdictCache>>,
}

/// Which hooks may have to be asked at all; follows from the seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MayAsk {
    publish: bool,
    /// Only one policy is asked about a publish, and it can judge many at once.
    many: bool,
    content: bool,
}

/// What one policy of the chain has to do with the session.
pub(super) struct Seat {
    pub(super) policy: Arc<str>,
    /// Its place in the set.
    index: u32,
    exports: Exports,
    /// The module that judged the session; 0: none yet.
    pub(super) judged_by: u64,
    /// `None`: it abstained.
    pub(super) terms: Option<Arc<Terms>>,
}

impl Seat {
    /// A seat for a policy that has not said anything about the session.
    pub(super) fn new(set: &PolicySet, index: usize) -> Option<Self> {
        let policy = set.policies.get(index)?;
        Some(Self {
            policy: Arc::clone(&policy.name),
            index: u32::try_from(index).ok()?,
            exports: policy.exports,
            judged_by: 0,
            terms: None,
        })
    }

    fn index(&self) -> usize {
        self.index as usize
    }

    /// Whether there are messages that its publish hook is asked about.
    fn may_ask_publish(&self) -> bool {
        let grants = self.terms.as_ref().and_then(|terms| terms.grants.as_ref());
        self.exports.publish && grants.is_none_or(|grants| grants.consult_on_publish())
    }

    fn tag(&self) -> u64 {
        self.terms.as_ref().map_or(0, |terms| terms.tag)
    }
}

impl MayAsk {
    fn of(seats: &[Seat]) -> Self {
        let mut publish = seats.iter().filter(|seat| seat.may_ask_publish());
        let (first, second) = (publish.next(), publish.next());
        Self {
            publish: first.is_some(),
            many: second.is_none() && first.is_some_and(|seat| seat.exports.publish_many),
            content: seats.iter().any(|seat| seat.exports.content),
        }
    }
}

impl Gate {
    /// For a client that `set` admitted.
    pub(super) fn new(
        host: Arc<Host>,
        set: &PolicySet,
        subject: Arc<Subject>,
        seats: Vec<Seat>,
        combined: Arc<Terms>,
    ) -> Self {
        let sitting = Sitting {
            subject,
            may_ask: MayAsk::of(&seats),
            seats: seats.into_boxed_slice(),
            seated: set.generation,
            judged: set.generation,
            combined,
            cache: None,
        };
        Self { host, sitting }
    }

    /// Judges a message the client publishes, or its will. The topic is without the mount point and aliases.
    pub fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload_bytes: u32) -> PublishVerdict {
        self.judge(&PublishFacts {
            topic,
            qos,
            retain,
            payload_bytes,
        })
    }

    /// The same, of a message whose facts are together already.
    pub fn judge(&mut self, message: &PublishFacts<'_>) -> PublishVerdict {
        let Self { host, sitting } = self;
        sitting.catch_up(host);
        sitting.publish(host, message)
    }

    /// Judges a subscription to a filter without mount point and `$share/name/`. `options` are the bits of
    /// `on-subscribe` in `wit/hooks.wit`.
    pub fn subscribe(&mut self, filter: &str, options: u32) -> SubscribeVerdict {
        let Self { host, sitting } = self;
        with_bench(host, |bench| sitting.subscribe(host, bench, filter, options))
            .unwrap_or_else(|| SubscribeVerdict::Deny(reentered()))
    }

    /// Whether [`Gate::content`] has anything to ask; if not, it need not be called.
    pub fn has_content(&mut self) -> bool {
        let Self { host, sitting } = self;
        sitting.catch_up(host);
        sitting.may_ask.content
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
        self.sitting.combined.refresh_after()
    }

    /// What to enforce.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.sitting.combined.budget
    }

    /// What each policy of the chain says about the client's limits.
    pub fn budgets(&self) -> impl Iterator<Item = (&str, &Budget)> {
        let seats = self.sitting.seats.iter();
        seats.filter_map(|seat| Some((&*seat.policy, &*seat.terms.as_ref()?.budget)))
    }

    /// Replaces the budget that one policy set and returns what to enforce now. `None`: the policy does not judge
    /// this session and has no say.
    pub fn set_budget(&mut self, policy: &str, budget: Budget) -> Option<&Budget> {
        let Self { host, sitting } = self;
        let seat = sitting.seats.iter_mut().find(|seat| &*seat.policy == policy)?;
        let terms = seat.terms.as_mut()?;
        *terms = terms.with_budget(budget, &host.shared);
        let budget = *combine(sitting.terms(), &host.shared)?.budget;
        // Only the budget: the rest is what it amounted to when the session was judged as a whole.
        sitting.combined = sitting.combined.with_budget(budget, &host.shared);
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
        let combined = Arc::clone(&self.sitting.combined);
        self.tell(&SessionEvent::Connected {
            client_id: &subject.client_id,
            principal: combined.principal.as_deref(),
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

    /// Tells the policies that the client came up against a limit, so often since they were last told.
    pub fn limit_hit(&mut self, limit: Limit, times: u64) {
        self.tell(&SessionEvent::LimitHit(limit, times));
    }

    fn tell(&mut self, event: &SessionEvent<'_>) {
        let Self { host, sitting } = self;
        sitting.catch_up(host);
        if !sitting.seats.iter().any(|seat| seat.exports.events) {
            return;
        }
        with_bench(host, |bench| {
            sitting.follow(&bench.set);
            let session = sitting.subject.session;
            for seat in sitting.seats.iter().filter(|seat| seat.exports.events) {
                // A fault is reported; there is nothing to refuse.
                let _ = bench.call(host, seat.index(), Hook::Event, |instance| {
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
