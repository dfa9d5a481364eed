//! What the linker makes of a policy becomes a component that exports what the author wrote, and imports what it uses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_component::{ComponentEncoder, DecodedWasm};

/// Builds a policy of this repository as an author would, and returns the core module.
fn build(package: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--profile",
            "policy",
            "--target",
            "wasm32-unknown-unknown",
            "--package",
            package,
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(root)
        .status()
        .unwrap();
    assert!(status.success(), "{package} does not build");
    let file = format!("wasm32-unknown-unknown/policy/{}.wasm", package.replace('-', "_"));
    std::fs::read(target_dir.join(file)).unwrap()
}

/// The imports and exports of a policy, as a component.
fn interfaces(package: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let module = build(package);
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .unwrap()
        .encode()
        .unwrap();
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&component).unwrap() else {
        panic!("{package} is no component");
    };
    let world = resolve.worlds.get(world).unwrap();
    let names = |keys: Vec<_>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    (
        names(world.imports.keys().collect()),
        names(world.exports.keys().collect()),
    )
}

fn named(interfaces: &[&str]) -> BTreeSet<String> {
    interfaces
        .iter()
        .map(|name| format!("sluice:policy/{name}@0.1.0"))
        .collect()
}

#[test]
fn a_component_exports_the_hooks_its_author_wrote_and_imports_what_they_use() {
    let (imports, exports) = interfaces("static-users");
    assert_eq!(exports, named(&["setup", "asking"]));
    assert_eq!(imports, named(&["types", "services", "log"]));

    let (imports, exports) = interfaces("deny-all");
    assert_eq!(
        exports,
        named(&["setup", "asking", "publish", "publish-many", "subscribe"])
    );
    assert_eq!(imports, named(&["types", "services", "log"]));

    let every_hook = [
        "setup",
        "asking",
        "publish",
        "publish-many",
        "subscribe",
        "content",
        "events",
    ];
    let (imports, exports) = interfaces("hostile-greedy");
    assert_eq!(exports, named(&every_hook));
    assert_eq!(imports, named(&["types", "services", "log", "kv", "sessions"]));
}
