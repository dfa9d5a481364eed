//! Re-authentication on a live connection (MQTT 5.0 section 4.12.1): judged like a CONNECT, in a task of its own, for a
//! policy may wait for a service. Everything else goes on meanwhile on the terms that hold (section 4.12.1,
//! non-normative); a failure ends the connection.

use super::driver::{Client, End};
use super::link::Socket;
use super::terms;
use crate::hub::Stop;
use crate::policy::verdict::Decision;
use crate::policy::{Judging, Step};
use sluice_mqtt::packet::Auth;
use sluice_mqtt::reason::ReasonCode;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::task::JoinHandle;

/// A re-authentication under way.
pub(super) enum Reauth {
    /// It waits for the client's answer.
    Challenged(Box<Judging>),
    /// It waits for the policies.
    Judged(Judged),
}

/// A step of judging, taken beside the connection. Dropped with the connection, it is given up.
pub(super) struct Judged(JoinHandle<(Box<Judging>, Step)>);

impl Drop for Judged {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Judged {
    fn start(mut judging: Box<Judging>) -> Self {
        Self(tokio::spawn(async move {
            let step = judging.step().await;
            (judging, step)
        }))
    }
}

/// The client has sent AUTH 0x19.
pub(super) fn begin<S: Socket>(client: &mut Client<S>, auth: Auth) {
    let request = terms::reauthentication_request(
        &client.identity,
        auth,
        &client.cell.key.client_id,
        client.gate.session(),
        &client.peer,
    );
    let judging = client.shared.policies.connect(Arc::new(request));
    client.reauth = Some(Reauth::Judged(Judged::start(Box::new(judging))));
}

/// The client has answered the challenge.
pub(super) fn go_on<S: Socket>(client: &mut Client<S>, auth: Auth) {
    if let Some(Reauth::Challenged(mut judging)) = client.reauth.take() {
        judging.answer(auth.data.map(|data| data.to_vec()));
        client.reauth = Some(Reauth::Judged(Judged::start(judging)));
    }
}

impl<S: Socket> Client<S> {
    /// Ready when a step of judging is over: [`Client::reauthenticated`] takes its outcome.
    pub(super) fn poll_reauth(&mut self, cx: &mut Context<'_>) -> Poll<Option<Judgement>> {
        let Some(Reauth::Judged(judged)) = &mut self.reauth else {
            return Poll::Pending;
        };
        let outcome = std::task::ready!(Pin::new(&mut judged.0).poll(cx));
        self.reauth = None;
        Poll::Ready(outcome.ok().map(|(judging, step)| Judgement { judging, step }))
    }

    /// Does what the policies have decided; `Some` when the connection is to end.
    pub(super) fn reauthenticated(&mut self, judgement: Option<Judgement>) -> Option<End> {
        let stop = |reason, text| Some(End::Broker(Stop { reason, text }));
        let Some(Judgement { judging, step }) = judgement else {
            return stop(ReasonCode::UNSPECIFIED_ERROR, "re-authentication was interrupted");
        };
        match step {
            Step::Challenge(data) => {
                self.link.conn.challenge(Some(data.into()));
                self.reauth = Some(Reauth::Challenged(judging));
                None
            }
            Step::Decided(Decision::Admit { gate, admission }) => {
                if gate.mountpoint() != self.gate.mountpoint() {
                    let text = "re-authentication gave the client another mount point";
                    return stop(ReasonCode::NOT_AUTHORIZED, text);
                }
                self.gate = *gate;
                // What policies say of the life of the connection counts from now on.
                let now = Instant::now();
                self.authenticated_after = now.saturating_duration_since(self.connected_at);
                self.apply_limits(now);
                self.link.conn.reauthenticated(admission.connack.auth_data);
                self.shared.hub.judge_subscriptions(&self.cell, &mut self.gate);
                None
            }
            Step::Decided(Decision::Deny(refusal)) => {
                self.session_refused(&refusal);
                stop(terms::reason(&refusal), "re-authentication failed")
            }
        }
    }
}

/// What a step of judging has come to.
pub(super) struct Judgement {
    judging: Box<Judging>,
    step: Step,
}
