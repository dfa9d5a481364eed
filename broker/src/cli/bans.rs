//! `sluice client ban`, `unban` and `bans`.

use super::client::{left_out, number, rows, tell, text};
use super::terminal::{self, amount, harmless, pause};
use super::{Outcome, Reach};
use crate::admin::Request;
use crate::config::quantity::parse_duration;
use crate::hub::Subject;
use crate::network::Network;
use clap::Args;
use serde_json::Value;
use std::time::Duration;

/// Whom a ban is about.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// A client identifier, in every mount point.
    client_id: Option<String>,
    /// A user name, as CONNECT says it or the policies found it out.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// An address, or all addresses that begin like it.
    #[arg(long, value_name = "IP[/PREFIX]")]
    address: Option<Network>,
}

#[derive(Args)]
pub(super) struct BanArguments {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    whom: Whom,
    /// For how long, such as 90s, 15min, 1h or 7d. Without it: until it is taken back.
    #[arg(long = "for", value_name = "DURATION", value_parser = some_time)]
    length: Option<Duration>,
    /// Why, for the log and for clients that speak MQTT 5.0; at most 256 bytes.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct UnbanArguments {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    whom: Whom,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct BansArguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl From<Whom> for Subject {
    fn from(whom: Whom) -> Self {
        match (whom.address, whom.user) {
            (Some(network), _) => Self::Address(network),
            (None, Some(name)) => Self::User(name),
            // The group requires one of the three.
            (None, None) => Self::Client(whom.client_id.unwrap_or_default()),
        }
    }
}

fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("a ban of no length keeps nobody out".to_owned()),
        length => Ok(length),
    }
}

pub(super) fn ban(arguments: BanArguments) -> Outcome {
    let subject = Subject::from(arguments.whom);
    let about = harmless(&subject.to_string());
    let answer = arguments.reach.ask(&Request::ClientBan {
        subject,
        reason: arguments.reason,
        milliseconds: arguments
            .length
            .map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
    })?;
    let length = arguments
        .length
        .map_or(String::new(), |length| format!(" for {}", pause(length)));
    tell(&answer, arguments.json, |answer| {
        let ended = amount(number(answer, "ended"), "connection");
        format!("{about} is banned{length}; ended {ended}")
    })
}

pub(super) fn unban(arguments: UnbanArguments) -> Outcome {
    let subject = Subject::from(arguments.whom);
    let about = harmless(&subject.to_string());
    let answer = arguments.reach.ask(&Request::ClientUnban { subject })?;
    tell(&answer, arguments.json, |_| format!("{about} may come in again"))
}

pub(super) fn list(arguments: &BansArguments) -> Outcome {
    let answer = arguments.reach.ask(&Request::ClientBans)?;
    tell(&answer, arguments.json, list_text)
}

fn list_text(answer: &Value) -> String {
    let bans = rows(answer, "bans");
    if bans.is_empty() {
        return "nobody is banned".to_owned();
    }
    let mut table = vec![
        ["BANNED", "NAME", "FOR ANOTHER", "BY", "REASON"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for ban in bans {
        let left = match ban.get("left_milliseconds").and_then(Value::as_u64) {
            Some(milliseconds) => pause(Duration::from_millis(milliseconds)),
            None => "-".to_owned(),
        };
        table.push(vec![
            text(ban, "kind"),
            text(ban, "name"),
            left,
            [text(ban, "by"), text(ban, "policy")].join(" ").trim().to_owned(),
            text(ban, "reason"),
        ]);
    }
    terminal::table(&table) + &left_out(answer, bans.len(), "")
}

pub(super) const BAN_HELP: &str = "\
Whoever is banned by client identifier or user name gets 0x8A Banned in answer to CONNECT (before
MQTT 5.0: 5 Not authorized); whoever is banned by address has its socket closed at once.
Connections that are open are ended. Each attempt is a line of the log, connect_refused or
connection_shed, with the reason. There are 100000 bans at most. With a data_dir they outlive the
broker; without one they are gone when it stops. Policies with the capability `bans` set bans, too,
for a day at most; they take back none but their own.

Examples:
  sluice client ban meter-17 --for 1h --reason \"floods since noon\"
  sluice client ban --user ada
  sluice client ban --address 203.0.113.0/24 --for 7d
  sluice client ban --address 2001:db8::/64";

pub(super) const UNBAN_HELP: &str = "\
Names the ban as it was made: a network is taken back as a whole.

Examples:
  sluice client unban meter-17
  sluice client unban --address 203.0.113.0/24";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bans_are_listed_with_the_time_that_is_left() {
        let bans = [
            json!({
                "kind": "client", "name": "a\u{1b}", "left_milliseconds": 5_400_000, "reason": "floods",
                "by": "policy", "policy": "gate",
            }),
            json!({
                "kind": "address", "name": "10.0.0.0/8", "left_milliseconds": null, "reason": "",
                "by": "operator", "policy": null,
            }),
        ];
        assert_eq!(
            list_text(&json!({ "matching": 3, "bans": bans })),
            "BANNED   NAME        FOR ANOTHER  BY           REASON\n\
             client   a\\u{1b}     1 h 30 min   policy gate  floods\n\
             address  10.0.0.0/8  -            operator\n\
             ... and 1 more\n"
        );
        assert_eq!(
            list_text(&json!({ "matching": 0, "bans": [] })),
            "nobody is banned"
        );
    }
}
