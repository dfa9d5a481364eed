//! Sockets: listeners accept, workers drive. The only part of the broker that knows bytes on a wire.

mod driver;
mod handshake;
mod link;
mod listener;
mod requests;
mod terms;
mod worker;

pub use listener::{ListenError, Listeners};
pub use worker::Workers;

use crate::config::{Config, Listener};
use crate::event::Events;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::policy::Policies;
use arc_swap::ArcSwap;
use sluice_mqtt::conn::ConnectionConfig;
use sluice_mqtt::packet::Version;
use sluice_mqtt::session::Outgoing;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
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
}

/// What a listener demands before a client is let in.
#[derive(Clone, Debug)]
pub struct Door {
    /// Versions it speaks.
    pub versions: Vec<Version>,
    /// From accept to CONNECT.
    pub connect_timeout: Duration,
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
        Self {
            hub,
            policies,
            events,
            metrics,
            stopping,
            doors: Arc::new(ArcSwap::from_pointee(doors(config))),
        }
    }

    /// Puts another configuration in force, for connections that are open and those to come; the listeners' addresses
    /// stay.
    pub fn apply(&self, config: &Config) {
        self.doors.store(Arc::new(doors(config)));
        self.hub.set_limits(config.limits.clone());
    }

    fn count_sent(&self, outgoing: &Outgoing) {
        if let Outgoing::Publish { delivery, .. } = outgoing {
            self.metrics.messages_sent.inc(delivery.qos as u8);
        }
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

fn doors(config: &Config) -> HashMap<String, Door> {
    let door = |listener: &Listener| {
        let Listener {
            versions,
            connect_timeout,
            ..
        } = listener;
        (
            listener.name.clone(),
            Door {
                versions: versions.clone(),
                connect_timeout: *connect_timeout,
            },
        )
    };
    config.listeners.iter().map(door).collect()
}
