//! A message that a client publishes: counted, judged, routed and acknowledged.
//!
//! Messages that were read together are gathered where a policy can judge many with one call, and judged before anything
//! else that came with them is looked at: their order, and that of the answers, stays what it was.

use super::driver::{Client, End};
use super::held::Held;
use super::link::Socket;
use super::requests::{is_failing, noted, too_fast};
use super::terms;
use crate::content;
use crate::hub::Stop;
use crate::memory::Pressure;
use crate::policy::Gate;
use crate::policy::verdict::{ContentVerdict, PublishFacts, PublishVerdict, Refusal};
use crate::throttle::{Over, OverLimit, Take};
use sluice_mqtt::conn::Received;
use sluice_mqtt::packet::QoS;
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::Received2;
use sluice_store::Ticket;
use std::time::{Duration, Instant};

/// Takes in a message; `Some` when the connection is to end.
pub(super) fn publish<S: Socket>(client: &mut Client<S>, received: Received, now: Instant) -> Option<End> {
    client.shared.metrics.messages_received.inc(received.qos() as u8);
    client.messages_in += 1;
    client.published_bytes += u64::from(client.link.conn.packet_bytes());
    let taken = client.governor.publish(client.link.conn.packet_bytes(), now);
    let exactly_once = received
        .packet_id()
        .filter(|_| received.qos() == sluice_mqtt::packet::QoS::ExactlyOnce);
    if let Some(packet_id) = exactly_once
        && client.cell.lock().session.receive_qos2(packet_id) == Received2::Duplicate
    {
        // The first one may not be on disk yet.
        let ((), ticket) = noted(client, |_| ());
        client.say_when(ticket, Held::Acknowledge(received.discard()), now); // [MQTT-4.3.3-10]
        return None;
    }
    let end = match taken {
        Take::Over(over) => Err(exceeded(client, received, over, now)),
        Take::Pass if client.shared.memory.pressure() == Pressure::Full => {
            client.shared.metrics.messages_dropped_memory.inc();
            let text = "there is no memory for its message, and before MQTT 5.0 no other way to say so";
            Err(no_room(client, received, text))
        }
        Take::Pass if received.qos() > QoS::AtMostOnce && is_failing(client) => {
            client.shared.metrics.store.refused.inc();
            let text = "its message cannot be stored, and before MQTT 5.0 there is no other way to say so";
            Err(no_room(client, received, text))
        }
        Take::Pass => check(client, received).and_then(|received| gather(client, received, now)),
    };
    if let (Err(Refused::Message), Some(packet_id)) = (&end, exactly_once) {
        client.cell.lock().session.forget_qos2(packet_id); // [MQTT-4.3.3-9]
    }
    match end {
        Err(Refused::Client(stop)) => Some(End::Broker(stop)),
        Ok(()) | Err(Refused::Message | Refused::Silently) => None,
    }
}

/// What was refused.
enum Refused {
    Message,
    /// The message, and the client is not to know: its exchange goes on as if it had been routed.
    Silently,
    Client(Stop),
}

/// Whether the message may be published at all, whatever the policies say.
fn check<S: Socket>(client: &mut Client<S>, received: Received) -> Result<Received, Refused> {
    let (reason, text) = if received.packet_too_large() {
        (ReasonCode::QUOTA_EXCEEDED, "the packet is too large")
    } else if received.payload_too_large() {
        (ReasonCode::QUOTA_EXCEEDED, "the payload is too large")
    } else if !client.enforced.topic_allowed(received.topic_bytes()) {
        let text = "the topic is reserved or has too many levels";
        (ReasonCode::TOPIC_NAME_INVALID, text)
    } else {
        return Ok(received);
    };
    Err(refuse(client, received, &terms::refusal(reason, text)))
}

/// Judges a message, or keeps it to be judged with those that came right behind it.
///
/// One of QoS 2 is judged at once: whether the next with its packet identifier is the same message depends on that.
fn gather<S: Socket>(client: &mut Client<S>, received: Received, now: Instant) -> Result<(), Refused> {
    let is_first = client.gathered.is_empty();
    let may_gather = received.qos() < QoS::ExactlyOnce
        && (!is_first || (client.link.next_is_message() && client.gate.judges_many()));
    let verdict = if may_gather {
        // Whatever needs no policy need not wait for one.
        let unasked = match is_first {
            true => client.gate.publish_unasked(&facts(&received)),
            false => None,
        };
        let Some(verdict) = unasked else {
            if is_first {
                client.gathered.reserve(Gate::MANY);
            }
            client.gathered.push(received);
            return Ok(());
        };
        verdict
    } else {
        client.gate.judge(&facts(&received))
    };
    let received = obey(client, received, verdict)?;
    route(client, received, now)
}

/// Whether what was gathered is to be judged before anything else is looked at.
pub(super) fn is_gathered<S: Socket>(client: &mut Client<S>) -> bool {
    !client.gathered.is_empty() && (!client.link.next_is_message() || client.gathered.len() >= Gate::MANY)
}

