//! Sockets: listeners accept, workers drive. The only part of the broker that knows bytes on a wire.

mod carrier;
mod driver;
mod enforced;
mod entrance;
mod guard;
mod handshake;
mod health;
mod held;
mod identity;
mod limit_hits;
mod link;
mod listener;
mod proxy;
mod publishing;
mod reauth;
mod requests;
mod sending;
mod terms;
pub mod tls;
pub mod unix;
mod websocket;
mod worker;

pub use health::Health;
pub use listener::{ListenError, Listeners};
pub use worker::Workers;

use crate::config::{self, Config, IdentityRule, Listener, ListenerGuard, Proxies};
use crate::event::Events;
use crate::hub::Hub;
use crate::memory::Memory;
use crate::metrics::{ExpiryByFile, Metrics};
use crate::network::Network;
use crate::policy::Policies;
use crate::policy::budget::Budget;
use crate::pulse::Pulse;
use crate::throttle::{Governor, SharedRates};
use arc_swap::ArcSwap;
use guard::{Bounds, Guard};
use sluice_mqtt::conn::ConnectionConfig;
use sluice_mqtt::packet::Version;
use std::collections::HashMap;
use std::net::IpAddr;
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
    pub doors: Arc<ArcSwap<HashMap<String, Arc<Door>>>>,
    /// What all clients together may use.
    pub total: Arc<SharedRates>,
    /// Who is connected from where, and who failed too often.
    pub guard: Arc<Guard>,
    /// How near the broker is to its memory limit.
    pub memory: Arc<Memory>,
    /// Whether the workers take their turns.
    pub pulse: Pulse,
}

/// What a listener demands before a client is let in.
#[derive(Clone, Debug)]
pub struct Door {
    /// Versions it speaks.
    pub versions: Vec<Version>,
    /// How it speaks WebSocket; `None`: MQTT follows without.
    pub websocket: Option<config::WebSocket>,
    /// Who may speak for clients.
    pub proxies: Proxies,
    /// Who may connect, and how many.
    pub guard: ListenerGuard,
    /// From accept, or the end of the TLS handshake, to CONNECT.
    pub connect_timeout: Duration,
    /// What each client may use here.
    pub limits: Budget,
    /// What all of them together may use here.
    pub total: Arc<SharedRates>,
    /// How it encrypts; `None`: not at all.
    pub tls: Option<tls::Acceptor>,
    /// What the certificates of its clients say of who they are.
    pub identity: Option<IdentityRule>,
}

impl Door {
    /// Whether whoever connects from there is to say for whom, before that client is looked at.
    fn is_for_another(&self, address: Option<IpAddr>) -> bool {
        self.proxies.protocol || (self.websocket.is_some() && self.trusts(address))
    }

    /// Whether it may speak for others. Without an address it came over a unix socket, and its permissions have said so.
    fn trusts(&self, address: Option<IpAddr>) -> bool {
        let trusts = |address| {
            self.proxies
                .trusted
                .iter()
                .any(|network| network.contains(address))
        };
        address.is_none_or(trusts)
    }

    /// Whether clients from there may connect.
    fn admits(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        let guard = &self.guard;
        guard.allow.as_deref().is_none_or(is_in) && !is_in(&guard.deny)
    }

    /// Whether MQTT begins at once, on plain TCP.
    fn is_plain(&self) -> bool {
        self.tls.is_none() && self.websocket.is_none() && !self.proxies.protocol
    }
}

impl Shared {
    /// Puts together what connections need; `acceptors` are those of `config`.
    #[must_use]
    pub fn new(
        config: &Config,
        acceptors: &tls::Acceptors,
        hub: Hub,
        policies: Policies,
        events: Events,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let metrics = Arc::clone(events.metrics());
        let total = Arc::<SharedRates>::default();
        total.set(&enforced::rates(&config.total), Instant::now());
        let doors = doors(config, acceptors, &HashMap::new());
        show_expiries(&doors, &metrics);
        let guard = Arc::new(Guard::new(&config.guard, Arc::clone(&metrics)));
        Self {
            hub,
            policies,
            events,
            guard,
            metrics,
            stopping,
            doors: Arc::new(ArcSwap::from_pointee(doors)),
            total,
            memory: Arc::new(Memory::new(config.memory_limit)),
            pulse: Pulse::default(),
        }
    }

    /// Puts another configuration in force, for connections that are open and those to come; the listeners' addresses
    /// stay. A listener without an acceptor of its own keeps the one it has.
    pub fn apply(&self, config: &Config, acceptors: &tls::Acceptors) {
        self.apply_encryption(config, acceptors);
        self.put_in_force(config);
    }

