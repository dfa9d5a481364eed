//! Between the generated types and those of `verdict.rs`. When a second version of the interface comes, it gets a
//! module like this one; nothing else changes.

use super::bindings::sluice::policy::types as wit;
use super::bindings::sluice::policy::types::ProtocolVersion as WitProtocol;
use crate::policy::verdict as host;
use crate::policy::verdict::ProtocolVersion as Protocol;
use bytes::Bytes;

pub(super) fn connect_request(request: &host::ConnectRequest) -> wit::ConnectRequest {
    wit::ConnectRequest {
        purpose: match request.purpose {
            host::ConnectPurpose::Connect => wit::ConnectPurpose::Connect,
            host::ConnectPurpose::Reauthenticate => wit::ConnectPurpose::Reauthenticate,
        },
        session: request.session,
        client_id: request.client_id.clone(),
        username: request.username.clone(),
        password: request.password.as_ref().map(|password| password.to_vec()),
        protocol: match request.protocol {
            Protocol::V3_1 => WitProtocol::V31,
            Protocol::V3_1_1 => WitProtocol::V311,
            Protocol::V5_0 => WitProtocol::V50,
        },
        clean_start: request.clean_start,
        keep_alive_seconds: request.keep_alive_seconds,
        session_expiry_seconds: request.session_expiry_seconds,
        will: request.will.as_ref().map(|will| wit::Will {
            topic: will.topic.clone(),
            payload_bytes: will.payload_bytes,
            qos: will.qos,
            retain: will.retain,
            delay_seconds: will.delay_seconds,
        }),
        user_properties: request.user_properties.clone(),
        auth_method: request.auth_method.clone(),
        auth_data: request.auth_data.as_ref().map(|data| data.to_vec()),
        peer: peer(&request.peer),
        nonce: request.nonce.to_vec(),
    }
}

pub(super) fn peer(peer: &host::Peer) -> wit::Peer {
    wit::Peer {
        address: peer.address.clone(),
        port: peer.port,
        listener: peer.listener.clone(),
        proxied_by: peer.proxied_by.clone(),
        tls: peer.tls.as_ref().map(|tls| wit::TlsPeer {
            version: tls.version.clone(),
            cipher: tls.cipher.clone(),
            sni: tls.sni.clone(),
            certificate: tls.certificate.as_ref().map(|certificate| wit::Certificate {
                subject_cn: certificate.subject_cn.clone(),
                san_dns: certificate.san_dns.clone(),
                san_uri: certificate.san_uri.clone(),
                san_email: certificate.san_email.clone(),
                san_ip: certificate.san_ip.clone(),
                issuer: certificate.issuer.clone(),
                serial: certificate.serial.clone(),
                fingerprint_sha256: certificate.fingerprint_sha256.clone(),
                not_before_unix_seconds: certificate.not_before_unix_seconds,
                not_after_unix_seconds: certificate.not_after_unix_seconds,
            }),
        }),
    }
}

pub(super) fn answer(answer: &host::Answer) -> wit::Answer {
    match answer {
        host::Answer::Failed(text) => wit::Answer::Failed(text.clone()),
        host::Answer::Password(fits) => wit::Answer::Password(*fits),
        host::Answer::Response(data) => wit::Answer::Response(data.clone()),
        // Whoever exports `connect` has no words to ask for these.
        host::Answer::Http(_) | host::Answer::Token(_) => {
            wit::Answer::Failed("an answer to something that was not asked".into())
        }
    }
}

pub(super) fn connect_outcome(outcome: wit::ConnectOutcome) -> host::ConnectOutcome {
    match outcome {
        wit::ConnectOutcome::Deny(denied) => host::ConnectOutcome::Deny(denial(denied)),
        wit::ConnectOutcome::Admit(admitted) => host::ConnectOutcome::Admit(Box::new(admission(admitted))),
        wit::ConnectOutcome::Abstain => host::ConnectOutcome::Abstain,
        wit::ConnectOutcome::Wait(effects) => {
            host::ConnectOutcome::Wait(effects.into_iter().map(effect).collect())
        }
    }
}

pub(super) fn refresh_outcome(outcome: wit::RefreshOutcome) -> host::RefreshOutcome {
    match outcome {
        wit::RefreshOutcome::Deny(denied) => host::RefreshOutcome::Deny(denial(denied)),
        wit::RefreshOutcome::Keep => host::RefreshOutcome::Keep,
        wit::RefreshOutcome::Admit(admitted) => host::RefreshOutcome::Admit(Box::new(admission(admitted))),
    }
}

pub(super) fn refresh_cause(cause: host::RefreshCause) -> wit::RefreshCause {
    match cause {
        host::RefreshCause::Swap => wit::RefreshCause::Swap,
        host::RefreshCause::Interval => wit::RefreshCause::Interval,
    }
}

fn effect(effect: wit::Effect) -> host::Effect {
    match effect {
        wit::Effect::VerifyPassword(check) => host::Effect::VerifyPassword {
            hash: check.hash,
            password: check.password,
        },
        wit::Effect::Challenge(data) => host::Effect::Challenge(data),
    }
}

pub(super) fn denial(denial: wit::Denial) -> host::Denial {
    host::Denial {
        reason: denial.reason,
        reason_string: denial.reason_string,
        server_reference: denial.server_reference,
    }
}

