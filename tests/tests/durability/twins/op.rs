//! What clients and the operator may do.

use proptest::prelude::*;
use sluice_tests::packet::{NO_LOCAL, RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER};

/// How many clients there are.
pub const CLIENTS: usize = 3;
const TOPICS: &[&str] = &["a/b", "a/c", "d"];
const FILTERS: &[&str] = &["a/b", "a/+", "+/c", "d", "#"];

/// One step of a conversation.
#[derive(Clone, Debug)]
pub enum Op {
    /// Connects, perhaps in place of its own earlier connection.
    Connect {
        client: usize,
        clean_start: bool,
        /// Whether the session outlives the connection. Before MQTT 5.0 a session is either both or neither.
        lasting: bool,
    },
    /// Says goodbye.
    Leave { client: usize },
    /// Subscribes.
    Subscribe {
        client: usize,
        filter: &'static str,
        options: u8,
    },
    /// Unsubscribes.
    Unsubscribe { client: usize, filter: &'static str },
    /// Publishes and completes the exchange.
    Publish {
        client: usize,
        topic: &'static str,
        qos: u8,
        retain: bool,
        /// Without payload, which clears what is retained.
        empty: bool,
    },
    /// Publishes with QoS 2 and stops when PUBREC came. It goes on with its next connection.
    Begin { client: usize, topic: &'static str },
    /// Acknowledges nothing from now on.
    Withhold { client: usize },
    /// Acknowledges what it owes, and everything from now on.
    Acknowledge { client: usize },
    /// The broker is ended and started again.
    Restart { kill: bool },
}

fn client() -> impl Strategy<Value = usize> {
    0..CLIENTS
}

fn options() -> impl Strategy<Value = u8> {
    let retain_handling = prop_oneof![4 => Just(0), 1 => Just(RETAIN_IF_NEW), 1 => Just(RETAIN_NEVER)];
    let flags = prop_oneof![4 => Just(0), 1 => Just(NO_LOCAL), 1 => Just(RETAIN_AS_PUBLISHED)];
    (0..3_u8, retain_handling, flags).prop_map(|(qos, handling, flags)| qos | handling | flags)
}

fn publish() -> impl Strategy<Value = Op> {
    let topic = prop::sample::select(TOPICS);
    (
        client(),
        topic,
        0..3_u8,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(client, topic, qos, retain, empty)| Op::Publish {
            client,
            topic,
            // What is retained with QoS 0 is written without anybody waiting for it.
            qos: if retain { qos.max(1) } else { qos },
            retain,
            empty: retain && empty,
        })
}

/// Any step.
pub fn op() -> impl Strategy<Value = Op> {
    let topic = prop::sample::select(TOPICS);
    let filter = prop::sample::select(FILTERS);
    prop_oneof![
        5 => (client(), prop::bool::weighted(0.2), prop::bool::weighted(0.8)).prop_map(
            |(client, clean_start, lasting)| Op::Connect { client, clean_start, lasting }),
        2 => client().prop_map(|client| Op::Leave { client }),
        6 => (client(), filter.clone(), options()).prop_map(
            |(client, filter, options)| Op::Subscribe { client, filter, options }),
        2 => (client(), filter).prop_map(|(client, filter)| Op::Unsubscribe { client, filter }),
        12 => publish(),
        1 => (client(), topic).prop_map(|(client, topic)| Op::Begin { client, topic }),
        2 => client().prop_map(|client| Op::Withhold { client }),
        1 => client().prop_map(|client| Op::Acknowledge { client }),
        1 => any::<bool>().prop_map(|kill| Op::Restart { kill }),
    ]
}
