//! The terms on which one policy admitted a client, checked and compiled.

use super::budget::Budget;
use super::grant::{Grants, Values};
use super::notice::{Fault, FaultKind};
use super::shared::Shared;
use super::verdict::{Admission, ConnackOverrides, ConnectRequest, Denial, Peer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Longest principal and mount point.
const NAME_BYTES_MAX: usize = 1024;
/// Most attributes of one admission. Together with everything else they are at most 64 KiB.
const ATTRIBUTES_MAX: usize = 128;

/// Who a session is, without its credentials.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) session: u64,
    /// As the broker calls it.
    pub(super) client_id: Box<str>,
    pub(super) username: Option<Box<str>>,
    pub(super) peer: Arc<Peer>,
}

impl Subject {
    pub(super) fn of(request: &ConnectRequest) -> Self {
        let assigned = request
            .assigned_client_id
            .as_ref()
            .filter(|_| request.client_id.is_empty());
        Self {
            session: request.session,
            client_id: assigned.unwrap_or(&request.client_id).as_str().into(),
            username: request.username.as_deref().map(Into::into),
            peer: Arc::clone(&request.peer),
        }
    }
}

/// What one policy made of a client, or all of a chain together. Sessions for which it comes out the same share it.
/// What was read of written ones is not checked before [`Terms::recalled`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) principal: Option<Box<str>>,
    pub(super) mountpoint: Option<Box<str>>,
    pub(super) attributes: Box<[(String, String)]>,
    pub(super) tag: u64,
    pub(super) grants: Option<Arc<Grants>>,
    pub(super) budget: Arc<Budget>,
    pub(super) refresh_seconds: Option<u32>,
}

impl Terms {
    /// Checks an admission.
    ///
    /// # Errors
    /// When it is not what the interface allows; the policy is at fault then and nobody enters.
    pub(super) fn compile(
        admission: Admission,
        subject: &Subject,
        shared: &Shared,
    ) -> Result<(Arc<Self>, ConnackOverrides), Fault> {
        let bad = |what: String| Err(Fault::new(FaultKind::BadVerdict, what));
        let grants = admission.grants.as_deref().map(|grants| {
            let values = Values {
                client_id: &subject.client_id,
                username: subject.username.as_deref(),
                attributes: &admission.attributes,
            };
            Grants::compile(grants, &values)
        });
        let grants = match grants.transpose() {
            Ok(grants) => grants,
            Err(problem) => return bad(problem.0),
        };
        let terms = Self {
            principal: admission.principal.map(String::into_boxed_str),
            mountpoint: admission.mountpoint.map(String::into_boxed_str),
            attributes: admission.attributes.into_boxed_slice(),
            tag: admission.tag,
            grants: grants.map(|grants| shared.grants.share(grants)),
            budget: shared.budgets.share(admission.budget),
            refresh_seconds: admission.refresh_seconds.map(|seconds| seconds.max(1)),
        };
        match terms.check() {
            Ok(()) => Ok((shared.terms.share(terms), sendable_connack(admission.connack))),
            Err(problem) => bad(problem),
        }
    }

    /// Terms that were written down, checked as when they were new.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn recalled(self, shared: &Shared) -> Result<Arc<Self>, String> {
        self.check()?;
        let terms = Self {
            grants: self
                .grants
                .map(|grants| shared.grants.share(Arc::unwrap_or_clone(grants))),
            budget: shared.budgets.share(*self.budget),
            refresh_seconds: self.refresh_seconds.map(|seconds| seconds.max(1)),
            ..self
        };
        Ok(shared.terms.share(terms))
    }

    /// Everything but the rules, which cannot be had unchecked.
    fn check(&self) -> Result<(), String> {
        if let Some(mountpoint) = &self.mountpoint
            && !is_mountpoint(mountpoint)
        {
            return Err(format!(
                "`{mountpoint}` is no mount point: a topic name that ends in `/`"
            ));
        }
        if self
            .principal
            .as_ref()
            .is_some_and(|name| name.len() > NAME_BYTES_MAX)
        {
            return Err(format!("the principal has more than {NAME_BYTES_MAX} bytes"));
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(format!(
                "{} attributes; at most {ATTRIBUTES_MAX}",
                self.attributes.len()
            ));
        }
        Ok(())
    }

    /// The same with another budget.
    pub(super) fn with_budget(&self, budget: Budget, shared: &Shared) -> Arc<Self> {
        shared.terms.share(Self {
            budget: shared.budgets.share(budget),
            ..self.clone()
        })
    }

    /// What the rest of the broker is told: everything but tag and grants, which stay with the gate.
    pub(super) fn admission(&self) -> Admission {
        let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Admission {
            principal: owned(&self.principal),
            mountpoint: owned(&self.mountpoint),
            attributes: self.attributes.to_vec(),
            tag: 0,
            grants: None,
            budget: *self.budget,
            refresh_seconds: self.refresh_seconds,
            connack: ConnackOverrides::default(),
        }
    }

    /// Whether the rest of the broker would be told the same.
    pub(super) fn amount_to_the_same(&self, other: &Self) -> bool {
        self.principal == other.principal
            && self.mountpoint == other.mountpoint
            && self.attributes == other.attributes
            && self.budget == other.budget
            && self.refresh_seconds == other.refresh_seconds
    }

    /// How long after an admission or refresh the next is due.
    pub(super) fn refresh_after(&self) -> Option<Duration> {
        self.refresh_seconds
            .map(|seconds| Duration::from_secs(seconds.into()))
    }
}

