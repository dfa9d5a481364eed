//! sslyze against the listener: Mozilla's profiles, and attacks that are known.

use crate::agent::{REMEDY, require, tests_dir};
use crate::encrypted::Plant;
use std::process::Command;

fn complies(keys: &str, profile: &str) {
    let plant = Plant::with(keys);
    let python = tests_dir().join(".venv/bin/python");
    require(&python);
    let output = Command::new(&python)
        .args(["-W", "ignore", "-m", "sslyze", "--mozilla_config", profile])
        .arg("--certinfo_ca_file")
        .arg(plant.path("root.pem"))
        .arg(format!("localhost:{}", plant.broker.address().port()))
        .output()
        .unwrap_or_else(|error| panic!("{} does not run ({error}); {REMEDY}", python.display()));
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains("OK - Compliant"),
        "{told}"
    );
}

#[test]
fn the_defaults_comply_with_the_intermediate_profile_of_mozilla() {
    complies("", "intermediate");
}

#[test]
fn one_key_makes_it_the_modern_profile() {
    complies("versions = [\"1.3\"]", "modern");
}
