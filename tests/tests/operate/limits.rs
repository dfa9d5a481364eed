//! `sluice limits show` and `set`.

use crate::{QUOTA_EXCEEDED, broker, config, obeyed, publish_at_once, publish_bytes, told};
use serde_json::{Value, json};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::V5;

/// What `limits show` says of a limit: its value and where it comes from.
fn shown(broker: &Broker, key: &str) -> (Value, Value) {
    let answer = told(broker, &["limits", "show"]);
    let limits = answer["limits"].as_array().expect("a list");
    let limit = limits.iter().find(|limit| limit["key"] == key);
    let limit = limit.unwrap_or_else(|| panic!("{key} is not shown: {answer}"));
    (limit["value"].clone(), limit["from"].clone())
}

#[test]
fn a_lower_limit_holds_at_once_for_a_client_that_is_connected() {
    let broker = broker("");
    let mut client = broker.client(V5);
    assert!(publish_bytes(&mut client, 2_000) < 0x80);
    let said = obeyed(&broker, &["limits", "set", "limits.payload_bytes_max=1KiB"]);
    assert_eq!(said, "limits.payload_bytes_max = 1 KiB (was 1 MiB)\n");
    assert_eq!(publish_bytes(&mut client, 2_000), QUOTA_EXCEEDED);
    assert!(publish_bytes(&mut client, 1_000) < 0x80);
    let said = obeyed(&broker, &["limits", "set", "limits.payload_bytes_max=1KiB"]);
    assert_eq!(said, "these values are in force already\n");
    broker.wait_for_log("the command", |line| {
        line.is("admin_command")
            && line.has("command", "limits-set")
            && line.has("text", "limits.payload_bytes_max=1KiB")
    });
}

#[test]
fn a_rate_is_put_on_a_running_publisher_and_taken_off_again() {
    let broker = broker("");
    let mut client = broker.client(V5);
    assert!(
        publish_at_once(&mut client, 40)
            .iter()
            .all(|reason| *reason < 0x80)
    );
    let slow = ["limits.messages_in_per_second=1", "limits.over_limit=refuse"];
    obeyed(&broker, &[&["limits", "set"], &slow[..]].concat());
    let reasons = publish_at_once(&mut client, 40);
    assert!(reasons.contains(&QUOTA_EXCEEDED), "{reasons:02X?}");
    obeyed(
        &broker,
        &["limits", "set", "limits.messages_in_per_second=unlimited"],
    );
    assert!(
        publish_at_once(&mut client, 40)
            .iter()
            .all(|reason| *reason < 0x80)
    );
}

#[test]
fn the_limits_of_a_listener_can_be_set_by_its_name() {
    let broker = broker("");
    let mut client = broker.client(V5);
    let key = "listener.default.limits.payload_bytes_max";
    obeyed(&broker, &["limits", "set", &format!("{key}=1KiB")]);
    assert_eq!(publish_bytes(&mut client, 2_000), QUOTA_EXCEEDED);
    assert_eq!(shown(&broker, key), (json!("1 KiB"), json!("set")));
    let why = broker.sluice(&["limits", "set", "listener.nobody.limits.inflight_max=1"]);
    let why = why.expect_err("there is no such listener");
    assert!(
        why.contains("listener.nobody: there is no such listener"),
        "{why}"
    );
}

#[test]
fn nothing_changes_when_one_of_several_is_wrong() {
    let broker = broker("");
    let mut client = broker.client(V5);
    let both = ["limits.payload_bytes_max=1KiB", "limits.recieve_max=5"];
    let output = broker.command(&[&["limits", "set"], &both[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        why.contains("limits.recieve_max: unknown key") && why.contains("`receive_max`"),
        "{why}"
    );
    assert!(publish_bytes(&mut client, 2_000) < 0x80);
    assert_eq!(broker.command(&["limits", "set"]).status.code(), Some(2));
}

#[test]
fn every_limit_is_shown_as_it_is_written_with_where_it_comes_from() {
    let broker = broker(
        "limits = { bytes_in_per_second = { per_second = \"1 MiB\", burst = \"4 MiB\" }, keep_alive_max = \"5 min\" }",
    );
    obeyed(&broker, &["limits", "set", "total.messages_out_per_second=500"]);
    let text = obeyed(&broker, &["limits", "show"]);
    let line = |key: &str| {
        let found = text
            .lines()
            .find(|line| line.split_whitespace().next() == Some(key));
        let words = found
            .unwrap_or_else(|| panic!("no {key} in\n{text}"))
            .split_whitespace();
        words.skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("limits.queue_bytes_max"), "16 MiB default");
    assert_eq!(line("limits.keep_alive_max"), "5 min sluice.toml");
    assert_eq!(
        line("limits.bytes_in_per_second"),
        "{ per_second = \"1 MiB\", burst = \"4 MiB\" } sluice.toml"
    );
    assert_eq!(
        line("total.messages_out_per_second"),
        "500 `limits set`; SIGHUP brings back unlimited"
    );
    assert_eq!(line("memory_limit"), "unlimited default");
}

#[test]
fn sighup_brings_back_the_values_of_the_file_and_says_which_it_replaced() {
    let text = config("limits = { payload_bytes_max = \"10 KiB\" }");
    let broker = Broker::with_config(&text);
    let mut client = broker.client(V5);
    obeyed(
        &broker,
        &[
            "limits",
            "set",
            "limits.payload_bytes_max=1KiB",
            "limits.inflight_max=3",
        ],
    );
    assert_eq!(publish_bytes(&mut client, 2_000), QUOTA_EXCEEDED);

    // A file that is not understood leaves everything as it is.
    let file = broker.dir().join("sluice.toml");
    std::fs::write(&file, "limits = 5").expect("the file is written");
    broker.signal(Signal::HUP);
    broker.wait_for_log("the file is not taken", |line| line.is("config_rejected"));
    assert_eq!(publish_bytes(&mut client, 2_000), QUOTA_EXCEEDED);
    assert_eq!(shown(&broker, "limits.inflight_max"), (json!(3), json!("set")));

    std::fs::write(&file, &text).expect("the file is written");
    broker.signal(Signal::HUP);
    let line = broker.wait_for_log("what was replaced", |line| line.is("limits_replaced"));
    assert_eq!(
        line.text_field("text").as_deref(),
        Some(
            "limits.payload_bytes_max was set to 1 KiB and is 10 KiB again; limits.inflight_max was set to 3 and is \
             1024 again"
        )
    );
    assert!(publish_bytes(&mut client, 2_000) < 0x80);
    let key = "limits.payload_bytes_max";
    assert_eq!(shown(&broker, key), (json!("10 KiB"), json!("file")));
}
