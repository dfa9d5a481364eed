//! Policies that go wrong, by accident or on purpose. Each ends in a refusal within its time and a reported cause.

use crate::guest::{ADMIT, ALLOW, Guest, KEEP, ZERO, publisher, verdict};
use crate::support::{
    ALLOWED, Host, config, denied, publish, spec, start, start_error, start_one, subscription_denied,
};
use sluice::policy::notice::{FaultKind, Hook};
use sluice::policy::verdict::{ContentMessage, ContentVerdict};
use sluice::policy::{PolicyErrorKind, PolicyNotice};
use std::time::{Duration, Instant};

/// Behaves in the trial, whose session is 0, and does `evil` for real sessions.
fn unless_tried(evil: &str) -> String {
    format!("(if (i64.ne (local.get $session) (i64.const 0)) (then {evil}))")
}

/// A policy whose `on-publish` does evil, then allows.
fn evil_publisher(declarations: &str, evil: &str) -> Guest {
    let body = format!("{} {}", unless_tried(evil), verdict(ALLOW));
    Guest::new().with(declarations).connect(ADMIT).publish(&body)
}

/// Publishes once and expects this kind of fault.
#[track_caller]
fn expect_publish_fault(host: &Host, kind: FaultKind, text: &str) {
    let mut gate = host.admit("c");
    let refusal = denied(publish(&mut gate, "t"));
    assert!(refusal.fault, "{refusal:?}");
    assert_eq!(refusal.reason, 0x83);
    let faults = host.recorder.faults();
    let [(Hook::Publish, found, detail)] = &faults[..] else {
        panic!("{faults:?}")
    };
    assert_eq!(*found, kind, "{detail}");
    assert!(detail.contains(text), "{detail}");
}

const SPIN: &str = "(loop $forever (br $forever))";

#[test]
fn an_endless_loop_is_ended_at_its_deadline() {
    let host = start_one(evil_publisher("", SPIN).build());
    let mut gate = host.admit("c");
    // The fastest of some tries: the machine may be busy, but not always.
    let mut fastest = Duration::MAX;
    for _ in 0..4 {
        let started = Instant::now();
        assert!(denied(publish(&mut gate, "t")).fault);
        fastest = fastest.min(started.elapsed());
    }
    assert!(fastest >= Duration::from_millis(2), "{fastest:?}");
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
    assert!(
        host.recorder
            .faults()
            .iter()
            .all(|(_, kind, _)| *kind == FaultKind::Deadline)
    );
}

#[test]
fn after_five_overruns_in_a_row_a_spinner_is_not_called_for_a_while() {
    let host = start_one(evil_publisher("", SPIN).build());
    let mut gate = host.admit("c");
    for _ in 0..5 {
        denied(publish(&mut gate, "t"));
    }
    let started = Instant::now();
    for _ in 0..100 {
        assert!(
            denied(publish(&mut gate, "t"))
                .text
                .unwrap()
                .starts_with("resting")
        );
    }
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(host.recorder.faults().len(), 5);
    host.recorder
        .wait_for(|notice| matches!(notice, PolicyNotice::Quarantined { .. }).then_some(()));
    assert!(host.policies.list()[0].quarantined);
}

#[test]
fn a_memory_bomb_is_denied_more_memory() {
    // Grows page by page until refused, as an allocator does, then gives up.
    let bomb = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let host = start_one(evil_publisher("", bomb).build());
    expect_publish_fault(&host, FaultKind::Memory, "KiB of memory");
}

#[test]
fn deep_recursion_exhausts_the_stack_of_the_guest_only() {
    let recursion = "(func $deeper (param i64) (result i64) \
                     (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (i64.const 1)))";
    let host = start_one(evil_publisher(recursion, "(drop (call $deeper (i64.const 0)))").build());
    expect_publish_fault(&host, FaultKind::Stack, "stack");
}

#[test]
fn a_trap_on_the_nth_call_costs_that_call_only() {
    let counter = "(global $calls (mut i32) (i32.const 0))";
    let evil = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (if (i32.eq (global.get $calls) (i32.const 4)) (then unreachable))";
    let host = start_one(evil_publisher(counter, evil).build());
    let mut gate = host.admit("c");
    for call in 1..=12 {
        let verdict = publish(&mut gate, "t");
        if call % 4 == 0 {
            assert!(denied(verdict).fault, "call {call}");
        } else {
            assert_eq!(verdict, ALLOWED, "call {call}");
        }
    }
    let faults = host.recorder.faults();
    assert_eq!(faults.len(), 3);
    assert!(
        faults
            .iter()
            .all(|(_, kind, text)| *kind == FaultKind::Trap && text.contains("unreachable"))
    );
}

#[test]
fn the_words_of_a_panic_are_reported() {
    let guest = evil_publisher(
        "(data (i32.const 16384) \"users\\ntable\")",
        "(call $panic (i32.const 16384) (i32.const 11)) unreachable",
    )
    .importing("log", "panic", "panic", "(param i32 i32)");
    let host = start_one(guest.build());
    expect_publish_fault(&host, FaultKind::Trap, "panicked: users\\ntable");
}

