//! `sluice limits`: what is in force for all clients, and other values until the configuration is read again.

use super::client::{rows, tell, text};
use super::terminal;
use super::{Outcome, Reach};
use crate::admin::Request;
use crate::config::written_text;
use clap::Subcommand;
use serde_json::Value;

#[derive(Subcommand)]
pub(super) enum LimitsCommand {
    /// Show every limit in force, and where it comes from.
    #[command(after_help = SHOW_HELP)]
    Show {
        #[command(flatten)]
        reach: Reach,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set limits, in force at once for connections that are open and those to come.
    #[command(after_help = SET_HELP)]
    Set {
        #[command(flatten)]
        reach: Reach,
        /// Keys as `sluice limits show` lists them, values as in sluice.toml; texts need no quotes.
        #[arg(value_name = "KEY=VALUE", required = true)]
        assignments: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn limits(command: LimitsCommand) -> Outcome {
    match command {
        LimitsCommand::Show { reach, json } => {
            let answer = reach.ask(&Request::LimitsShow)?;
            tell(&answer, json, show_text)
        }
        LimitsCommand::Set {
            reach,
            assignments,
            json,
        } => {
            let answer = reach.ask(&Request::LimitsSet { assignments })?;
            tell(&answer, json, set_text)
        }
    }
}

fn show_text(answer: &Value) -> String {
    let mut table = vec![["KEY", "VALUE", "FROM"].map(str::to_owned).to_vec()];
    let file = text(answer, "file");
    for limit in rows(answer, "limits") {
        let configured = &limit["configured"];
        let from = match limit["from"].as_str() {
            Some("set") if configured.is_null() => "`limits set`; SIGHUP takes it back".to_owned(),
            Some("set") => format!("`limits set`; SIGHUP brings back {}", written_text(configured)),
            Some("file") => file.clone(),
            _ => "default".to_owned(),
        };
        table.push(vec![text(limit, "key"), written_text(&limit["value"]), from]);
    }
    terminal::table(&table)
}

fn set_text(answer: &Value) -> String {
    let changed = rows(answer, "changed");
    if changed.is_empty() {
        return "these values are in force already".to_owned();
    }
    let change = |change: &Value| {
        let (value, before) = (written_text(&change["value"]), written_text(&change["before"]));
        format!("{} = {value} (was {before})", text(change, "key"))
    };
    changed.iter().map(change).collect::<Vec<_>>().join("\n")
}

pub(super) const LIMITS_HELP: &str = "\
Examples:
  sluice limits show
  sluice limits set limits.messages_in_per_second=100 limits.over_limit=refuse
  sluice client limits meter-17 ...              for one client: see `sluice client limits --help`";

const SHOW_HELP: &str = "\
A listener is listed with what it says itself; for all else [limits] holds there as well. What
holds for one client, and who set it, is shown by `sluice client show ID`.

Examples:
  sluice limits show
  sluice limits show --json | jq '.limits[] | select(.from == \"set\")'";

const SET_HELP: &str = "\
All of them or none: when one is wrong, nothing changes. They hold until the configuration is read
again: SIGHUP, like a start, puts the values of the file in force, and the log says which it
replaced. Write into sluice.toml what is to stay.

Examples:
  sluice limits set limits.payload_bytes_max=64KiB
  sluice limits set limits.messages_in_per_second=100 limits.over_limit=refuse
  sluice limits set 'total.bytes_in_per_second={ per_second = \"50 MiB\", burst = \"200 MiB\" }'
  sluice limits set listener.default.limits.bytes_out_per_second=1MiB
  sluice limits set total.bytes_in_per_second=unlimited";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_shown_as_in_the_file_with_where_they_come_from() {
        let limit = |key, value: Value, configured: Value, from| json!({ "key": key, "value": value, "configured": configured, "from": from });
        let rate = json!({ "per_second": "1 KiB", "burst": "2 KiB" });
        let answer = json!({ "file": "sluice.toml", "limits": [
            limit("limits.qos_max", json!(2), json!(2), "default"),
            limit("total.bytes_in_per_second", rate.clone(), rate, "file"),
            limit("memory_limit", json!("1 GiB"), json!("unlimited"), "set"),
        ] });
        assert_eq!(
            show_text(&answer),
            "KEY                        VALUE                                      FROM\n\
             limits.qos_max             2                                          default\n\
             total.bytes_in_per_second  { per_second = \"1 KiB\", burst = \"2 KiB\" }  sluice.toml\n\
             memory_limit               1 GiB                                      `limits set`; SIGHUP brings back \
             unlimited\n"
        );
    }

    #[test]
    fn a_change_says_what_was_before() {
        let changed = json!({ "changed": [{ "key": "limits.qos_max", "value": 1, "before": 2 }] });
        assert_eq!(set_text(&changed), "limits.qos_max = 1 (was 2)");
        assert_eq!(
            set_text(&json!({ "changed": [] })),
            "these values are in force already"
        );
    }
}
