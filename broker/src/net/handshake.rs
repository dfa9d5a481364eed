//! From the first byte to CONNACK: who is this, may it enter, and on what terms.

use super::Shared;
use super::enforced::Enforced;
use super::link::{Link, Socket};
use super::{identity, terms};
use crate::content;
use crate::event::Event as Fact;
use crate::hub::{Attach, AttachError, Attached, Caller, Detach};
use crate::memory::Pressure;
use crate::policy::verdict::{Admission, ContentVerdict, Decision, Peer, PublishVerdict, Refusal};
use crate::policy::{Gate, Judging, Step};
use crate::report;
use sluice_mqtt::conn::{ConnAckTooLarge, Event};
use sluice_mqtt::packet::{ConnAck, Connect, Version, Will};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::text::Text;
use sluice_mqtt::will::{self, Ending};
use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client that has been let in.
pub(super) struct Entered {
    pub(super) attached: Attached,
    pub(super) gate: Gate,
    pub(super) will: Option<Box<Will>>,
    pub(super) enforced: Enforced,
    pub(super) identity: terms::Identity,
}

/// Reads CONNECT, has it judged and answers; `None` when the client did not get in (it has its answer).
pub(super) async fn enter<S: Socket>(
    link: &mut Link<S>,
    shared: &Shared,
    peer: &Arc<Peer>,
) -> Option<Entered> {
    let mut connect = match link.converse().await {
        Ok(Some(Event::Connect(connect))) => connect,
        Ok(Some(Event::Closed(cause))) => {
            let text = &cause.to_string();
            shared.events.emit(Fact::ProtocolError {
                client: report::client("", peer),
                reason: cause.reason().code(),
                text,
            });
            shared.failed(peer, text);
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            // What carries MQTT was not as it must be.
            shared.events.emit(Fact::ProtocolError {
                client: report::client("", peer),
                reason: ReasonCode::PROTOCOL_ERROR.code(),
                text: &error.to_string(),
            });
            shared.failed(peer, &error.to_string());
            return None;
        }
        Ok(_) | Err(_) => return None,
    };
    let mut assigned = connect.client_id.is_empty().then(terms::assigned_client_id);
    let rule = shared.identity_rule(&peer.listener);
    if let Err(refusal) = identity::assume(rule, peer, &mut connect, &mut assigned) {
        refuse(link, shared, peer, &connect, &refusal);
        return None;
    }
    let caller = Caller {
        username: connect.username.as_deref().map(Into::into),
        principal: None,
        address: peer.address.parse().ok(),
    };
    if let Some(text) = shared.hub.banned(&connect.client_id, &caller) {
        refuse(
            link,
            shared,
            peer,
            &connect,
            &terms::refusal(ReasonCode::BANNED, &text),
        );
        return None;
    }
    let request = terms::connect_request(&connect, shared.hub.new_number(), assigned.clone(), peer);
    match decide(link, shared.policies.connect(Arc::new(request))).await? {
        Decision::Admit { gate, admission } => {
            let client = (*connect, assigned, caller);
            Box::pin(admit(link, shared, peer, client, (*gate, &admission))).await
        }
        Decision::Deny(refusal) => {
            refuse(link, shared, peer, &connect, &refusal);
            None
        }
    }
}

/// Carries challenges to the client and its answers back until there is a decision; `None`: the client left without a
/// message, and whoever is asked about it need not answer.
async fn decide<S: Socket>(link: &mut Link<S>, mut judging: Judging) -> Option<Decision> {
    loop {
        match link.while_open(judging.step()).await? {
            Step::Decided(decision) => return Some(decision),
            Step::Challenge(data) => {
                link.conn.challenge(Some(data.into()));
                let Ok(Some(Event::AuthResponse(auth))) = link.converse().await else {
                    return None;
                };
                judging.answer(auth.data.map(|data| data.to_vec()));
            }
        }
    }
}

fn refuse<S>(link: &mut Link<S>, shared: &Shared, peer: &Peer, connect: &Connect, refusal: &Refusal) {
    shared.events.emit(Fact::ConnectRefused {
        client: report::client(&connect.client_id, peer),
        refusal: report::refusal(refusal),
    });
    shared.refused(peer, refusal);
    let text = |text: &Option<String>| text.as_deref().and_then(|text| Text::try_from(text).ok());
    let mut connack = ConnAck::new(terms::reason(refusal));
    connack.reason_string = text(&refusal.text).filter(|_| !refusal.fault);
    connack.server_reference = text(&refusal.server_reference);
    link.conn.refuse(connack);
}