    /// [`Shared::apply`] when nothing has changed but the files of encryption: only connections to come see it.
    pub fn apply_encryption(&self, config: &Config, acceptors: &tls::Acceptors) {
        let doors = doors(config, acceptors, &self.doors.load());
        show_expiries(&doors, &self.metrics);
        self.doors.store(Arc::new(doors));
    }

    /// How each listener encrypts now.
    #[must_use]
    pub fn acceptors(&self) -> tls::Acceptors {
        let mut acceptors = tls::Acceptors::default();
        for (name, door) in &**self.doors.load() {
            if let Some(acceptor) = &door.tls {
                acceptors.insert(name.clone(), acceptor.clone());
            }
        }
        acceptors
    }

    /// [`Shared::apply`] when nothing has changed but limits: every listener encrypts as it did.
    pub fn apply_limits(&self, config: &Config) {
        let doors = doors(config, &tls::Acceptors::default(), &self.doors.load());
        self.doors.store(Arc::new(doors));
        self.put_in_force(config);
    }

    fn put_in_force(&self, config: &Config) {
        self.total.set(&enforced::rates(&config.total), Instant::now());
        self.memory.set_limit(config.memory_limit);
        self.guard.set_rules(&config.guard);
        // Wakes every connection, which then looks at all of these.
        self.hub.set_limits(config.limits.clone());
    }

    /// For a connection that begins.
    fn governor(&self, listener: &str) -> Governor {
        let doors = self.doors.load();
        let listener = doors.get(listener).map(|door| Arc::clone(&door.total));
        Governor::new(listener.unwrap_or_default(), Arc::clone(&self.total))
    }

    /// What a listener demands from now on; `None`: nobody comes in.
    fn door(&self, listener: &str) -> Option<Arc<Door>> {
        self.doors.load().get(listener).cloned()
    }

    /// How a listener's clients are named by their certificates.
    fn identity_rule(&self, listener: &str) -> Option<IdentityRule> {
        self.door(listener)?.identity
    }

    /// What a new connection must keep to.
    fn bounds(&self, door: &Door) -> Bounds {
        let rules = self.guard.rules();
        Bounds {
            total_max: self.hub.limits().connections_max,
            listener_max: door.guard.connections_max,
            listener_rate: door.guard.connects_per_second,
            address_max: rules.connections_per_address_max,
            address_rate: rules.connects_per_address_per_second,
        }
    }

    fn connection_config(&self, listener: &str, connect_timeout: Duration) -> ConnectionConfig {
        let door = self.door(listener);
        ConnectionConfig {
            versions: door.map(|door| door.versions.clone()).unwrap_or_default(),
            connect_bytes_max: self.hub.limits().connect_bytes_max,
            connect_timeout,
        }
    }
}

/// The doors of a configuration. What is shared behind one goes on being shared by those who are in.
fn doors(
    config: &Config,
    acceptors: &tls::Acceptors,
    before: &HashMap<String, Arc<Door>>,
) -> HashMap<String, Arc<Door>> {
    let door = |listener: &Listener| {
        let before = before.get(&listener.name);
        let tls_before = before.and_then(|door| door.tls.as_ref());
        let tls = match (&listener.tls, acceptors.get(&listener.name)) {
            (None, _) => None,
            (Some(_), Some(acceptor)) => Some(acceptor.after(tls_before)),
            // Without either there is no door, and nobody comes in: never unencrypted what should be encrypted.
            (Some(_), None) => Some(tls_before?.clone()),
        };
        let protocol = match listener.websocket {
            None => tls::protocol::MQTT,
            Some(_) => tls::protocol::HTTP,
        };
        let total = before.map(|door| Arc::clone(&door.total)).unwrap_or_default();
        total.set(&enforced::rates(&listener.total), Instant::now());
        let door = Door {
            versions: listener.versions.clone(),
            websocket: listener.websocket.clone(),
            proxies: listener.proxies.clone(),
            guard: listener.guard.clone(),
            connect_timeout: listener.connect_timeout,
            limits: listener.limits,
            total,
            tls: tls.map(|tls| tls.speaking(protocol)),
            identity: listener.tls.as_ref().and_then(|tls| tls.identity),
        };
        Some((listener.name.clone(), Arc::new(door)))
    };
    config.listeners.iter().filter_map(door).collect()
}

fn show_expiries(doors: &HashMap<String, Arc<Door>>, metrics: &Metrics) {
    let (mut certificates, mut crls) = (ExpiryByFile::new(), ExpiryByFile::new());
    for (listener, door) in doors {
        let Some(tls) = &door.tls else { continue };
        let of = |(file, end): (&str, u64)| ((listener.clone(), file.to_owned()), end);
        certificates.extend(tls.certificates_expire().map(of));
        crls.extend(tls.crls_expire().map(of));
    }
    metrics.tls.set_expiries(certificates, crls);
}
