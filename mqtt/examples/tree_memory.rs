//! What a million wildcard subscriptions and a million retained topics cost, and how long finding takes.
//!
//! `cargo run --release -p sluice-mqtt --example tree_memory`; Linux only (reads `/proc/self/statm`).
#![allow(
    clippy::disallowed_methods, // A measurement reads the clock; the library does not.
    clippy::print_stdout, // It is what this program is for.
    clippy::unwrap_used, // The filters are ours.
)]

use sluice_mqtt::text::Text;
use sluice_mqtt::topic::{RecentTopics, RetainedTree, SubscriptionTree, TopicFilter};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As large as what the broker keeps of a subscription: its session, options and identifier.
struct Route {
    _session: Arc<u64>,
    _options: [u8; 4],
    _id: Option<NonZeroU32>,
}

type Tree = SubscriptionTree<u64, Route>;

const MATCHES: u32 = 1_000_000;

/// Each runs in a process of its own: what an earlier one left in the allocator would hide what a later one needs.
const SCENARIOS: [(&str, fn()); 8] = [
    ("site/<1000>/dev/<1000>/+", || subscriptions(dense)),
    ("site/<1000>/dev/<unique>/+", || subscriptions(sparse)),
    ("<36 byte unique>/+/state/#", || subscriptions(uuid)),
    ("bench/+/s<unique>/# and bench/g<unique>/+/state", || {
        subscriptions(beside)
    }),
    ("one filter, each a subscriber", crowd),
    ("retained site/<1000>/dev/<1000>/temperature", || {
        retained(|number| format!("site/{}/dev/{}/temperature", number / 1_000, number % 1_000));
    }),
    ("retained device/<unique>", || {
        retained(|number| format!("device/{number}"))
    }),
    ("retained <36 byte unique>/state", || {
        retained(|number| format!("{}/state", &uuid(number)[..36]))
    }),
];

fn main() {
    let chosen = std::env::args().nth(1);
    for (name, run) in SCENARIOS {
        match &chosen {
            Some(chosen) if chosen == name => run(),
            Some(_) => {}
            None => {
                println!("{name}");
                let program = std::env::current_exe().unwrap();
                std::process::Command::new(program).arg(name).status().unwrap();
            }
        }
    }
}

fn dense(number: u32) -> String {
    format!("site/{}/dev/{}/+", number / 1_000, number % 1_000)
}

fn sparse(number: u32) -> String {
    format!("site/{}/dev/{number}/+", number % 1_000)
}

/// Next to the topic "elsewhere", which has to be told from them.
fn beside(number: u32) -> String {
    if number.is_multiple_of(2) {
        format!("bench/+/s{number}/#")
    } else {
        format!("bench/g{number}/+/state")
    }
}

fn uuid(number: u32) -> String {
    let spread = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{:08x}-0000-4000-8000-{spread:012.12x}", number)[..36].to_owned() + "/+/state/#"
}

fn parse(filter: String) -> TopicFilter {
    TopicFilter::new(Text::try_from(filter).unwrap()).unwrap()
}

