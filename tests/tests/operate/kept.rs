//! What the broker keeps for clients, as an operator sees it, removes it, copies it and puts it back.

use super::{obeyed, told};
use serde_json::json;
use sluice_tests::broker::{Broker, Signal, command};
use sluice_tests::packet::{Version::V5, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::unique;
use std::fs::OpenOptions;

/// A durable session with one subscription, which is left again.
fn leave_session(broker: &Broker, client_id: &str, filter: &str) {
    let (mut peer, _) = broker.join(&connect(V5, client_id).lasting());
    peer.subscribe(filter, 1);
    peer.leave();
}

fn publish_to(broker: &Broker, topic: &str, payload: &str) {
    let mut publisher = broker.client(V5);
    publisher.publish(publish(topic, payload).qos(1).retain());
}

fn resume(broker: &Broker, client_id: &str) -> (Peer, bool) {
    let (peer, connack) = broker.join(&connect(V5, client_id).lasting().resuming());
    (peer, connack.session_present)
}

#[test]
fn a_session_is_shown_with_what_waits_in_it_and_dropped() {
    let broker = Broker::durable("");
    leave_session(&broker, "meter-1", "readings/#");
    publish_to(&broker, "readings/a", "1");
    let listed = told(&broker, &["session", "list", "--prefix", "meter-"]);
    let session = &listed["sessions"][0];
    assert_eq!(
        (
            &session["client_id"],
            &session["durable"],
            &session["queue_messages"]
        ),
        (&json!("meter-1"), &json!(true), &json!(1))
    );
    let shown = told(&broker, &["session", "show", "meter-1"]);
    assert_eq!(shown["sessions"][0]["filters"][0]["filter"], "readings/#");
    assert_eq!(told(&broker, &["session", "drop", "meter-1"])["dropped"], 1);
    assert!(broker.sluice(&["session", "show", "meter-1"]).is_err());
    assert!(!resume(&broker, "meter-1").1, "the session is gone");
}

#[test]
fn a_client_whose_session_is_dropped_is_sent_away() {
    let broker = Broker::durable("");
    let mut client = broker.join(&connect(V5, "meter-1").lasting()).0;
    obeyed(&broker, &["session", "drop", "meter-1"]);
    client.expect_disconnected(&[0x98]);
}

#[test]
fn retained_messages_are_listed_read_and_cleared() {
    let broker = Broker::durable("");
    for topic in ["site/a", "site/b", "other"] {
        publish_to(&broker, topic, &format!("of {topic}"));
    }
    let listed = told(&broker, &["retained", "list", "site/#"]);
    assert_eq!(listed["matching"], 2);
    assert_eq!(obeyed(&broker, &["retained", "get", "site/a"]), "of site/a");
    assert_eq!(told(&broker, &["retained", "clear", "site/#"])["cleared"], 2);
    assert!(broker.sluice(&["retained", "get", "site/a"]).is_err());
    let mut subscriber = broker.client(V5);
    subscriber.subscribe("#", 1);
    subscriber.expect_message("other", "of other");
}

#[test]
fn a_copy_of_a_running_broker_gives_back_what_was_acknowledged_before_it() {
    let mut broker = Broker::durable("");
    let topic = unique("copied/");
    leave_session(&broker, "meter-1", &topic);
    publish_to(&broker, &topic, "before");
    let copied = told(&broker, &["backup", "copy"]);
    assert!(copied["rows"].as_u64().is_some_and(|rows| rows > 0), "{copied}");
    assert_eq!(copied["path"], "copy", "where it is, not where it was made");
    assert!(
        broker.sluice(&["backup", "copy"]).is_err(),
        "nothing is overwritten"
    );
    publish_to(&broker, &topic, "after");
    broker.end(Signal::TERM);
    let data_dir = broker.dir().join("data");
    assert!(
        broker
            .sluice(&["restore", "copy", "--config", "sluice.toml"])
            .is_err(),
        "nothing is overwritten"
    );
    std::fs::rename(&data_dir, broker.dir().join("data.before")).expect("it can be moved away");
    obeyed(&broker, &["restore", "copy", "data"]);
    let checked = told(&broker, &["store", "check", "--config", "sluice.toml"]);
    assert_eq!(checked["ok"], true);
    broker.start_again();
    let (mut client, present) = resume(&broker, "meter-1");
    assert!(present);
    client.take(&topic, "before", 1);
    client.expect_silence();
}

#[test]
fn a_store_in_use_is_not_looked_at_and_a_damaged_one_is_refused() {
    let mut broker = Broker::durable("");
    let refused = broker.sluice(&["store", "check", "--config", "sluice.toml"]);
    assert!(refused.is_err_and(|why| why.contains("in use")));
    broker.end(Signal::TERM);
    let file = broker.dir().join("data/store.redb");
    let mut bytes = std::fs::read(&file).expect("the store");
    // The header says what the file is.
    for byte in bytes.iter_mut().take(64) {
        *byte = 0xAA;
    }
    std::fs::write(&file, bytes).expect("it is written");
    let output = broker.command(&["run", "--config", "sluice.toml"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("store check"), "{said}");
}

#[test]
fn an_export_that_finds_no_room_names_where_it_goes() {
    let mut broker = Broker::durable("");
    leave_session(&broker, "meter-1", "readings/#");
    broker.end(Signal::TERM);
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let output = command(broker.dir())
        .args(["store", "export", "--config", "sluice.toml"])
        .stdout(full)
        .output()
        .expect("the command runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("/dev/full: "), "{said}");
}
