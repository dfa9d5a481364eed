//! Builds every example policy and every guest of the tests for WebAssembly, as their authors would.
//!
//! The tests find the modules through `SLUICE_GUESTS_DIR` (see `src/guests.rs`).

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "wasm32-unknown-unknown";
/// Directories whose every sub-directory with a manifest is a policy.
const GUEST_DIRS: &[&str] = &["example-policies", "tests/guests"];
/// What else the modules are made of.
const SOURCES: &[&str] = &["policy-sdk", "wit", "Cargo.toml", "Cargo.lock"];
/// Of cargo's variables, those that say where packages are and how many jobs may run.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_HTTP",
    "CARGO_MAKEFLAGS",
    "CARGO_NET",
    "CARGO_REGISTR",
    "CARGO_SOURCE",
];
/// What else would change the policies.
const REMOVED: &[&str] = &[
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "RUSTC",
    "RUSTDOC",
    "TARGET",
    "HOST",
    "OUT_DIR",
];

fn main() -> ExitCode {
    match build() {
        Ok(modules) => {
            println!("cargo::rustc-env=SLUICE_GUESTS_DIR={}", modules.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<PathBuf, String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    for path in GUEST_DIRS.iter().chain(SOURCES) {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    require_target()?;

    // A directory of its own: the outer cargo holds the lock of its directory until this script has ended. The broker
    // builds its built-in policy there, too.
    let out = PathBuf::from(variable("OUT_DIR")?);
    let outer = out.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let target_dir = outer.unwrap_or(&out).join("policies");

    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(&root)
        .args(["build", "--locked", "--profile", "policy", "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target_dir);
    for package in packages(&root)? {
        cargo.args(["--package", &package]);
    }
    // What is meant for the outer build only: lints, flags for the host, another target.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let of_cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
        if of_cargo || REMOVED.contains(&&*name) {
            cargo.env_remove(&*name);
        }
    }
    let built = cargo
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !built.status.success() {
        let log = String::from_utf8_lossy(&built.stderr).replace('\n', "\ncargo::error=");
        return Err(format!("the policies do not build:\ncargo::error={log}"));
    }
    Ok(target_dir.join(TARGET).join("policy"))
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// The names of the packages to build; each is its directory's name.
fn packages(root: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for dir in GUEST_DIRS {
        let dir = root.join(dir);
        if !dir.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("{}: {error}", dir.display()))?;
            if entry.path().join("Cargo.toml").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Says what to do when the compiler cannot build for WebAssembly, before cargo says it for every crate.
fn require_target() -> Result<(), String> {
    let asked = Command::new(variable("RUSTC")?)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("rustc does not start: {error}"))?;
    let libraries = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if asked.status.success() && Path::new(&libraries).is_dir() {
        return Ok(());
    }
    Err(format!(
        "the tests need policies built for {TARGET}; run: rustup target add {TARGET}"
    ))
}
