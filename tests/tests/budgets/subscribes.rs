//! How many filters a client may subscribe to in a second.

use crate::{client, took_seconds};
use sluice_tests::packet::{BOTH, Encode, V5, subscribe};
use sluice_tests::{at_once, unique};
use std::time::Instant;

pub const BUDGETS: &str = r#"
subscribes-refuse = { subscribes_per_second = { per_second = 0, burst = 5 }, over_limit = "refuse" }
subscribes-drop = { subscribes_per_second = { per_second = 0, burst = 5 }, over_limit = "drop" }
subscribes-disconnect = { subscribes_per_second = { per_second = 0, burst = 5 }, over_limit = "disconnect" }
subscribes-slow = { subscribes_per_second = { per_second = 10, burst = 5 }, over_limit = "delay" }
"#;

#[test]
fn refuse_and_drop_answer_quota_exceeded_for_a_client_must_not_wait_for_what_never_comes() {
    for version in BOTH {
        for action in ["refuse", "drop"] {
            let mut client = client(version, &format!("subscribes-{action}"));
            for _ in 0..5 {
                client.subscribe(&unique("granted/"), 1);
            }
            let id = client.next_packet_id();
            let codes = client.request_subscription(subscribe(id).filter(unique("refused/"), 1));
            let refused = if version == V5 { 0x97 } else { 0x80 };
            client.assert(codes == [refused], "one filter too many");
            client.ping();
        }
    }
}

#[test]
fn each_filter_counts() {
    let mut client = client(V5, "subscribes-refuse");
    let mut ask = |filters: usize| {
        let id = client.next_packet_id();
        let filters = (0..filters).map(|_| unique("filter/"));
        client.request_subscription(filters.fold(subscribe(id), |packet, filter| packet.filter(filter, 0)))
    };
    assert_eq!(ask(3), [0; 3]);
    assert_eq!(ask(3), [0x97; 3], "two are left: all of a packet, or none");
    assert_eq!(ask(2), [0; 2]);
    assert_eq!(ask(1), [0x97]);
}

#[test]
fn disconnect_ends_the_connection() {
    for version in BOTH {
        let mut client = client(version, "subscribes-disconnect");
        for _ in 0..5 {
            client.subscribe(&unique("granted/"), 1);
        }
        client.send(subscribe(99).filter(unique("refused/"), 1));
        client.expect_disconnected(&[0x96]);
    }
}

#[test]
fn delay_grants_all_in_time() {
    at_once(|version| {
        let mut client = client(version, "subscribes-slow");
        let requests: Vec<u8> = (1..=20)
            .flat_map(|id| subscribe(id).filter(unique("slow/"), 0).bytes(version))
            .collect();
        let began = Instant::now();
        client.send(requests);
        for id in 1..=20 {
            let codes = client.expect_suback(id).codes;
            client.assert(codes == [0], "granted");
        }
        took_seconds(began, 1.5, "15 filters beyond the burst at 10 a second");
    });
}
