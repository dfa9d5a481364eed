//! Who takes part: two hundred clients, what each does, and how they go to work and come back.

use super::beginner::Beginner;
use super::changer::Changer;
use super::keeper::Keeper;
use super::publisher::Publisher;
use super::random::Random;
use super::subscriber::Subscriber;
use super::wills::{Due, Mortal, Mourner};
use super::wire::Gone;
use super::world::{Topic, World};
use sluice_tests::packet::{V5, V311, Version};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::task::JoinSet;

const PUBLISHERS: usize = 80;
const SUBSCRIBERS: usize = 80;
const CHANGERS: usize = 14;
const BEGINNERS: usize = 6;
const KEEPERS: usize = 8;
const MORTALS: usize = 10;
const MOURNERS: usize = 2;
/// All of them.
pub const SESSIONS: usize = PUBLISHERS + SUBSCRIBERS + CHANGERS + BEGINNERS + KEEPERS + MORTALS + MOURNERS;
/// Of the subscribers, those that are always there; the others come once in a while.
const FAITHFUL: usize = 60;
/// How seldom the others come.
const SELDOM: u64 = 5;
/// Topics of each subscriber.
const TOPICS_EACH: usize = 4;

/// All clients, with what each of them remembers.
pub struct Fleet {
    publishers: Vec<Publisher>,
    faithful: Vec<Subscriber>,
    seldom: Vec<Subscriber>,
    changers: Vec<Changer>,
    beginners: Vec<Beginner>,
    keepers: Vec<Keeper>,
    mortals: Vec<Mortal>,
    mourners: Vec<Mourner>,
}

/// What came of it all.
pub struct Totals {
    /// Messages that came to subscribers.
    pub taken: u64,
    /// Those that came once more.
    pub repeated: u64,
    /// Subscriptions and unsubscriptions that were answered.
    pub changes: u64,
}

/// Every publisher has a topic; odd ones have QoS 1, even ones QoS 2.
pub fn world() -> World {
    let topic = |index: usize| Topic::new(format!("load/{index}"), 2 - (index % 2) as u8);
    World::new((0..PUBLISHERS).map(topic).collect())
}

fn version(index: usize) -> Version {
    if (index / 2).is_multiple_of(2) { V5 } else { V311 }
}

impl Fleet {
    /// Everybody, before the first connection.
    pub fn new(world: &World) -> Self {
        let topics = world.topics.len();
        let subscriber = |index: usize| {
            // Neighbours and far ones, of both QoS.
            let topics = (0..TOPICS_EACH).map(|nth| (index + nth * 19) % topics).collect();
            Subscriber::new(index, 2 - (index / 4 % 2) as u8, topics, version(index))
        };
        let due = |index: usize| match index % 3 {
            0 => Due::AtOnce,
            1 => Due::AfterOneSecond,
            _ => Due::InAnHour,
        };
        Self {
            publishers: (0..PUBLISHERS)
                .map(|index| Publisher::new(index, version(index)))
                .collect(),
            faithful: (0..FAITHFUL).map(subscriber).collect(),
            seldom: (FAITHFUL..SUBSCRIBERS).map(subscriber).collect(),
            changers: (0..CHANGERS)
                .map(|index| {
                    Changer::new(
                        index,
                        index * 5 % topics,
                        2 - (index / 2 % 2) as u8,
                        version(index),
                    )
                })
                .collect(),
            beginners: (0..BEGINNERS)
                .map(|index| Beginner::new(index, version(index)))
                .collect(),
            keepers: (0..KEEPERS)
                .map(|index| Keeper::new(index, version(index)))
                .collect(),
            mortals: (0..MORTALS).map(|index| Mortal::new(index, due(index))).collect(),
            mourners: (0..MOURNERS).map(Mourner::new).collect(),
        }
    }

    /// Whoever must not miss anything subscribes.
    pub async fn enter(mut self, world: &Rc<World>, address: SocketAddr) -> Self {
        let always = |_: usize| true;
        let faithful = spawn(self.faithful, world, address, always, Subscriber::enter);
        let seldom = spawn(self.seldom, world, address, always, Subscriber::enter);
        let mourners = spawn(self.mourners, world, address, always, Mourner::enter);
        self.faithful = faithful.join_all().await;
        self.seldom = seldom.join_all().await;
        self.mourners = mourners.join_all().await;
        self
    }

