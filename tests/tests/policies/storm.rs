//! Swaps while ten thousand clients connect.

use crate::{gated_config, load, sluice};
use sluice_tests::broker::Broker;
use sluice_tests::guests;
use sluice_tests::packet::{V5, connect};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

const CONNECTS: usize = 10_000;
const THREADS: usize = 4;

/// What the policy of each phase answers to a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    V1,
    V2,
    Denied,
}

/// The phases: the policy that is in force once the swap to it is over.
const PHASES: [Answer; 6] = [
    Answer::V1,
    Answer::V2,
    Answer::Denied,
    Answer::V2,
    Answer::V1,
    Answer::V2,
];

fn begin_phase(broker: &Broker, phase: usize) {
    match phase {
        1 | 5 => load(broker, "gate", "marker-v2"),
        2 => load(broker, "door", "deny-all"),
        3 => drop(sluice(broker, &["policy", "rollback", "door"]).expect("the module before comes back")),
        _ => load(broker, "gate", "marker"),
    }
}

fn ask(address: SocketAddr, id: &str) -> Answer {
    let mut peer = Peer::open(address, V5);
    peer.send(connect(V5, id));
    let connack = peer.expect_connack();
    if connack.code == 0x87 {
        return Answer::Denied;
    }
    peer.assert(connack.code == 0, "the only refusal is the policy's");
    let version = connack.properties.iter().find_map(|property| match property {
        Property::User(name, version) if name == "version" => Some(version.clone()),
        _ => None,
    });
    match version.as_deref() {
        Some("v1") => Answer::V1,
        Some("v2") => Answer::V2,
        other => peer.fail(&format!("the version is {other:?}")),
    }
}

#[test]
fn every_one_of_ten_thousand_connects_is_judged_by_a_policy_in_force_then() {
    // `gate` says which version let a client in; `door`, which is asked after it, lets everybody in or nobody.
    let config = gated_config("{ announce = true }")
        .replace(r#"policies = ["gate"]"#, r#"policies = ["gate", "door"]"#)
        + "[policy.door]\nfile = \"door.wasm\"\n";
    let modules = ["marker", "hostile"].map(guests::wasm);
    let broker = Broker::with_files(&config, &[("gate.wasm", &modules[0]), ("door.wasm", &modules[1])]);
    let address = broker.listener("gate");
    // `begun` and `over` differ while a swap is under way; then either answer is right.
    let (begun, over, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = AtomicBool::new(false);
    let connect_one = |number: usize| {
        let first = over.load(SeqCst);
        let answer = ask(address, &format!("storm{number}"));
        let last = begun.load(SeqCst);
        let right = PHASES[first..=last].contains(&answer);
        assert!(right, "{answer:?}, but in force were {:?}", &PHASES[first..=last]);
        done.fetch_add(1, SeqCst);
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (connect_one, failed) = (&connect_one, &failed);
            scope.spawn(move || {
                let _guard = Raise(failed);
                (0..CONNECTS / THREADS).for_each(|number| connect_one(number * THREADS + thread));
            });
        }
        for phase in 1..PHASES.len() {
            while done.load(SeqCst) < CONNECTS * phase / PHASES.len() {
                assert!(!failed.load(SeqCst), "a thread has failed");
                std::thread::yield_now();
            }
            begun.store(phase, SeqCst);
            begin_phase(&broker, phase);
            over.store(phase, SeqCst);
        }
    });
    assert_eq!(done.load(SeqCst), CONNECTS);
}

/// Tells the others that a thread has panicked.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, SeqCst);
        }
    }
}