pub(super) fn admission(admission: wit::Admission) -> host::Admission {
    host::Admission {
        principal: admission.principal,
        mountpoint: admission.mountpoint,
        attributes: admission.attributes,
        tag: admission.tag,
        grants: admission
            .grants
            .map(|grants| grants.into_iter().map(grant).collect()),
        budget: budget(&admission.budget),
        refresh_seconds: admission.refresh_seconds,
        connack: host::ConnackOverrides {
            server_keep_alive_seconds: admission.connack.server_keep_alive_seconds,
            response_information: admission.connack.response_information,
            reason_string: admission.connack.reason_string,
            user_properties: admission.connack.user_properties,
            auth_data: admission.connack.auth_data.map(Bytes::from),
        },
    }
}

fn grant(grant: wit::Grant) -> host::Grant {
    host::Grant {
        filter: grant.filter,
        action: match grant.action {
            wit::GrantAction::Publish => host::GrantAction::Publish,
            wit::GrantAction::Subscribe => host::GrantAction::Subscribe,
            wit::GrantAction::PublishAndSubscribe => host::GrantAction::PublishAndSubscribe,
        },
        qos_max: grant.qos_max,
        retain: grant.retain,
        verdict: match grant.verdict {
            wit::GrantVerdict::Deny => host::GrantVerdict::Deny,
            wit::GrantVerdict::Allow => host::GrantVerdict::Allow,
            wit::GrantVerdict::Consult => host::GrantVerdict::Consult,
        },
    }
}

pub(super) fn budget(budget: &wit::Budget) -> host::Budget {
    let rate = |rate: Option<wit::Rate>| {
        rate.map(|rate| host::Rate {
            per_second: rate.per_second,
            burst: rate.burst,
        })
    };
    host::Budget {
        bytes_in_per_second: rate(budget.bytes_in_per_second),
        bytes_out_per_second: rate(budget.bytes_out_per_second),
        messages_in_per_second: rate(budget.messages_in_per_second),
        messages_out_per_second: rate(budget.messages_out_per_second),
        subscribes_per_second: rate(budget.subscribes_per_second),
        packet_bytes_max: budget.packet_bytes_max,
        payload_bytes_max: budget.payload_bytes_max,
        inflight_max: budget.inflight_max,
        queue_messages_max: budget.queue_messages_max,
        queue_bytes_max: budget.queue_bytes_max,
        queue_overflow: budget.queue_overflow.map(|overflow| match overflow {
            wit::Overflow::DropNew => host::QueueOverflow::DropNew,
            wit::Overflow::DropOldest => host::QueueOverflow::DropOldest,
            wit::Overflow::Disconnect => host::QueueOverflow::Disconnect,
        }),
        subscriptions_max: budget.subscriptions_max,
        session_expiry_seconds_max: budget.session_expiry_seconds_max,
        connection_seconds_max: budget.connection_seconds_max,
        over_limit: budget.over_limit.map(|action| match action {
            wit::OverLimitAction::Delay => host::OverLimitAction::Delay,
            wit::OverLimitAction::Refuse => host::OverLimitAction::Refuse,
            wit::OverLimitAction::Drop => host::OverLimitAction::Drop,
            wit::OverLimitAction::Disconnect => host::OverLimitAction::Disconnect,
        }),
    }
}

pub(super) fn message(message: &host::ContentMessage) -> wit::Message {
    wit::Message {
        topic: message.topic.clone(),
        payload: message.payload.to_vec(),
        qos: message.qos,
        retain: message.retain,
        content_type: message.content_type.clone(),
        response_topic: message.response_topic.clone(),
        correlation_data: message.correlation_data.as_ref().map(|data| data.to_vec()),
        user_properties: message.user_properties.clone(),
    }
}

pub(super) fn message_outcome(outcome: wit::MessageOutcome) -> host::ContentOutcome {
    match outcome {
        wit::MessageOutcome::Deny(reason) => host::ContentOutcome::Deny(reason),
        wit::MessageOutcome::Keep => host::ContentOutcome::Keep,
        wit::MessageOutcome::Drop => host::ContentOutcome::Drop,
        wit::MessageOutcome::Replace(message) => {
            host::ContentOutcome::Replace(Box::new(host::ContentMessage {
                topic: message.topic,
                payload: Bytes::from(message.payload),
                qos: message.qos,
                retain: message.retain,
                content_type: message.content_type,
                response_topic: message.response_topic,
                correlation_data: message.correlation_data.map(Bytes::from),
                user_properties: message.user_properties,
            }))
        }
    }
}

pub(super) fn event(event: &host::SessionEvent<'_>) -> wit::Event {
    match *event {
        host::SessionEvent::Connected {
            client_id,
            principal,
            resumed,
        } => wit::Event::Connected(wit::ConnectedEvent {
            client_id: client_id.to_owned(),
            principal: principal.map(str::to_owned),
            resumed,
        }),
        host::SessionEvent::Disconnected {
            client_id,
            reason,
            will_published,
        } => wit::Event::Disconnected(wit::DisconnectedEvent {
            client_id: client_id.to_owned(),
            reason,
            will_published,
        }),
        host::SessionEvent::QueueOverflow(messages) => wit::Event::QueueOverflow(messages),
        host::SessionEvent::LimitHit(limit, times) => wit::Event::LimitHit(wit::LimitHitEvent {
            limit: match limit {
                host::Limit::Inward => wit::Limit::Inward,
                host::Limit::Outward => wit::Limit::Outward,
                host::Limit::Subscribes => wit::Limit::Subscribes,
            },
            times,
        }),
    }
}
