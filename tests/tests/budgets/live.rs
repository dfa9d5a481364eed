//! Budgets that a policy changes while its clients stay connected: on demand, in time, and by being replaced.

use crate::{DEFAULT_LISTENER, accepted, gated, message, numbers, policed};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Encode, V5, Version, connect, publish, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::{at_once, eventually, guests, unique};

pub const BUDGETS: &str = r#"
free = {}
no-subscriptions = { subscriptions_max = 0 }
one-then-wait = { messages_in_per_second = { per_second = 0, burst = 1 } }
one-out = { messages_out_per_second = { per_second = 0, burst = 1 } }
one-in-and-no-subscriptions = { messages_in_per_second = { per_second = 0, burst = 1 }, over_limit = "refuse", subscriptions_max = 0 }
brief-connection = { connection_seconds_max = 1 }
tight = { payload_bytes_max = 10 }
"tight@later" = {}
loose = {}
"loose@later" = { payload_bytes_max = 10 }
"#;

/// Has the policy of the shared broker give a client this budget, from another client's call.
pub fn set_budget(client_id: &str, budget: &str) {
    let mut controller = policed().client(V5);
    controller.publish(publish(format!("set-budget/{client_id}/{budget}"), "").qos(1));
}

/// The same with a budget that allows no subscription, and waits until it is in force.
pub fn give(peer: &mut Peer, client_id: &str, budget: &str) {
    set_budget(client_id, budget);
    eventually("the budget is in force", || {
        let id = peer.next_packet_id();
        let codes = peer.request_subscription(subscribe(id).filter(unique("given/"), 0));
        codes[0] >= 0x80
    });
}

/// A client of the shared broker and its identifier.
fn join(version: Version, budget: &str) -> (Peer, String) {
    let id = unique("live");
    let (peer, _) = policed().join(&connect(version, &id).username(budget));
    (peer, id)
}

#[test]
fn a_policy_gives_a_live_client_a_smaller_budget_and_takes_it_back() {
    let (mut client, id) = join(V5, "free");
    assert_eq!(accepted(&mut client, 10), 10);
    give(&mut client, &id, "one-in-and-no-subscriptions");
    assert_eq!(accepted(&mut client, 10), 1, "a new limit begins with its burst");
    set_budget(&id, "free");
    eventually("the limit is lifted", || accepted(&mut client, 1) == 1);
    assert_eq!(accepted(&mut client, 10), 10);
}

#[test]
fn a_policy_changes_the_budget_of_the_client_it_is_asked_about() {
    let (mut client, id) = join(V5, "free");
    // The policy drops the message: its exchange goes on as if it had not.
    client.publish(publish(format!("set-budget/{id}/no-subscriptions"), "").qos(2));
    eventually("the budget is in force", || {
        let id = client.next_packet_id();
        client.request_subscription(subscribe(id).filter(unique("own/"), 0)) == [0x97]
    });
}

#[test]
fn a_client_that_is_left_unread_is_read_at_once_when_its_limit_is_lifted() {
    for version in BOTH {
        let topic = unique("live/");
        let mut watcher = policed().client(version);
        watcher.subscribe(&topic, 1);
        let (mut client, id) = join(version, "one-then-wait");
        let sent: Vec<u8> = (0..10)
            .flat_map(|number| message(&topic, number, 1).id(number as u16 + 1).bytes(version))
            .collect();
        client.send(sent);
        client.expect_puback(1);
        assert_eq!(numbers(&watcher.drain()), [0], "the others wait");
        set_budget(&id, "free");
        for number in 2..=10 {
            client.expect_puback(number);
        }
        assert_eq!(numbers(&watcher.drain()), Vec::from_iter(1..10));
    }
}

