//! Between the generated types of `wit/asking.wit` and those of `question.rs`.

use super::bindings::sluice::policy::services as wit;
use super::convert;
use crate::policy::question::{HttpMethod, HttpRequest};
use crate::policy::verdict as host;

pub(super) fn answer(answer: &host::Answer) -> wit::Answer {
    match answer {
        host::Answer::Failed(text) => wit::Answer::Failed(text.clone()),
        host::Answer::Password(fits) => wit::Answer::Password(*fits),
        host::Answer::Response(data) => wit::Answer::Response(data.clone()),
        host::Answer::Http(response) => wit::Answer::Http(wit::HttpResponse {
            status: response.status,
            content_type: response.content_type.clone(),
            body: response.body.to_vec(),
        }),
        host::Answer::Token(Ok(token)) => wit::Answer::Token(Ok(wit::VerifiedToken {
            claims: token.claims.clone(),
            expires_in_seconds: token.expires_in_seconds,
        })),
        host::Answer::Token(Err(wrong)) => wit::Answer::Token(Err(wrong.clone())),
    }
}

pub(super) fn connect_outcome(outcome: wit::ConnectOutcome) -> host::ConnectOutcome {
    match outcome {
        wit::ConnectOutcome::Deny(denied) => host::ConnectOutcome::Deny(convert::denial(denied)),
        wit::ConnectOutcome::Admit(admitted) => {
            host::ConnectOutcome::Admit(Box::new(convert::admission(admitted)))
        }
        wit::ConnectOutcome::Abstain => host::ConnectOutcome::Abstain,
        wit::ConnectOutcome::Wait(effects) => {
            host::ConnectOutcome::Wait(effects.into_iter().map(effect).collect())
        }
    }
}

fn effect(effect: wit::Effect) -> host::Effect {
    match effect {
        wit::Effect::VerifyPassword(check) => host::Effect::VerifyPassword {
            hash: check.hash,
            password: check.password,
        },
        wit::Effect::Challenge(data) => host::Effect::Challenge(data),
        wit::Effect::Http(request) => host::Effect::Http(Box::new(HttpRequest {
            service: request.service,
            method: match request.method {
                wit::HttpMethod::Get => HttpMethod::Get,
                wit::HttpMethod::Post => HttpMethod::Post,
                wit::HttpMethod::Put => HttpMethod::Put,
            },
            path: request.path,
            query: request.query,
            headers: request.headers,
            content_type: request.content_type,
            body: request.body,
            reuse_success_seconds: request.reuse_success_seconds,
            reuse_other_seconds: request.reuse_other_seconds,
        })),
        wit::Effect::VerifyJwt(check) => host::Effect::VerifyJwt {
            issuer: check.issuer,
            token: check.token,
        },
    }
}
