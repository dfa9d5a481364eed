//! What the process can no longer do once it listens. Root may read every file: where a test runs as root, "permission
//! denied" comes from the confinement alone.

use crate::config;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sluice_tests::broker::{Broker, Signal, new_dir};
use sluice_tests::guests;
use sluice_tests::log::LogLine;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use tempfile::TempDir;

const POLICY: &str = "policies = [\"gate\"]\n";

fn gate(file: &Path) -> String {
    format!("[policy.gate]\nfile = {file:?}\n")
}

/// A broker with a policy beside its configuration, and a directory elsewhere with the same.
fn broker(more: &str) -> (Broker, TempDir) {
    let dir = new_dir();
    let elsewhere = new_dir();
    for place in [dir.path(), elsewhere.path()] {
        fs::write(place.join("gate.wasm"), guests::wasm("marker")).expect("a file");
    }
    fs::create_dir(dir.path().join("policies")).expect("a directory");
    write(dir.path(), more, "gate.wasm".as_ref());
    let broker = Broker::start_in(dir, &["run", "--config", "sluice.toml"]);
    (broker, elsewhere)
}

fn write(dir: &Path, more: &str, policy: &Path) {
    let text = format!("{}{}", config(&format!("{more}\n{POLICY}")), gate(policy));
    fs::write(dir.join("sluice.toml"), text).expect("a file");
}

/// Whether the kernel confines; says so when it does not.
fn is_confined(broker: &Broker) -> bool {
    let line = broker.wait_for_log("what holds", |line| {
        line.is("confined") || line.is("not_confined")
    });
    let confined = line.is("confined");
    if confined {
        let text = line.text_field("text").unwrap_or_default();
        assert!(text.starts_with("landlock ABI "), "{text}");
    } else {
        eprintln!("not tested: {}", line.text);
    }
    confined
}

fn text(line: &LogLine) -> String {
    line.text_field("text").unwrap_or_default()
}

#[test]
fn a_policy_from_elsewhere_needs_a_restart_and_a_reload_says_so() {
    let (broker, elsewhere) = broker("");
    if !is_confined(&broker) {
        return;
    }
    let file = elsewhere.path().join("gate.wasm");
    write(broker.dir(), "", &file);
    broker.signal(Signal::HUP);
    let rejected = broker.wait_for_log("the refusal", |line| line.is("config_rejected"));
    let written = fs::read_to_string(broker.dir().join("sluice.toml")).expect("the configuration");
    let line = written
        .lines()
        .take_while(|line| !line.starts_with("file = "))
        .count()
        + 1;
    assert_eq!(
        text(&rejected),
        format!(
            "sluice.toml:{}: policy.gate.file: {} is in no directory that was named when the broker started, and it is \
             confined to those: restart the broker, or put the file beside one that it reads already",
            line,
            file.display()
        )
    );
    write(broker.dir(), "", "gate.wasm".as_ref());
    broker.signal(Signal::HUP);
    broker.wait_for_log("the reload", |line| line.is("config_reloaded"));
}

#[test]
fn a_link_in_the_policy_directory_does_not_lead_out_of_it() {
    let (broker, elsewhere) = broker("policy_dir = \"policies\"");
    if !is_confined(&broker) {
        return;
    }
    let link = broker.dir().join("policies/gate.wasm");
    symlink(elsewhere.path().join("gate.wasm"), link).expect("a link");
    let rejected = broker.wait_for_log("the refusal", |line| line.is("policy_rejected"));
    assert!(text(&rejected).contains("Permission denied"), "{}", rejected.text);
    fs::remove_file(broker.dir().join("policies/gate.wasm")).expect("it is gone");
    let temporary = broker.dir().join("policies/gate.tmp");
    fs::write(&temporary, guests::wasm("marker-v2")).expect("a file");
    fs::rename(&temporary, broker.dir().join("policies/gate.wasm")).expect("it is put there");
    broker.wait_for_log("the activation", |line| {
        line.is("policy_activated") && line.has("generation", "2")
    });
}

#[test]
fn confinement_can_be_switched_off() {
    let (broker, elsewhere) = broker("confine = false");
    let line = broker.wait_for_log("what holds", |line| line.is("not_confined"));
    assert_eq!(text(&line), "confine = false");
    write(
        broker.dir(),
        "confine = true",
        &elsewhere.path().join("gate.wasm"),
    );
    broker.signal(Signal::HUP);
    let warning = broker.wait_for_log("the warning", |line| line.is("config_warning"));
    assert!(
        text(&warning).contains("confine: changed, but needs a restart"),
        "{}",
        warning.text
    );
    broker.wait_for_log("the reload", |line| line.is("config_reloaded"));
}

#[test]
fn it_gets_no_more_privileges_and_leaves_no_core() {
    let (mut broker, _elsewhere) = broker("");
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("it runs");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let pid = Pid::from_raw(broker.pid().cast_signed()).expect("a process");
    let unlimited = Rlimit {
        current: Some(1 << 30),
        maximum: Some(1 << 30),
    };
    if prlimit(Some(pid), Resource::Core, unlimited).is_err() {
        eprintln!("not tested: the limit of cores cannot be raised");
        return;
    }
    broker.signal(Signal::ABORT);
    let status = broker.wait_for_exit();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped(), "a core would hold keys and passwords");
}
