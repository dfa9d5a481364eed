//! `sluice client limits`, `show` and `list`.

use crate::{QUOTA_EXCEEDED, broker, obeyed, publish_at_once, publish_bytes, told};
use serde_json::{Value, json};
use sluice_tests::broker::Broker;
use sluice_tests::eventually;
use sluice_tests::packet::{V5, connect, publish};

#[test]
fn limits_of_one_client_hold_at_once_and_for_its_later_connections_until_they_are_taken_back() {
    let broker = broker("");
    let (mut client, _) = broker.join(&connect(V5, "one"));
    let (mut other, _) = broker.join(&connect(V5, "other"));
    let said = obeyed(&broker, &["client", "limits", "one", "payload_bytes_max=1KiB"]);
    assert_eq!(
        said,
        "\"one\" has payload_bytes_max=1 KiB; in force for 1 open connection\n"
    );
    assert_eq!(publish_bytes(&mut client, 2_000), QUOTA_EXCEEDED);
    assert!(publish_bytes(&mut other, 2_000) < 0x80);

    client.leave();
    let (mut client, _) = broker.join(&connect(V5, "one"));
    assert_eq!(publish_bytes(&mut client, 2_000), QUOTA_EXCEEDED);

    let said = obeyed(&broker, &["client", "limits", "one", "--reset"]);
    assert!(said.ends_with("in force for 1 open connection\n"), "{said}");
    assert!(publish_bytes(&mut client, 2_000) < 0x80);
    let why = broker.sluice(&["client", "limits", "one", "--reset"]);
    assert!(
        why.expect_err("there is nothing left")
            .contains("no limits of its own")
    );
}

#[test]
fn an_operator_can_give_one_client_more_than_the_file_does() {
    let broker = broker(
        "limits = { payload_bytes_max = \"1 KiB\", messages_in_per_second = 1, over_limit = \"refuse\" }",
    );
    let (mut client, _) = broker.join(&connect(V5, "one"));
    assert!(publish_at_once(&mut client, 40).contains(&QUOTA_EXCEEDED));
    let lifted = ["messages_in_per_second=unlimited", "payload_bytes_max=10KiB"];
    obeyed(&broker, &[&["client", "limits", "one"], &lifted[..]].concat());
    assert!(
        publish_at_once(&mut client, 40)
            .iter()
            .all(|reason| *reason < 0x80)
    );
    assert!(publish_bytes(&mut client, 2_000) < 0x80);
}

#[test]
fn limits_that_make_no_sense_are_refused_with_what_to_write() {
    let broker = broker("");
    let why = broker.sluice(&["client", "limits", "one", "payload_bytes_max=1"]);
    let why = why.expect_err("it has no unit");
    assert!(why.contains("payload_bytes_max: 1 has no unit"), "{why}");
    assert_eq!(
        broker.command(&["client", "limits", "one"]).status.code(),
        Some(2)
    );
    assert_eq!(broker.command(&["client", "show", "one"]).status.code(), Some(1));
}

/// What `client show` says of a limit: its value, who set it, what others say.
fn limit(broker: &Broker, client: &str, key: &str) -> (Value, Value, Value) {
    let answer = told(broker, &["client", "show", client]);
    let limits = answer
        .pointer("/sessions/0/connection/limits")
        .and_then(Value::as_array);
    let limits = limits.unwrap_or_else(|| panic!("no limits: {answer}"));
    let limit = limits.iter().find(|limit| limit["key"] == key).expect("a limit");
    (
        limit["value"].clone(),
        limit["set_by"].clone(),
        limit["others"].clone(),
    )
}

