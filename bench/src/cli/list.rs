//! `sluice-bench list`.

use super::{say, say_json};
use crate::broker::{Installed, Kind, Programs};
use crate::case::catalogue;
use crate::failure::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fmt::Write as _;

#[derive(Args)]
pub(super) struct ListArguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    programs: Programs,
}

pub(super) fn list(arguments: &ListArguments) -> Result<()> {
    let brokers = Kind::value_variants().iter().map(|kind| {
        let found = Installed::find(*kind, &arguments.programs);
        (*kind, found.map(|broker| broker.version))
    });
    if arguments.json {
        let cases: Vec<_> = catalogue()
            .iter()
            .map(|case| json!({ "name": case.name, "about": case.about, "by_default": case.by_default }))
            .collect();
        let brokers: Vec<_> = brokers
            .map(|(kind, found)| match found {
                Ok(version) => json!({ "name": kind, "version": version }),
                Err(why) => json!({ "name": kind, "absent": why.to_string() }),
            })
            .collect();
        return say_json(&json!({ "cases": cases, "brokers": brokers }));
    }
    let mut text = String::from("Cases:\n");
    for case in catalogue() {
        let when = if case.by_default { "" } else { " (only when named)" };
        let _ = writeln!(text, "  {:24} {}{when}", case.name, case.about);
    }
    text.push_str("\nBrokers:\n");
    for (kind, found) in brokers {
        let words = found.unwrap_or_else(|why| format!("absent: {why}"));
        let _ = writeln!(text, "  {kind:24} {words}");
    }
    say(&text);
    Ok(())
}
