//! What a client asks for once it is in: each request is judged, carried out and answered.

use super::driver::{Client, End};
use super::enforced;
use super::held::Held;
use super::link::Socket;
use super::{reauth, terms};
use crate::content;
use crate::event::Event as Fact;
use crate::hub::{Stop, SubscribeError, option_bits};
use crate::memory::Pressure;
use crate::policy::verdict::{ContentVerdict, PublishVerdict, Refusal, SubscribeVerdict};
use crate::report;
use crate::throttle::{Over, OverLimit, Take};
use sluice_mqtt::conn::{Event, Received};
use sluice_mqtt::packet::{QoS, SubAck, Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{PubRecOutcome, Received2, Session};
use sluice_mqtt::topic::TopicFilter;
use sluice_store::{Health, Ticket};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Does what one event asks for; `Some` when the connection is to end.
pub(super) fn handle<S: Socket>(client: &mut Client<S>, event: Event, now: Instant) -> Option<End> {
    match event {
        Event::Publish(received) => return publish(client, received, now),
        Event::PubAck { packet_id, reason } => {
            client.cell.lock().session.puback(packet_id, reason);
        }
        Event::PubRec { packet_id, reason } => {
            let (outcome, ticket) = noted(client, |session| session.pubrec(packet_id, reason));
            match outcome {
                PubRecOutcome::SendPubRel => client.say_when(ticket, Held::PubRel(packet_id), now),
                PubRecOutcome::Ended => {}
                PubRecOutcome::Unknown => {
                    client
                        .link
                        .conn
                        .pubrel(packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
                }
            }
        }
        Event::PubComp { packet_id, .. } => {
            client.cell.lock().session.pubcomp(packet_id);
        }
        Event::PubRel(packet_id) => {
            // The client may use the identifier again once it is told: until then the store must have forgotten it.
            let (known, ticket) = noted(client, |session| session.release(packet_id));
            let reason = if known {
                ReasonCode::SUCCESS
            } else {
                ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
            };
            client.say_when(ticket, Held::PubComp(packet_id, reason), now);
        }
        Event::Subscribe(request) => return subscribe(client, request, now),
        Event::Unsubscribe(request) => unsubscribe(client, request, now),
        Event::Reauthenticate(auth) => reauth::begin(client, *auth),
        Event::AuthResponse(auth) => reauth::go_on(client, *auth),
        Event::Disconnect(disconnect) => return Some(End::Client(disconnect)),
        Event::Closed(cause) => return Some(End::Protocol(cause)),
        Event::Connect(_) => {
            // The connection reports it once, and closes on a second one.
        }
    }
    None
}

fn publish<S: Socket>(client: &mut Client<S>, received: Received, now: Instant) -> Option<End> {
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
        Take::Over(over) => Err(exceeded(client, received, over)),
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
        Take::Pass => judge_and_publish(client, received, now),
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

fn judge_and_publish<S: Socket>(
    client: &mut Client<S>,
    received: Received,
    now: Instant,
) -> Result<(), Refused> {
    let refusal = if received.packet_too_large() {
        Some(terms::refusal(
            ReasonCode::QUOTA_EXCEEDED,
            "the packet is too large",
        ))
    } else if received.payload_too_large() {
        Some(terms::refusal(
            ReasonCode::QUOTA_EXCEEDED,
            "the payload is too large",
        ))
    } else if !client.enforced.topic_allowed(received.topic()) {
        Some(terms::refusal(
            ReasonCode::TOPIC_NAME_INVALID,
            "the topic is reserved or has too many levels",
        ))
    } else {
        None
    };
    if let Some(refusal) = refusal {
        return Err(refuse(client, received, &refusal));
    }
    let received = judge(client, received)?;
    let received = if client.gate.has_content() {
        judge_content(client, received)?
    } else {
        Some(received)
    };
    if let Some(received) = received {
        let published = client.shared.hub.publish(received.accept(), &client.cell, now);
        client.crowding = client.crowding.max(published.crowding);
        // QoS 0 is not answered, so nobody waits for it to be stored, as a retained message is.
        let ticket = match published.receipt.packet_id() {
            Some(_) => published.ticket,
            None => Ticket::NONE,
        };
        client.say_when(ticket, Held::Acknowledge(published.receipt), now);
    }
    Ok(())
}

/// The publish hooks. A message to be dropped counts as refused without telling the client.
fn judge<S: Socket>(client: &mut Client<S>, received: Received) -> Result<Received, Refused> {
    let payload_bytes = u32::try_from(received.payload().len()).unwrap_or(u32::MAX);
    match client.gate.publish(
        received.topic(),
        received.qos() as u8,
        received.retain(),
        payload_bytes,
    ) {
        PublishVerdict::Allow { throttle_ms: 0 } => Ok(received),
        PublishVerdict::Allow { throttle_ms } => {
            client.pause(Instant::now() + Duration::from_millis(u64::from(throttle_ms)));
            Ok(received)
        }
        PublishVerdict::Deny(refusal) => Err(refuse(client, received, &refusal)),
        PublishVerdict::Drop(refusal) => {
            client.publish_refused(received.topic(), &refusal);
            client.shared.metrics.messages_dropped_policy.inc();
            client.link.conn.acknowledge(received.discard());
            Err(Refused::Silently)
        }
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

/// The content hooks; a changed topic is judged again. `None`: acknowledged and forgotten.
fn judge_content<S: Socket>(client: &mut Client<S>, received: Received) -> Result<Option<Received>, Refused> {
    match client.gate.content(content::of_received(&received)) {
        ContentVerdict::Keep => Ok(Some(received)),
        ContentVerdict::Drop(refusal) => {
            client.publish_refused(received.topic(), &refusal);
            client.shared.metrics.messages_dropped_policy.inc();
            client.link.conn.acknowledge(received.discard());
            Ok(None)
        }
        ContentVerdict::Deny(refusal) => Err(refuse(client, received, &refusal)),
        ContentVerdict::Replace(message) => {
            let (topic, forwarded) = match content::parts(&message, received.forwarded()) {
                Ok(parts) => parts,
                Err(refusal) => return Err(refuse(client, received, &refusal)),
            };
            let moved = *topic != *received.topic();
            let replaced = received.replace(topic, message.payload, forwarded, message.retain);
            if moved {
                judge(client, replaced).map(Some)
            } else {
                Ok(Some(replaced))
            }
        }
    }
}

fn refuse<S: Socket>(client: &mut Client<S>, received: Received, refusal: &Refusal) -> Refused {
    client.publish_refused(received.topic(), refusal);
    client
        .link
        .conn
        .refuse_publish(received.refuse(terms::reason(refusal)));
    Refused::Message
}

/// What is done about a message that came faster than the client may send.
fn exceeded<S: Socket>(client: &mut Client<S>, received: Received, over: Over) -> Refused {
    client.over_limit(over);
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

/// Whether the store cannot take what is to be acknowledged.
fn is_failing<S: Socket>(client: &Client<S>) -> bool {
    client.shared.hub.store().health() == Health::Failing
}

/// Does something with the session; also what to wait for until all it has noted is on disk.
fn noted<S: Socket, T>(client: &Client<S>, act: impl FnOnce(&mut Session) -> T) -> (T, Ticket) {
    let mut state = client.cell.lock();
    let result = act(&mut state.session);
    let ticket = client.shared.hub.settled(&client.cell, &mut state);
    (result, ticket)
}

fn too_fast() -> Stop {
    Stop {
        reason: ReasonCode::MESSAGE_RATE_TOO_HIGH,
        text: "the client sends faster than it may",
    }
}

fn subscribe<S: Socket>(client: &mut Client<S>, request: Subscribe, now: Instant) -> Option<End> {
    let id = request.subscription_id.and_then(NonZeroU32::new);
    let mut reasons = Vec::with_capacity(request.filters.len());
    let bytes = client.link.conn.packet_bytes();
    if let Take::Over(over) = client.governor.subscribe(request.filters.len(), bytes, now) {
        client.over_limit(over);
        if client.governor.action() == OverLimit::Disconnect {
            return Some(End::Broker(too_fast()));
        }
        // A subscription cannot be forgotten silently: the client would wait for its messages.
        reasons.resize(request.filters.len(), ReasonCode::QUOTA_EXCEEDED);
    }
    if client.shared.memory.pressure() == Pressure::Full {
        reasons.resize(request.filters.len(), ReasonCode::QUOTA_EXCEEDED);
    }
    if client.cell.durable && is_failing(client) {
        reasons.resize(request.filters.len(), ReasonCode::QUOTA_EXCEEDED);
    }
    let mut ticket = Ticket::NONE;
    for (filter, options) in request.filters.iter().skip(reasons.len()) {
        match subscribe_one(client, filter, *options, id) {
            Ok((reason, stored)) => {
                reasons.push(reason);
                ticket = ticket.max(stored);
            }
            Err(stop) => return Some(End::Broker(stop)),
        }
    }
    let suback = SubAck {
        packet_id: request.packet_id,
        reason_string: None,
        user_properties: Vec::new(),
        reasons,
    };
    client.say_when(ticket, Held::SubAck(suback), now);
    None
}

fn subscribe_one<S: Socket>(
    client: &mut Client<S>,
    filter: &TopicFilter,
    mut options: SubscriptionOptions,
    id: Option<NonZeroU32>,
) -> Result<(ReasonCode, Ticket), Stop> {
    let refusal = match client
        .gate
        .subscribe(filter.filter(), option_bits(options, filter.share().is_some()))
    {
        SubscribeVerdict::Allow { qos } => {
            let granted = sluice_mqtt::packet::QoS::new(qos).unwrap_or_default();
            options.qos = options.qos.min(granted).min(client.enforced.qos_max);
            None
        }
        SubscribeVerdict::Deny(refusal) => Some(refusal),
        SubscribeVerdict::Disconnect(refusal) => {
            client.subscribe_refused(filter, &refusal);
            return Err(Stop {
                reason: terms::reason(&refusal),
                text: "disconnected by a policy",
            });
        }
    };
    let refusal = match refusal {
        Some(refusal) => refusal,
        None => match client
            .shared
            .hub
            .subscribe(&client.cell, client.connection, filter, options, id)
        {
            Ok(subscribed) => {
                client.replays.extend(subscribed.replay);
                return Ok((granted(options), subscribed.ticket));
            }
            Err(SubscribeError::TooMany) => terms::refusal(
                ReasonCode::QUOTA_EXCEEDED,
                "the session has as many subscriptions as it may",
            ),
            Err(SubscribeError::FilterTooLong) => {
                terms::refusal(ReasonCode::TOPIC_FILTER_INVALID, "the filter has too many levels")
            }
            Err(SubscribeError::Gone) => terms::refusal(ReasonCode::UNSPECIFIED_ERROR, "the session is gone"),
        },
    };
    client.subscribe_refused(filter, &refusal);
    Ok((terms::reason(&refusal), Ticket::NONE))
}

fn granted(options: SubscriptionOptions) -> ReasonCode {
    match options.qos {
        sluice_mqtt::packet::QoS::AtMostOnce => ReasonCode::SUCCESS,
        sluice_mqtt::packet::QoS::AtLeastOnce => ReasonCode::GRANTED_QOS_1,
        sluice_mqtt::packet::QoS::ExactlyOnce => ReasonCode::GRANTED_QOS_2,
    }
}

fn unsubscribe<S: Socket>(client: &mut Client<S>, request: Unsubscribe, now: Instant) {
    let mut ticket = Ticket::NONE;
    let mut answer = |filter: &TopicFilter| match client.shared.hub.unsubscribe(&client.cell, filter) {
        Some(stored) => {
            ticket = ticket.max(stored);
            ReasonCode::SUCCESS
        }
        None => ReasonCode::NO_SUBSCRIPTION_EXISTED,
    };
    let reasons = request.filters.iter().map(&mut answer).collect();
    let unsuback = UnsubAck {
        packet_id: request.packet_id,
        reason_string: None,
        user_properties: Vec::new(),
        reasons,
    };
    client.say_when(ticket, Held::UnsubAck(unsuback), now);
}

impl<S: Socket> Client<S> {
    pub(super) fn session_refused(&self, refusal: &Refusal) {
        self.shared.events.emit(Fact::SessionRefused {
            client: report::client(&self.cell.key.client_id, &self.peer),
            refusal: report::refusal(refusal),
        });
    }

    fn over_limit(&self, over: Over) {
        let limit = match over {
            Over::BytesIn => "bytes_in_per_second",
            Over::MessagesIn => "messages_in_per_second",
            Over::Subscribes => "subscribes_per_second",
        };
        self.shared.events.emit(Fact::OverLimit {
            client: report::client(&self.cell.key.client_id, &self.peer),
            limit,
            action: enforced::action_name(self.governor.action()),
        });
    }

    fn publish_refused(&self, topic: &str, refusal: &Refusal) {
        self.shared.events.emit(Fact::PublishRefused {
            client: report::client(&self.cell.key.client_id, &self.peer),
            topic,
            refusal: report::refusal(refusal),
        });
    }

    fn subscribe_refused(&self, filter: &TopicFilter, refusal: &Refusal) {
        self.shared.events.emit(Fact::SubscribeRefused {
            client: report::client(&self.cell.key.client_id, &self.peer),
            filter: filter.as_str(),
            refusal: report::refusal(refusal),
        });
    }
}
