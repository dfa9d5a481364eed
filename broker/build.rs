//! Builds the policy that is part of the broker, `example-policies/static-users`, for WebAssembly.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "static-users";
const TARGET: &str = "wasm32-unknown-unknown";
/// `[profile.policy]` of the workspace.
const PROFILE: &str = "policy";

/// Of cargo's variables those that the inner cargo must see: where packages are, and its share of the job slots.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
];

/// What the outer build is told about itself besides `CARGO_*`; it would change or break the inner one.
const REMOVED: [&str; 15] = [
    "CC",
    "CFLAGS",
    "DEBUG",
    "HOST",
    "LLVM_PROFILE_FILE",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "TARGET",
];

fn main() -> Result<(), Box<dyn Error>> {
    let manifest_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("run by cargo only")?);
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("run by cargo only")?);
    let workspace = manifest_dir.parent().ok_or("the broker is in a workspace")?;
    for input in [
        "example-policies/static-users",
        "policy-sdk",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    check_target()?;
    let target_dir = policy_target_dir(&out_dir);
    build(workspace, &target_dir)?;
    let built = target_dir.join(TARGET).join(PROFILE).join("static_users.wasm");
    fs::copy(&built, out_dir.join("static_users.wasm"))
        .map_err(|error| format!("cannot copy {}: {error}", built.display()))?;
    Ok(())
}

fn check_target() -> Result<(), Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let libdir = String::from_utf8(output.stdout)?;
    if output.status.success() && Path::new(libdir.trim()).is_dir() {
        return Ok(());
    }
    Err(format!(
        "the built-in policy is compiled for {TARGET}, which this Rust toolchain lacks; add it with `rustup target \
         add {TARGET}`"
    )
    .into())
}

/// A directory of its own: the outer cargo holds the lock of the usual one until this build ends.
///
/// Next to the outer build's, so that debug and release builds share it.
fn policy_target_dir(out_dir: &Path) -> PathBuf {
    out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out_dir)
        .join("policies")
}

fn build(workspace: &Path, target_dir: &Path) -> Result<(), Box<dyn Error>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_cargos = name.starts_with("CARGO") || name.starts_with("DEP_");
        let is_kept = KEPT.iter().any(|kept| name.starts_with(kept));
        if is_cargos && !is_kept || REMOVED.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(workspace)
        .args([
            "build",
            "--package",
            PACKAGE,
            "--profile",
            PROFILE,
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(target_dir)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    Err(format!("cannot build the policy {PACKAGE}:\n{messages}").into())
}
