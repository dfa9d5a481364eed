//! What all clients of a run know together: who has sent what, and whether the broker is still meant to live.

use super::wire::Gone;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use tokio::sync::Notify;

/// The topics of the load, and when the broker dies.
pub struct World {
    /// One for each publisher.
    pub topics: Vec<Topic>,
    /// From now on nothing new is published.
    pub is_over: Cell<bool>,
    /// Everything that was published is acknowledged.
    pub is_settled: Cell<bool>,
    /// Wakes those who wait for it to be settled.
    pub settled: Notify,
    /// Wakes whoever is to kill the broker.
    pub kill: Notify,
    /// Acknowledgements until then.
    left: Cell<u64>,
    killed: Cell<bool>,
    /// Clients whose session was confirmed by a CONNACK.
    sessions: RefCell<BTreeSet<String>>,
}

/// A topic that one client publishes to: the messages are numbered from 1.
pub struct Topic {
    /// Its name.
    pub name: String,
    /// QoS that its messages are published with.
    pub qos: u8,
    /// The number of the last message that was sent.
    pub sent: Cell<u64>,
    /// The number of the last message that was acknowledged, as were all before it.
    pub acknowledged: Cell<u64>,
}

impl World {
    /// A world with these topics.
    pub fn new(topics: Vec<Topic>) -> Self {
        Self {
            topics,
            is_over: Cell::new(false),
            is_settled: Cell::new(false),
            settled: Notify::new(),
            kill: Notify::new(),
            left: Cell::new(0),
            killed: Cell::new(false),
            sessions: RefCell::default(),
        }
    }

    /// The broker lives again; after so many acknowledgements it is to be killed.
    pub fn begin(&self, acknowledgements: u64) {
        self.killed.set(false);
        self.left.set(acknowledgements);
    }

    /// From now on connections break.
    pub fn is_about_to_be_killed(&self) {
        self.killed.set(true);
    }

    /// Whether connections break.
    pub fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// Somebody holds an acknowledgement.
    pub fn acknowledged(&self) {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        if left == 1 {
            self.kill.notify_one();
        }
    }

    /// A connection is over, which is a failure as long as the broker lives.
    pub fn gone<T>(&self, who: &str, why: &str) -> Result<T, Gone> {
        assert!(self.is_killed(), "{who}: {why}, and nobody killed the broker");
        Err(Gone)
    }

    /// CONNACK came: a session that was confirmed before must be there.
    pub fn admitted(&self, client: &str, session_present: bool) {
        let is_new = self.sessions.borrow_mut().insert(client.to_owned());
        assert!(is_new || session_present, "{client} has lost its session");
    }

    /// How many sessions were confirmed.
    pub fn sessions(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// Waits until everything that was published is acknowledged.
    pub async fn until_settled(&self) {
        while !self.is_settled.get() {
            self.settled.notified().await;
        }
    }
}

impl Topic {
    /// A topic nobody has published to.
    pub fn new(name: String, qos: u8) -> Self {
        Self {
            name,
            qos,
            sent: Cell::new(0),
            acknowledged: Cell::new(0),
        }
    }
}
