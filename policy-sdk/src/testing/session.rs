//! A client that was let in, under the terms it was given.

use crate::bindings::host::sluice::policy::types::{Admission, Budget, GrantAction, GrantVerdict};
use crate::connect::{Refresh, RefreshRequest};
use crate::policy::Policy;
use crate::publish::{Publish, PublishRequest};
use crate::reason::Reason;
use crate::subscribe::{Subscribe, SubscribeRequest};

use super::grants::{Names, deciding};
use super::{Client, SessionAction, Tested};

/// A client that was let in. Its messages and subscriptions are judged as the broker would with this policy alone:
/// by the grants it was given, and by `on_publish` and `on_subscribe` where these do not decide.
#[derive(Debug)]
pub struct Session<'a, P> {
    gate: &'a Tested<P>,
    client: Client,
    terms: Admission,
    /// Actions of the policy before these terms.
    actions_before: usize,
}

impl<'a, P: Policy> Session<'a, P> {
    pub(super) fn new(gate: &'a Tested<P>, client: &Client, terms: Admission) -> Self {
        Self {
            gate,
            client: client.clone(),
            terms,
            actions_before: gate.actions_len(),
        }
    }

    /// The terms on which the client was let in.
    pub fn terms(&self) -> &Admission {
        &self.terms
    }

    /// The budget that this policy wants enforced now: that of the terms, or what it has set since.
    pub fn budget(&self) -> Budget {
        let session = self.client.0.session;
        let actions = self.gate.actions().into_iter().skip(self.actions_before);
        let mut set = actions.filter_map(|action| match action {
            SessionAction::SetBudget(of, budget) if of == session => Some(*budget),
            _ => None,
        });
        set.next_back().unwrap_or(self.terms.budget)
    }

    /// What `on_refresh` is asked about this session.
    pub fn refresh_request(&self) -> RefreshRequest {
        self.client.refresh(&self.terms)
    }

    /// Has the session judged again, by the same policy, and takes its new terms.
    pub fn refresh(&mut self) -> Refresh {
        let refresh = self.gate.refresh(&self.refresh_request());
        if let Refresh::Admit(terms) = &refresh {
            self.terms = terms.as_ref().clone();
            self.actions_before = self.gate.actions_len();
        }
        refresh
    }

    /// Judges a message: a topic, or [`publish`](super::publish) with changes. Its session and tag are this
    /// session's.
    pub fn publish(&self, request: impl Into<PublishRequest>) -> Publish {
        let request = PublishRequest {
            session: self.client.0.session,
            tag: self.terms.tag,
            ..request.into()
        };
        let Some(grants) = &self.terms.grants else {
            return self.gate.publish(request);
        };
        match deciding(grants, GrantAction::Publish, &request.topic, &self.names()) {
            Some((GrantVerdict::Deny, _)) => Publish::deny(),
            Some((_, grant)) if request.qos.level() > grant.qos_max => {
                Publish::deny_with(Reason::QosNotSupported)
            }
            Some((_, grant)) if request.retain && !grant.retain => {
                Publish::deny_with(Reason::RetainNotSupported)
            }
            Some((GrantVerdict::Consult, _)) => self.gate.publish(request),
            Some(_) => Publish::allow(),
            None => Publish::deny(),
        }
    }

    /// Judges a subscription: a filter, or [`subscribe`](super::subscribe) with changes. Its session and tag are this
    /// session's.
    pub fn subscribe(&self, request: impl Into<SubscribeRequest>) -> Subscribe {
        let request = SubscribeRequest {
            session: self.client.0.session,
            tag: self.terms.tag,
            ..request.into()
        };
        let Some(grants) = &self.terms.grants else {
            return self.gate.subscribe(request);
        };
        match deciding(grants, GrantAction::Subscribe, &request.filter, &self.names()) {
            Some((GrantVerdict::Deny, _)) => Subscribe::deny(),
            Some((GrantVerdict::Consult, _)) => self.gate.subscribe(request),
            Some((_, grant)) if request.qos.level() > grant.qos_max => {
                Subscribe::allow_at(crate::QoS::from_level(grant.qos_max))
            }
            Some(_) => Subscribe::allow(),
            None => Subscribe::deny(),
        }
    }

    /// Whether a message is routed, now or throttled.
    pub fn may_publish(&self, request: impl Into<PublishRequest>) -> bool {
        self.publish(request).is_allowed()
    }

    /// Whether a subscription is granted, at whatever QoS.
    pub fn may_subscribe(&self, request: impl Into<SubscribeRequest>) -> bool {
        self.subscribe(request).is_allowed()
    }

    fn names(&self) -> Names<'_> {
        let request = &self.client.0;
        Names {
            client_id: &request.client_id,
            username: request.username.as_deref(),
            terms: &self.terms,
        }
    }
}