    /// Everybody goes to work, and comes back when the broker is dead.
    pub fn set_out(self, world: &Rc<World>, address: SocketAddr, random: &mut Random) -> AtWork {
        let mut rarely = |_: usize| random.once_in(SELDOM);
        let always = |_: usize| true;
        AtWork {
            seldom: spawn(self.seldom, world, address, &mut rarely, Subscriber::run),
            // One is there, one is not.
            mourners: spawn(self.mourners, world, address, |index| index == 0, Mourner::run),
            publishers: spawn(self.publishers, world, address, always, Publisher::run),
            faithful: spawn(self.faithful, world, address, always, Subscriber::run),
            changers: spawn(self.changers, world, address, always, Changer::run),
            beginners: spawn(self.beginners, world, address, always, Beginner::run),
            keepers: spawn(self.keepers, world, address, always, Keeper::run),
            mortals: spawn(self.mortals, world, address, always, Mortal::run),
        }
    }

    /// Compares what is retained with what was acknowledged.
    pub fn check_retained(&self, retained: &BTreeMap<String, Vec<u8>>) {
        for keeper in &self.keepers {
            keeper.check(retained);
        }
    }

    /// Publishers finish what they began, and everybody gets what is owed to them.
    pub async fn finish(self, world: &Rc<World>, address: SocketAddr) -> Totals {
        world.is_over.set(true);
        let always = |_: usize| true;
        let subscribers = self.faithful.into_iter().chain(self.seldom).collect();
        let subscribers = spawn(subscribers, world, address, always, Subscriber::finish);
        let changers = spawn(self.changers, world, address, always, Changer::finish);
        let publishers = spawn(self.publishers, world, address, always, Publisher::run);
        publishers.join_all().await;
        world.is_settled.set(true);
        world.settled.notify_waiters();
        let subscribers = subscribers.join_all().await;
        let changers = changers.join_all().await;
        for mut mourner in self.mourners {
            let all = mourner.finish(world, address, &self.mortals).await;
            all.expect("the broker lives");
        }
        Totals {
            taken: subscribers.iter().map(|subscriber| subscriber.taken).sum(),
            repeated: subscribers.iter().map(|subscriber| subscriber.repeated).sum(),
            changes: changers.iter().map(|changer| changer.changes).sum(),
        }
    }
}

/// The clients while they are connected.
pub struct AtWork {
    publishers: JoinSet<Publisher>,
    faithful: JoinSet<Subscriber>,
    seldom: JoinSet<Subscriber>,
    changers: JoinSet<Changer>,
    beginners: JoinSet<Beginner>,
    keepers: JoinSet<Keeper>,
    mortals: JoinSet<Mortal>,
    mourners: JoinSet<Mourner>,
}

impl AtWork {
    /// Waits for all; a failure of one is a failure here.
    pub async fn back(self) -> Fleet {
        Fleet {
            publishers: self.publishers.join_all().await,
            faithful: self.faithful.join_all().await,
            seldom: self.seldom.join_all().await,
            changers: self.changers.join_all().await,
            beginners: self.beginners.join_all().await,
            keepers: self.keepers.join_all().await,
            mortals: self.mortals.join_all().await,
            mourners: self.mourners.join_all().await,
        }
    }
}

/// Sends clients out, each as a task of its own; those that are not awake stay at home.
fn spawn<C: 'static>(
    clients: Vec<C>,
    world: &Rc<World>,
    address: SocketAddr,
    mut is_awake: impl FnMut(usize) -> bool,
    run: impl AsyncFn(&mut C, &World, SocketAddr) -> Result<(), Gone> + Copy + 'static,
) -> JoinSet<C> {
    let mut at_work = JoinSet::new();
    for (index, mut client) in clients.into_iter().enumerate() {
        let (world, is_awake) = (Rc::clone(world), is_awake(index));
        at_work.spawn_local(async move {
            if is_awake {
                // A connection that breaks is what this is about; one that should not have has failed already.
                let _ = run(&mut client, &world, address).await;
            }
            client
        });
    }
    at_work
}
