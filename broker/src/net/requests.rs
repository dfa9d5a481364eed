//! What a client asks for once it is in: each request is judged, carried out and answered.

use super::driver::{Client, End};
use super::enforced;
use super::held::Held;
use super::link::Socket;
use super::{publishing, reauth, terms};
use crate::event::Event as Fact;
use crate::hub::{Stop, SubscribeError, option_bits};
use crate::memory::Pressure;
use crate::policy::verdict::{Limit, Refusal, SubscribeVerdict};
use crate::report;
use crate::throttle::{Over, OverLimit, Take};
use sluice_mqtt::conn::Event;
use sluice_mqtt::packet::{SubAck, Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{PubRecOutcome, Session};
use sluice_mqtt::topic::TopicFilter;
use sluice_store::{Health, Ticket};
use std::num::NonZeroU32;
use std::time::Instant;

/// Does what one event asks for; `Some` when the connection is to end.
pub(super) fn handle<S: Socket>(client: &mut Client<S>, event: Event, now: Instant) -> Option<End> {
    match event {
        Event::Publish(received) => return publishing::publish(client, received, now),
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

/// Whether the store cannot take what is to be acknowledged.
pub(super) fn is_failing<S: Socket>(client: &Client<S>) -> bool {
    client.shared.hub.store().health() == Health::Failing
}

/// Does something with the session; also what to wait for until all it has noted is on disk.
pub(super) fn noted<S: Socket, T>(client: &Client<S>, act: impl FnOnce(&mut Session) -> T) -> (T, Ticket) {
    let mut state = client.cell.lock();
    let result = act(&mut state.session);
    let ticket = client.shared.hub.settled(&client.cell, &mut state);
    (result, ticket)
}

pub(super) fn too_fast() -> Stop {
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
        client.over_limit(over, now);
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

    pub(super) fn over_limit(&mut self, over: Over, now: Instant) {
        let (limit, kind) = match over {
            Over::BytesIn => ("bytes_in_per_second", Limit::Inward),
            Over::MessagesIn => ("messages_in_per_second", Limit::Inward),
            Over::Subscribes => ("subscribes_per_second", Limit::Subscribes),
        };
        self.limit_hit(kind, now);
        self.shared.events.emit(Fact::OverLimit {
            client: report::client(&self.cell.key.client_id, &self.peer),
            limit,
            action: enforced::action_name(self.governor.action()),
        });
    }

    /// Tells the policies that the client comes up against a limit.
    pub(super) fn limit_hit(&mut self, limit: Limit, now: Instant) {
        for (limit, times) in self.limit_hits.note(limit, now) {
            self.gate.limit_hit(limit, times);
        }
    }

    pub(super) fn publish_refused(&self, topic: &str, refusal: &Refusal) {
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
