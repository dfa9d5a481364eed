//! The watched directory: a file `NAME.wasm` that appears in it becomes the module of policy `NAME`.

use crate::{gated_config, generation, join, may_publish};
use sluice_tests::broker::Broker;
use sluice_tests::guests;
use sluice_tests::packet::V5;

/// A broker that watches `policies/`, where nothing is yet.
fn watching() -> Broker {
    let config = format!("policy_dir = \"policies\"\n{}", gated_config("{}"));
    let dir = sluice_tests::broker::new_dir();
    std::fs::create_dir(dir.path().join("policies")).expect("the directory is made");
    std::fs::write(dir.path().join("gate.wasm"), guests::wasm("marker")).expect("the module is written");
    std::fs::write(dir.path().join("sluice.toml"), config).expect("the configuration is written");
    Broker::start_in(dir, &["run", "--config", "sluice.toml"])
}

#[test]
fn a_file_put_into_the_directory_replaces_the_module() {
    let broker = watching();
    let mut client = join(&broker, "gate", V5);
    assert!(may_publish(&mut client, "v1/x"));
    let before = generation(&broker);

    // Written in place, in two parts: half a module must not be an activation.
    let module = guests::wasm("marker-v2");
    let (first, second) = module.split_at(module.len() / 2);
    let path = broker.dir().join("policies/gate.wasm");
    let mut file = std::fs::File::create(&path).expect("the file is made");
    std::io::Write::write_all(&mut file, first).expect("the file is written");
    std::io::Write::write_all(&mut file, second).expect("the file is written");
    drop(file);
    broker.wait_for_log("the activation", |line| {
        line.is("policy_activated")
            && line.has("policy", "gate")
            && line.text_field("generation").and_then(|text| text.parse().ok()) > Some(before)
    });
    assert!(may_publish(&mut client, "v2/x"));
    assert!(!may_publish(&mut client, "v1/x"));

    // Renamed into place, as a careful tool does.
    std::fs::write(broker.dir().join("policies/new.tmp"), guests::wasm("marker")).expect("it is written");
    let between = generation(&broker);
    std::fs::rename(broker.dir().join("policies/new.tmp"), &path).expect("it is renamed");
    broker.wait_for_log("the second activation", |line| {
        line.is("policy_activated")
            && line.text_field("generation").and_then(|text| text.parse().ok()) > Some(between)
    });
    assert!(may_publish(&mut client, "v1/x"));
}

#[test]
fn a_broken_file_in_the_directory_changes_nothing_and_is_logged() {
    let broker = watching();
    let mut client = join(&broker, "gate", V5);
    let before = generation(&broker);
    std::fs::write(broker.dir().join("policies/gate.wasm"), b"broken").expect("the file is written");
    broker.wait_for_log("the refusal", |line| {
        line.is("policy_rejected") && line.has("policy", "gate")
    });
    assert_eq!(generation(&broker), before);
    assert!(may_publish(&mut client, "v1/x"));
}