/// Judges what was gathered, unless and until a verdict makes the client wait; `Some` when the connection is to end.
pub(super) fn judge_gathered<S: Socket>(client: &mut Client<S>, now: Instant) -> Option<End> {
    while !client.gathered.is_empty() && !client.is_paused() {
        let gathered = std::mem::take(&mut client.gathered);
        let verdicts = client.gate.publish_many(&gathered, facts);
        let mut gathered = gathered.into_iter();
        for (verdict, received) in verdicts.into_iter().zip(gathered.by_ref()) {
            let routed = match verdict {
                // Most are; handing it on once less is felt.
                PublishVerdict::Allow { throttle_ms: 0 } => route(client, received, now),
                other => obey(client, received, other).and_then(|received| route(client, received, now)),
            };
            if let Err(Refused::Client(stop)) = routed {
                return Some(End::Broker(stop));
            }
        }
        client.gathered = gathered.collect();
    }
    None
}

/// What comes after the verdict: the content policies, subscribers, and the answer.
fn route<S: Socket>(client: &mut Client<S>, received: Received, now: Instant) -> Result<(), Refused> {
    let received = if client.gate.has_content() {
        judge_content(client, received)?
    } else {
        received
    };
    let published = client.shared.hub.publish(received.accept(), &client.cell, now);
    client.crowding = client.crowding.max(published.crowding);
    // QoS 0 is not answered, so nobody waits for it to be stored, as a retained message is.
    let ticket = match published.receipt.packet_id() {
        Some(_) => published.ticket,
        None => Ticket::NONE,
    };
    client.say_when(ticket, Held::Acknowledge(published.receipt), now);
    Ok(())
}

fn facts(received: &Received) -> PublishFacts<'_> {
    PublishFacts {
        topic: received.topic(),
        qos: received.qos() as u8,
        retain: received.retain(),
        payload_bytes: u32::try_from(received.payload().len()).unwrap_or(u32::MAX),
    }
}

/// Does what the policies say. A message to be dropped counts as refused without telling the client.
#[inline]
fn obey<S: Socket>(
    client: &mut Client<S>,
    received: Received,
    verdict: PublishVerdict,
) -> Result<Received, Refused> {
    match verdict {
        PublishVerdict::Allow { throttle_ms } => {
            if throttle_ms > 0 {
                client.pause(Instant::now() + Duration::from_millis(throttle_ms.into()));
            }
            Ok(received)
        }
        PublishVerdict::Deny(refusal) => Err(refuse(client, received, &refusal)),
        PublishVerdict::Drop(refusal) => Err(forget(client, received, &refusal)),
        PublishVerdict::Disconnect(refusal) => {
            client.publish_refused(received.topic(), &refusal);
            drop(received);
            Err(Refused::Client(Stop {
                reason: terms::reason(&refusal),
                text: "disconnected by a policy",
            }))
        }
    }
}

/// The content hooks; a changed topic is judged again.
fn judge_content<S: Socket>(client: &mut Client<S>, received: Received) -> Result<Received, Refused> {
    match client.gate.content(content::of_received(&received)) {
        ContentVerdict::Keep => Ok(received),
        ContentVerdict::Drop(refusal) => Err(forget(client, received, &refusal)),
        ContentVerdict::Deny(refusal) => Err(refuse(client, received, &refusal)),
        ContentVerdict::Replace(message) => {
            let (topic, forwarded) = match content::parts(&message, received.forwarded()) {
                Ok(parts) => parts,
                Err(refusal) => return Err(refuse(client, received, &refusal)),
            };
            let moved = *topic != *received.topic();
            let replaced = received.replace(topic, message.payload, forwarded, message.retain);
            if moved {
                let verdict = client.gate.judge(&facts(&replaced));
                obey(client, replaced, verdict)
            } else {
                Ok(replaced)
            }
        }
    }
}

#[cold]
fn refuse<S: Socket>(client: &mut Client<S>, received: Received, refusal: &Refusal) -> Refused {
    client.publish_refused(received.topic(), refusal);
    client
        .link
        .conn
        .refuse_publish(received.refuse(terms::reason(refusal)));
    Refused::Message
}

/// Acknowledges a message and forgets it: the client cannot tell.
#[cold]
fn forget<S: Socket>(client: &mut Client<S>, received: Received, refusal: &Refusal) -> Refused {
    client.publish_refused(received.topic(), refusal);
    client.shared.metrics.messages_dropped_policy.inc();
    client.link.conn.acknowledge(received.discard());
    Refused::Silently
}

/// What is done about a message that came faster than the client may send.
fn exceeded<S: Socket>(client: &mut Client<S>, received: Received, over: Over, now: Instant) -> Refused {
    client.over_limit(over, now);
    match client.governor.action() {
        OverLimit::Delay | OverLimit::Refuse => {
            let reason = ReasonCode::QUOTA_EXCEEDED;
            client.link.conn.refuse_publish(received.refuse(reason));
            Refused::Message
        }
        OverLimit::Drop => {
            client.link.conn.acknowledge(received.discard());
            Refused::Silently
        }
        OverLimit::Disconnect => {
            drop(received.discard());
            Refused::Client(too_fast())
        }
    }
}

/// What is done about a message that there is no place for: what is acknowledged has one, so this is not.
fn no_room<S: Socket>(client: &mut Client<S>, received: Received, text: &'static str) -> Refused {
    let can_be_told = received.qos() == QoS::AtMostOnce || client.link.conn.can_refuse_publish();
    if can_be_told {
        let refused = received.refuse(ReasonCode::QUOTA_EXCEEDED);
        client.link.conn.refuse_publish(refused);
        return Refused::Message;
    }
    drop(received.discard());
    Refused::Client(Stop {
        reason: ReasonCode::QUOTA_EXCEEDED,
        text,
    })
}
