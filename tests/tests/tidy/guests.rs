//! Policies: what they depend on, that each example is explained and tested, and that a released interface stays.

use crate::{nothing, source};
use std::path::{Path, PathBuf};

/// Released versions of the interface, each with the digest of its text. Grows; no line ever changes.
const RELEASED: &[(&str, u64)] = &[];

/// Serde is what the derive macros of a policy's settings name; the SDK is the rest.
const GUEST_DEPENDENCIES: &[&str] = &["serde", "sluice-policy"];
/// What single policies need beside it, and why.
const FURTHER_DEPENDENCIES: &[(&str, &[&str])] = &[
    // It computes what RFC 5802 says.
    ("scram", &["base64", "hmac", "sha2"]),
];

fn packages(dir: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(source::root().join(dir)) else {
        return Vec::new();
    };
    let mut packages: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .collect();
    packages.sort();
    packages
}

fn manifest(package: &Path) -> toml::Table {
    let text = std::fs::read_to_string(package.join("Cargo.toml")).expect("the manifest can be read");
    text.parse().expect("the manifest is TOML")
}

/// The names of the dependencies in one table of a manifest.
pub fn dependencies(package: &Path, table: &str) -> Vec<String> {
    let manifest = manifest(package);
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn a_policy_depends_on_the_sdk_only() {
    let mut found = Vec::new();
    let dirs = ["example-policies", "tests/guests", "bench"];
    for package in dirs.map(packages).concat() {
        let further = FURTHER_DEPENDENCIES
            .iter()
            .find(|(name, _)| package.ends_with(name));
        let further = further.map_or(&[][..], |(_, names)| names);
        for dependency in dependencies(&package, "dependencies") {
            if !GUEST_DEPENDENCIES.contains(&dependency.as_str()) && !further.contains(&dependency.as_str()) {
                found.push(format!("{}: {dependency}", package.display()));
            }
        }
    }
    nothing("a policy needs nothing but the SDK", found);
}

#[test]
fn every_example_policy_is_explained_and_tested() {
    let mut found = Vec::new();
    let packages = packages("example-policies");
    assert!(!packages.is_empty(), "there are example policies");
    for package in packages {
        let lib = std::fs::read_to_string(package.join("src/lib.rs")).expect("a policy has a library");
        let documented = lib.lines().filter(|line| line.starts_with("//!")).count() >= 3;
        if !documented && !package.join("README.md").is_file() {
            found.push(format!("{}: no documentation", package.display()));
        }
        let in_source = source::rust().any(|source| {
            source::root().join(&source.path).starts_with(&package) && source.code().contains("#[test]")
        });
        if !in_source {
            found.push(format!("{}: no test", package.display()));
        }
    }
    nothing("people learn from the examples", found);
}

/// The interface's files with their names, in order.
fn interface(dir: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(source::root().join(dir)).expect("the interface's directory");
    let mut files: Vec<(String, String)> = entries
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
        .map(|path| {
            let name = path
                .file_name()
                .expect("a file has a name")
                .to_string_lossy()
                .into_owned();
            (
                name,
                std::fs::read_to_string(&path).expect("the interface can be read"),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_released_interface_never_changes() {
    let files = interface("wit");
    let mut versions: Vec<&str> = files
        .iter()
        .map(|(name, text)| {
            let package = text
                .lines()
                .find_map(|line| line.strip_prefix("package sluice:policy@"));
            package
                .unwrap_or_else(|| panic!("wit/{name} names its package"))
                .trim_end_matches(';')
        })
        .collect();
    versions.dedup();
    let [version] = versions[..] else {
        panic!("the interface has several versions: {versions:?}")
    };
    let digest = digest(&files);
    let changelog = std::fs::read_to_string(source::root().join("CHANGELOG.md")).expect("the changelog");
    let released = changelog
        .lines()
        .any(|line| line.starts_with(&format!("## {version}")));
    let recorded = RELEASED.iter().find(|(released, _)| *released == version);
    match recorded {
        Some((_, expected)) => assert_eq!(
            digest, *expected,
            "{version} is released: give the interface a new version before changing it"
        ),
        None => assert!(
            !released,
            "record the released interface here: (\"{version}\", {digest:#018x})"
        ),
    }
}

/// FNV-1a over names and texts: stable everywhere, and enough to notice a change.
fn digest(files: &[(String, String)]) -> u64 {
    let bytes = files
        .iter()
        .flat_map(|(name, text)| name.bytes().chain(text.bytes()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn the_sdk_carries_the_interface_it_was_made_for() {
    let copy = source::root().join("policy-sdk/wit");
    if copy.is_dir() {
        assert_eq!(
            interface("wit"),
            interface("policy-sdk/wit"),
            "copy wit/ to policy-sdk/wit/"
        );
    }
}
