//! A limit that is shared is shared fairly: those who want less than their part do not wait for those who want more.

use crate::DEFAULT_LISTENER;
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Encode, V5, publish};
use sluice_tests::unique;
use std::time::Instant;

/// What the loud client sends: at the rate below alone it would take much longer than any test.
const LOUD: usize = 5_000;
/// What the quiet one sends, one after the other.
const QUIET: usize = 20;
/// Messages a second, of all together.
const RATE: f64 = 100.0;
/// Enough for what may come at once, and a batch of each client that is counted late.
const AT_ONCE: f64 = 100.0;

#[test]
fn a_quiet_client_gets_its_messages_through_while_a_loud_one_is_delayed() {
    for rate in [
        "messages_in_per_second = { per_second = 100, burst = 10 }",
        // About as many, of 33 bytes.
        "bytes_in_per_second = { per_second = \"3300 B\", burst = \"330 B\" }",
    ] {
        for version in BOTH {
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
            // The loud one was delayed meanwhile, and both together were not faster than they may be.
            assert!(noises < LOUD, "{rate}: all of the noise came first");
            let allowed = AT_ONCE + RATE * began.elapsed().as_secs_f64();
            assert!(
                f64::from(noises as u32) <= allowed * 1.1,
                "{rate}, {version:?}: {noises} noises, {allowed} messages allowed"
            );
        }
    }
}