fn subscriptions(filter: fn(u32) -> String) {
    let session = Arc::new(0);
    let route = || Route {
        _session: Arc::clone(&session),
        _options: [0; 4],
        _id: None,
    };
    let before = resident_bytes();
    let mut tree = Tree::new();
    tree.insert(&parse("bench/fan/in".to_owned()), 0, route());
    let mut inserted = 0;
    for count in [0, 1_000, 100_000, 1_000_000] {
        let mut slowest = Duration::ZERO;
        let started = Instant::now();
        for number in inserted..count {
            let filter = parse(filter(number));
            let one = Instant::now();
            tree.insert(&filter, u64::from(number), route());
            slowest = slowest.max(one.elapsed());
        }
        let inserting = started.elapsed() / (count - inserted).max(1);
        inserted = count;
        let memory = resident_bytes().saturating_sub(before);
        let elsewhere = match_nanoseconds(&tree, 1, |_| "bench/fan/in".to_owned());
        let again = again_nanoseconds(&tree);
        let among = match_nanoseconds(&tree, 4_096, |number| {
            let filter = filter(number.wrapping_mul(2_654_435_761) % count.max(1));
            filter.replace("/#", "/x").replace('+', "x")
        });
        println!(
            "  {count:8} in place: {:6.1} MB, {:7} nodes, insert {inserting:?} (slowest {slowest:?}), match a topic \
             elsewhere {elsewhere:.0} ns, 50 topics seen lately {again:.0} ns, topics among them {among:.0} ns",
            megabytes(memory),
            tree.node_count(),
        );
    }
    let started = Instant::now();
    for number in 0..inserted {
        tree.remove(&parse(filter(number)), u64::from(number));
    }
    let removing = started.elapsed() / inserted;
    let left = resident_bytes().saturating_sub(before);
    println!(
        "  all removed, each in {removing:?}: {} nodes, {:.1} MB left",
        tree.node_count(),
        megabytes(left)
    );
}

fn match_nanoseconds(tree: &Tree, topics: u32, topic: impl Fn(u32) -> String) -> f64 {
    let topics: Vec<String> = (0..topics).map(topic).collect();
    let mut found = 0;
    let started = Instant::now();
    for topic in topics.iter().cycle().take(MATCHES as usize) {
        tree.matches(black_box(topic), &mut |subscribers| {
            found += subscribers.plain.len()
        });
    }
    black_box(found);
    started.elapsed().as_secs_f64() * 1e9 / f64::from(MATCHES)
}

/// 50 publishers, each with a topic of its own, in turn.
fn again_nanoseconds(tree: &Tree) -> f64 {
    let topics: Vec<String> = (0..50).map(|number| format!("bench/{number}/t")).collect();
    let mut recent = RecentTopics::default();
    let mut found = 0;
    let started = Instant::now();
    for topic in topics.iter().cycle().take(MATCHES as usize) {
        tree.matches_recent(black_box(topic), &mut recent, &mut |subscribers| {
            found += subscribers.plain.len()
        });
    }
    black_box(found);
    started.elapsed().as_secs_f64() * 1e9 / f64::from(MATCHES)
}

fn retained(topic: fn(u32) -> String) {
    let count = 1_000_000;
    let before = resident_bytes();
    // The message is elsewhere: all share one here.
    let message = Arc::new(0_u64);
    let mut tree = RetainedTree::new();
    let started = Instant::now();
    for number in 0..count {
        tree.insert(&topic(number), Arc::clone(&message));
    }
    let inserting = started.elapsed();
    let memory = resident_bytes().saturating_sub(before);
    let started = Instant::now();
    let mut found = 0;
    tree.matches("#", &mut |_| {
        found += 1;
        ControlFlow::Continue(())
    });
    let all = started.elapsed();
    let started = Instant::now();
    let mut slices = 1;
    while !tree.sweep(1_000, &mut |_| true) {
        slices += 1;
    }
    println!(
        "  {count} topics: {:.0} B each, insert {:?}, `#` visits {found} in {all:?}, a slice of a sweep {:?}",
        memory as f64 / f64::from(count),
        inserting / count,
        started.elapsed() / slices,
    );
}

/// Everyone subscribes to the same filter, and leaves.
fn crowd() {
    let session = Arc::new(0);
    let mut tree = Tree::new();
    let filter = parse("all/#".to_owned());
    let before = resident_bytes();
    let started = Instant::now();
    for key in 0..1_000_000 {
        tree.insert(
            &filter,
            key,
            Route {
                _session: Arc::clone(&session),
                _options: [0; 4],
                _id: None,
            },
        );
    }
    let (joining, memory) = (started.elapsed(), resident_bytes().saturating_sub(before));
    let started = Instant::now();
    for key in 0..1_000_000 {
        tree.remove(&filter, key);
    }
    println!(
        "  a million join in {joining:.1?}, {:.1} MB, leave in {:.1?}",
        megabytes(memory),
        started.elapsed()
    );
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}