#[test]
fn what_is_held_back_from_a_client_is_sent_at_once_when_its_limit_is_lifted() {
    for version in BOTH {
        let topic = unique("live/");
        let (mut client, id) = join(version, "one-out");
        client.subscribe(&topic, 1);
        let mut publisher = policed().client(version);
        for number in 0..10 {
            publisher.publish(message(&topic, number, 1));
        }
        let first = client.expect_publish();
        // The others wait: nothing comes before the answer.
        client.ping();
        set_budget(&id, "free");
        client.acknowledge(&first);
        for number in 1..10 {
            let delivered = client.expect_publish();
            assert_eq!(numbers(std::slice::from_ref(&delivered)), [number]);
            client.acknowledge(&delivered);
        }
    }
}

#[test]
fn the_lifetime_of_a_connection_counts_from_its_beginning_whenever_it_is_limited() {
    at_once(|version| {
        let (mut client, id) = join(version, "free");
        set_budget(&id, "brief-connection");
        client.expect_disconnected(&[0xA0]);
    });
}

#[test]
fn a_budget_changes_when_the_client_is_judged_again_in_time() {
    let large = || publish(unique("large/"), "x".repeat(11)).qos(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, _) = join(V5, "tight");
            // Whatever the second is over already says nothing about the beginning.
            eventually("more is allowed", || client.try_publish(large()) < 0x80);
            client.publish(large());
        });
        scope.spawn(|| {
            let (mut client, _) = join(V5, "loose");
            client.publish(publish(unique("small/"), "x").qos(1));
            eventually("less is allowed", || client.try_publish(large()) == 0x97);
            client.publish(publish(unique("small/"), "x").qos(1));
            assert_eq!(client.try_publish(large()), 0x97);
        });
    });
}

/// Loads a package of the tests as the policy `gate`.
fn load(broker: &Broker, package: &str) {
    broker.wait_for_log("the admin socket", |line| line.is("admin_listening"));
    let path = guests::path(package);
    let path = path.to_str().expect("the path is UTF-8");
    let loaded = broker.command(&["policy", "load", "gate", path]);
    assert!(
        loaded.status.success(),
        "{}",
        String::from_utf8_lossy(&loaded.stderr)
    );
}

#[test]
fn a_budget_changes_when_the_policy_is_replaced_and_the_client_stays() {
    let budgets = r#"
replaced = { payload_bytes_max = 3000, inflight_max = 3 }
"replaced@v2" = { messages_in_per_second = { per_second = 0, burst = 4 }, over_limit = "refuse", inflight_max = 2 }
"#;
    let broker = gated(budgets, DEFAULT_LISTENER);
    for version in BOTH {
        let topic = unique("swap/");
        let mut publisher = broker.client(version);
        let (mut client, _) = broker.join(&connect(version, unique("client")).username("replaced"));
        client.subscribe(&topic, 1);
        for number in 0..4 {
            publisher.publish(message(&topic, number, 1));
        }
        let window: Vec<_> = (0..3).map(|_| client.expect_publish()).collect();
        client.ping();
        load(&broker, "budget-v2");
        for delivered in &window {
            client.acknowledge(delivered);
        }
        let last = client.expect_publish();
        client.acknowledge(&last);
        client.ping();

        if version == V5 {
            let huge = publish(unique("huge/"), "x".repeat(3_001)).qos(1);
            client.publish(huge);
            assert_eq!(accepted(&mut client, 10), 3, "the new rate; one is spent");
        }
        for number in 0..4 {
            publisher.publish(message(&topic, number, 1));
        }
        let window = [client.expect_publish(), client.expect_publish()];
        client.ping();
        for delivered in &window {
            client.acknowledge(delivered);
        }
        load(&broker, "budget");
        for _ in 0..2 {
            let delivered = client.expect_publish();
            client.acknowledge(&delivered);
        }
        client.ping();
        if version == V5 {
            let huge = publish(unique("huge/"), "x".repeat(3_001)).qos(1);
            assert_eq!(client.try_publish(huge), 0x97, "the first budget is back");
            assert_eq!(accepted(&mut client, 10), 10);
        }
    }
}
