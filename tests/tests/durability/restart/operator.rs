//! What operators and policies have said, and the directory that keeps it.

use super::{both_ends, store_everything};
use sluice_tests::broker::{Broker, durable_config};
use sluice_tests::guests;
use sluice_tests::packet::{V5, connect, publish};

fn obeyed(broker: &Broker, arguments: &[&str]) -> String {
    let said = broker.sluice(arguments);
    said.unwrap_or_else(|why| panic!("{arguments:?}: {why}"))
}

#[test]
fn bans_are_in_force_and_those_taken_back_are_not() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        obeyed(&broker, &["client", "ban", "bad", "--reason", "it floods"]);
        obeyed(&broker, &["client", "ban", "--user", "mallory", "--for", "1h"]);
        obeyed(&broker, &["client", "ban", "forgiven"]);
        obeyed(&broker, &["client", "unban", "forgiven"]);
        broker.restart(signal);
        for packet in [connect(V5, "bad"), connect(V5, "another").username("mallory")] {
            let (client, connack) = broker.try_join(&packet);
            client.assert(connack.code == 0x8A, "banned");
        }
        let _ = broker.join(&connect(V5, "forgiven"));
        let listed = obeyed(&broker, &["client", "bans"]);
        assert!(listed.contains("it floods") && listed.contains("min"), "{listed}");
        assert!(!listed.contains("forgiven"), "{listed}");
    });
}

#[test]
fn what_a_policy_has_stored_is_there() {
    both_ends(|signal| {
        let more = "policies = [\"gate\"]\n[policy.gate]\nfile = \"gate.wasm\"\ncapabilities = [\"kv\", \"sessions\"]\n\
                    settings = { budgets = { small = { payload_bytes_max = 1 } } }\n";
        let gate = ("gate.wasm", &*guests::wasm("budget"));
        let mut broker = Broker::with_files(&durable_config(more), &[gate]);
        // It notes each client that connects, and takes orders about those that it has noted.
        let (client, _) = broker.join(&connect(V5, "noted"));
        client.leave();
        store_everything(&broker);
        broker.restart(signal);
        let mut client = broker.client(V5);
        let reason = client.try_publish(publish("set-budget/noted/small", "").qos(1));
        client.assert(reason < 0x80, "it knows the client");
        let reason = client.try_publish(publish("set-budget/never-seen/small", "").qos(1));
        client.assert(reason >= 0x80, "and no other");
    });
}

#[test]
fn bans_of_a_policy_are_in_force_and_still_its_own() {
    both_ends(|signal| {
        let more = "policies = [\"gate\"]\n[policy.gate]\nfile = \"gate.wasm\"\ncapabilities = [\"bans\"]\n";
        let gate = ("gate.wasm", &*guests::wasm("bouncer"));
        let mut broker = Broker::with_files(&durable_config(more), &[gate]);
        let order = |broker: &Broker, topic: &str| {
            let mut officer = broker.client(V5);
            let reason = officer.try_publish(publish(topic, "").qos(1));
            officer.assert(reason < 0x80, topic);
        };
        for topic in [
            "ban/client/600/bad",
            "ban/client/600/forgiven",
            "unban/client/forgiven",
        ] {
            order(&broker, topic);
        }
        store_everything(&broker);
        broker.restart(signal);
        let (client, connack) = broker.try_join(&connect(V5, "bad"));
        client.assert(connack.code == 0x8A, "banned");
        let _ = broker.join(&connect(V5, "forgiven"));
        let listed = obeyed(&broker, &["client", "bans"]);
        assert!(listed.contains("policy gate"), "{listed}");
        order(&broker, "unban/client/bad");
        let _ = broker.join(&connect(V5, "bad"));
    });
}

#[test]
fn a_second_broker_does_not_start_in_the_same_directory() {
    let broker = Broker::durable("");
    let output = broker.command(&["run", "--config", "sluice.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let process = format!("in use by process {}", broker.pid());
    assert!(said.contains(&process), "{said}");
    broker.client(V5).ping();
}
