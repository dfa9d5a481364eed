//! The policies of this repository as WebAssembly modules, built by `build.rs`.

use std::path::{Path, PathBuf};

/// Where the module of a package of `example-policies/` or `tests/guests/` is.
///
/// # Panics
/// When there is no such package.
#[must_use]
pub fn path(package: &str) -> PathBuf {
    let file = format!("{}.wasm", package.replace('-', "_"));
    let path = Path::new(env!("SLUICE_GUESTS_DIR")).join(file);
    assert!(
        path.is_file(),
        "no policy was built for {package}: {} is missing",
        path.display()
    );
    path
}

/// The module itself.
///
/// # Panics
/// When there is no such package.
#[must_use]
pub fn wasm(package: &str) -> Vec<u8> {
    std::fs::read(path(package)).expect("the module can be read")
}
