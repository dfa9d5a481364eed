//! One of the two brokers, with its clients.

use super::client::{Client, Seen};
use super::op::{CLIENTS, Op};
use sluice_tests::broker::{Broker, Signal, durable_config};
use std::path::Path;
use tempfile::TempDir;

/// A broker and those who talk to it.
pub struct Side {
    broker: Broker,
    is_durable: bool,
    clients: Vec<Client>,
    conversations: usize,
    messages: usize,
}

impl Side {
    /// A broker that keeps everything.
    pub fn durable() -> Self {
        Self::new(&durable_config(""), true)
    }

    /// A broker that keeps nothing.
    pub fn fleeting() -> Self {
        Self::new(
            "[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n",
            false,
        )
    }

    fn new(config: &str, is_durable: bool) -> Self {
        let dir = dir();
        std::fs::write(dir.path().join("sluice.toml"), config).expect("the configuration is written");
        Self {
            broker: Broker::start_in(dir, &["run", "--config", "sluice.toml"]),
            is_durable,
            clients: Vec::new(),
            conversations: 0,
            messages: 0,
        }
    }

    /// Other clients, which share nothing with those before, and are connected.
    pub fn begin(&mut self) {
        self.conversations += 1;
        self.messages = 0;
        let name = format!("talk{}", self.conversations);
        self.clients = (0..CLIENTS).map(|index| Client::new(&name, index)).collect();
        for client in &mut self.clients {
            client.connect(&self.broker, false, true);
        }
    }

    /// Takes a step; what the broker answered.
    pub fn act(&mut self, op: &Op) -> String {
        let broker = &self.broker;
        match *op {
            Op::Connect {
                client,
                clean_start,
                lasting,
            } => {
                let present = self.clients[client].connect(broker, clean_start, lasting);
                return format!("session present: {present}");
            }
            Op::Leave { client } => self.clients[client].leave(),
            Op::Subscribe {
                client,
                filter,
                options,
            } => return self.clients[client].subscribe(filter, options),
            Op::Unsubscribe { client, filter } => return self.clients[client].unsubscribe(filter),
            Op::Publish {
                client,
                topic,
                qos,
                retain,
                empty,
            } => {
                let payload = if empty { String::new() } else { self.next_payload() };
                return self.clients[client].publish(topic, &payload, qos, retain);
            }
            Op::Begin { client, topic } => {
                let payload = self.next_payload();
                return self.clients[client].begin(topic, &payload);
            }
            Op::Withhold { client } => self.clients[client].withhold(),
            Op::Acknowledge { client } => self.clients[client].acknowledge(),
            Op::Restart { kill } => self.restart(kill),
        }
        String::new()
    }

    fn next_payload(&mut self) -> String {
        self.messages += 1;
        format!("message {}", self.messages)
    }

    fn restart(&mut self, kill: bool) {
        // Whatever is on its way arrives: which it is must not depend on who is quicker.
        for client in &mut self.clients {
            client.settle();
        }
        if !self.is_durable {
            for client in &mut self.clients {
                client.part();
            }
            return;
        }
        let signal = if kill { Signal::KILL } else { Signal::TERM };
        self.broker.restart(signal);
        for client in &mut self.clients {
            client.is_cut_off();
        }
    }

    /// Everybody gets what is left, and goes for good.
    pub fn finish(&mut self) {
        for client in &mut self.clients {
            client.finish(&self.broker);
        }
    }

    /// What a client has seen.
    pub fn seen(&self, client: usize) -> Seen {
        self.clients[client].seen()
    }
}

/// In memory where that is possible: what a disk does is others' business, and syncing takes long.
fn dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory
    } else {
        &std::env::temp_dir()
    };
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("sluice-test-")
        .tempdir_in(place)
        .expect("a temporary directory")
}
