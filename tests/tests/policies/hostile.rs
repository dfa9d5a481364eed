//! Policies that attack the broker: each attack ends in a refusal with a logged cause, and nobody else notices.

use crate::{gated, join, may_publish, try_join};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, V5, auth, connect, publish, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property;
use sluice_tests::reply::Reply;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A message to oneself on the calm listener must not take longer, whatever the policy of the other one does. Much
/// more than it takes: the machine may be busy, and a deadline of a policy's connect hook is 20 ms.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(3);

/// Runs `attack` while a neighbour on the calm listener sends messages to itself all the time.
fn beside_a_neighbour(broker: &Broker, attack: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let mut neighbour = join(broker, "calm", V5);
    neighbour.subscribe("neighbour", 1);
    let mut rounds = 0u32;
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(SeqCst) || rounds == 0 {
                let begun = Instant::now();
                neighbour.send(publish("neighbour", "hello").qos(1).id(7));
                let (mut acknowledged, mut delivered) = (false, false);
                while !(acknowledged && delivered) {
                    match neighbour.receive() {
                        Reply::PubAck(acked) => acknowledged = acked.reason < 0x80,
                        Reply::Publish(message) => {
                            neighbour.acknowledge(&message);
                            delivered = true;
                        }
                        other => neighbour.fail(&format!("{other:?}")),
                    }
                }
                slowest = slowest.max(begun.elapsed());
                rounds += 1;
            }
        });
        // Also when the attack ends in a panic, or the scope would wait for ever.
        let _over = Finally(&over);
        attack();
    });
    assert!(
        slowest < ROUND_TRIP_MAX,
        "the slowest of {rounds} round trips took {slowest:?}"
    );
}

struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn fault_is_logged(broker: &Broker, hook: &str, already: usize) {
    let seen = Cell::new(0);
    broker.wait_for_log(&format!("a fault of {hook}"), |line| {
        let fault = line.is("policy_fault") && line.has("policy", "gate") && line.has("hook", hook);
        seen.set(seen.get() + usize::from(fault));
        fault && seen.get() > already
    });
}

fn faults(broker: &Broker, hook: &str) -> usize {
    let lines = broker.log_lines();
    lines
        .iter()
        .filter(|line| line.is("policy_fault") && line.has("hook", hook))
        .count()
}

#[test]
fn a_connect_hook_that_attacks_refuses_its_client_only() {
    const ATTACKS: [&str; 8] = [
        "loop",
        "bulk-memory",
        "panic",
        "memory",
        "recursion",
        "big-frames",
        "huge-list",
        "stuck-future",
    ];
    let broker = gated("hostile", "{}");
    beside_a_neighbour(&broker, || {
        for (number, attack) in ATTACKS.into_iter().enumerate() {
            let already = faults(&broker, "on-connect");
            let version = BOTH[number % 2];
            let (mut peer, connack) =
                try_join(&broker, "gate", &connect(version, format!("hostile-{attack}")));
            peer.assert(connack.code != 0, "the connection is refused");
            peer.expect_closed();
            fault_is_logged(&broker, "on-connect", already);
            // The next client of the same policy is let in.
            join(&broker, "gate", V5).ping();
        }
    });
}

#[test]
fn a_policy_that_asks_questions_without_end_refuses_its_client() {
    const METHOD: &str = "endless";
    let broker = gated("hostile", "{}");
    beside_a_neighbour(&broker, || {
        let packet = connect(V5, "hostile-endless-questions");
        let mut peer = Peer::open(broker.listener("gate"), V5);
        peer.send(packet.property(Property::AuthMethod(METHOD.into())));
        let mut rounds = 0;
        let connack = loop {
            match peer.receive() {
                Reply::Auth(_) => peer.send(auth(0x18, METHOD)),
                Reply::ConnAck(connack) => break connack,
                other => peer.fail(&format!("{other:?}")),
            }
            rounds += 1;
            peer.assert(rounds < 100, "the broker puts an end to it");
        };
        peer.assert(connack.code >= 0x80, "the connection is refused");
        fault_is_logged(&broker, "on-connect", 0);
    });
}

#[test]
fn a_publish_hook_that_attacks_refuses_its_message_only() {
    const ATTACKS: [&str; 7] = [
        "loop",
        "bulk-memory",
        "panic",
        "memory",
        "recursion",
        "big-frames",
        "log-flood",
    ];
    let broker = gated("hostile", "{}");
    let mut watcher = join(&broker, "calm", V5);
    watcher.subscribe("hostile/#", 0);
    let mut client = join(&broker, "gate", V5);
    beside_a_neighbour(&broker, || {
        for attack in ATTACKS {
            let already = faults(&broker, "on-publish");
            assert!(
                !may_publish(&mut client, &format!("hostile/{attack}")),
                "{attack}"
            );
            fault_is_logged(&broker, "on-publish", already);
            assert!(may_publish(&mut client, "fine"), "after {attack}");
        }
    });
    watcher.expect_silence();
}

