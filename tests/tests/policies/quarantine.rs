//! A module that fails again and again is taken out of service by itself.

use crate::{gated, join, load, may_publish};
use sluice_tests::packet::V5;

#[test]
fn the_last_good_module_comes_back_when_its_successor_keeps_failing() {
    let broker = gated("marker", "{}");
    let mut client = join(&broker, "gate", V5);
    load(&broker, "gate", "hostile");
    assert!(
        may_publish(&mut client, "v2/x"),
        "the second module allows nearly everything"
    );
    for _ in 0..8 {
        let _ = may_publish(&mut client, "hostile/panic");
    }
    broker.wait_for_log("the return of the first module", |line| {
        line.is("policy_activated") && line.has("policy", "gate") && line.has("cause", "quarantine")
    });
    assert!(may_publish(&mut client, "v1/x"));
    assert!(!may_publish(&mut client, "v2/x"));
}

#[test]
fn a_failing_module_without_a_predecessor_refuses_and_the_broker_lives() {
    let broker = gated("hostile", "{}");
    let mut client = join(&broker, "gate", V5);
    for _ in 0..8 {
        assert!(!may_publish(&mut client, "hostile/panic"));
    }
    broker.wait_for_log("that it fails too often", |line| {
        line.is("policy_quarantined") && line.has("policy", "gate")
    });
    let mut neighbour = join(&broker, "calm", V5);
    assert!(may_publish(&mut neighbour, "fine"));
}
