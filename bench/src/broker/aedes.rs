//! Aedes: a script of a few lines, which `node` runs.

use super::{Launch, Queues, Setup, first_line};
use crate::failure::{Failure, Result};
use std::path::Path;
use std::process::Command;

const NODE: &str = "node";

pub(super) fn version(script: &Path) -> Result<String> {
    let package = script.with_file_name("node_modules/aedes/package.json");
    let version = std::fs::read_to_string(&package)
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|package| package.get("version")?.as_str().map(str::to_owned))
        .ok_or_else(|| Failure::new(format!("{} is missing", package.display())))?;
    let node = first_line(Path::new(NODE), &["--version"])?;
    Ok(format!("aedes {version}, node {node}"))
}

pub(super) fn launch(script: &Path, setup: Setup, port: u16) -> Launch {
    let mut command = Command::new(NODE);
    command.arg(script).arg(port.to_string());
    if setup.queues == Queues::Raised {
        // Unless it is told otherwise it stops after 1.4 GiB or so.
        command.env("NODE_OPTIONS", "--max-old-space-size=8192");
    }
    Launch::of(command)
}