#[test]
fn verdicts_that_do_not_exist_are_refusals() {
    for bits in [6, 0xFF, 0x2_0001, 0xFFFF_FFFF_FFFF_FFFF] {
        let body = format!(
            "(select {} {} (i64.ne (local.get $session) (i64.const 0)))",
            verdict(bits),
            verdict(ALLOW)
        );
        let guest = Guest::new().connect(ADMIT).publish(&body).subscribe(&body);
        let host = start_one(guest.build());
        let mut gate = host.admit("c");
        assert!(denied(publish(&mut gate, "t")).fault, "{bits:#x}");
        if bits != 0x2_0001 {
            assert!(subscription_denied(gate.subscribe("t", 1)).fault, "{bits:#x}");
        }
        let faults = host.recorder.faults();
        assert!(
            faults.iter().all(|(_, kind, _)| *kind == FaultKind::BadVerdict),
            "{faults:?}"
        );
    }
}

/// `on-connect` that refuses with a reason string at this address and of this length, for real sessions.
fn denial_with_reason(ptr: u32, len: u32) -> Guest {
    // The case, then at 8 the denial: reason, at 12 the case of the reason string, its pointer and length.
    let body = format!(
        "(i32.store8 (i32.const 16384) (i32.const 0))
         (i32.store (i32.const 16392) (i32.const 0x87))
         (i32.store (i32.const 16396) (i64.ne (i64.load offset=8 (local.get $request)) (i64.const 0)))
         (i32.store (i32.const 16400) (i32.const {ptr}))
         (i32.store (i32.const 16404) (i32.const {len}))
         (i32.const 16384)"
    );
    Guest::new().pages(20).connect(&body)
}

#[test]
fn a_short_reason_string_arrives() {
    // Checks the layout that the next tests rely on.
    let guest = denial_with_reason(20_000, 4).with("(data (i32.const 20000) \"away\")");
    let refusal = start_one(guest.build()).deny("c");
    assert_eq!(refusal.text.as_deref(), Some("away"));
    assert!(!refusal.fault);
}

#[test]
fn a_result_that_is_too_large_or_nonsense_is_a_refusal() {
    for (ptr, len, kind) in [
        (0, 1024 * 1024, FaultKind::ResultTooLarge),
        (0, 65_537, FaultKind::ResultTooLarge),
        (0, u32::MAX, FaultKind::BadVerdict),
        (u32::MAX - 10, 5, FaultKind::BadVerdict),
    ] {
        let host = start_one(denial_with_reason(ptr, len).build());
        let started = Instant::now();
        let refusal = host.deny("c");
        assert!(refusal.fault, "{ptr} {len}");
        assert!(started.elapsed() < Duration::from_secs(5));
        let faults = host.recorder.faults();
        assert!(
            matches!(&faults[..], [(Hook::Connect, found, _)] if *found == kind),
            "{ptr} {len} {faults:?}"
        );
    }
    let guest = denial_with_reason(20_000, 2).with("(data (i32.const 20000) \"\\ff\\fe\")");
    assert!(start_one(guest.build()).deny("c").fault, "not UTF-8");
}

#[test]
fn overlapping_strings_do_not_multiply_in_the_host() {
    // admission.attributes: 500 pairs that all point to the same 1 KiB: 1 MB on the host if it were copied.
    let body = "(local $at i32)
        (if (i64.eq (i64.load offset=8 (local.get $request)) (i64.const 0)) (then (return (i32.const 4096))))
        (local.set $at (i32.const 20000))
        (loop $more
          (i32.store offset=0 (local.get $at) (i32.const 0))
          (i32.store offset=4 (local.get $at) (i32.const 1024))
          (i32.store offset=8 (local.get $at) (i32.const 0))
          (i32.store offset=12 (local.get $at) (i32.const 1024))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (br_if $more (i32.lt_u (local.get $at) (i32.const 28000))))
        (i32.store8 (i32.const 16384) (i32.const 1))
        (i32.store (i32.const 16416) (i32.const 20000))
        (i32.store (i32.const 16420) (i32.const 500))
        (i32.const 16384)";
    let host = start_one(Guest::new().connect(body).build());
    assert!(host.deny("c").fault);
    let faults = host.recorder.faults();
    assert!(
        matches!(&faults[..], [(_, FaultKind::ResultTooLarge, _)]),
        "{faults:?}"
    );
}

#[test]
fn an_unknown_case_of_an_outcome_is_a_refusal() {
    let body = "(select (i32.const 16384) (i32.const 4096) \
                (i64.ne (i64.load offset=8 (local.get $request)) (i64.const 0)))";
    let guest = Guest::new()
        .with("(data (i32.const 16384) \"\\09\")")
        .connect(body);
    let host = start_one(guest.build());
    assert!(host.deny("c").fault);
    assert!(matches!(
        host.recorder.faults()[..],
        [(Hook::Connect, FaultKind::BadVerdict, _)]
    ));
}

