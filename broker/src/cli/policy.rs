//! `sluice policy`: from an empty directory to a policy in force.

use super::terminal::{say, say_json, table};
use super::{Failure, Outcome, Reach, scaffold};
use crate::admin::{MODULE_BYTES_MAX, Request};
use crate::config::quantity;
use crate::policy::{Inspection, Policies};
use clap::Subcommand;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Make a crate to begin a policy with; it builds and its tests pass.
    New {
        /// Name of the policy, of its crate and of the directory.
        name: String,
        /// Where to put the directory.
        #[arg(long, value_name = "DIR", default_value = ".")]
        path: PathBuf,
        /// A copy of the sluice-policy crate to build against.
        #[arg(long, value_name = "PATH")]
        sdk: Option<PathBuf>,
    },
    /// Put a module in force in the running broker. Clients stay connected and are judged again.
    Load {
        /// Name of the policy; one the broker does not know is added to the default chain.
        name: String,
        /// The module, as `cargo build --target wasm32-unknown-unknown` leaves it, or a component.
        file: PathBuf,
        #[command(flatten)]
        reach: Reach,
    },
    /// List the policies of the running broker.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Go back to the module before.
    Rollback {
        /// Name of the policy.
        name: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Say what a module is and wants, without a broker.
    Inspect {
        /// The module.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn policy(command: PolicyCommand) -> Outcome {
    match command {
        PolicyCommand::New { name, path, sdk } => new(&name, &path, sdk.as_deref()),
        PolicyCommand::Load { name, file, reach } => {
            let module = read_module(&file)?;
            let request = Request::PolicyLoad {
                name,
                module_bytes: module.len(),
            };
            let report = reach
                .connect()?
                .call(&request, &module)
                .map_err(Failure::because)?;
            say(&report_text(&report));
            Ok(())
        }
        PolicyCommand::List { json, reach } => {
            let policies = reach.ask(&Request::PolicyList)?;
            if json {
                say_json(&policies);
            } else {
                say(&list_text(&policies));
            }
            Ok(())
        }
        PolicyCommand::Rollback { name, reach } => {
            say(&report_text(&reach.ask(&Request::PolicyRollback { name })?));
            Ok(())
        }
        PolicyCommand::Inspect { file, json } => {
            let module = read_module(&file)?;
            let failed = |error: crate::policy::PolicyError| {
                Failure::because(format!("{}: {}", file.display(), error.kind))
            };
            let inspection = Policies::inspect(&module).map_err(failed)?;
            if json {
                say_json(&inspection_json(&inspection));
            } else {
                say(&inspection_text(&inspection));
            }
            Ok(())
        }
    }
}

fn new(name: &str, into: &Path, sdk: Option<&Path>) -> Outcome {
    let root = scaffold::scaffold(name, into, sdk).map_err(Failure::because)?;
    say(&format!(
        "made {root}\n\nNext:\n  cd {root}\n  cargo test\n  cargo build --release --target wasm32-unknown-unknown\n  \
         sluice policy load {name} target/wasm32-unknown-unknown/release/{file}.wasm",
        root = root.display(),
        file = name.replace('-', "_"),
    ));
    Ok(())
}

/// A whole module, unless it is larger than the broker would take.
fn read_module(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::because(format!("{}: {error}", file.display()));
    let mut module = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    opened
        .take(MODULE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut module)
        .map_err(failed)?;
    if module.len() > MODULE_BYTES_MAX {
        let most = quantity::size_text(MODULE_BYTES_MAX as u64);
        return Err(Failure::because(format!(
            "{}: larger than {most}, which is the most a broker takes",
            file.display()
        )));
    }
    Ok(module)
}

fn report_text(report: &Value) -> String {
    let generation = &report["generation"];
    if report["changed"] == false {
        return format!("nothing to change: generation {generation} stays in force");
    }
    let mut text = format!("generation {generation} is in force\n");
    for policy in report["policies"].as_array().into_iter().flatten() {
        let (name, hooks) = (
            policy["name"].as_str().unwrap_or_default(),
            words(&policy["hooks"]),
        );
        let digest = short(&policy["digest"]);
        text.push_str(&format!(
            "  {name}: {digest}, hooks {hooks}, compiled in {} ms\n",
            policy["compile_milliseconds"]
        ));
    }
    text
}

fn list_text(policies: &Value) -> String {
    let heads = [
        "POLICY",
        "DIGEST",
        "SIZE",
        "HOOKS",
        "CAPABILITIES",
        "CALLS",
        "FAULTS",
        "STATE",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for policy in policies.as_array().into_iter().flatten() {
        let text = |key: &str| policy[key].as_str().unwrap_or_default().to_owned();
        let state = match (policy["quarantined"] == true, policy["last_error"].as_str()) {
            (true, _) => "quarantined".to_owned(),
            (false, Some(error)) => format!("in force; last refusal: {error}"),
            (false, None) => "in force".to_owned(),
        };
        rows.push(vec![
            text("name"),
            short(&policy["digest"]),
            text("size"),
            words(&policy["hooks"]),
            words(&policy["capabilities"]),
            policy["calls"].to_string(),
            policy["faults"].to_string(),
            state,
        ]);
    }
    table(&rows)
}

fn inspection_json(inspection: &Inspection) -> Value {
    json!({
        "digest": inspection.digest,
        "bytes": inspection.bytes,
        "component": inspection.is_component,
        "hooks": inspection.hooks,
        "capabilities": inspection.capabilities.iter().map(|wanted| wanted.name()).collect::<Vec<_>>(),
        "wasi": inspection.wasi,
    })
}

fn inspection_text(inspection: &Inspection) -> String {
    let wanted: Vec<_> = inspection
        .capabilities
        .iter()
        .map(|wanted| wanted.name())
        .collect();
    let or_none = |words: String| {
        if words.is_empty() {
            "none".to_owned()
        } else {
            words
        }
    };
    let kind = if inspection.is_component {
        "component"
    } else {
        "core module with an embedded interface"
    };
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    table(&[
        row("digest", inspection.digest.clone()),
        row("size", quantity::size_text(inspection.bytes as u64)),
        row("kind", kind.to_owned()),
        row("hooks", or_none(inspection.hooks.join(", "))),
        row("capabilities", or_none(wanted.join(", "))),
        row(
            "WASI",
            if inspection.wasi {
                "imported; it is given nothing"
            } else {
                "not used"
            }
            .to_owned(),
        ),
    ])
}

/// `["a", "b"]` as `a, b`.
fn words(list: &Value) -> String {
    let words: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

/// Enough of a digest to tell modules apart.
fn short(digest: &Value) -> String {
    digest.as_str().unwrap_or_default().chars().take(12).collect()
}
