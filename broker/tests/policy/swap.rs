//! Replacing policies while they judge.

use crate::guest::{ABSTAIN_VERDICT, ADMIT, ALLOW, DENY, Guest, KEEP, ZERO, publisher, verdict};
use crate::support::{ALLOWED, config, denied, publish, spec, start, start_one};
use sluice::policy::notice::{ActivationCause, FaultKind};
use sluice::policy::verdict::{PublishVerdict, RefreshCause, RefreshVerdict};
use sluice::policy::{PolicyErrorKind, PolicyNotice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

#[test]
fn the_next_packet_is_judged_by_the_new_module() {
    let host = start_one(publisher(ALLOW).build());
    let mut gate = host.admit("c");
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    let report = host.policies.load("p", publisher(DENY).build()).unwrap();
    assert!(report.changed);
    assert_eq!(report.generation, 2);
    assert_eq!(host.policies.generation(), 2);
    let refusal = denied(publish(&mut gate, "t"));
    assert_eq!((refusal.generation, &*refusal.policy), (2, "p"));
}

#[test]
fn a_module_that_fails_its_trial_changes_nothing() {
    let host = start_one(publisher(ALLOW).build());
    let mut gate = host.admit("c");
    for wasm in [
        b"garbage".to_vec(),
        publisher(ALLOW).self_test("unreachable").build(),
        publisher(99).build(),
    ] {
        host.policies.load("p", wasm).unwrap_err();
        assert_eq!(publish(&mut gate, "t"), ALLOWED);
        assert_eq!(host.policies.generation(), 1);
        assert!(gate.is_current());
    }
    assert!(host.policies.list()[0].last_error.is_some());
    let rejected = |notice: &PolicyNotice| matches!(notice, PolicyNotice::Rejected { .. });
    assert_eq!(
        host.recorder
            .notices()
            .iter()
            .filter(|notice| rejected(notice))
            .count(),
        3
    );
}

#[test]
fn the_same_module_again_is_no_swap() {
    let host = start_one(publisher(ALLOW).build());
    let report = host.policies.load("p", publisher(ALLOW).build()).unwrap();
    assert!(!report.changed);
    assert_eq!(report.generation, 1);
}

#[test]
fn an_unknown_name_is_a_new_policy_at_the_end_of_the_default_chain() {
    let host = start_one(publisher(ALLOW).build());
    let mut gate = host.admit("c");
    host.policies
        .load("late", Guest::new().publish(&verdict(DENY)).build())
        .unwrap();
    assert_eq!(&*denied(publish(&mut gate, "t")).policy, "late");
    host.policies
        .load("../late", publisher(ALLOW).build())
        .unwrap_err();
}

#[test]
fn rollback_takes_a_policy_that_came_with_its_first_load_out_of_the_chain_again() {
    let host = start_one(publisher(ALLOW).build());
    let mut gate = host.admit("c");
    for verdict_code in [DENY, ABSTAIN_VERDICT] {
        let module = Guest::new().publish(&verdict(verdict_code)).build();
        host.policies.load("late", module).unwrap();
    }
    host.policies.rollback("late").unwrap();
    assert_eq!(&*denied(publish(&mut gate, "t")).policy, "late");
    host.policies.rollback("late").unwrap();
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    assert_eq!(host.policies.list().len(), 1);
}

#[test]
fn rollback_goes_back_step_by_step_and_no_further_than_there_are_modules() {
    let throttle = |ms: u64| publisher(3 | ms << 32).build();
    let host = start_one(throttle(1));
    let mut gate = host.admit("c");
    for ms in 2..=6 {
        host.policies.load("p", throttle(ms)).unwrap();
    }
    assert_eq!(host.policies.list()[0].previous.len(), 3);
    for ms in [5, 4, 3] {
        host.policies.rollback("p").unwrap();
        assert_eq!(publish(&mut gate, "t"), PublishVerdict::Allow { throttle_ms: ms });
    }
    assert_eq!(
        host.policies.rollback("p").unwrap_err().kind,
        PolicyErrorKind::NoPrevious
    );
    assert!(matches!(
        host.policies.rollback("q").unwrap_err().kind,
        PolicyErrorKind::NoSuchPolicy
    ));
}

#[test]
fn a_module_that_fails_again_and_again_gives_way_to_the_one_before() {
    let host = start_one(publisher(ALLOW).build());
    let mut gate = host.admit("c");
    let bad = Guest::new().connect(ADMIT).publish(&format!(
        "(if (i64.ne (local.get $session) (i64.const 0)) (then unreachable)) {}",
        verdict(ALLOW)
    ));
    host.policies.load("p", bad.build()).unwrap();
    for _ in 0..5 {
        denied(publish(&mut gate, "t"));
    }
    let generation = host.recorder.wait_for(|notice| match notice {
        PolicyNotice::Activated {
            cause: ActivationCause::Quarantine,
            generation,
            ..
        } => Some(*generation),
        _ => None,
    });
    assert_eq!(generation, 3);
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    assert!(
        host.recorder
            .faults()
            .iter()
            .all(|(_, kind, _)| *kind == FaultKind::Trap)
    );
}

#[test]
fn threads_that_call_all_the_while_see_whole_generations_only() {
    // Two policies that always change together: their throttles are the same in every generation.
    let pair = |ms: u64| {
        let bits = 3 | ms << 32;
        config(vec![
            spec("a", publisher(bits).build()),
            spec("b", Guest::new().publish(&verdict(bits)).build()),
        ])
    };
    let host = start(pair(1));
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in ["x", "y", "z"] {
            let mut gate = host.admit(client);
            let (stop, calls) = (&stop, &calls);
            scope.spawn(move || {
                let mut last = 1;
                while !stop.load(Ordering::Relaxed) {
                    match publish(&mut gate, "t") {
                        PublishVerdict::Allow { throttle_ms } => {
                            assert!(throttle_ms >= last, "back from {last} to {throttle_ms}");
                            last = throttle_ms;
                        }
                        other => panic!("{other:?}"),
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                last
            });
        }
        for ms in 2..=12 {
            let before = calls.load(Ordering::Relaxed);
            host.policies.reload(pair(ms)).unwrap();
            while calls.load(Ordering::Relaxed) < before + 100 {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        publish(&mut host.admit("c"), "t"),
        PublishVerdict::Allow { throttle_ms: 12 }
    );
    assert_eq!(host.recorder.faults(), []);
}

#[test]
fn a_reload_takes_all_or_nothing_and_leaves_alone_what_has_not_changed() {
    let host = start(config(vec![
        spec("a", publisher(ALLOW).build()),
        spec("b", publisher(ALLOW).build()),
    ]));
    let wrong = config(vec![
        spec("a", publisher(DENY).build()),
        spec("b", b"garbage".to_vec()),
    ]);
    assert_eq!(host.policies.reload(wrong).unwrap_err().len(), 1);
    assert_eq!(publish(&mut host.admit("c"), "t"), ALLOWED);
    let unchanged = config(vec![
        spec("a", publisher(ALLOW).build()),
        spec("b", publisher(ALLOW).build()),
    ]);
    assert!(!host.policies.reload(unchanged).unwrap().changed);
    let partly = config(vec![
        spec("a", publisher(ALLOW).build()),
        spec("b", publisher(DENY).build()),
    ]);
    let report = host.policies.reload(partly).unwrap();
    assert_eq!(
        report
            .policies
            .iter()
            .map(|policy| policy.name.as_str())
            .collect::<Vec<_>>(),
        ["b"]
    );
    assert_eq!(&*denied(publish(&mut host.admit("c"), "t")).policy, "b");
}

#[test]
fn a_swap_is_a_reason_to_judge_a_live_session_again() {
    let host = start_one(publisher(ALLOW).build());
    let mut gate = host.admit("c");
    assert!(gate.is_current());
    assert_eq!(gate.refresh(RefreshCause::Swap), RefreshVerdict::Keep);
    host.policies.load("p", publisher(3).build()).unwrap();
    assert!(!gate.is_current());
    assert_eq!(gate.refresh(RefreshCause::Swap), RefreshVerdict::Keep);
    assert!(gate.is_current());
    host.policies
        .load("p", publisher(ALLOW).refresh(ZERO).build())
        .unwrap();
    assert!(matches!(gate.refresh(RefreshCause::Swap), RefreshVerdict::Deny(refusal) if !refusal.fault));
}

#[test]
fn a_policy_that_did_not_change_is_not_asked_at_a_swap() {
    // Its refresh denies real sessions; only the other policy is replaced.
    let refresh =
        format!("(if (i64.eq (i64.load (local.get $request)) (i64.const 0)) (then (return {KEEP}))) {ZERO}");
    let strict = Guest::new().connect(ADMIT).refresh(&refresh);
    let host = start(config(vec![
        spec("strict", strict.build()),
        spec("p", publisher(ALLOW).build()),
    ]));
    let mut gate = host.admit("c");
    host.policies.load("p", publisher(3).build()).unwrap();
    assert_eq!(gate.refresh(RefreshCause::Swap), RefreshVerdict::Keep);
}

#[test]
fn a_module_that_admits_nobody_does_not_vouch_for_whom_its_predecessor_let_in() {
    let host = start_one(publisher(ALLOW).build());
    let mut gate = host.admit("c");
    host.policies
        .load("p", Guest::new().publish(&verdict(ALLOW)).build())
        .unwrap();
    assert!(matches!(
        gate.refresh(RefreshCause::Swap),
        RefreshVerdict::Deny(_)
    ));
}

#[test]
fn a_connect_is_finished_by_the_generation_that_began_it() {
    let host = start_one(publisher(ALLOW).build());
    let mut judging = host
        .policies
        .connect(std::sync::Arc::new(crate::support::request("c")));
    host.policies
        .load("p", Guest::new().connect(ZERO).build())
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let step = runtime.block_on(judging.step());
    let sluice::policy::Step::Decided(sluice::policy::verdict::Decision::Admit { gate, .. }) = step else {
        panic!("{step:?}")
    };
    assert!(!gate.is_current());
    host.deny("d");
}

#[test]
fn changes_are_told() {
    let host = start_one(publisher(ALLOW).build());
    let mut changes = host.policies.changes();
    assert_eq!(*changes.borrow_and_update(), 1);
    host.policies.load("p", publisher(DENY).build()).unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), 2);
}
