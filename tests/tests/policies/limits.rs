//! What a policy is told of clients that come up against their limits.

use crate::{gated_config, join};
use sluice_tests::broker::Broker;
use sluice_tests::guests;
use sluice_tests::packet::{Encode, V5, publish, subscribe};
use sluice_tests::peer::Peer;

/// A broker with the policy `herald`, which writes into the log what it is told, and these limits for each client.
fn limited(limits: &str) -> Broker {
    let config = format!("{}\n[limits]\n{limits}\n", gated_config("{}"));
    Broker::with_files(&config, &[("gate.wasm", &guests::wasm("herald"))])
}

/// Sends so many messages with one write.
fn flood(client: &mut Peer, messages: usize) {
    let message = publish("allow", "x");
    client.send_all(&vec![&message as &dyn Encode; messages]);
}

fn wait_until_told(broker: &Broker, what: &str) {
    broker.wait_for_log(what, |line| {
        line.is("policy_log") && line.has("policy", "gate") && line.text.contains(what)
    });
}

#[test]
fn a_message_that_is_one_too_many_is_told_whatever_becomes_of_it() {
    for action in ["refuse", "drop", "disconnect"] {
        let broker = limited(&format!(
            "messages_in_per_second = {{ per_second = 1, burst = 5 }}\nover_limit = \"{action}\""
        ));
        let mut client = join(&broker, "gate", V5);
        flood(&mut client, 6);
        wait_until_told(&broker, "Inward 1");
    }
}

#[test]
fn waiting_is_told_in_both_directions() {
    let broker = limited("messages_in_per_second = { per_second = 10, burst = 5 }");
    let mut client = join(&broker, "gate", V5);
    flood(&mut client, 8);
    wait_until_told(&broker, "Inward 1");

    let broker = limited("messages_out_per_second = { per_second = 10, burst = 5 }");
    let mut subscriber = join(&broker, "gate", V5);
    subscriber.subscribe("allow", 0);
    flood(&mut join(&broker, "calm", V5), 8);
    wait_until_told(&broker, "Outward 1");
}

#[test]
fn a_subscription_that_is_one_too_many_is_told() {
    let broker = limited("subscribes_per_second = { per_second = 1, burst = 1 }\nover_limit = \"refuse\"");
    let mut client = join(&broker, "gate", V5);
    for id in [1, 2] {
        client.send(subscribe(id).filter("allow", 0));
        client.expect_suback(id);
    }
    wait_until_told(&broker, "Subscribes 1");
}

#[test]
fn who_keeps_to_the_limits_is_not_told_of() {
    let broker = limited("messages_in_per_second = { per_second = 10, burst = 5 }");
    let mut client = join(&broker, "gate", V5);
    flood(&mut client, 4);
    client.ping();
    client.leave();
    let log = broker.log_lines();
    let told = log
        .iter()
        .find(|line| line.is("policy_log") && line.has("policy", "gate"));
    assert!(told.is_none(), "{told:?}");
}
