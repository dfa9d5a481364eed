//! Publishes, subscriptions and messages of one session, judged by the policies of its chain one after the other.

use super::{Seat, Sitting};
use crate::policy::Host;
use crate::policy::cache::Key;
use crate::policy::grant::Ruling;
use crate::policy::local::Bench;
use crate::policy::notice::{Fault, FaultKind, Hook};
use crate::policy::packed::{Code, Packed};
use crate::policy::reason::{disconnect_reason, publish_reason, subscribe_reason};
use crate::policy::refusal::{failure, no_hook, nobody_allows, refusal};
use crate::policy::set::PolicySet;
use crate::policy::terms::is_sendable;
use crate::policy::verdict::{
    ContentMessage, ContentOutcome, ContentVerdict, PublishVerdict, SubscribeVerdict,
};
use std::time::Duration;

impl Sitting {
    /// Takes the seats of a newer set: policies that are gone leave, new ones come without terms.
    pub(super) fn follow(&mut self, set: &PolicySet) {
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

    pub(super) fn publish(
        &mut self,
        host: &Host,
        bench: &mut Bench,
        topic: &str,
        key: Key,
    ) -> PublishVerdict {
        self.follow(&bench.set);
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

    pub(super) fn subscribe(
        &mut self,
        host: &Host,
        bench: &mut Bench,
        filter: &str,
        options: u32,
    ) -> SubscribeVerdict {
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

    pub(super) fn content(
        &mut self,
        host: &Host,
        bench: &mut Bench,
        message: ContentMessage,
    ) -> ContentVerdict {
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
