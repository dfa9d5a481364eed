//! Several policies about one client, and what they say in several rounds.

use crate::guest::{ABSTAIN, ABSTAIN_VERDICT, ADMIT, ALLOW, DENY, Guest, ZERO, publisher, verdict};
use crate::support::{ALLOWED, Host, config, denied, publish, request, spec, start, start_one};
use bytes::Bytes;
use sluice::policy::verdict::{Budget, Decision, PublishVerdict, SubscribeVerdict};
use sluice::policy::{Capability, Decisions, SessionAction, Step};
use std::sync::Arc;

fn chain(guests: Vec<Guest>) -> Host {
    let specs = guests
        .into_iter()
        .zip(["a", "b", "c"])
        .map(|(guest, name)| spec(name, guest.build()));
    start(config(specs.collect()))
}

fn connecting(outcome: &str) -> Guest {
    Guest::new().connect(outcome)
}

#[test]
fn a_client_enters_when_nobody_denies_and_somebody_admits() {
    for (outcomes, enters) in [
        (vec![ADMIT], true),
        (vec![ABSTAIN, ADMIT], true),
        (vec![ADMIT, ABSTAIN], true),
        (vec![ABSTAIN, ABSTAIN], false),
        (vec![ADMIT, ZERO], false),
        (vec![ZERO, ADMIT], false),
        (vec![], false),
    ] {
        let host = chain(outcomes.iter().map(|outcome| connecting(outcome)).collect());
        let decision = host.decide(request("x"));
        assert_eq!(matches!(decision, Decision::Admit { .. }), enters, "{outcomes:?}");
    }
}

#[test]
fn who_refused_is_told() {
    let refusal = chain(vec![connecting(ADMIT), connecting(ZERO)]).deny("x");
    assert_eq!(
        (&*refusal.policy, refusal.reason, refusal.generation),
        ("b", 0x87, 1)
    );
    let refusal = chain(vec![]).deny("x");
    assert_eq!(&*refusal.policy, "(no policy)");
}

#[test]
fn a_message_passes_when_nobody_denies_and_somebody_allows() {
    let throttle = 3 | 250 << 32;
    for (verdicts, expected) in [
        (vec![ALLOW], Some(0)),
        (vec![ABSTAIN_VERDICT, ALLOW], Some(0)),
        (vec![ALLOW, ABSTAIN_VERDICT], Some(0)),
        (vec![ABSTAIN_VERDICT, ABSTAIN_VERDICT], None),
        (vec![ALLOW, DENY], None),
        (vec![throttle, ALLOW], Some(250)),
    ] {
        let host = chain(verdicts.iter().map(|bits| publisher(*bits)).collect());
        let found = match publish(&mut host.admit("x"), "t") {
            PublishVerdict::Allow { throttle_ms } => Some(throttle_ms),
            _ => None,
        };
        assert_eq!(found, expected, "{verdicts:?}");
    }
}

#[test]
fn without_a_hook_or_grants_nothing_is_allowed() {
    let mut gate = chain(vec![connecting(ADMIT)]).admit("x");
    denied(publish(&mut gate, "t"));
    assert!(matches!(gate.subscribe("t", 1), SubscribeVerdict::Deny(_)));
}

#[test]
fn reason_codes_are_those_the_packet_may_carry() {
    for (bits, reason) in [(0x9700, 0x97), (0x9C00, 0x87), (0x0100, 0x87)] {
        assert_eq!(
            denied(publish(&mut chain(vec![publisher(bits)]).admit("x"), "t")).reason,
            reason
        );
    }
    let host = chain(vec![publisher(0x9605)]);
    assert!(
        matches!(publish(&mut host.admit("x"), "t"), PublishVerdict::Disconnect(refusal) if refusal.reason == 0x96)
    );
    let host = chain(vec![publisher(4)]);
    assert!(matches!(
        publish(&mut host.admit("x"), "t"),
        PublishVerdict::Drop(_)
    ));
}