#[test]
fn a_client_is_shown_with_who_set_each_of_its_limits() {
    let broker = broker("limits = { inflight_max = 50, subscriptions_max = 20 }");
    let listener = "listener.default.limits.subscriptions_max=10";
    obeyed(&broker, &["limits", "set", listener]);
    let (_client, _) = broker.join(&connect(V5, "one").username("ada"));
    obeyed(&broker, &["client", "limits", "one", "inflight_max=60"]);
    let of = |key| limit(&broker, "one", key);
    assert_eq!(
        of("inflight_max"),
        (
            json!(60),
            json!("operator"),
            json!([{ "who": "limits", "value": 50 }])
        )
    );
    assert_eq!(
        of("subscriptions_max"),
        (
            json!(10),
            json!("listener default"),
            json!([{ "who": "limits", "value": 20 }])
        )
    );
    assert_eq!(
        of("queue_bytes_max"),
        (json!("16 MiB"), json!("limits"), json!([]))
    );
    assert_eq!(
        of("bytes_in_per_second"),
        (json!("unlimited"), Value::Null, json!([]))
    );

    let answer = told(&broker, &["client", "show", "one"]);
    let session = &answer["sessions"][0];
    assert_eq!(
        (&session["online"], &session["username"]),
        (&json!(true), &json!("ada"))
    );
    assert_eq!(session["connection"]["listener"], "default");
    assert!(
        session["connection"]["connected_since_unix_seconds"].is_u64(),
        "{answer}"
    );
    let peer = session["connection"]["peer"].as_str().expect("an address");
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    assert_eq!(answer["operator"], json!({ "inflight_max": 60 }));
    let text = obeyed(&broker, &["client", "show", "one"]);
    for part in [
        "connected for",
        "user name",
        "ada",
        "LIMIT",
        "listener default",
        "limits 50",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn a_client_that_is_away_is_shown_with_its_session_and_its_limits() {
    let broker = broker("");
    let (mut client, _) = broker.join(&connect(V5, "away").lasting());
    client.subscribe("news/#", 1);
    client.leave();
    let mut publisher = broker.client(V5);
    publisher.publish(publish("news/today", "x").qos(1));
    obeyed(&broker, &["client", "limits", "away", "inflight_max=5"]);
    let answer = told(&broker, &["client", "show", "away"]);
    let session = &answer["sessions"][0];
    assert_eq!(
        (&session["online"], &session["connection"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(
        (&session["queue_messages"], &session["subscriptions"]),
        (&json!(1), &json!(1))
    );
    let text = obeyed(&broker, &["client", "show", "away"]);
    assert!(
        text.contains("not connected") && text.contains("inflight_max=5"),
        "{text}"
    );
}

#[test]
fn what_waits_in_the_buffers_of_a_connection_is_shown() {
    let broker = broker("limits = { queue_messages_max = 100 }");
    let (mut client, _) = broker.join(&connect(V5, "slow"));
    client.subscribe("news/#", 0);
    let buffer = |name: &str| {
        let answer = told(&broker, &["client", "show", "slow"]);
        let bytes = &answer["sessions"][0]["connection"][name];
        bytes.as_u64().unwrap_or_else(|| panic!("no {name} in {answer}"))
    };
    eventually("nothing waits", || {
        (buffer("read_buffer_bytes"), buffer("write_buffer_bytes")) == (0, 0)
    });
    // The beginning of a PUBLISH of 102 bytes.
    client.send(vec![0x30, 100, 0, 1, b'a']);
    eventually("what was read waits for the rest", || {
        buffer("read_buffer_bytes") == 5
    });
    // It reads nothing: once the kernel's buffers are full, what is encoded has to wait.
    let mut publisher = broker.client(V5);
    eventually("what is encoded waits for the socket", || {
        for _ in 0..20 {
            publisher.publish(publish("news/today", vec![b'x'; 64 * 1024]).qos(1));
        }
        buffer("write_buffer_bytes") >= 64 * 1024
    });
    let text = obeyed(&broker, &["client", "show", "slow"]);
    for part in ["read buffer", "5 B", "write buffer", "KiB"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn what_a_client_moves_and_for_how_long_it_was_held_back_is_listed() {
    let broker = broker("");
    let (mut client, _) = broker.join(&connect(V5, "busy"));
    let rate = "messages_in_per_second={ per_second = 100, burst = 1 }";
    obeyed(&broker, &["client", "limits", "busy", rate]);
    assert!(
        publish_at_once(&mut client, 20)
            .iter()
            .all(|reason| *reason < 0x80)
    );
    // The figures are those of the connection's last turn.
    eventually("its use is listed", || {
        let answer = told(&broker, &["client", "list", "--prefix", "bu"]);
        let busy = &answer["clients"][0];
        let number = |key: &str| {
            busy[key]
                .as_u64()
                .unwrap_or_else(|| panic!("no {key} in {answer}"))
        };
        number("messages_in") == 20
            && number("bytes_in") > 200
            && number("bytes_out") > 0
            && number("throttled_in_milliseconds") > 0
    });
    let text = obeyed(&broker, &["client", "list"]);
    assert!(
        text.contains("20 messages") && text.contains("THROTTLED IN"),
        "{text}"
    );
}
