//! `sluice policy load`, `list`, `rollback` and `inspect`.

use crate::{gated, generation, join, load, may_publish, sluice};
use sluice_tests::guests;
use sluice_tests::packet::V5;

#[test]
fn a_loaded_module_judges_from_then_on_and_the_one_before_can_come_back() {
    let broker = gated("marker", "{}");
    let mut client = join(&broker, "gate", V5);
    assert!(may_publish(&mut client, "v1/x"));
    assert!(!may_publish(&mut client, "v2/x"));

    load(&broker, "gate", "marker-v2");
    // The same connection, and at once.
    assert!(!may_publish(&mut client, "v1/x"));
    assert!(may_publish(&mut client, "v2/x"));

    sluice(&broker, &["policy", "rollback", "gate"]).expect("the first module comes back");
    assert!(may_publish(&mut client, "v1/x"));
    assert!(!may_publish(&mut client, "v2/x"));
    client.ping();
}

#[test]
fn each_activation_is_logged_with_the_policy_and_its_cause() {
    let broker = gated("marker", "{}");
    let before = generation(&broker);
    load(&broker, "gate", "marker-v2");
    let line = broker.wait_for_log("the second module's activation", |line| {
        line.is("policy_activated") && line.has("policy", "gate") && line.has("cause", "load")
    });
    let after: u64 = line
        .text_field("generation")
        .and_then(|text| text.parse().ok())
        .expect("a generation");
    assert!(after > before, "{after} after {before}");
}

#[test]
fn loading_the_module_that_is_running_changes_nothing() {
    let broker = gated("marker", "{}");
    let before = generation(&broker);
    load(&broker, "gate", "marker");
    assert_eq!(generation(&broker), before);
}

#[test]
fn the_list_names_every_policy_and_what_happened_to_it() {
    let broker = gated("marker", "{}");
    let before = sluice(&broker, &["policy", "list"]).expect("the list");
    assert!(before.contains("gate") && before.contains("users"), "{before}");
    load(&broker, "gate", "marker-v2");
    let after = sluice(&broker, &["policy", "list"]).expect("the list");
    assert_ne!(before, after, "the second module has another digest");
}

#[test]
fn there_is_nothing_to_go_back_to_before_the_first_load() {
    let broker = gated("marker", "{}");
    let why = sluice(&broker, &["policy", "rollback", "gate"]).expect_err("there is one module only");
    assert!(why.contains("no earlier module"), "{why}");
    let why = sluice(&broker, &["policy", "rollback", "nobody"]).expect_err("no policy has this name");
    assert!(why.contains("nobody"), "{why}");
}

#[test]
fn a_policy_of_a_new_name_joins_the_default_chain() {
    let broker = gated("marker", "{}");
    let mut client = join(&broker, "gate", V5);
    assert!(may_publish(&mut client, "v1/x"));
    load(&broker, "second", "marker-v2");
    // Only what both allow is allowed now.
    assert!(may_publish(&mut client, "both/x"));
    assert!(!may_publish(&mut client, "v1/x"));
    assert!(!may_publish(&mut client, "v2/x"));
    assert!(
        sluice(&broker, &["policy", "list"])
            .expect("the list")
            .contains("second")
    );
}

#[test]
fn a_module_can_be_inspected_without_a_broker_knowing_it() {
    let broker = gated("marker", "{}");
    let path = guests::path("hostile-greedy");
    let shown = sluice(&broker, &["policy", "inspect", path.to_str().expect("UTF-8")]).expect("it is valid");
    for word in ["publish", "subscribe", "connect", "content", "kv", "sessions"] {
        assert!(shown.contains(word), "no {word} in:\n{shown}");
    }
}
