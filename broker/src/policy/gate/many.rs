//! Messages of one session that have arrived together: a policy that can judge several with one call is asked so.

use super::{Gate, Seat, Sitting};
use crate::policy::Host;
use crate::policy::local::{Bench, with_bench};
use crate::policy::notice::{Fault, FaultKind};
use crate::policy::packed::Packed;
use crate::policy::portion::MESSAGES_MAX;
use crate::policy::tally::Tier;
use crate::policy::verdict::{PublishFacts, PublishVerdict};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

/// Topics in one call at most, in bytes; `wit/hooks.wit` says so.
const TOPICS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a topic that is neither long nor short.
const TOPIC_BYTES: usize = 32;

/// The messages that one call is about.
#[derive(Default)]
struct Question {
    /// So many of the messages at hand were looked at.
    seen: usize,
    /// One bit for each of them, the first is the lowest: whether it is asked about.
    asked: u64,
    topics: String,
    /// As `wit/hooks.wit` packs them.
    messages: Vec<u64>,
}

/// What it brought. By default one message was looked at, and nobody was asked: it is to be judged alone.
struct Answers {
    seen: usize,
    asked: u64,
    /// To the first of those that were asked about.
    bits: Vec<u64>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            seen: 1,
            asked: 0,
            bits: Vec::new(),
        }
    }
}

impl Gate {
    /// Messages that one call is about at most.
    pub const MANY: usize = MESSAGES_MAX as usize;

    /// Whether something is gained by [`Gate::publish_many`].
    pub fn judges_many(&mut self) -> bool {
        let Self { host, sitting } = self;
        sitting.catch_up(host);
        sitting.may_ask.many
    }

    /// The verdict on a message that the rules or the cache decide; `None`: a policy is to be asked about it, or two.
    pub fn publish_unasked(&mut self, message: &PublishFacts<'_>) -> Option<PublishVerdict> {
        let Self { host, sitting } = self;
        sitting.catch_up(host);
        let kept = sitting.kept(host, message);
        if kept.is_some() {
            return kept;
        }
        let is_decided = sitting.is_unjudged() || !sitting.do_rules_ask(message);
        is_decided.then(|| sitting.decide(host, message))
    }

    /// Judges messages the client publishes, in their order, as [`Gate::publish`] judges each. None has QoS 2.
    ///
    /// `facts` tells what is judged of each. Gives at least one verdict, if there is a message, and at most as many as there
    /// are messages. Those without one are to be judged once those with one are dealt with: that may matter to a policy.
    pub fn publish_many<M>(
        &mut self,
        messages: &[M],
        facts: impl Fn(&M) -> PublishFacts<'_>,
    ) -> Vec<PublishVerdict> {
        let Self { host, sitting } = self;
        sitting.catch_up(host);
        let answers = with_bench(host, |bench| sitting.ask_about(host, bench, messages, &facts)).flatten();
        let answers = answers.unwrap_or_default();
        host.tally.count_many(Tier::Call, answers.bits.len() as u64);
        let mut bits = answers.bits.into_iter();
        let mut verdicts = Vec::with_capacity(answers.seen);
        let seated = sitting.seated;
        let one_decides = sitting.one_decides();
        for (index, message) in messages.iter().take(answers.seen).enumerate() {
            // A swap meanwhile: what was answered is the word of a policy that may be gone.
            if sitting.seated != seated {
                break;
            }
            if answers.asked >> index & 1 == 0 {
                verdicts.push(sitting.publish(host, &facts(message)));
                continue;
            }
            let Some(bits) = bits.next() else { break };
            if one_decides && bits == Packed::ALLOW_BITS {
                verdicts.push(PublishVerdict::Allow { throttle_ms: 0 });
                continue;
            }
            let message = facts(message);
            let (verdict, reuse) = sitting.judge_publish(&message, |_| Packed::publish(bits));
            sitting.remember(&message, &verdict, reuse);
            verdicts.push(verdict);
        }
        verdicts
    }
}