fn is_mountpoint(text: &str) -> bool {
    text.ends_with('/')
        && text.len() <= NAME_BYTES_MAX
        && !text.starts_with('$')
        && !text.contains(['+', '#', '\0'])
}

/// Without what MQTT cannot carry: a U+0000 in a string is a malformed packet (MQTT 5.0 section 1.5.4).
fn sendable_connack(connack: ConnackOverrides) -> ConnackOverrides {
    ConnackOverrides {
        response_information: sendable(connack.response_information),
        reason_string: sendable(connack.reason_string),
        user_properties: connack
            .user_properties
            .into_iter()
            .filter(|(name, value)| is_sendable(name) && is_sendable(value))
            .collect(),
        ..connack
    }
}

pub(super) fn sendable_denial(denial: Denial) -> Denial {
    Denial {
        reason: denial.reason,
        reason_string: sendable(denial.reason_string),
        server_reference: sendable(denial.server_reference),
    }
}

fn sendable(text: Option<String>) -> Option<String> {
    text.filter(|text| is_sendable(text))
}

pub(super) fn is_sendable(text: &str) -> bool {
    text.len() <= 65_535 && !text.contains('\0')
}

/// What the terms of all policies amount to: the first that says something decides, attributes add up, of budgets
/// and intervals the strictest counts. `None`: nobody admits. Tag and grants mean nothing in the result.
pub(super) fn combine<'a>(
    mut all: impl Iterator<Item = &'a Arc<Terms>>,
    shared: &Shared,
) -> Option<Arc<Terms>> {
    let first = all.next()?;
    let Some(second) = all.next() else {
        // Nearly always.
        return Some(Arc::clone(first));
    };
    let mut combined = Terms {
        tag: 0,
        grants: None,
        ..Terms::clone(first)
    };
    let mut budget = *first.budget;
    let mut attributes = first.attributes.to_vec();
    for terms in std::iter::once(second).chain(all) {
        if combined.principal.is_none() {
            combined.principal.clone_from(&terms.principal);
        }
        if combined.mountpoint.is_none() {
            combined.mountpoint.clone_from(&terms.mountpoint);
        }
        attributes.extend(terms.attributes.iter().cloned());
        budget = budget.strictest(&terms.budget);
        combined.refresh_seconds = match (combined.refresh_seconds, terms.refresh_seconds) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        };
    }
    combined.attributes = attributes.into_boxed_slice();
    combined.budget = shared.budgets.share(budget);
    Some(shared.terms.share(combined))
}

/// Of the CONNACK each part as the first policy has it that has it.
pub(super) fn combine_connack(first: ConnackOverrides, then: ConnackOverrides) -> ConnackOverrides {
    let mut user_properties = first.user_properties;
    user_properties.extend(then.user_properties);
    ConnackOverrides {
        server_keep_alive_seconds: first.server_keep_alive_seconds.or(then.server_keep_alive_seconds),
        response_information: first.response_information.or(then.response_information),
        reason_string: first.reason_string.or(then.reason_string),
        user_properties,
        auth_data: first.auth_data.or(then.auth_data),
    }
}
