//! Several messages judged with one call.

use crate::guest::{ADMIT, ALLOW, Guest, publisher, verdict};
use crate::support::{ALLOWED, Host, config, denied, spec, start, start_one};
use sluice::policy::notice::{FaultKind, Hook};
use sluice::policy::verdict::{PublishFacts, PublishVerdict};
use sluice::policy::{Gate, PolicySource, PolicySpec};

/// A call about many messages takes a verdict from the first letter of each topic:
///
/// * `a` allow, `d` deny, `t` throttle and no verdict on what comes behind, `c` allow and reuse;
/// * `m` allow, which a call about one message denies: so it shows which of the two was made;
/// * what only a call about one message allows: `x` traps, `b` is no verdict, `l` never ends, `n` gives none at all.
fn judge() -> Guest {
    let verdicts = r#"
        (func $is (param i32 i32) (result i32) (i32.eq (local.get 0) (local.get 1)))
        (func $one (param $letter i32) (result i64)
          (if (call $is (local.get $letter) (i32.const 0x64)) (then (return (i64.const 0))))
          (if (call $is (local.get $letter) (i32.const 0x6d)) (then (return (i64.const 0))))
          (if (call $is (local.get $letter) (i32.const 0x74)) (then (return (i64.const 0xFA00000003))))
          (if (call $is (local.get $letter) (i32.const 0x63)) (then (return (i64.const 0x258000000000001))))
          (i64.const 1))
        (func $of_many (param $letter i32) (result i64)
          (if (call $is (local.get $letter) (i32.const 0x6d)) (then (return (i64.const 1))))
          (if (call $is (local.get $letter) (i32.const 0x78)) (then unreachable))
          (if (call $is (local.get $letter) (i32.const 0x62)) (then (return (i64.const 0xFF))))
          (if (call $is (local.get $letter) (i32.const 0x6c)) (then (loop $ever (br $ever))))
          (call $one (local.get $letter)))"#;
    let many = r#"
        (local $i i32) (local $at i32) (local $letter i32)
        (local.set $at (local.get $ptr))
        (block $done (loop $next
          (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
          (local.set $letter (i32.load8_u (local.get $at)))
          (br_if $done (call $is (local.get $letter) (i32.const 0x6e)))
          (local.set $at (i32.add (local.get $at)
            (i32.load16_u (i32.add (local.get $messages) (i32.shl (local.get $i) (i32.const 3))))))
          (i64.store (i32.add (i32.const 16384) (i32.shl (local.get $i) (i32.const 3)))
            (call $of_many (local.get $letter)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $done (call $is (local.get $letter) (i32.const 0x74)))
          (br $next)))
        (i32.store (i32.const 16376) (i32.const 16384))
        (i32.store (i32.const 16380) (local.get $i))
        (i32.const 16376)"#;
    Guest::new()
        .with(verdicts)
        .connect(ADMIT)
        .publish("(call $one (i32.load8_u (local.get $ptr)))")
        .publish_many(many)
}

fn facts<'a>(topics: &[&'a str]) -> Vec<PublishFacts<'a>> {
    let facts = |topic: &&'a str| PublishFacts {
        topic,
        qos: 1,
        retain: false,
        payload_bytes: 10,
    };
    topics.iter().map(facts).collect()
}

/// Judges all of them, as they are handed back, and tells how many verdicts each call brought.
fn judge_all(gate: &mut Gate, topics: &[&str]) -> (Vec<PublishVerdict>, Vec<usize>) {
    let messages = facts(topics);
    let (mut verdicts, mut calls) = (Vec::new(), Vec::new());
    while verdicts.len() < messages.len() {
        let brought = gate.publish_many(&messages[verdicts.len()..], |message| *message);
        assert!(!brought.is_empty(), "a message is left without a verdict");
        calls.push(brought.len());
        verdicts.extend(brought);
    }
    assert_eq!(verdicts.len(), messages.len(), "more verdicts than messages");
    (verdicts, calls)
}

/// A host whose policy is asked about as many messages at once as there may be.
fn warm() -> (Host, Gate) {
    let host = start_one(judge().build());
    let mut gate = host.admit("x");
    for _ in 0..8 {
        judge_all(&mut gate, &["m"; 64]);
    }
    (host, gate)
}

#[test]
fn each_message_has_its_verdict_in_its_order() {
    let (_host, mut gate) = warm();
    assert!(gate.judges_many());
    let (verdicts, calls) = judge_all(&mut gate, &["m/1", "d", "m", "a/long/topic", "m"]);
    assert_eq!(calls, [5]);
    let mut verdicts = verdicts.into_iter();
    assert_eq!(verdicts.next(), Some(ALLOWED));
    denied(verdicts.next().unwrap());
    assert!(verdicts.all(|verdict| verdict == ALLOWED));
}

#[test]
fn a_policy_is_given_more_at_once_as_long_as_it_is_quick() {
    let host = start_one(judge().build());
    let mut gate = host.admit("x");
    let (verdicts, calls) = judge_all(&mut gate, &["m"; 128]);
    assert_eq!(calls, [2, 4, 8, 16, 32, 64, 2]);
    assert!(verdicts.iter().all(|verdict| *verdict == ALLOWED));
}

#[test]
fn one_message_alone_is_asked_about_alone() {
    let (_host, mut gate) = warm();
    let (mut verdicts, _) = judge_all(&mut gate, &["m"]);
    denied(verdicts.remove(0));
}