impl Sitting {
    /// Asks the one policy that has to be asked, about as many messages as it is given at once. `None`: better one by one.
    fn ask_about<M>(
        &mut self,
        host: &Host,
        bench: &mut Bench,
        messages: &[M],
        facts: &impl Fn(&M) -> PublishFacts<'_>,
    ) -> Option<Answers> {
        self.follow(&bench.set);
        if self.is_unjudged() || !self.may_ask.many {
            return None;
        }
        let seat = self.seats.iter().find(|seat| seat.may_ask_publish())?;
        let policy = Arc::clone(bench.set.policies.get(seat.index())?);
        let asked_max = policy.portion.of(u32::try_from(messages.len()).ok()?);
        if asked_max < 2 {
            return None;
        }
        let question = self.question(messages, facts, asked_max as usize);
        let asked = question.asked.count_ones();
        if asked < 2 {
            return Some(Answers {
                seen: question.seen,
                ..Answers::default()
            });
        }
        let (session, tag) = (self.subject.session, seat.tag());
        let answers = bench.call_many(host, seat.index(), asked, |instance| {
            let started = Instant::now();
            let bits = instance.publish_many(session, tag, &question.topics, &question.messages)?;
            check(&bits, question.messages.len())?;
            let allowed = policy.spec.limits.publish_deadline;
            policy.portion.took(asked, started.elapsed(), allowed);
            Ok(bits)
        });
        let Some(bits) = answers else {
            policy.portion.failed(asked);
            return None;
        };
        Some(Answers {
            seen: question.seen,
            asked: question.asked,
            bits,
        })
    }

    /// About the first messages, until so many of them are to be asked about.
    fn question<M>(
        &self,
        messages: &[M],
        facts: &impl Fn(&M) -> PublishFacts<'_>,
        asked_max: usize,
    ) -> Question {
        let mut question = Question {
            topics: String::with_capacity(messages.len() * TOPIC_BYTES),
            messages: Vec::with_capacity(messages.len()),
            ..Question::default()
        };
        let all = self.cache.is_none() && self.one_decides();
        for message in messages.iter().take(Gate::MANY).map(facts) {
            if all || (self.cached(&message).is_none() && self.do_rules_ask(&message)) {
                let is_full = question.messages.len() >= asked_max
                    || question.topics.len() + message.topic.len() > TOPICS_BYTES_MAX;
                let Ok(topic_bytes) = u16::try_from(message.topic.len()) else {
                    break;
                };
                if is_full {
                    break;
                }
                question.asked |= 1 << question.seen;
                question.topics.push_str(message.topic);
                let packed = [
                    topic_bytes.into(),
                    u64::from(message.qos) << 16,
                    u64::from(message.retain) << 24,
                ];
                let payload = u64::from(message.payload_bytes) << 32;
                question
                    .messages
                    .push(packed.into_iter().fold(payload, |packed, fact| packed | fact));
            }
            question.seen += 1;
        }
        question
    }

    /// Whether the only policy is asked about everything: what it says is the verdict.
    fn one_decides(&self) -> bool {
        matches!(&*self.seats, [seat] if seat.exports.publish
            && seat.terms.as_ref().is_none_or(|terms| terms.grants.is_none()))
    }

    /// Whether the rules leave it to a policy.
    fn do_rules_ask(&self, message: &PublishFacts<'_>) -> bool {
        let asked = Cell::new(false);
        let note = |_: &Seat| {
            asked.set(true);
            Ok(Packed::ALLOW)
        };
        // What comes of it does not matter.
        let _ = self.judge_publish(message, note);
        asked.get()
    }
}

/// Whether these are verdicts on so many messages, or the first of them.
///
/// # Errors
/// When one of them is no verdict, or there are none or too many.
pub(in crate::policy) fn check(bits: &[u64], messages: usize) -> Result<(), Fault> {
    if bits.is_empty() || bits.len() > messages {
        let problem = format!("{} verdicts on {messages} messages", bits.len());
        return Err(Fault::new(FaultKind::BadVerdict, problem));
    }
    bits.iter()
        .try_for_each(|bits| Packed::publish(*bits).map(|_| ()))
}
