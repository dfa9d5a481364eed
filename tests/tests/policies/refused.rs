//! Modules that are not taken: the cause is told, and everything stays as it was.

use crate::{gated, gated_config, generation, join, may_publish, sluice};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::guests;
use sluice_tests::packet::V5;
use sluice_tests::peer::Peer;

/// The broker still runs the first version of `marker`, and the client has not noticed anything.
fn nothing_has_changed(broker: &Broker, client: &mut Peer, generation_before: u64) {
    assert_eq!(generation(broker), generation_before);
    assert!(may_publish(client, "v1/x"));
    assert!(!may_publish(client, "v2/x"));
}

/// Tries to load a module as `gate`; the complaint must contain each of `causes` and be logged.
fn is_refused(broker: &Broker, client: &mut Peer, module: &[u8], causes: &[&str]) {
    let before = generation(broker);
    std::fs::write(broker.dir().join("new.wasm"), module).expect("the module is written");
    let why = sluice(broker, &["policy", "load", "gate", "new.wasm"]).expect_err("it must not be taken");
    for cause in causes {
        assert!(why.contains(cause), "{cause:?} is not in {why:?}");
    }
    broker.wait_for_log("the refusal and its cause", |line| {
        line.is("policy_rejected")
            && line.has("policy", "gate")
            && causes
                .iter()
                .all(|cause| line.text_field("text").is_some_and(|text| text.contains(cause)))
    });
    nothing_has_changed(broker, client, before);
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let broker = gated("marker", "{}");
    let mut client = join(&broker, "gate", V5);
    let module = guests::wasm("marker-v2");
    let mut corrupt = module.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle..].fill(0xFF);
    for broken in [&b""[..], b"not wasm at all", &module[..middle]] {
        is_refused(&broker, &mut client, broken, &["not a valid WebAssembly module"]);
    }
    is_refused(&broker, &mut client, &corrupt, &["decoding", "offset"]);
}

#[test]
fn a_module_without_our_interface_is_refused() {
    let broker = gated("marker", "{}");
    let mut client = join(&broker, "gate", V5);
    // The smallest module and the smallest component there are: a magic number and a version.
    for empty in [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
        is_refused(
            &broker,
            &mut client,
            empty,
            &["does not export sluice:policy/setup"],
        );
    }
}

#[test]
fn a_module_that_wants_more_than_it_was_granted_is_refused() {
    let broker = gated("marker", "{}");
    let mut client = join(&broker, "gate", V5);
    is_refused(
        &broker,
        &mut client,
        &guests::wasm("hostile-greedy"),
        &["not granted"],
    );
}

#[test]
fn a_module_that_does_not_take_the_settings_is_refused() {
    let broker = gated("marker", r#"{ deny = ["both/secret/"] }"#);
    let mut client = join(&broker, "gate", V5);
    is_refused(
        &broker,
        &mut client,
        &guests::wasm("hostile"),
        &["configure", "unknown field", "deny"],
    );
}

#[test]
fn a_missing_file_is_an_error_of_the_command() {
    let broker = gated("marker", "{}");
    let why = sluice(&broker, &["policy", "load", "gate", "nowhere.wasm"]).expect_err("there is no file");
    assert!(why.contains("nowhere.wasm"), "{why}");
}

/// Replaces the settings of `hostile` and sends SIGHUP; the new ones must be refused for these causes.
fn settings_are_refused(settings: &str, causes: &[&str]) {
    let broker = gated("hostile", "{}");
    let mut client = join(&broker, "gate", V5);
    assert!(may_publish(&mut client, "fine"));
    let before = generation(&broker);
    std::fs::write(broker.dir().join("sluice.toml"), gated_config(settings)).expect("it is written");
    broker.signal(Signal::HUP);
    broker.wait_for_log("the refusal of the settings", |line| {
        line.is("config_rejected")
            && causes
                .iter()
                .all(|cause| line.text_field("text").is_some_and(|text| text.contains(cause)))
    });
    assert_eq!(generation(&broker), before);
    assert!(may_publish(&mut client, "fine"));
    assert!(!may_publish(&mut client, "hostile/refuse"));
}

#[test]
fn a_policy_that_fails_its_own_test_is_refused() {
    settings_are_refused(
        r#"{ self_test = "refuse" }"#,
        &["gate", "self-test", "fails on demand"],
    );
}

#[test]
fn a_policy_that_never_ends_configuring_is_refused() {
    settings_are_refused(r#"{ configure = "loop" }"#, &["gate", "configure"]);
}

#[test]
fn a_policy_that_eats_memory_while_configuring_is_refused() {
    settings_are_refused(r#"{ configure = "memory" }"#, &["gate", "configure"]);
}

#[test]
fn a_policy_that_never_ends_its_own_test_is_refused() {
    settings_are_refused(r#"{ self_test = "loop" }"#, &["gate", "self-test"]);
}

#[test]
fn a_hook_that_attacks_whoever_calls_it_is_found_by_the_trial_calls() {
    settings_are_refused(r#"{ publish = "loop" }"#, &["gate", "on-publish"]);
    settings_are_refused(r#"{ event = "panic" }"#, &["gate", "on-event"]);
    settings_are_refused(r#"{ connect = "recursion" }"#, &["gate", "on-connect"]);
}
