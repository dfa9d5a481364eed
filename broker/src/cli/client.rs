//! `sluice client`: who is there, what each may use and uses, and who is to go.

use super::account::show_text;
use super::terminal::{self, amount, bytes, harmless, pause, say, say_json};
use super::{Failure, Outcome, Reach, bans};
use crate::admin::Request;
use crate::config::written_text;
use clap::Subcommand;
use serde_json::Value;
use std::time::Duration;

#[derive(Subcommand)]
pub(super) enum ClientCommand {
    /// List sessions, connected or not, with what their connections have moved.
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
    /// Show one client: its connection, its use, and each of its limits with who set it.
    #[command(after_help = SHOW_HELP)]
    Show {
        #[command(flatten)]
        reach: Reach,
        /// The client identifier.
        client_id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set limits of one client, which go before those of everybody else.
    #[command(after_help = LIMITS_HELP)]
    Limits {
        #[command(flatten)]
        reach: Reach,
        /// The client identifier.
        client_id: String,
        /// The keys of [limits] down to over_limit, without `limits.`.
        #[arg(value_name = "KEY=VALUE", required_unless_present = "reset")]
        assignments: Vec<String>,
        /// Take back all that was set for this client.
        #[arg(long, conflicts_with = "assignments")]
        reset: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keep a client out, or everybody with a user name or from an address, and end their connections.
    #[command(after_help = bans::BAN_HELP)]
    Ban(bans::BanArguments),
    /// Take a ban back.
    #[command(after_help = bans::UNBAN_HELP)]
    Unban(bans::UnbanArguments),
    /// List the bans in force.
    Bans(bans::BansArguments),
    /// End the connections of a client; it may come back.
    Kick {
        #[command(flatten)]
        reach: Reach,
        /// The client identifier.
        client_id: String,
    },
}

pub(super) fn client(command: ClientCommand) -> Outcome {
    match command {
        ClientCommand::List { reach, prefix, json } => {
            let answer = reach.ask(&Request::ClientList { prefix })?;
            tell(&answer, json, list_text)
        }
        ClientCommand::Show {
            reach,
            client_id,
            json,
        } => {
            let answer = reach.ask(&Request::ClientShow { client_id })?;
            tell(&answer, json, show_text)
        }
        ClientCommand::Limits {
            reach,
            client_id,
            assignments,
            reset,
            json,
        } => {
            let client = harmless(&client_id);
            let answer = reach.ask(&match reset {
                true => Request::ClientLimitsReset { client_id },
                false => Request::ClientLimits {
                    client_id,
                    assignments,
                },
            })?;
            tell(&answer, json, |answer| limits_text(&client, answer))
        }
        ClientCommand::Ban(arguments) => bans::ban(arguments),
        ClientCommand::Unban(arguments) => bans::unban(arguments),
        ClientCommand::Bans(arguments) => bans::list(&arguments),
        ClientCommand::Kick { reach, client_id } => {
            let client = harmless(&client_id);
            let answer = reach.ask(&Request::ClientKick { client_id })?;
            let ended = number(&answer, "ended");
            if ended == 0 {
                return Err(Failure::because(format!("no client \"{client}\" is connected")));
            }
            say(&format!("ended {} of \"{client}\"", amount(ended, "connection")));
            Ok(())
        }
    }
}

/// An answer for machines or for people.
pub(super) fn tell(answer: &Value, json: bool, text: impl FnOnce(&Value) -> String) -> Outcome {
    if json {
        say_json(answer);
    } else {
        say(&text(answer));
    }
    Ok(())
}

pub(super) fn number(answer: &Value, key: &str) -> u64 {
    answer.get(key).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn rows<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A text of an answer, made harmless; empty if there is none.
pub(super) fn text(answer: &Value, key: &str) -> String {
    answer
        .get(key)
        .and_then(Value::as_str)
        .map(harmless)
        .unwrap_or_default()
}

/// Says how many more there are than were listed.
pub(super) fn left_out(answer: &Value, listed: usize, remedy: &str) -> String {
    let left = number(answer, "matching").saturating_sub(listed as u64);
    match left {
        0 => String::new(),
        left => format!("... and {left} more{remedy}\n"),
    }
}

pub(super) fn moved(client: &Value, direction: &str) -> String {
    let size = bytes(number(client, &format!("bytes_{direction}")));
    let messages = number(client, &format!("messages_{direction}"));
    format!("{size}, {}", amount(messages, "message"))
}

pub(super) fn throttled(client: &Value, direction: &str) -> String {
    match number(client, &format!("throttled_{direction}_milliseconds")) {
        0 => "-".to_owned(),
        milliseconds => pause(Duration::from_millis(milliseconds)),
    }
}

pub(super) fn yes_or_no(client: &Value, key: &str) -> &'static str {
    match client.get(key).and_then(Value::as_bool) {
        Some(true) => "yes",
        _ => "no",
    }
}

fn list_text(answer: &Value) -> String {
    let heads = [
        "CLIENT",
        "MOUNT POINT",
        "ONLINE",
        "SUBSCRIPTIONS",
        "QUEUED",
        "BYTES",
        "IN FLIGHT",
        "IN",
        "OUT",
        "THROTTLED IN",
        "THROTTLED OUT",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    let clients = rows(answer, "clients");
    for client in clients {
        let count = |key| number(client, key).to_string();
        table.push(vec![
            text(client, "client_id"),
            text(client, "mountpoint"),
            yes_or_no(client, "online").to_owned(),
            count("subscriptions"),
            count("queue_messages"),
            count("queue_bytes"),
            count("inflight"),
            moved(client, "in"),
            moved(client, "out"),
            throttled(client, "in"),
            throttled(client, "out"),
        ]);
    }
    terminal::table(&table) + &left_out(answer, clients.len(), "; narrow it with --prefix")
}

pub(super) fn said_text(answer: &Value) -> String {
    let said = answer["operator"].as_object().into_iter().flatten();
    said.map(|(key, value)| format!("{key}={}", written_text(value)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn limits_text(client: &str, answer: &Value) -> String {
    let connections = match number(answer, "connections") {
        0 => "when it connects".to_owned(),
        count => format!("for {}", amount(count, "open connection")),
    };
    let said = said_text(answer);
    if answer["operator"].is_null() {
        format!("\"{client}\" has what everybody has again; in force {connections}")
    } else {
        format!("\"{client}\" has {said}; in force {connections}")
    }
}

pub(super) const CLIENT_HELP: &str = "\
Examples:
  sluice client list --prefix meter-             what clients whose identifiers begin so have moved
  sluice client show meter-17                    one of them: its connection, its use, who set its limits
  sluice client limits meter-17 bytes_in_per_second=10KiB
  sluice client limits meter-17 --reset
  sluice client ban meter-17 --for 1h --reason \"floods since noon\"
  sluice client kick meter-17";

const SHOW_HELP: &str = "\
The listener, every policy and [limits] have a say in each limit: the strictest value is in force,
and SET BY names the first who says it. What an operator says with `sluice client limits` goes
before all of them.

The queue holds messages that are not encoded yet, the write buffer what the socket has not taken
yet, the read buffer what has been read and not handled: the beginning of a packet, or what a limit
holds back.

Examples:
  sluice client show meter-17
  sluice client show meter-17 --json | jq '.sessions[].connection.limits[] | select(.set_by == \"operator\")'";

const LIMITS_HELP: &str = "\
In force at once on open connections, whatever the listener, the policies and [limits] say: an
operator can give one client more or less than the others. It holds for every later connection of
this client identifier too, until --reset or the next start of the broker; SIGHUP leaves it as it
is. Each call adds to what was set before. \"unlimited\" lifts a rate and connection_lifetime_max.

Keys: bytes_in_per_second, bytes_out_per_second, messages_in_per_second, messages_out_per_second,
subscribes_per_second, packet_bytes_max, payload_bytes_max, inflight_max, queue_messages_max,
queue_bytes_max, queue_overflow, subscriptions_max, session_expiry_max, connection_lifetime_max,
over_limit.

Examples:
  sluice client limits meter-17 bytes_in_per_second=10KiB over_limit=drop
  sluice client limits gateway-1 messages_in_per_second=unlimited 'queue_bytes_max=1 GiB'
  sluice client limits gateway-1 'bytes_in_per_second={ per_second = \"1 MiB\", burst = \"8 MiB\" }'
  sluice client limits meter-17 --reset";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_said_for_how_many_connections_limits_are_in_force() {
        let answer = |connections: u64, operator| json!({ "connections": connections, "operator": operator });
        let set = json!({ "inflight_max": 5 });
        assert_eq!(
            limits_text("c", &answer(1, set)),
            "\"c\" has inflight_max=5; in force for 1 open connection"
        );
        assert_eq!(
            limits_text("c", &answer(0, Value::Null)),
            "\"c\" has what everybody has again; in force when it connects"
        );
    }
}
