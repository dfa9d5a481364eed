//! `sluice check`: everything that a start would find wrong.

use super::terminal::{complain, say, say_json, warn};
use super::{Failure, Outcome};
use crate::config::{Config, Problem};
use crate::net::tls;
use crate::policy::{Policies, PolicyError, PolicyNotice, PolicyObserver, PolicyWatch};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Args)]
pub(super) struct CheckArguments {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON object: {"ok": ..., "problems": [...], "warnings": [...]}.
    #[arg(long)]
    json: bool,
}

/// What was found.
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// For the case that nothing is wrong.
    summary: String,
}

pub(super) fn check(arguments: &CheckArguments) -> Outcome {
    let findings = match Config::load(&arguments.config) {
        Ok(config) => examine(&config),
        Err(problems) => Findings {
            problems,
            warnings: Vec::new(),
            summary: String::new(),
        },
    };
    let is_ok = findings.problems.is_empty();
    if arguments.json {
        let list = |found: &[Problem]| found.iter().map(Problem::to_json).collect::<Vec<Value>>();
        let (problems, warnings) = (list(&findings.problems), list(&findings.warnings));
        say_json(&json!({ "ok": is_ok, "problems": problems, "warnings": warnings }));
    } else {
        findings
            .warnings
            .iter()
            .for_each(|warning| warn(&warning.to_string()));
        findings
            .problems
            .iter()
            .for_each(|problem| complain(&problem.to_string()));
        if is_ok {
            say(&findings.summary);
        }
    }
    if is_ok { Ok(()) } else { Err(Failure::Told) }
}

/// Starts the policies as the broker would, but keeps nothing: not even what they compile to.
fn examine(config: &Config) -> Findings {
    let mut policies_config = config.policies_config();
    policies_config.cache_dir = None;
    let started =
        Policies::start(policies_config, Arc::new(Silent)).and_then(|policies| match &config.policy_dir {
            Some(dir) => PolicyWatch::start(&policies, dir).map(drop),
            None => Ok(()),
        });
    let errors = started.err().unwrap_or_default();
    let mut problems: Vec<Problem> = errors.iter().map(|error| policy_problem(config, error)).collect();
    let mut warnings = config.warnings.clone();
    let encryption = tls::Acceptors::load(config, SystemTime::now(), &tls::Acceptors::default());
    warnings.extend(encryption.acceptors.warnings);
    problems.extend(encryption.problems);
    if let Some(what) = config.data_dir.as_deref().and_then(in_the_way_of) {
        let remedy = "name a directory, or one that can be made";
        problems.push(problem(config, "data_dir".to_owned(), what, remedy));
    }
    let (listeners, policies) = (config.listeners.len(), config.policies.len());
    let summary = format!(
        "{}: no problems; {listeners} listener{}, {policies} polic{}",
        config
            .file
            .as_deref()
            .unwrap_or_else(|| "defaults".as_ref())
            .display(),
        if listeners == 1 { "" } else { "s" },
        if policies == 1 { "y" } else { "ies" },
    );
    Findings {
        problems,
        warnings,
        summary,
    }
}

/// Why this can be no directory, whoever starts the broker. Nothing is made: that is for the user it runs as.
fn in_the_way_of(dir: &Path) -> Option<String> {
    let there = dir.ancestors().find(|place| place.symlink_metadata().is_ok())?;
    (!there.is_dir()).then(|| format!("{} is not a directory", there.display()))
}

fn policy_problem(config: &Config, error: &PolicyError) -> Problem {
    let key = if error.policy.is_empty() {
        String::new()
    } else {
        format!("policy.{}", error.policy)
    };
    problem(config, key, error.kind.to_string(), "")
}

fn problem(config: &Config, key: String, what: String, remedy: &str) -> Problem {
    Problem {
        file: config.file.clone(),
        line: config.lines.of(&key),
        key,
        what,
        remedy: remedy.to_owned(),
    }
}

/// What policies say while they are tried is in the errors when it matters.
struct Silent;

impl PolicyObserver for Silent {
    fn observe(&self, _: &PolicyNotice) {}
}
