//! Two brokers, one with a store and one without, are told the same: the first is ended and started again now and then,
//! where the second only loses its connections. Their clients must not see a difference.
//!
//! `PROPTEST_CASES` says how many conversations there are, `PROPTEST_RNG_SEED` which.

mod client;
mod op;
mod side;

use op::{CLIENTS, Op};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use side::Side;
use std::cell::RefCell;

/// Conversations, unless the environment says otherwise.
const CASES: u32 = 150;
/// What a conversation consists of, at most.
const OPS_MAX: usize = 50;
/// How long a shorter conversation that fails as well is looked for.
const SHRINK_MILLISECONDS_MAX: u32 = 60_000;

#[test]
fn clients_see_no_difference_between_a_restart_and_a_lost_connection() {
    let default = Config::default();
    let is_chosen = std::env::var_os("PROPTEST_CASES").is_some();
    let config = Config {
        cases: if is_chosen { default.cases } else { CASES },
        max_shrink_time: SHRINK_MILLISECONDS_MAX,
        failure_persistence: None,
        ..default
    };
    let brokers = RefCell::new((Side::durable(), Side::fleeting()));
    let conversation = prop::collection::vec(op::op(), 1..OPS_MAX);
    let outcome = TestRunner::new(config).run(&conversation, |ops| {
        let mut brokers = brokers.borrow_mut();
        let (durable, fleeting) = &mut *brokers;
        converse(durable, fleeting, &ops);
        Ok(())
    });
    if let Err(why) = outcome {
        panic!("{why}");
    }
}

fn converse(durable: &mut Side, fleeting: &mut Side, ops: &[Op]) {
    durable.begin();
    fleeting.begin();
    let mut was_killed = false;
    for op in ops {
        was_killed |= matches!(op, Op::Restart { kill: true });
        assert_eq!(durable.act(op), fleeting.act(op), "the answers to {op:?}");
    }
    durable.finish();
    fleeting.finish();
    for index in 0..CLIENTS {
        let (one, other) = (durable.seen(index), fleeting.seen(index));
        if was_killed {
            // That a client has acknowledged QoS 1 is written without anybody waiting for it.
            assert_eq!(one.without_repeats(), other.without_repeats(), "client {index}");
        } else {
            assert_eq!(one, other, "client {index}");
        }
    }
}
