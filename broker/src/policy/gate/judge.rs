//! Publishes, subscriptions and messages of one session, judged by the policies of its chain one after the other.

use super::{MayAsk, Seat, Sitting};
use crate::policy::Host;
use crate::policy::cache::{Key, Reuse};
use crate::policy::grant::Ruling;
use crate::policy::local::{Bench, with_bench};
use crate::policy::notice::{Fault, FaultKind, Hook};
use crate::policy::packed::{Code, Packed};
use crate::policy::reason::{disconnect_reason, publish_reason, subscribe_reason};
use crate::policy::refusal::{failure, no_hook, nobody_allows, reentered, refusal, unjudged};
use crate::policy::set::PolicySet;
use crate::policy::tally::Tier;
use crate::policy::terms::{Terms, is_sendable};
use crate::policy::verdict::{
    ContentMessage, ContentOutcome, ContentVerdict, PublishFacts, PublishVerdict, SubscribeVerdict,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Sitting {
    /// Takes the seats of the set in force.
    #[inline]
    pub(super) fn catch_up(&mut self, host: &Host) {
        if self.seated != host.generation.load(Ordering::Acquire) {
            self.follow(&host.current.load());
        }
    }

    /// Takes the seats of a newer set: policies that are gone leave, new ones come without terms.
    pub(super) fn follow(&mut self, set: &PolicySet) {
        if self.seated != set.generation {
            self.reseat(set);
        }
    }

    #[cold]
    fn reseat(&mut self, set: &PolicySet) {
        let mut before = std::mem::take(&mut self.seats).into_vec();
        self.seats = seats(set, &self.subject.peer.listener, |policy| {
            let known = before.iter().position(|old| *old.policy == *policy)?;
            let known = before.swap_remove(known);
            Some((known.judged_by, known.terms))
        });
        self.may_ask = MayAsk::of(&self.seats);
        self.seated = set.generation;
        self.cache = None;
    }

    /// Whether no set has judged the session yet: it was recalled. All is denied until one has.
    pub(super) fn is_unjudged(&self) -> bool {
        self.judged == 0
    }

    pub(super) fn publish(&mut self, host: &Host, message: &PublishFacts<'_>) -> PublishVerdict {
        match self.kept(host, message) {
            Some(verdict) => verdict,
            None => self.decide(host, message),
        }
    }

    /// What was decided before on the same, if that may still be used.
    #[inline]
    pub(super) fn kept(&self, host: &Host, message: &PublishFacts<'_>) -> Option<PublishVerdict> {
        let verdict = self.cached(message)?;
        host.tally.count(Tier::Cache);
        Some(verdict.clone())
    }

    /// [`Sitting::publish`] of what was not kept.
    pub(super) fn decide(&mut self, host: &Host, message: &PublishFacts<'_>) -> PublishVerdict {
        if self.is_unjudged() {
            return PublishVerdict::Deny(Box::new(unjudged(self.seated)));
        }
        if !self.may_ask.publish {
            // The rules decide: no instance is needed, nor this thread's set.
            host.tally.count(Tier::Grant);
            let nobody = |_: &Seat| Err(Fault::new(FaultKind::Host, "no hook was to be asked"));
            return self.judge_publish(message, nobody).0;
        }
        let judged = with_bench(host, |bench| {
            self.follow(&bench.set);
            let session = self.subject.session;
            self.judge_publish(message, |seat| {
                bench.call(host, seat.index(), Hook::Publish, |instance| {
                    let facts = (message.qos, message.retain, message.payload_bytes);
                    Packed::publish(instance.publish(session, seat.tag(), message.topic, facts)?)
                })
            })
        });
        let Some((verdict, reuse)) = judged else {
            return PublishVerdict::Deny(Box::new(reentered()));
        };
        host.tally.count(match reuse {
            Some(_) => Tier::Call,
            None => Tier::Grant,
        });
        self.remember(message, &verdict, reuse);
        verdict
    }

    /// A verdict that was kept and may still be used.
    #[inline]
    pub(super) fn cached(&self, message: &PublishFacts<'_>) -> Option<&PublishVerdict> {
        self.cache.as_ref()?.get(message.topic, Key::of(message))
    }

    /// Keeps a verdict if it may be reused.
    pub(super) fn remember(
        &mut self,
        message: &PublishFacts<'_>,
        verdict: &PublishVerdict,
        reuse: Option<Reuse>,
    ) {
        if let Some(reuse @ Reuse { ticks: 1.., .. }) = reuse {
            let cache = self.cache.get_or_insert_default();
            cache.put(message.topic, Key::of(message), verdict, reuse);
        }
    }

    /// The verdict, and how far all who were asked allow it to be reused. `None`: nobody was asked, and the rules are
    /// as quick as a cache.
    #[inline]
    pub(super) fn judge_publish(
        &self,
        message: &PublishFacts<'_>,
        mut ask: impl FnMut(&Seat) -> Result<Packed, Fault>,
    ) -> (PublishVerdict, Option<Reuse>) {
        let mut reuse: Option<Reuse> = None;
        let mut allowed = None;
        for seat in &self.seats {
            let refuse = |reason, text| Box::new(refusal(seat, self.seated, publish_reason(reason), text));
            match seat.terms.as_ref().and_then(|terms| terms.grants.as_ref()) {
                Some(grants) => match grants.publish(message.topic, message.qos, message.retain) {
                    Ruling::Deny(cause) => {
                        return (PublishVerdict::Deny(refuse(0, Some(cause.to_string()))), reuse);
                    }
                    Ruling::Allow(_) => {
                        allowed.get_or_insert(0);
                        continue;
                    }
                    Ruling::Consult(_) if !seat.exports.publish => {
                        let text = Some(no_hook(Hook::Publish));
                        return (PublishVerdict::Deny(refuse(0, text)), reuse);
                    }
                    Ruling::Consult(_) => {}
                },
                None if !seat.exports.publish => continue,
                None => {}
            }
            let packed = match ask(seat) {
                Ok(packed) => packed,
                Err(fault) => {
                    let refusal = failure(seat, self.seated, &fault);
                    return (PublishVerdict::Deny(Box::new(refusal)), Some(Reuse::NOT));
                }
            };
            let allows = Reuse {
                ticks: packed.cache_ticks,
                whatever_size: packed.whatever_size,
            };
            reuse = Some(reuse.map_or(allows, |reuse| reuse.and(allows)));
            match packed.code {
                Code::Allow => {
                    allowed.get_or_insert(0);
                }
                Code::Throttle => allowed = Some(allowed.unwrap_or(0).max(packed.throttle_ms)),
                Code::Abstain => {}
                Code::Deny => return (PublishVerdict::Deny(refuse(packed.reason, None)), reuse),
                Code::Drop => return (PublishVerdict::Drop(refuse(packed.reason, None)), reuse),
                Code::Disconnect => {
                    let reason = disconnect_reason(packed.reason);
                    let refusal = refusal(seat, self.seated, reason, None);
                    return (PublishVerdict::Disconnect(Box::new(refusal)), Some(Reuse::NOT));
                }
            }
        }
        let verdict = match allowed {
            Some(throttle_ms) => PublishVerdict::Allow { throttle_ms },
            None => PublishVerdict::Deny(Box::new(nobody_allows(self.seated))),
        };
        (verdict, reuse)
    }

    pub(super) fn subscribe(
        &mut self,
        host: &Host,
        bench: &mut Bench,
        filter: &str,
        options: u32,
    ) -> SubscribeVerdict {
        self.follow(&bench.set);
        if self.is_unjudged() {
            return SubscribeVerdict::Deny(unjudged(self.seated));
        }
        let session = self.subject.session;
        let mut tier = Tier::Grant;
        let verdict = self.judge_subscribe(filter, options, |seat| {
            tier = Tier::Call;
            bench.call(host, seat.index(), Hook::Subscribe, |instance| {
                Packed::subscribe(instance.subscribe(session, seat.tag(), filter, options)?)
            })
        });
        host.tally.count(tier);
        verdict
    }

    fn judge_subscribe(
        &self,
        filter: &str,
        options: u32,
        mut ask: impl FnMut(&Seat) -> Result<Packed, Fault>,
    ) -> SubscribeVerdict {
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
            let packed = match ask(seat) {
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

    pub(super) fn content(
        &mut self,
        host: &Host,
        bench: &mut Bench,
        message: ContentMessage,
    ) -> ContentVerdict {
        self.follow(&bench.set);
        if self.is_unjudged() {
            return ContentVerdict::Deny(unjudged(self.seated));
        }
        let session = self.subject.session;
        // A policy may make a message larger, within reason.
        let bytes_max = message.payload.len().saturating_mul(2);
        let mut message = message;
        let mut is_replaced = false;
        for seat in self.seats.iter().filter(|seat| seat.exports.content) {
            let answer = bench.call(host, seat.index(), Hook::Content, |instance| {
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
}

/// The chain of a listener, with what is `known` of each policy: the module that judged last, and its terms.
pub(super) fn seats(
    set: &PolicySet,
    listener: &str,
    mut known: impl FnMut(&str) -> Option<(u64, Option<Arc<Terms>>)>,
) -> Box<[Seat]> {
    let seat = |index: &usize| {
        let mut seat = Seat::new(set, *index)?;
        if let Some((judged_by, terms)) = known(&seat.policy) {
            seat.judged_by = judged_by;
            seat.terms = terms;
        }
        Some(seat)
    };
    set.chain(listener).iter().filter_map(seat).collect()
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
