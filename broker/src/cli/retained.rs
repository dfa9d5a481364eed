//! `sluice retained`: the messages that new subscriptions get.

use super::client::{left_out, number, rows, tell, text};
use super::terminal::{self, amount, pause, say_json};
use super::{Failure, Outcome, Reach};
use crate::admin::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use serde_json::Value;
use std::io::Write as _;
use std::time::Duration;

#[derive(Subcommand)]
pub(super) enum RetainedCommand {
    /// List retained messages, without their payloads.
    List {
        #[command(flatten)]
        reach: Reach,
        /// Only topics that match; with mount points, as `sluice client list` shows them.
        #[arg(default_value = "#")]
        filter: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the payload of a topic's retained message, as it is.
    Get {
        #[command(flatten)]
        reach: Reach,
        /// The topic.
        topic: String,
        /// Print JSON, with the payload in base64.
        #[arg(long)]
        json: bool,
    },
    /// Remove retained messages; subscribers are not told.
    Clear {
        #[command(flatten)]
        reach: Reach,
        /// Which topics.
        filter: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn retained(command: RetainedCommand) -> Outcome {
    match command {
        RetainedCommand::List { reach, filter, json } => {
            tell(&reach.ask(&Request::RetainedList { filter })?, json, list_text)
        }
        RetainedCommand::Get { reach, topic, json } => {
            let answer = reach.ask(&Request::RetainedGet { topic })?;
            if json {
                say_json(&answer);
                return Ok(());
            }
            let encoded = answer.get("payload").and_then(Value::as_str).unwrap_or_default();
            let payload = STANDARD.decode(encoded).map_err(Failure::because)?;
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&payload).and_then(|()| out.flush());
            written.map_err(Failure::because)
        }
        RetainedCommand::Clear { reach, filter, json } => {
            let answer = reach.ask(&Request::RetainedClear { filter })?;
            tell(&answer, json, |answer| {
                format!(
                    "removed {}",
                    amount(number(answer, "cleared"), "retained message")
                )
            })
        }
    }
}

fn list_text(answer: &Value) -> String {
    let mut table = vec![
        ["TOPIC", "BYTES", "QOS", "EXPIRES IN"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let messages = rows(answer, "retained");
    for message in messages {
        let left = message.get("expires_in_seconds").and_then(Value::as_u64);
        table.push(vec![
            text(message, "topic"),
            number(message, "payload_bytes").to_string(),
            number(message, "qos").to_string(),
            left.map_or("-".to_owned(), |seconds| pause(Duration::from_secs(seconds))),
        ]);
    }
    terminal::table(&table) + &left_out(answer, messages.len(), "; narrow it with a filter")
}

pub(super) const RETAINED_HELP: &str = "\
Examples:
  sluice retained list 'site-1/#'
  sluice retained get site-1/config > config.json
  sluice retained clear 'site-1/old/#'";
