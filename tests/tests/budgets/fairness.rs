//! A limit that is shared is shared fairly: those who want less than their part do not wait for those who want more.

use crate::DEFAULT_LISTENER;
use sluice_tests::broker::Broker;
use sluice_tests::packet::{Encode, V5, Version, publish};
use sluice_tests::{at_once, unique};
use std::time::Instant;

/// What the loud client sends: at the rate below it would take much longer than any test.
const LOUD: usize = 5_000;
/// What the quiet one sends, one after the other.
const QUIET: usize = 20;
/// Messages a second, of all together.
const RATE: f64 = 20.0;
/// Enough for what may come at once, and a batch of each client that is counted late.
const AT_ONCE: f64 = 60.0;
/// Of the loud client, for each message of the quiet one. It would be about one on an idle machine, and 16, a whole
/// batch, if the quiet one had to wait for what the other owes.
const PART: f64 = 8.0;

fn check(rate: &str, version: Version) {
    let broker = Broker::with_config(&format!("{DEFAULT_LISTENER}[total]\n{rate}\n"));
    let topic = unique("fair/");
    let mut watcher = broker.client(V5);
    watcher.subscribe(&format!("{topic}/#"), 0);
    let mut loud = broker.client(version);
    let noise: Vec<u8> = (0..LOUD)
        .flat_map(|_| publish(format!("{topic}/loud"), "x".repeat(15)).bytes(version))
        .collect();
    let mut quiet = broker.client(version);
    let began = Instant::now();
    loud.send(noise);
    for number in 0..QUIET {
        quiet.publish(publish(format!("{topic}/quiet"), format!("{number}")).qos(1));
    }
    let (mut heard, mut noises) = (0, 0);
    while heard < QUIET {
        let delivered = watcher.expect_publish();
        if delivered.topic.ends_with("/loud") {
            noises += 1;
        } else {
            assert_eq!(delivered.payload, heard.to_string().as_bytes(), "in order");
            heard += 1;
        }
    }
    let noises = f64::from(noises);
    // Both together are not faster than they may be, and the quiet one had its part.
    let allowed = AT_ONCE + RATE * began.elapsed().as_secs_f64();
    assert!(
        noises <= allowed,
        "{rate}, {version:?}: {noises} noises, {allowed} messages allowed"
    );
    assert!(
        noises <= AT_ONCE + PART * QUIET as f64,
        "{rate}, {version:?}: {noises} noises came before {QUIET} messages of the quiet client"
    );
}

#[test]
fn a_quiet_client_gets_its_messages_through_while_a_loud_one_is_delayed() {
    at_once(|version| {
        check(
            "messages_in_per_second = { per_second = 20, burst = 10 }",
            version,
        )
    });
}

#[test]
fn a_quiet_client_gets_its_bytes_through_while_a_loud_one_is_delayed() {
    // About as many messages, of 33 bytes.
    let rate = "bytes_in_per_second = { per_second = \"660 B\", burst = \"330 B\" }";
    at_once(|version| check(rate, version));
}