#[test]
fn what_is_behind_a_throttle_is_handed_back() {
    let (_host, mut gate) = warm();
    let (verdicts, calls) = judge_all(&mut gate, &["m", "t", "m", "t", "a"]);
    assert_eq!(calls, [2, 2, 1]);
    let throttle = PublishVerdict::Allow { throttle_ms: 250 };
    assert_eq!(verdicts, [ALLOWED, throttle.clone(), ALLOWED, throttle, ALLOWED]);
}

#[test]
fn what_fails_together_is_judged_one_by_one_and_does_not_count() {
    for broken in ["x", "b", "l", "n"] {
        let (host, mut gate) = warm();
        let (verdicts, calls) = judge_all(&mut gate, &[broken, "a", "d", "a"]);
        assert!(calls.len() > 1, "{broken}");
        let allowed: Vec<_> = verdicts.iter().map(|verdict| *verdict == ALLOWED).collect();
        assert_eq!(allowed, [true, true, false, true], "{broken}");
        assert_eq!(host.recorder.faults(), [], "{broken}");
    }
}

#[test]
fn what_fails_alone_too_is_denied_and_counts_once() {
    let guest = judge().build();
    let alone = Guest::new()
        .connect(ADMIT)
        .publish("(if (i64.ne (local.get $session) (i64.const 0)) (then unreachable)) (i64.const 1)")
        .publish_many("(if (i64.ne (local.get $session) (i64.const 0)) (then unreachable)) (i32.const 16384)")
        .with(
            "(data (i32.const 16384) \"\\08\\40\\00\\00\\01\\00\\00\\00\\01\\00\\00\\00\\00\\00\\00\\00\")",
        );
    let host = start_one(alone.build());
    let mut gate = host.admit("x");
    let (verdicts, _) = judge_all(&mut gate, &["a", "a", "a"]);
    for verdict in verdicts {
        assert!(denied(verdict).fault);
    }
    let faults = host.recorder.faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(
        faults
            .iter()
            .all(|(hook, kind, _)| *hook == Hook::Publish && *kind == FaultKind::Trap)
    );
    // A module that is loaded is tried with both.
    assert!(host.policies.load("p", guest).is_ok());
}

#[test]
fn only_messages_that_nothing_else_decides_are_asked_about() {
    let (host, mut gate) = warm();
    let before = host.policies.decisions();
    let (verdicts, calls) = judge_all(&mut gate, &["c", "m", "c/2", "m"]);
    assert_eq!(calls, [4]);
    let (more, calls) = judge_all(&mut gate, &["c", "m", "c/2", "m", "c"]);
    assert_eq!(calls, [5]);
    assert!(verdicts.iter().chain(&more).all(|verdict| *verdict == ALLOWED));
    let after = host.policies.decisions();
    assert_eq!((after.cache - before.cache, after.call - before.call), (3, 6));
    for (topic, is_known) in [("c", true), ("m", false)] {
        let known = gate.publish_unasked(&facts(&[topic])[0]);
        assert_eq!(known.is_some(), is_known, "{topic}");
    }
}

#[test]
fn policies_that_only_have_rules_do_not_stand_in_the_way_and_a_second_that_is_asked_does() {
    let mut users = PolicySpec::new("users", PolicySource::Embedded);
    users.settings = serde_json::json!({ "anonymous": "anyone" });
    let many = || spec("many", judge().build());
    let host = start(config(vec![users, many()]));
    let mut gate = host.admit("x");
    assert!(gate.judges_many());
    let (mut verdicts, calls) = judge_all(&mut gate, &["m", "m", "$SYS/x"]);
    assert_eq!(calls, [3], "the rules deny the last");
    denied(verdicts.remove(2));
    assert_eq!(verdicts, [ALLOWED, ALLOWED]);

    let host = start(config(vec![many(), spec("other", publisher(ALLOW).build())]));
    assert!(!host.admit("x").judges_many());
    let host = start_one(publisher(ALLOW).build());
    assert!(!host.admit("x").judges_many());
    // Without a hook for one message it has none for many.
    let host = start_one(
        Guest::new()
            .connect(ADMIT)
            .subscribe(&verdict(ALLOW))
            .publish_many("unreachable")
            .build(),
    );
    assert!(!host.admit("x").judges_many());
}

#[test]
fn one_that_is_to_be_asked_about_among_others_is_asked_about_alone() {
    let (_host, mut gate) = warm();
    judge_all(&mut gate, &["c", "a"]);
    let (verdicts, calls) = judge_all(&mut gate, &["c", "m", "c"]);
    assert_eq!(calls, [3]);
    let allowed: Vec<_> = verdicts.iter().map(|verdict| *verdict == ALLOWED).collect();
    assert_eq!(allowed, [true, false, true]);
}

#[test]
fn topics_that_are_too_long_together_are_shared_out() {
    let (_host, mut gate) = warm();
    let long = format!("m/{}", "x".repeat(9_000));
    let (verdicts, calls) = judge_all(&mut gate, &["m", &long, &long, "m"]);
    assert_eq!(calls, [2, 2]);
    assert!(verdicts.iter().all(|verdict| *verdict == ALLOWED));
}

#[test]
fn a_verdict_is_never_that_of_a_module_that_is_gone() {
    let (host, mut gate) = warm();
    host.policies.load("p", publisher(0).build()).unwrap();
    let (verdicts, _) = judge_all(&mut gate, &["m", "m", "a"]);
    assert!(!gate.judges_many());
    for verdict in verdicts {
        denied(verdict);
    }
}
