//! Capability `bans`: what reaches whoever keeps bans.

use crate::guest::{ADMIT, ALLOW, Guest, ZERO, verdict};
use crate::support::{ALLOWED, config, denied, publish, spec, start, start_error};
use sluice::policy::{BanKeeper, BanOrder, BanTarget, Capability, PolicyErrorKind, PolicySpec};
use std::sync::{Arc, Mutex};

/// Keeps what it is asked, and grants it.
#[derive(Default)]
struct Orders(Mutex<Vec<String>>);

impl BanKeeper for Orders {
    fn ban(&self, policy: &str, order: BanOrder) -> bool {
        self.0.lock().unwrap().push(format!("{policy} {order:?}"));
        true
    }

    fn unban(&self, policy: &str, target: BanTarget) -> bool {
        self.0.lock().unwrap().push(format!("{policy} {target:?}"));
        true
    }
}

/// Bans the user "eve" for a minute; the result is on the stack.
const BAN: &str =
    "(call $ban (i32.const 1) (i32.const 100) (i32.const 3) (i32.const 60) (i32.const 103) (i32.const 4))";

fn guest() -> Guest {
    Guest::new()
        .importing(
            "bans",
            "ban",
            "ban",
            "(param i32 i32 i32 i32 i32 i32) (result i32)",
        )
        .with("(data (i32.const 100) \"evespam\")")
        .connect(ADMIT)
}

fn granted(guest: Guest) -> PolicySpec {
    let mut spec = spec("p", guest.build());
    spec.capabilities = [Capability::Bans].into_iter().collect();
    spec
}

#[test]
fn a_ban_reaches_the_keeper_of_bans() {
    // Allowed when it was granted, a refusal else.
    let guest = guest().publish(&format!("(i64.extend_i32_u {BAN})"));
    let host = start(config(vec![granted(guest)]));
    let mut gate = host.admit("x");
    // Nobody keeps bans yet.
    denied(publish(&mut gate, "t"));
    let orders = Arc::new(Orders::default());
    host.policies.keep_bans(Arc::clone(&orders) as Arc<dyn BanKeeper>);
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    let order = BanOrder {
        target: BanTarget::UserName("eve".to_owned()),
        seconds: 60,
        why: "spam".to_owned(),
    };
    assert_eq!(*orders.0.lock().unwrap(), [format!("p {order:?}")]);
}

#[test]
fn while_a_module_is_tried_it_bans_nobody() {
    let calm = guest().publish(&verdict(ALLOW));
    let host = start(config(vec![granted(calm)]));
    let orders = Arc::new(Orders::default());
    host.policies.keep_bans(Arc::clone(&orders) as Arc<dyn BanKeeper>);
    // Every hook that is called on trial bans; the self-test fails unless that seems to work.
    let zealous = guest()
        .self_test(&format!("(if (i32.eqz {BAN}) (then unreachable)) {ZERO}"))
        .publish(&format!("(drop {BAN}) {}", verdict(ALLOW)));
    host.policies.load("p", zealous.build()).unwrap();
    assert!(orders.0.lock().unwrap().is_empty());
    publish(&mut host.admit("x"), "t");
    assert_eq!(orders.0.lock().unwrap().len(), 1);
}

#[test]
fn a_module_that_bans_is_refused_unless_that_is_granted() {
    let guest = guest().publish(&format!("(drop {BAN}) {}", verdict(ALLOW)));
    let error = start_error(spec("p", guest.build()));
    assert_eq!(error, PolicyErrorKind::NotGranted(Capability::Bans));
}
