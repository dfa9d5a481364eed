//! Clients that wait for a slow service: they cost the others nothing, and no instances.
//!
//! `SLUICE_TEST_WAITING=10000` makes it that many, and shows how long messages of others took (it needs
//! `ulimit -n 20000`).

use crate::asking::{asking, metric};
use crate::try_join;
use sluice_tests::broker::Broker;
use sluice_tests::http::{Gate, Service, ok};
use sluice_tests::packet::{V5, auth, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::AuthMethod;
use sluice_tests::{eventually, unique};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Some of them at the service, the others in the queue before it.
const WAITING: usize = 300;
const IN_FLIGHT: usize = 200;
const MESSAGES: usize = 500;

fn waiting() -> usize {
    let asked = std::env::var("SLUICE_TEST_WAITING").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(WAITING)
}

/// A service that says yes once its gate is open.
fn held() -> (Arc<Gate>, Service) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let service = Service::start(move |_| {
        held.pass();
        ok("yes")
    });
    (gate, service)
}

/// A client that waits for nothing.
fn plain(broker: &Broker) -> Peer {
    let (peer, connack) = try_join(broker, "gate", &connect(V5, unique("plain")).username("plain"));
    peer.assert(connack.code == 0, "it is let in at once");
    peer
}

/// Sends messages through the broker, one after the other; how long each took, in order of time.
fn flow(publisher: &mut Peer, subscriber: &mut Peer, topic: &str) -> Vec<Duration> {
    let mut took: Vec<Duration> = (0..MESSAGES)
        .map(|number| {
            let started = Instant::now();
            let payload = number.to_string();
            publisher.publish(publish(topic, &payload).qos(1));
            subscriber.take(topic, &payload, 1);
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    took
}

/// Memory and times are shown when they are asked for; only the memory is judged.
fn show(when: &str, took: &[Duration]) {
    if std::env::var_os("SLUICE_TEST_WAITING").is_some() {
        let at = |share: usize| took[(took.len() - 1) * share / 100];
        eprintln!(
            "{when}: median {:?}, 99 % within {:?}, longest {:?}",
            at(50),
            at(99),
            at(100)
        );
    }
}

#[test]
fn whoever_waits_for_a_service_costs_others_nothing_and_needs_no_instance() {
    let count = waiting();
    let (gate, service) = held();
    let limits = format!(
        "timeout = \"60 s\"\nin_flight_max = {IN_FLIGHT}\nqueue_max = {count}\n[limits]\nconnections_max = 100_000"
    );
    let broker = asking(&format!("http://{}", service.address()), &limits, &[]);
    let (mut publisher, mut subscriber) = (plain(&broker), plain(&broker));
    let topic = unique("flow/");
    subscriber.subscribe(&topic, 1);
    show("before", &flow(&mut publisher, &mut subscriber, &topic));
    let memory = || metric(&broker, "sluice_memory_bytes", "");
    let memory_before = memory();

    let mut clients: Vec<Peer> = (0..count)
        .map(|_| {
            let mut peer = Peer::open(broker.listener("gate"), V5);
            peer.send(connect(V5, unique("waiting")).username("http"));
            peer
        })
        .collect();
    service.wait_for_requests(IN_FLIGHT);
    let queued = (count - IN_FLIGHT) as u64;
    eventually("all wait", || {
        metric(&broker, "sluice_service_waiting", "accounts") == queued
    });
    assert_eq!(
        metric(&broker, "sluice_service_in_flight", "accounts"),
        IN_FLIGHT as u64
    );

    show("while they wait", &flow(&mut publisher, &mut subscriber, &topic));
    // Buffers of a connection, its request and its place in the queue; no read buffer, which alone has 64 KiB.
    let each = memory().saturating_sub(memory_before) / count as u64;
    if std::env::var_os("SLUICE_TEST_WAITING").is_some() {
        eprintln!("{each} bytes for each of {count} clients that wait");
    }
    assert!(each < 48 * 1024, "{each} bytes for each client that waits");
    plain(&broker).ping();
    // One per worker, those that calls use at a time, and the spares.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let instances = metric(&broker, "sluice_policy_instances", "policy=\"gate\"");
    // As many workers as processors, unless it is configured.
    let most = (cores + cores + cores + 1) as u64;
    assert!(
        instances <= most,
        "{instances} instances for {count} clients, {most} are enough"
    );

    gate.open();
    for client in &mut clients {
        let connack = client.expect_connack();
        client.assert(connack.code == 0, "the service says yes");
    }
    assert_eq!(service.requests().len(), count);
    assert_eq!(metric(&broker, "sluice_service_waiting", "accounts"), 0);
}

#[test]
fn who_finds_the_queue_full_is_refused_at_once_and_the_others_are_not() {
    let (gate, service) = held();
    let limits = "timeout = \"60 s\"\nin_flight_max = 1\nqueue_max = 2";
    let broker = asking(&format!("http://{}", service.address()), limits, &[]);
    let ask = || {
        let mut peer = Peer::open(broker.listener("gate"), V5);
        peer.send(connect(V5, unique("asking")).username("http"));
        peer
    };
    let mut lucky = vec![ask()];
    service.wait_for_requests(1);
    for waiting in 1..=2 {
        lucky.push(ask());
        eventually("it waits", || {
            metric(&broker, "sluice_service_waiting", "accounts") == waiting
        });
    }
    let (_, connack) = try_join(&broker, "gate", &connect(V5, unique("asking")).username("http"));
    assert_eq!(connack.code, 0x88);
    assert_eq!(
        metric(&broker, "sluice_service_requests_total", "outcome=\"shed\""),
        1
    );
    gate.open();
    for peer in &mut lucky {
        let connack = peer.expect_connack();
        peer.assert(connack.code == 0, "it was only a matter of time");
    }
}

#[test]
fn a_client_that_goes_away_takes_its_question_with_it() {
    let (gate, service) = held();
    let limits = "timeout = \"60 s\"\nin_flight_max = 1\nqueue_max = 1";
    let broker = asking(&format!("http://{}", service.address()), limits, &[]);
    let ask = || {
        let mut peer = Peer::open(broker.listener("gate"), V5);
        peer.send(connect(V5, unique("asking")).username("http"));
        peer
    };
    let first = ask();
    service.wait_for_requests(1);
    let second = ask();
    eventually("the second waits", || {
        metric(&broker, "sluice_service_waiting", "accounts") == 1
    });
    second.vanish();
    eventually("nobody waits", || {
        metric(&broker, "sluice_service_waiting", "accounts") == 0
    });
    first.vanish();
    eventually("nobody asks", || {
        metric(&broker, "sluice_service_in_flight", "accounts") == 0
    });
    gate.open();
    let (_, connack) = try_join(&broker, "gate", &connect(V5, unique("asking")).username("http"));
    assert_eq!(connack.code, 0);
}

#[test]
fn what_a_client_sent_before_it_went_counts_once_it_is_admitted() {
    let (gate, service) = held();
    let limits = "timeout = \"60 s\"";
    let broker = asking(&format!("http://{}", service.address()), limits, &[]);
    let topic = unique("brief/");
    let mut subscriber = plain(&broker);
    subscriber.subscribe(&topic, 1);
    let mut brief = Peer::open(broker.listener("gate"), V5);
    brief.send_all(&[
        &connect(V5, unique("brief")).username("http"),
        &publish(&topic, "sent at once").qos(1).id(1),
    ]);
    service.wait_for_requests(1);
    brief.shut_down_sending();
    // It reads the end of this one no sooner.
    let connections = || metric(&broker, "sluice_connections ", "");
    let before = connections();
    let gone = Peer::open(broker.listener("gate"), V5);
    eventually("it is there", || connections() == before + 1);
    gone.vanish();
    eventually("it is gone", || connections() == before);
    gate.open();
    subscriber.take(&topic, "sent at once", 1);
    brief.skip_to_end();
}

#[test]
fn a_client_that_authenticates_again_goes_on_meanwhile() {
    let (gate, service) = held();
    let broker = asking(
        &format!("http://{}", service.address()),
        "timeout = \"60 s\"",
        &[],
    );
    let packet = connect(V5, unique("again")).property(AuthMethod("ask".into()));
    let (mut client, connack) = try_join(&broker, "gate", &packet);
    client.assert(connack.code == 0, "it is let in");
    client.send(auth(0x19, "ask"));
    service.wait_for_requests(1);

    let topic = unique("meanwhile/");
    client.subscribe(&topic, 1);
    let mut other = plain(&broker);
    other.publish(publish(&topic, "to it").qos(1));
    client.take(&topic, "to it", 1);
    client.publish(publish(&topic, "from it").qos(1));
    client.take(&topic, "from it", 1);
    client.ping();

    gate.open();
    let done = client.expect_auth();
    client.assert(done.reason == 0, "the service says yes");
    client.ping();
}