#[test]
fn a_log_flood_is_kept_back_and_cannot_forge_lines() {
    let evil = "(local.set $n (i32.const 10000))
        (loop $more
          (call $log (i32.const 1) (i32.const 16384) (i32.const 7))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $more (local.get $n)))";
    let body = format!("(local $n i32) {} {}", unless_tried(evil), verdict(ALLOW));
    let guest = Guest::new()
        .importing("log", "write", "log", "(param i32 i32 i32)")
        .with("(data (i32.const 16384) \"a\\nERROR\")")
        .connect(ADMIT)
        .publish(&body);
    let mut spec = spec("p", guest.build());
    spec.limits.publish_deadline = Duration::from_secs(5);
    let host = start(config(vec![spec]));
    let mut gate = host.admit("c");
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    let lines: Vec<_> = host
        .recorder
        .notices()
        .into_iter()
        .filter_map(|notice| match notice {
            PolicyNotice::Log { message, .. } => Some(message),
            _ => None,
        })
        .collect();
    assert!((20..200).contains(&lines.len()), "{}", lines.len());
    assert!(lines.iter().all(|line| line == "a\\nERROR"));
}

#[test]
fn a_start_function_that_loops_is_ended() {
    let guest = publisher(ALLOW).with(&format!("(func $main {SPIN}) (start $main)"));
    let error = start_error(spec("p", guest.build()));
    assert!(
        matches!(&error, PolicyErrorKind::Fault(Hook::Instantiate, fault) if fault.kind == FaultKind::Deadline),
        "{error}"
    );
}

#[test]
fn a_connect_hook_that_loops_denies_and_leaves_others_alone() {
    let body =
        format!("(if (i64.ne (i64.load offset=8 (local.get $request)) (i64.const 0)) (then {SPIN})) {ADMIT}");
    let mut config = config(vec![
        spec("spinner", Guest::new().connect(&body).build()),
        spec("kind", publisher(ALLOW).build()),
    ]);
    config.chains.insert("main".into(), vec!["spinner".into()]);
    config.default_chain = vec!["kind".into()];
    let host = start(config);
    let refusal = host.deny("c");
    assert!(refusal.fault);
    assert_eq!(&*refusal.policy, "spinner");
    let mut elsewhere = crate::support::request("c");
    std::sync::Arc::make_mut(&mut elsewhere.peer).listener = "other".into();
    let (mut gate, _) = host.admit_with(elsewhere);
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
}

#[test]
fn a_message_that_a_policy_makes_too_large_or_invalid_is_refused() {
    let message = ContentMessage {
        topic: "t".into(),
        payload: vec![0; 100].into(),
        qos: 0,
        retain: false,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    // message-outcome: case 2 replace; topic at 4, payload at 12, qos at 20
    for (topic_len, payload_len, qos) in [(1, 1_000_000, 0), (0, 1, 0), (1, 1, 3)] {
        let body = format!(
            "(if (i64.eq (i64.load (local.get $arguments)) (i64.const 0)) (then (return {KEEP})))
             (i32.store8 (i32.const 16384) (i32.const 2))
             (i32.store (i32.const 16388) (i32.const 20000))
             (i32.store (i32.const 16392) (i32.const {topic_len}))
             (i32.store (i32.const 16396) (i32.const 0))
             (i32.store (i32.const 16400) (i32.const {payload_len}))
             (i32.store8 (i32.const 16404) (i32.const {qos}))
             (i32.const 16384)"
        );
        let guest = Guest::new()
            .pages(20)
            .with("(data (i32.const 20000) \"u\")")
            .connect(ADMIT)
            .content(&body);
        let host = start_one(guest.build());
        let mut gate = host.admit("c");
        assert!(gate.has_content());
        let ContentVerdict::Deny(refusal) = gate.content(message.clone()) else {
            panic!("{topic_len} {payload_len} {qos}")
        };
        assert!(refusal.fault);
    }
    let guest = Guest::new().connect(ADMIT).content(ZERO);
    let mut gate = start_one(guest.build()).admit("c");
    assert!(matches!(gate.content(message), ContentVerdict::Deny(refusal) if !refusal.fault));
}

#[test]
fn an_event_hook_that_traps_hurts_nobody() {
    let body = "(if (i64.ne (local.get $session) (i64.const 0)) (then unreachable))";
    let host = start_one(publisher(ALLOW).events(body).build());
    let mut gate = host.admit("c");
    gate.connected(false);
    gate.overflowed(3);
    gate.disconnected(0x8B, true);
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    let faults = host.recorder.faults();
    assert_eq!(faults.len(), 3);
    assert!(
        faults
            .iter()
            .all(|(hook, kind, _)| (*hook, *kind) == (Hook::Event, FaultKind::Trap))
    );
}