#[test]
fn of_a_subscription_the_lowest_qos_is_granted() {
    let subscriber = |bits| Guest::new().connect(ADMIT).subscribe(&verdict(bits));
    for (verdicts, options, granted) in [
        (vec![ALLOW], 2, 2),
        (vec![ALLOW | 2 << 16], 2, 1),
        (vec![ALLOW | 2 << 16], 0, 0),
        (vec![ALLOW | 3 << 16, ALLOW | 1 << 16], 2, 0),
        (vec![ABSTAIN_VERDICT, ALLOW], 1, 1),
    ] {
        let host = chain(verdicts.iter().map(|bits| subscriber(*bits)).collect());
        let verdict = host.admit("x").subscribe("t/#", options | 4);
        assert_eq!(verdict, SubscribeVerdict::Allow { qos: granted }, "{verdicts:?}");
    }
    let mut gate = chain(vec![subscriber(0x9E04)]).admit("x");
    assert!(matches!(gate.subscribe("t", 0), SubscribeVerdict::Deny(refusal) if refusal.reason == 0x9E));
}

#[test]
fn a_verdict_is_reused_only_as_long_and_for_what_the_policy_said() {
    // Allows the first call of an instance and denies all later ones, so that a reused verdict shows.
    let once = |ttl: u64| {
        Guest::new()
            .with("(global $calls (mut i64) (i64.const 0))")
            .connect(ADMIT)
            .publish(&format!(
                "(global.set $calls (i64.add (global.get $calls) (i64.const 1)))
                 (i64.or (i64.const {:#x}) (i64.extend_i32_u (i64.eq (global.get $calls) (i64.const 1))))",
                ttl << 48
            ))
    };
    let host = chain(vec![once(600)]);
    let mut gate = host.admit("x");
    for _ in 0..3 {
        assert_eq!(gate.publish("t", 1, false, 10), ALLOWED);
    }
    denied(gate.publish("t", 1, false, 11));
    denied(gate.publish("t", 2, false, 10));
    denied(gate.publish("t", 1, true, 10));
    denied(gate.publish("u", 1, false, 10));
    assert_eq!(gate.publish("t", 1, false, 10), ALLOWED);
    // Another session's verdicts are its own, and a swap ends all of them.
    denied(host.admit("y").publish("t", 1, false, 10));
    host.policies.load("a", publisher(DENY).build()).unwrap();
    denied(gate.publish("t", 1, false, 10));
    // 0 is not at all.
    let mut gate = chain(vec![once(0)]).admit("x");
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    denied(publish(&mut gate, "t"));
}

#[test]
fn a_verdict_for_any_size_is_reused_when_all_who_were_asked_say_so() {
    const MINUTE: u64 = 600 << 48;
    const ANY: u64 = 1 << 16;
    for (verdicts, cached) in [
        (vec![ALLOW | MINUTE | ANY], 1),
        (vec![ALLOW | MINUTE], 0),
        (vec![ALLOW | MINUTE | ANY, ALLOW | MINUTE | ANY], 1),
        (vec![ALLOW | MINUTE | ANY, ALLOW | MINUTE], 0),
        (vec![ALLOW | MINUTE, DENY | MINUTE | ANY], 0),
        (vec![DENY | MINUTE | ANY, ALLOW], 1),
        (vec![ALLOW | ANY], 0),
    ] {
        let host = chain(verdicts.iter().map(|bits| publisher(*bits)).collect());
        let mut gate = host.admit("x");
        let first = gate.publish("t", 1, false, 10);
        let second = gate.publish("t", 1, false, 11);
        assert_eq!(first, second, "{verdicts:x?}");
        assert_eq!(host.policies.decisions().cache, cached, "{verdicts:x?}");
    }
}

#[test]
fn each_decision_is_counted_by_what_it_needed() {
    let told = |host: &Host| {
        let Decisions { grant, cache, call } = host.policies.decisions();
        (grant, cache, call)
    };
    let host = chain(vec![publisher(ALLOW | 600 << 48).subscribe(&verdict(ALLOW))]);
    let mut gate = host.admit("x");
    assert_eq!(told(&host), (0, 0, 0));
    publish(&mut gate, "t");
    gate.subscribe("t", 0);
    assert_eq!(told(&host), (0, 0, 2));
    publish(&mut gate, "t");
    publish(&mut gate, "t");
    assert_eq!(told(&host), (0, 2, 2));
    // A policy that fails has been asked.
    let host = chain(vec![publisher(ALLOW), Guest::new().publish(&verdict(ALLOW))]);
    let mut gate = host.admit("x");
    host.policies
        .load(
            "b",
            Guest::new()
                .publish("(if (i64.ne (local.get $session) (i64.const 0)) (then unreachable)) (i64.const 1)")
                .build(),
        )
        .unwrap();
    denied(publish(&mut gate, "t"));
    assert_eq!(told(&host), (0, 0, 1));
    // Rules alone, and nothing at all.
    let mut users = sluice::policy::PolicySpec::new("users", sluice::policy::PolicySource::Embedded);
    users.settings = serde_json::json!({ "anonymous": "anyone" });
    let host = start(config(vec![users]));
    let mut gate = host.admit("x");
    publish(&mut gate, "t");
    gate.subscribe("t", 0);
    gate.subscribe("$x", 0);
    assert_eq!(told(&host), (3, 0, 0));
    let host = chain(vec![connecting(ADMIT)]);
    denied(publish(&mut host.admit("x"), "t"));
    assert_eq!(told(&host), (1, 0, 0));
}

#[test]
fn listeners_have_chains_of_their_own() {
    let mut config = config(vec![
        spec("yes", publisher(ALLOW).build()),
        spec("no", connecting(ZERO).build()),
    ]);
    config.default_chain = vec!["yes".into()];
    config
        .chains
        .insert("closed".into(), vec!["yes".into(), "no".into()]);
    let host = start(config);
    host.admit("x");
    let mut elsewhere = request("x");
    Arc::make_mut(&mut elsewhere.peer).listener = "closed".into();
    assert!(matches!(host.decide(elsewhere), Decision::Deny(_)));
}

/// Waits for the effect at 20000 (a `list<effect>` of one) until there is an answer, then admits if the answer's case
/// and its byte at offset 4 are those given, else denies.
fn asking(effect: &str, case: u32, value: u32) -> Guest {
    // The last two words of the arguments are the list of answers: its pointer, then its length.
    let data = format!(
        "(data (i32.const 16384) \"\\03\\00\\00\\00\\00\\00\\00\\00\\20\\4e\\00\\00\\01\")\n{effect}"
    );
    let body = format!(
        "(local $answers i32)
         (if (i32.eqz (i32.load offset={ANSWERS_LEN} (local.get $request))) (then (return (i32.const 16384))))
         (local.set $answers (i32.load offset={ANSWERS_PTR} (local.get $request)))
         (if (i32.and
               (i32.eq (i32.load8_u (local.get $answers)) (i32.const {case}))
               (i32.eq (i32.load8_u offset=4 (local.get $answers)) (i32.const {value})))
             (then (return {ADMIT})))
         {ZERO}"
    );
    Guest::new().with(&data).connect(&body)
}

/// Where the arguments of `on-connect` have the list of answers: after the request, which has 288 bytes.
const ANSWERS_PTR: u32 = 288;
const ANSWERS_LEN: u32 = ANSWERS_PTR + 4;

/// The effect `challenge("nonce")`.
const CHALLENGE: &str = "(data (i32.const 20000) \"\\01\\00\\00\\00\\84\\4e\\00\\00\\05\")
                         (data (i32.const 20100) \"nonce\")";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn a_challenge_goes_to_the_client_and_its_answer_to_the_policy() {
    // answer: case 2 response, at 4 the case of its option.
    for (data, enters) in [(Some(b"response".to_vec()), true), (None, false)] {
        let host = chain(vec![connecting(ADMIT), asking(CHALLENGE, 2, 1)]);
        let enhanced = crate::support::request("x");
        let enhanced = sluice::policy::verdict::ConnectRequest {
            auth_method: Some("NONCE".into()),
            ..enhanced
        };
        let mut judging = host.policies.connect(Arc::new(enhanced));
        runtime().block_on(async {
            for _ in 0..2 {
                // Asked again without an answer, it says the same.
                assert!(matches!(judging.step().await, Step::Challenge(data) if data == b"nonce"));
            }
            judging.answer(data.clone());
            let Step::Decided(decision) = judging.step().await else {
                panic!("challenged again")
            };
            assert_eq!(matches!(decision, Decision::Admit { .. }), enters, "{data:?}");
        });
    }
}

#[test]
fn who_does_not_speak_enhanced_authentication_is_not_challenged() {
    // answer: case 0 failed.
    let body = asking(CHALLENGE, 2, 1);
    assert!(!chain(vec![body]).deny("x").fault);
}

#[test]
fn a_policy_that_waits_for_ever_is_at_fault() {
    let guest = Guest::new()
        .with("(data (i32.const 16384) \"\\03\\00\\00\\00\\00\\00\\00\\00\\20\\4e\\00\\00\\01\")")
        .with(CHALLENGE)
        .connect("(i32.const 16384)");
    let refusal = chain(vec![guest]).deny("x");
    assert!(refusal.fault && refusal.text.unwrap().contains("8 rounds"));
    for effects in ["\\00", "\\05"] {
        let guest = Guest::new()
            .with(&format!(
                "(data (i32.const 16384) \"\\03\\00\\00\\00\\00\\00\\00\\00\\20\\4e\\00\\00{effects}\")"
            ))
            .with("(data (i32.const 20000) \"\\01\") (data (i32.const 20012) \"\\01\")")
            .connect("(i32.const 16384)");
        assert!(chain(vec![guest]).deny("x").fault, "{effects}");
    }
}

#[test]
fn the_built_in_policy_checks_passwords() {
    use argon2::password_hash::{PasswordHasher as _, SaltString};
    let salt = SaltString::from_b64("c29tZXNhbHQ").unwrap();
    let cheap = argon2::Params::new(64, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cheap);
    let hash = argon2.hash_password(b"lovelace", &salt).unwrap().to_string();
    let mut users = sluice::policy::PolicySpec::new("users", sluice::policy::PolicySource::Embedded);
    users.settings = serde_json::json!({
        "users": [{ "name": "ada", "password": hash, "rules": [{ "allow": "all", "topic": "lab/%u/#" }] }],
    });
    let host = start(config(vec![users.clone()]));
    let login = |name: &str, password: &'static str| {
        let mut request = request("x");
        request.username = Some(name.into());
        request.password = Some(Bytes::from_static(password.as_bytes()));
        request
    };
    let (mut gate, admission) = host.admit_with(login("ada", "lovelace"));
    assert_eq!(admission.principal.as_deref(), Some("ada"));
    assert_eq!(publish(&mut gate, "lab/ada/x"), ALLOWED);
    denied(publish(&mut gate, "lab/bob/x"));
    assert_eq!(gate.subscribe("lab/ada/+", 1), SubscribeVerdict::Allow { qos: 1 });
    assert!(matches!(gate.subscribe("lab/#", 1), SubscribeVerdict::Deny(_)));
    for (name, password) in [("ada", "byron"), ("eve", "lovelace"), ("", "")] {
        let Decision::Deny(refusal) = host.decide(login(name, password)) else {
            panic!("{name} entered")
        };
        assert_eq!((refusal.reason, refusal.fault), (0x86, false), "{name}");
    }
    // Who is removed from the settings leaves at the next refresh.
    users.settings = serde_json::json!({ "users": [{ "name": "bob", "password": hash }] });
    host.policies.reload(config(vec![users])).unwrap();
    use sluice::policy::verdict::{RefreshCause, RefreshVerdict};
    assert!(matches!(
        gate.refresh(RefreshCause::Swap),
        RefreshVerdict::Deny(_)
    ));
}

#[test]
fn policies_act_on_sessions_when_granted() {
    let guest = Guest::new()
        .importing("sessions", "disconnect", "disconnect", "(param i64 i32)")
        .connect(ADMIT)
        .publish(&format!(
            "(call $disconnect (i64.const 42) (i32.const 0x98)) {}",
            verdict(ALLOW)
        ));
    let mut acting = spec("p", guest.build());
    acting.capabilities = [Capability::Sessions].into_iter().collect();
    let host = start(config(vec![acting]));
    let mut actions = host.policies.actions();
    let mut gate = host.admit("x");
    publish(&mut gate, "t");
    assert_eq!(
        actions.try_recv().unwrap(),
        SessionAction::Disconnect {
            session: 42,
            policy: "p".into(),
            reason: 0x98
        }
    );
    assert!(gate.is_judged_by("p") && !gate.is_judged_by("q"));
    for _ in 0..2000 {
        publish(&mut gate, "t");
    }
    assert_eq!(host.policies.actions_dropped(), 2000 - 1024);
}

#[test]
fn one_policys_budget_can_be_replaced() {
    let mut gate = start_one(publisher(ALLOW).build()).admit("x");
    let tight = Budget {
        packet_bytes_max: Some(100),
        ..Budget::default()
    };
    assert_eq!(gate.set_budget("p", tight), Some(&tight));
    assert_eq!(gate.budget(), &tight);
    assert_eq!(gate.set_budget("q", Budget::default()), None);
    assert_eq!(gate.budget(), &tight);
}
