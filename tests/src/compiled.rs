//! Compiled policies that brokers with a `data_dir` find there: each would take a second of processor time otherwise.

use crate::broker::{Broker, durable_config, new_dir};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

/// Below `data_dir`.
const DIR: &str = "compiled-policies";

/// Puts the embedded policy, compiled, into a `data_dir` that no broker has used yet.
///
/// # Panics
/// When it cannot be written.
pub fn lend(data_dir: &Path) {
    static COMPILED: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(compile);
    let dir = data_dir.join(DIR);
    // The broker trusts only what nobody else can write to.
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(&dir);
    made.expect("the directory can be made");
    for (name, code) in compiled {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(dir.join(name));
        let written = file.and_then(|mut file| file.write_all(code));
        written.expect("a compiled policy can be written");
    }
}

/// A first broker compiles.
fn compile() -> Vec<(String, Vec<u8>)> {
    let dir = new_dir();
    std::fs::write(dir.path().join("sluice.toml"), durable_config("")).expect("the configuration is written");
    let broker = Broker::start_in(dir, &["run", "--config", "sluice.toml"]);
    let compiled =
        std::fs::read_dir(broker.dir().join("data").join(DIR)).expect("there are compiled policies");
    let file = |entry: std::fs::DirEntry| {
        let code = std::fs::read(entry.path()).expect("a compiled policy can be read");
        (entry.file_name().to_string_lossy().into_owned(), code)
    };
    let entries = compiled.map(|entry| entry.expect("an entry"));
    entries.map(file).collect()
}
