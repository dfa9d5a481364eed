//! Sockets: listeners accept, workers drive. The only part of the broker that knows bytes on a wire.

mod driver;
mod enforced;
mod handshake;
mod link;
mod listener;
mod requests;
mod sending;
mod terms;
mod worker;

pub use listener::{ListenError, Listeners};
pub use worker::Workers;

use crate::config::{Config, Listener};
use crate::event::Events;
use crate::hub::Hub;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::policy::Policies;
use crate::policy::budget::Budget;
use crate::throttle::{Governor, SharedRates};
use arc_swap::ArcSwap;
use sluice_mqtt::conn::ConnectionConfig;
use sluice_mqtt::packet::Version;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What every connection needs of the broker.
#[derive(Clone)]
pub struct Shared {
    /// Sessions and routing.
    pub hub: Hub,
    /// Who decides.
    pub policies: Policies,
    /// Where facts are reported.
    pub events: Events,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Turns true when the broker stops.
    pub stopping: watch::Receiver<bool>,
    /// By listener name.
    pub doors: Arc<ArcSwap<HashMap<String, Door>>>,
    /// What all clients together may use.
    pub total: Arc<SharedRates>,
    /// How near the broker is to its memory limit.
    pub memory: Arc<Memory>,
}

/// What a listener demands before a client is let in.
#[derive(Clone, Debug)]
pub struct Door {
    /// Versions it speaks.
    pub versions: Vec<Version>,
    /// From accept to CONNECT.
    pub connect_timeout: Duration,
    /// What each client may use here.
    pub limits: Budget,
    /// What all of them together may use here.
    pub total: Arc<SharedRates>,
}

impl Shared {
    /// Puts together what connections need.
    #[must_use]
    pub fn new(
        config: &Config,
        hub: Hub,
        policies: Policies,
        events: Events,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let metrics = Arc::clone(events.metrics());
        let total = Arc::<SharedRates>::default();
        total.set(&enforced::rates(&config.total), Instant::now());
        Self {
            hub,
            policies,
            events,
            metrics,
            stopping,
            doors: Arc::new(ArcSwap::from_pointee(doors(config, &HashMap::new()))),
            total,
            memory: Arc::new(Memory::new(config.memory_limit)),
        }
    }

    /// Puts another configuration in force, for connections that are open and those to come; the listeners' addresses
    /// stay.
    pub fn apply(&self, config: &Config) {
        let doors = doors(config, &self.doors.load());
        self.doors.store(Arc::new(doors));
        self.total.set(&enforced::rates(&config.total), Instant::now());
        self.memory.set_limit(config.memory_limit);
        // Wakes every connection, which then looks at all of these.
        self.hub.set_limits(config.limits.clone());
    }

    /// For a connection that begins.
    fn governor(&self, listener: &str) -> Governor {
        let doors = self.doors.load();
        let listener = doors.get(listener).map(|door| Arc::clone(&door.total));
        Governor::new(listener.unwrap_or_default(), Arc::clone(&self.total))
    }

    fn connection_config(&self, listener: &str) -> ConnectionConfig {
        let doors = self.doors.load();
        let door = doors.get(listener);
        ConnectionConfig {
            versions: door.map(|door| door.versions.clone()).unwrap_or_default(),
            connect_bytes_max: self.hub.limits().connect_bytes_max,
            connect_timeout: door.map_or(Duration::from_secs(10), |door| door.connect_timeout),
        }
    }
}

/// The doors of a configuration. What is shared behind one goes on being shared by those who are in.
fn doors(config: &Config, before: &HashMap<String, Door>) -> HashMap<String, Door> {
    let door = |listener: &Listener| {
        let total = before.get(&listener.name).map(|door| Arc::clone(&door.total));
        let total = total.unwrap_or_default();
        total.set(&enforced::rates(&listener.total), Instant::now());
        let door = Door {
            versions: listener.versions.clone(),
            connect_timeout: listener.connect_timeout,
            limits: listener.limits,
            total,
        };
        (listener.name.clone(), door)
    };
    config.listeners.iter().map(door).collect()
}