#[test]
fn a_subscribe_hook_that_attacks_refuses_its_filter_only() {
    const ATTACKS: [&str; 4] = ["loop", "panic", "memory", "recursion"];
    let broker = gated("hostile", "{}");
    for version in BOTH {
        let mut client = join(&broker, "gate", version);
        beside_a_neighbour(&broker, || {
            for attack in ATTACKS {
                let already = faults(&broker, "on-subscribe");
                let packet_id = client.next_packet_id();
                let filters = subscribe(packet_id)
                    .filter(format!("hostile/{attack}"), 1)
                    .filter("fine", 1);
                let codes = client.request_subscription(filters);
                client.assert(
                    codes[0] >= 0x80 && codes[1] == 1,
                    "only the first filter is refused",
                );
                fault_is_logged(&broker, "on-subscribe", already);
            }
        });
    }
}

#[test]
fn a_content_hook_that_attacks_refuses_its_message_only() {
    const ATTACKS: [&str; 4] = ["loop", "panic", "memory", "huge-list"];
    let broker = gated("hostile", "{}");
    let mut watcher = join(&broker, "calm", V5);
    watcher.subscribe("content/#", 0);
    let mut client = join(&broker, "gate", V5);
    beside_a_neighbour(&broker, || {
        for attack in ATTACKS {
            let already = faults(&broker, "on-message");
            assert!(
                !may_publish(&mut client, &format!("content/{attack}")),
                "{attack}"
            );
            fault_is_logged(&broker, "on-message", already);
            assert!(may_publish(&mut client, "fine"), "after {attack}");
        }
    });
    watcher.expect_silence();
}

#[test]
fn a_trap_in_the_nth_call_of_an_instance_costs_that_call_only() {
    // Late enough for the trial calls of the load, and for the client to be let in.
    let broker = gated("hostile", "{ panic_on_call = 21 }");
    let mut client = join(&broker, "gate", V5);
    let refused = (0..100).filter(|_| !may_publish(&mut client, "fine")).count();
    // Two calls for each message: its topic and its content.
    assert!((5..=12).contains(&refused), "{refused} of 100 were refused");
    broker.wait_for_log("the trap and what the policy said", |line| {
        line.is("policy_fault")
            && line
                .text_field("text")
                .is_some_and(|text| text.contains("call 21 panics on demand"))
    });
    assert!(may_publish(&mut client, "fine"));
}

#[test]
fn what_a_policy_leaks_is_bounded_and_comes_back() {
    const CALLS: usize = 400;
    const LEAKED_PER_CALL: u64 = 256 << 10;
    let broker = gated("hostile", "{}");
    let mut client = join(&broker, "gate", V5);
    let before = resident_bytes(&broker);
    for _ in 0..CALLS {
        let _ = may_publish(&mut client, "hostile/leak");
    }
    let grown = resident_bytes(&broker).saturating_sub(before);
    let leaked = CALLS as u64 * LEAKED_PER_CALL;
    assert!(
        grown < leaked / 2,
        "{grown} bytes more after {leaked} were leaked"
    );
    assert!(may_publish(&mut client, "fine"));
}

/// Memory of the broker's process that is in use.
fn resident_bytes(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("the process runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("its memory is told");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}

#[test]
fn a_policy_cannot_flood_or_forge_the_log() {
    let broker = gated("hostile", "{}");
    let mut client = join(&broker, "gate", V5);
    assert!(may_publish(&mut client, "hostile/forged-log"));
    let forged = broker.wait_for_log("what the policy says", |line| {
        line.is("policy_log")
            && line
                .text_field("text")
                .is_some_and(|text| text.contains("innocent"))
    });
    let text = forged.text_field("text").unwrap_or_default();
    assert!(!text.contains(['\n', '\u{1b}']), "{text:?}");

    let _ = may_publish(&mut client, "hostile/huge-log");
    let _ = may_publish(&mut client, "hostile/log-flood");
    assert!(may_publish(&mut client, "fine"));
    let lines = broker.log_lines();
    let written = lines.iter().filter(|line| line.is("policy_log")).count();
    assert!(written < 500, "{written} lines of the policy were written");
    for line in lines {
        assert!(line.json.is_object(), "not a line of the broker's: {}", line.text);
        assert!(line.text.len() < 64 << 10, "a line of {} bytes", line.text.len());
        assert!(line.field("forged").is_none(), "{}", line.text);
    }
}
