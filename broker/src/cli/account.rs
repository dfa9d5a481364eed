//! One client as an operator sees it.

use super::client::{moved, number, rows, said_text, text, throttled, yes_or_no};
use super::terminal::{self, amount, bytes, pause};
use crate::config::written_text;
use serde_json::Value;
use std::time::Duration;

pub(super) fn show_text(answer: &Value) -> String {
    let sessions = rows(answer, "sessions");
    let mut shown: Vec<_> = sessions.iter().map(session_text).collect();
    let said = said_text(answer);
    if sessions.is_empty() {
        shown.push(format!("\"{}\" has no session\n", text(answer, "client_id")));
    }
    let is_shown_above = sessions
        .iter()
        .any(|session| session.pointer("/connection/limits").is_some());
    if !said.is_empty() && !is_shown_above {
        shown.push(format!("the operator has set, for when it connects: {said}\n"));
    }
    shown.join("\n")
}

fn session_text(session: &Value) -> String {
    let connection = &session["connection"];
    let is_online = yes_or_no(session, "online") == "yes";
    let state = match (is_online, connection.is_null()) {
        (false, _) => "not connected".to_owned(),
        (true, true) => "connected, but its connection does not answer".to_owned(),
        (true, false) => {
            let age = Duration::from_secs(number(connection, "connected_seconds"));
            format!("connected for {}", pause(age))
        }
    };
    let mut table = vec![("client", text(session, "client_id")), ("state", state)];
    let mut told = |name, value: String| {
        if !value.is_empty() {
            table.push((name, value));
        }
    };
    told("mount point", text(session, "mountpoint"));
    told("address", text(connection, "peer"));
    if connection.is_null() {
        told("last address", text(session, "address"));
    }
    told("listener", text(connection, "listener"));
    told("user name", text(session, "username"));
    told("principal", text(connection, "principal"));
    let (waiting, size) = (number(session, "queue_messages"), number(session, "queue_bytes"));
    told("subscriptions", number(session, "subscriptions").to_string());
    told(
        "queue",
        format!("{}, {}", amount(waiting, "message"), bytes(size)),
    );
    told("in flight", amount(number(session, "inflight"), "message"));
    if !connection.is_null() {
        told("read buffer", bytes(number(connection, "read_buffer_bytes")));
        told("write buffer", bytes(number(connection, "write_buffer_bytes")));
    }
    told("in", moved(session, "in"));
    told("out", moved(session, "out"));
    told("throttled in", throttled(session, "in"));
    told("throttled out", throttled(session, "out"));
    let table: Vec<_> = table
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    let limits = rows(connection, "limits");
    match limits {
        [] => terminal::table(&table),
        limits => format!("{}\n{}", terminal::table(&table), limits_table(limits)),
    }
}

fn limits_table(limits: &[Value]) -> String {
    let mut table = vec![
        ["LIMIT", "VALUE", "SET BY", "OTHERS SAY"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for limit in limits {
        let other = |other: &Value| format!("{} {}", text(other, "who"), written_text(&other["value"]));
        let others: Vec<_> = rows(limit, "others").iter().map(other).collect();
        let set_by = text(limit, "set_by");
        table.push(vec![
            text(limit, "key"),
            written_text(&limit["value"]),
            if set_by.is_empty() { "-".to_owned() } else { set_by },
            others.join(", "),
        ]);
    }
    terminal::table(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_client_is_shown_with_who_set_its_limits() {
        let limit = json!({
            "key": "inflight_max", "value": 5, "set_by": "operator",
            "others": [{ "who": "limits", "value": 1024 }, { "who": "policy p", "value": 2 }],
        });
        let answer = json!({ "client_id": "c", "operator": { "inflight_max": 5 }, "sessions": [{
            "client_id": "c", "mountpoint": "", "online": true, "queue_messages": 1, "queue_bytes": 2048,
            "bytes_in": 1_572_864, "messages_in": 2, "throttled_in_milliseconds": 1500,
            "connection": {
                "peer": "192.0.2.1:7", "connected_seconds": 3700, "limits": [limit],
                "read_buffer_bytes": 12, "write_buffer_bytes": 4096,
            },
        }] });
        let text = show_text(&answer);
        let line = |name: &str| {
            let found = text.lines().find(|line| line.starts_with(name));
            let words = found
                .unwrap_or_else(|| panic!("no {name} in {text}"))
                .split_whitespace();
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("state"), "state connected for 1 h 1 min");
        assert_eq!(line("queue"), "queue 1 message, 2.0 KiB");
        assert_eq!(line("read buffer"), "read buffer 12 B");
        assert_eq!(line("write buffer"), "write buffer 4.0 KiB");
        assert_eq!(line("in  "), "in 1.5 MiB, 2 messages");
        assert_eq!(line("throttled in"), "throttled in 1.5 s");
        assert_eq!(line("throttled out"), "throttled out -");
        assert_eq!(
            line("inflight_max"),
            "inflight_max 5 operator limits 1024, policy p 2"
        );
    }

    #[test]
    fn limits_of_a_client_that_is_not_there_are_shown_all_the_same() {
        let answer = json!({ "client_id": "c", "sessions": [], "operator": { "over_limit": "drop" } });
        assert_eq!(
            show_text(&answer),
            "\"c\" has no session\n\nthe operator has set, for when it connects: over_limit=drop\n"
        );
    }
}