async fn admit<S: Socket>(
    link: &mut Link<S>,
    shared: &Shared,
    peer: &Peer,
    (mut connect, assigned, caller): (Connect, Option<String>, Caller),
    (mut gate, admission): (Gate, &Admission),
) -> Option<Entered> {
    let client_id = assigned.as_deref().unwrap_or(&connect.client_id);
    let enforced = Enforced::new(shared, &peer.listener, client_id, &gate, Duration::ZERO);
    if let Some(will) = &connect.will
        && let Err(refusal) = judge_will(will, connect.version, &mut gate, &enforced)
    {
        refuse(link, shared, peer, &connect, &refusal);
        return None;
    }
    let expiry_seconds = enforced.session_expiry_seconds(&connect);
    let will = connect
        .will
        .take()
        .map(|will| Box::new(terms::detach_will(will, enforced.will_delay_seconds_max)));
    let attach = Attach {
        key: terms::session_key(client_id, gate.mountpoint()),
        caller: Caller {
            principal: gate.principal().map(Into::into),
            ..caller
        },
        judged: gate.session(),
        clean_start: connect.clean_start,
        expiry_seconds,
        receive_max: connect.receive_max.map_or(u16::MAX, NonZeroU16::get),
        session_limits: enforced.session_limits(),
        subscriptions_max: enforced.subscriptions_max,
        may_create: shared.memory.pressure() < Pressure::Closed,
        gate: Some(&gate),
        will: will.as_deref(),
    };
    let attached = match shared.hub.attach(attach, Instant::now()) {
        Ok(attached) => attached,
        Err(error) => {
            refuse(link, shared, peer, &connect, &no_session(&error));
            return None;
        }
    };
    let welcome = welcome(
        link,
        shared,
        (&connect, admission),
        assigned,
        (&enforced, &attached),
    )
    .await;
    if let Err(refusal) = welcome {
        turn_back(shared, &attached, gate, expiry_seconds, terms::reason(&refusal));
        refuse(link, shared, peer, &connect, &refusal);
        return None;
    }
    gate.connected(attached.session_present);
    shared.events.emit(Fact::ClientConnected {
        client: report::client(&attached.cell.key.client_id, peer),
        principal: gate.principal(),
        version: terms::version_name(connect.version),
        resumed: attached.session_present,
    });
    shared.came_in(peer, &attached.cell.key.client_id, gate.mountpoint().is_some());
    Some(Entered {
        attached,
        gate,
        will,
        enforced,
        identity: terms::Identity::new(&connect),
    })
}

/// Tells a client that it is in, once its session is on disk.
async fn welcome<S: Socket>(
    link: &mut Link<S>,
    shared: &Shared,
    (connect, admission): (&Connect, &Admission),
    assigned: Option<String>,
    (enforced, attached): (&Enforced, &Attached),
) -> Result<(), Refusal> {
    if shared.hub.store().wait(attached.ticket).await.is_err() {
        return Err(no_session(&AttachError::NotStored));
    }
    let assigned = assigned.and_then(|id| Text::try_from(id).ok());
    let connack = terms::connack(connect, admission, enforced, assigned, attached.session_present);
    link.conn
        .accept(enforced.terms(connect, admission), connack, Instant::now())
        .map_err(|ConnAckTooLarge| {
            terms::refusal(
                ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
                "what it must be told is above its Maximum Packet Size",
            )
        })
}

/// Leaves the session of a client that was not told that it is in: its will never was one.
fn turn_back(shared: &Shared, attached: &Attached, gate: Gate, expiry_seconds: u32, reason: ReasonCode) {
    let left = Detach {
        gate,
        will: None,
        ending: Ending::Lost,
        expiry_seconds,
        reason,
    };
    let now = Instant::now();
    shared.hub.detach(&attached.cell, attached.connection, left, now);
}

/// Why a client that was admitted does not get in.
fn no_session(error: &AttachError) -> Refusal {
    match error {
        AttachError::Banned(text) => terms::refusal(ReasonCode::BANNED, text),
        AttachError::NoNewSessions => terms::refusal(
            ReasonCode::SERVER_BUSY,
            "memory_limit is near: only clients that have a session are let in",
        ),
        AttachError::TooManySessions => {
            terms::refusal(ReasonCode::QUOTA_EXCEEDED, "limits.sessions_max is reached")
        }
        AttachError::NotStored => {
            terms::refusal(ReasonCode::SERVER_UNAVAILABLE, "the session cannot be stored now")
        }
    }
}

/// A will must be one the client could publish itself [MQTT-3.2.2-12], [MQTT-3.2.2-13].
fn judge_will(will: &Will, version: Version, gate: &mut Gate, enforced: &Enforced) -> Result<(), Refusal> {
    let payload_bytes = u32::try_from(will.payload.len()).unwrap_or(u32::MAX);
    let refuse = |reason, text| Err(terms::refusal(reason, text));
    if let Some(reason) = will::unsupported(will, enforced.qos_max, enforced.retain_available) {
        return refuse(reason, "the will's QoS or retain flag is not supported");
    }
    if payload_bytes > enforced.payload_bytes_max {
        return refuse(ReasonCode::QUOTA_EXCEEDED, "the will's payload is too large");
    }
    if will::packet_bytes(will, version) > enforced.packet_bytes_max as usize {
        return refuse(ReasonCode::QUOTA_EXCEEDED, "the will is too large");
    }
    if !enforced.topic_allowed(will.topic.as_bytes()) {
        return refuse(
            ReasonCode::TOPIC_NAME_INVALID,
            "the will's topic is reserved or has too many levels",
        );
    }
    match gate.publish(&will.topic, will.qos as u8, will.retain, payload_bytes) {
        PublishVerdict::Allow { .. } | PublishVerdict::Drop(_) => {}
        PublishVerdict::Deny(refusal) | PublishVerdict::Disconnect(refusal) => return Err(*refusal),
    }
    if !gate.has_content() {
        return Ok(());
    }
    // What is to be changed of it is changed when it is published.
    match gate.content(content::of_will(will)) {
        ContentVerdict::Deny(refusal) => Err(refusal),
        ContentVerdict::Keep | ContentVerdict::Replace(_) | ContentVerdict::Drop(_) => Ok(()),
    }
}
