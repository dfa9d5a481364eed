//! Root is not for brokers.

use crate::config;
use sluice_tests::broker::{command, new_dir};

#[test]
fn root_is_refused_before_anything_else_and_told_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: this takes root");
        return;
    }
    let dir = new_dir();
    std::fs::write(dir.path().join("sluice.toml"), "this is no configuration").expect("a file");
    let ended = command(dir.path())
        .args(["run", "--config", "sluice.toml"])
        .env_remove("SLUICE_ALLOW_ROOT")
        .output()
        .expect("it can be run");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: refusing to run as root: ") && said.contains("--allow-root"),
        "{said}"
    );
    assert!(!said.contains("sluice.toml"), "the file was read: {said}");
}

#[test]
fn root_may_look_at_a_configuration() {
    let dir = new_dir();
    std::fs::write(dir.path().join("sluice.toml"), config("")).expect("a file");
    let ended = command(dir.path())
        .args(["check", "--config", "sluice.toml"])
        .env_remove("SLUICE_ALLOW_ROOT")
        .output()
        .expect("it can be run");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}
