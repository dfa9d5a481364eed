//! `sluice session`: what is kept for clients, connected or not.

use super::client::{left_out, number, rows, tell, text, yes_or_no};
use super::terminal::{self, amount, harmless, pause};
use super::{Outcome, Reach};
use crate::admin::Request;
use clap::Subcommand;
use serde_json::Value;
use std::time::Duration;

#[derive(Subcommand)]
pub(super) enum SessionCommand {
    /// List sessions, connected or not, with what is kept for each.
    List {
        #[command(flatten)]
        reach: Reach,
        /// Only client identifiers that begin so.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the session of one client with its subscriptions.
    Show {
        #[command(flatten)]
        reach: Reach,
        /// The client identifier.
        client_id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End the session of a client: its subscriptions and its queue are gone, its connection is closed.
    Drop {
        #[command(flatten)]
        reach: Reach,
        /// The client identifier.
        client_id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn session(command: SessionCommand) -> Outcome {
    match command {
        SessionCommand::List { reach, prefix, json } => {
            tell(&reach.ask(&Request::SessionList { prefix })?, json, list_text)
        }
        SessionCommand::Show {
            reach,
            client_id,
            json,
        } => tell(&reach.ask(&Request::SessionShow { client_id })?, json, show_text),
        SessionCommand::Drop {
            reach,
            client_id,
            json,
        } => {
            let client = harmless(&client_id);
            let answer = reach.ask(&Request::SessionDrop { client_id })?;
            tell(&answer, json, |answer| {
                let dropped = amount(number(answer, "dropped"), "session");
                format!("dropped {dropped} of \"{client}\"")
            })
        }
    }
}

fn list_text(answer: &Value) -> String {
    let heads = [
        "CLIENT",
        "MOUNT POINT",
        "ONLINE",
        "ON DISK",
        "ENDS IN",
        "WILL",
        "SUBSCRIPTIONS",
        "QUEUED",
        "BYTES",
        "IN FLIGHT",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    let sessions = rows(answer, "sessions");
    for session in sessions {
        let count = |key| number(session, key).to_string();
        table.push(vec![
            text(session, "client_id"),
            text(session, "mountpoint"),
            yes_or_no(session, "online").to_owned(),
            yes_or_no(session, "durable").to_owned(),
            ends_in(session),
            yes_or_no(session, "will_pending").to_owned(),
            count("subscriptions"),
            count("queue_messages"),
            count("queue_bytes"),
            count("inflight"),
        ]);
    }
    terminal::table(&table) + &left_out(answer, sessions.len(), "; narrow it with --prefix")
}

fn ends_in(session: &Value) -> String {
    match session.get("expires_in_seconds").and_then(Value::as_u64) {
        Some(seconds) => pause(Duration::from_secs(seconds)),
        None => "-".to_owned(),
    }
}

fn show_text(answer: &Value) -> String {
    let mut shown = String::new();
    for session in rows(answer, "sessions") {
        shown += &terminal::table(&[
            vec!["mount point".to_owned(), text(session, "mountpoint")],
            vec!["online".to_owned(), yes_or_no(session, "online").to_owned()],
            vec!["on disk".to_owned(), yes_or_no(session, "durable").to_owned()],
            vec!["ends in".to_owned(), ends_in(session)],
            vec![
                "will waits".to_owned(),
                yes_or_no(session, "will_pending").to_owned(),
            ],
            vec![
                "queued".to_owned(),
                format!(
                    "{}, {} bytes",
                    amount(number(session, "queue_messages"), "message"),
                    number(session, "queue_bytes")
                ),
            ],
            vec!["in flight".to_owned(), number(session, "inflight").to_string()],
            vec![
                "received, not released".to_owned(),
                number(session, "received").to_string(),
            ],
        ]);
        let mut table = vec![
            ["FILTER", "QOS", "NO LOCAL", "RETAIN AS PUBLISHED"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for filter in rows(session, "filters") {
            table.push(vec![
                text(filter, "filter"),
                number(filter, "qos").to_string(),
                yes_or_no(filter, "no_local").to_owned(),
                yes_or_no(filter, "retain_as_published").to_owned(),
            ]);
        }
        shown += &terminal::table(&table);
    }
    shown
}

pub(super) const SESSION_HELP: &str = "\
A session is what the broker keeps for a client: subscriptions, messages that wait, exchanges under
way. Those that outlive their connection are on disk if the broker has a data_dir.

Examples:
  sluice session list --prefix meter-
  sluice session show meter-17
  sluice session drop meter-17                   a client that never comes back";
