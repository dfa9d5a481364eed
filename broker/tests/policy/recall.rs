//! Sessions that outlive the process: their gates are remembered by one host and recalled by the next.

use crate::guest::{ADMIT, ALLOW, DENY, Guest, KEEP, ZERO, publisher, verdict};
use crate::support::{ALLOWED, Host, config, denied, publish, spec, start, start_one, subscription_denied};
use sluice::policy::verdict::{RefreshCause, RefreshVerdict};
use sluice::policy::{Gate, RecallError};

/// The number of the session after the restart.
const SESSION: u64 = 99;

/// The gate of a client that `before` admits, as `after` has it.
fn carried_over(before: &Host, after: &Host) -> Gate {
    let bytes = before.admit("c").remember();
    after.policies.recall(&bytes, SESSION).unwrap()
}

fn refreshed(gate: &mut Gate) -> RefreshVerdict {
    assert!(!gate.is_current());
    let verdict = gate.refresh(RefreshCause::Swap);
    assert!(gate.is_current());
    verdict
}

#[test]
fn a_recalled_session_may_nothing_until_it_was_judged_and_then_what_it_could_before() {
    let guest = publisher(ALLOW).subscribe(&verdict(ALLOW));
    let (before, after) = (start_one(guest.clone().build()), start_one(guest.build()));
    let mut gate = carried_over(&before, &after);
    assert_eq!(gate.session(), SESSION);
    let refusal = denied(publish(&mut gate, "t"));
    assert!(refusal.text.unwrap().contains("not been judged since"));
    subscription_denied(gate.subscribe("t", 0));
    assert_eq!(refreshed(&mut gate), RefreshVerdict::Keep);
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
}

#[test]
fn its_policy_is_asked_with_its_number_and_may_send_it_away() {
    // Keeps one session only; every other one is denied.
    let picky = |session: u64| {
        let is_it = format!("(i64.eq (i64.load (local.get $request)) (i64.const {session}))");
        let refresh = format!("(select {KEEP} {ZERO} {is_it})");
        start_one(Guest::new().connect(ADMIT).refresh(&refresh).build())
    };
    let before = picky(0);
    let keeping = picky(SESSION);
    assert_eq!(
        refreshed(&mut carried_over(&before, &keeping)),
        RefreshVerdict::Keep
    );
    let denying = picky(SESSION + 1);
    assert!(matches!(
        refreshed(&mut carried_over(&before, &denying)),
        RefreshVerdict::Deny(refusal) if &*refusal.policy == "p"
    ));
}

#[test]
fn a_session_whose_only_policy_is_gone_is_sent_away() {
    let before = start_one(publisher(ALLOW).build());
    let other = Guest::new().connect(ADMIT).publish(&verdict(ALLOW)).build();
    let after = start(config(vec![spec("other", other)]));
    let mut gate = carried_over(&before, &after);
    let RefreshVerdict::Deny(refusal) = refreshed(&mut gate) else {
        panic!("nobody who is left has admitted it");
    };
    assert!(refusal.text.unwrap().contains("no policy admits"));
}

#[test]
fn a_policy_that_is_new_judges_what_a_recalled_session_does() {
    let before = start_one(publisher(ALLOW).build());
    let late = Guest::new().publish(&verdict(DENY)).build();
    let after = start(config(vec![
        spec("p", publisher(ALLOW).build()),
        spec("late", late),
    ]));
    let mut gate = carried_over(&before, &after);
    assert_eq!(refreshed(&mut gate), RefreshVerdict::Keep);
    assert_eq!(&*denied(publish(&mut gate, "t")).policy, "late");
}

#[test]
fn it_can_be_remembered_again_before_and_after_it_was_judged() {
    let host = start_one(publisher(ALLOW).build());
    let mut gate = carried_over(&host, &host);
    let unjudged = gate.remember();
    refreshed(&mut gate);
    assert_eq!(gate.remember(), unjudged);
    assert!(host.policies.recall(&unjudged, SESSION).is_ok());
}

#[test]
fn bytes_that_are_no_gate_are_an_error() {
    let host = start_one(publisher(ALLOW).build());
    for bytes in [&b""[..], b"\x01", b"\x01 no gate at all"] {
        let error = host.policies.recall(bytes, SESSION).unwrap_err();
        assert_eq!(error, RecallError::Damaged, "{bytes:?}");
    }
}
