//! `kill -9` under load, again and again: nothing that was acknowledged is lost, nothing of QoS 2 comes twice.
//!
//! Two hundred clients in one thread keep, as conforming clients do, what they have not seen acknowledged. Each cycle
//! ends with SIGKILL a little after a chosen number of acknowledgements. The broker starts again, what it has retained
//! is compared with what was acknowledged, and everybody comes back. In the end all clients finish what they began.
//!
//! `SLUICE_KILL_CYCLES` and `SLUICE_KILL_SEED` in the environment say how many cycles there are, and which.

mod beginner;
mod changer;
mod fleet;
mod keeper;
mod publisher;
mod random;
mod subscriber;
mod wills;
mod wire;
mod world;

use fleet::Fleet;
use random::Random;
use serde_json::Value;
use sluice_tests::PATIENCE;
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::V5;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use world::World;

/// Cycles, unless the environment says otherwise.
const CYCLES: u64 = 50;
/// Acknowledgements in a cycle, at most.
const ACKNOWLEDGEMENTS_MAX: u64 = 800;
/// From the last of them to the kill, at most.
const AFTERWARDS_MICROSECONDS_MAX: u64 = 20_000;
/// No queue overflows, whatever waits for clients that are away for long.
const LIMITS: &str = "[limits]\nqueue_messages_max = 10_000_000\nqueue_bytes_max = \"64 GiB\"\n";

/// What a run came to.
#[derive(Default)]
struct Account {
    acknowledgements: u64,
    longest_start: Duration,
}

#[test]
fn what_was_acknowledged_survives_the_kill_of_the_broker() {
    let cycles = number("SLUICE_KILL_CYCLES").unwrap_or(CYCLES);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = number("SLUICE_KILL_SEED").unwrap_or(since.as_micros() as u64);
    eprintln!("SLUICE_KILL_CYCLES={cycles} SLUICE_KILL_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, run(cycles, Random::new(seed)));
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|why| panic!("{variable}: {why}")))
}

async fn run(cycles: u64, mut random: Random) {
    let mut broker = Broker::durable(LIMITS);
    let world = Rc::new(fleet::world());
    world.begin(u64::MAX);
    let mut fleet = Fleet::new(&world).enter(&world, broker.address()).await;
    let mut account = Account::default();
    for number in 1..=cycles {
        fleet = cycle(fleet, &world, &mut broker, &mut random, &mut account).await;
        if number % 100 == 0 {
            eprintln!("cycle {number} of {cycles}");
        }
    }
    world.begin(u64::MAX);
    let totals = fleet.finish(&world, broker.address()).await;
    expect_sessions(&broker, world.sessions());
    eprintln!(
        "{cycles} cycles, {} acknowledgements; {} messages came and {} came again; {} subscriptions changed; the \
         longest start took {:?}",
        account.acknowledgements, totals.taken, totals.repeated, totals.changes, account.longest_start
    );
}

/// Load, kill, start.
async fn cycle(
    mut fleet: Fleet,
    world: &Rc<World>,
    broker: &mut Broker,
    random: &mut Random,
    account: &mut Account,
) -> Fleet {
    let acknowledgements = random.between(1, ACKNOWLEDGEMENTS_MAX);
    let afterwards = Duration::from_micros(random.between(0, AFTERWARDS_MICROSECONDS_MAX));
    world.begin(acknowledgements);
    let at_work = fleet.set_out(world, broker.address(), random);
    let came = tokio::time::timeout(PATIENCE, world.kill.notified()).await;
    if came.is_ok() {
        // The moment of the kill is what this is about: the clients go on until then.
        let _ = tokio::time::timeout(afterwards, std::future::pending::<()>()).await;
    }
    world.is_about_to_be_killed();
    broker.end(Signal::KILL);
    // A client that failed says so here.
    fleet = at_work.back().await;
    assert!(
        came.is_ok(),
        "fewer than {acknowledgements} acknowledgements came within {PATIENCE:?}"
    );
    account.acknowledgements += acknowledgements;
    let began = Instant::now();
    broker.start_again();
    account.longest_start = account.longest_start.max(began.elapsed());
    fleet.check_retained(&retained(broker));
    fleet
}

/// Everything that is retained below `kept/`.
fn retained(broker: &Broker) -> BTreeMap<String, Vec<u8>> {
    let mut reader = broker.client(V5);
    reader.subscribe("kept/#", 1);
    let retained = reader.drain();
    reader.leave();
    retained
        .into_iter()
        .map(|delivered| (delivered.topic, delivered.payload))
        .collect()
}

/// Every session that a client was told of is there, once.
fn expect_sessions(broker: &Broker, told: usize) {
    let said = broker.sluice(&["client", "list", "--json"]);
    let said = said.unwrap_or_else(|why| panic!("client list: {why}"));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let matching = said["matching"].as_u64().unwrap_or_default() as usize;
    assert!(
        (told..=fleet::SESSIONS).contains(&matching),
        "{told} sessions: {said}"
    );
}
