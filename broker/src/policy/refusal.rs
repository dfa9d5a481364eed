//! How a refusal is worded: who refused, under which generation, with which reason code.

use super::gate::Seat;
use super::grant::Cause;
use super::notice::{Fault, Hook};
use super::reason::{FAULT, connack_reason, publish_reason};
use super::terms::sendable_denial;
use super::verdict::{Denial, Refusal};
use std::sync::Arc;

/// A policy's decision.
pub(super) fn refusal(seat: &Seat, generation: u64, reason: u8, text: Option<String>) -> Refusal {
    Refusal {
        policy: Arc::clone(&seat.policy),
        generation,
        reason,
        text,
        server_reference: None,
        fault: false,
    }
}

pub(super) fn failure(seat: &Seat, generation: u64, fault: &Fault) -> Refusal {
    Refusal {
        fault: true,
        ..refusal(seat, generation, FAULT, Some(fault.to_string()))
    }
}

pub(super) fn denied(seat: &Seat, generation: u64, denial: Denial, reason: fn(u8) -> u8) -> Refusal {
    let denial = sendable_denial(denial);
    Refusal {
        server_reference: denial.server_reference,
        ..refusal(seat, generation, reason(denial.reason), denial.reason_string)
    }
}

pub(super) fn no_hook(hook: Hook) -> String {
    format!(
        "{}: a grant consults {hook}, which the policy does not export",
        Cause::Rule
    )
}

/// Stands in for the name of a policy where none decided.
const NO_POLICY: &str = "(no policy)";

fn nobody(generation: u64, reason: u8, text: &str) -> Refusal {
    Refusal {
        policy: NO_POLICY.into(),
        generation,
        reason,
        text: Some(text.to_owned()),
        server_reference: None,
        fault: false,
    }
}

pub(super) fn nobody_allows(generation: u64) -> Refusal {
    nobody(generation, publish_reason(0), "no policy allows it")
}

pub(super) fn nobody_admits(generation: u64) -> Refusal {
    nobody(generation, connack_reason(0), "no policy admits the client")
}

/// A gate was asked that was recalled and not refreshed since.
pub(super) fn unjudged(generation: u64) -> Refusal {
    nobody(
        generation,
        publish_reason(0),
        "the session has not been judged since the broker was started",
    )
}

/// An observer called a gate, which it must not.
pub(super) fn reentered() -> Refusal {
    Refusal {
        fault: true,
        ..nobody(0, FAULT, "a policy was called from inside a policy's call")
    }
}
