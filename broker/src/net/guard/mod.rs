//! Guards before a byte of MQTT is trusted: how many may be connected, in all, on a listener and from an address; how
//! fast they may come; and who is kept out for a while because it failed too often.
//!
//! `watch` decides and remembers, here are the lock around it and the [`Pass`] of each connection.

mod records;
mod sentence;
#[cfg(test)]
mod tests;
mod watch;

pub(super) use watch::Bounds;

use crate::config::{self, Threshold};
use crate::metrics::{Metrics, Shed};
use crate::network::Network;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use watch::Watch;

/// What all connections are counted with.
pub struct Guard {
    watch: Mutex<Watch>,
    rules: ArcSwap<config::Guard>,
    /// Clients choose names: nobody may know which hash alike.
    names: foldhash::fast::RandomState,
    metrics: Arc<Metrics>,
}

/// A connection that counts until this is dropped.
pub(super) struct Pass {
    guard: Arc<Guard>,
    listener: Arc<str>,
    source: Option<Network>,
}

/// Somebody is to be kept out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    /// Whom it is about, if it is about addresses.
    pub(super) source: Option<Network>,
    pub(super) threshold: Threshold,
    pub(super) ban_for: std::time::Duration,
}

impl Guard {
    pub(super) fn new(rules: &config::Guard, metrics: Arc<Metrics>) -> Self {
        Self {
            watch: Mutex::default(),
            rules: ArcSwap::from_pointee(rules.clone()),
            names: foldhash::fast::RandomState::default(),
            metrics,
        }
    }

    /// Other rules from now on; who is in stays.
    pub(super) fn set_rules(&self, rules: &config::Guard) {
        self.rules.store(Arc::new(rules.clone()));
    }

    pub(super) fn rules(&self) -> Arc<config::Guard> {
        self.rules.load_full()
    }

    /// Counts one more connection. `address`: `None` if it is not known yet, or there is none.
    ///
    /// # Errors
    /// That is too many.
    pub(super) fn enter(
        self: &Arc<Self>,
        listener: &Arc<str>,
        address: Option<IpAddr>,
        bounds: &Bounds,
    ) -> Result<Pass, Shed> {
        let source = self.counted(address);
        let now = Instant::now();
        let mut watch = self.watch.lock();
        watch.enter(listener, source, bounds, now)?;
        self.metrics.guard_entries.set(watch.size() as u64);
        self.metrics.connections_total.inc();
        self.metrics.connections_current.inc();
        Ok(Pass {
            guard: Arc::clone(self),
            listener: Arc::clone(listener),
            source,
        })
    }

    /// Somebody from there failed to come in. `Some`: it is to be kept out.
    pub(super) fn failed(&self, address: IpAddr) -> Option<Sentence> {
        let threshold = self.rules.load().failures?;
        let source = self.counted(Some(address))?;
        self.reckon(Some(source), threshold, |watch, now| {
            watch.failed(source, threshold, now)
        })
    }

    /// A client of this name came in. `Some`: it is to be kept out from now on.
    pub(super) fn came(&self, client_id: &str) -> Option<Sentence> {
        let threshold = self.rules.load().flapping?;
        let name = self.names.hash_one(client_id);
        self.reckon(None, threshold, |watch, now| watch.came(name, threshold, now))
    }

    fn reckon(
        &self,
        source: Option<Network>,
        threshold: Threshold,
        is_too_often: impl FnOnce(&mut Watch, Instant) -> bool,
    ) -> Option<Sentence> {
        let mut watch = self.watch.lock();
        let is_over = is_too_often(&mut watch, Instant::now());
        self.metrics.guard_entries.set(watch.size() as u64);
        is_over.then(|| Sentence {
            source,
            threshold,
            ban_for: self.rules.load().ban_for,
        })
    }

    /// As what an address counts; `None`: not at all, it is exempt.
    fn counted(&self, address: Option<IpAddr>) -> Option<Network> {
        let address = address?;
        let rules = self.rules.load();
        let is_exempt = rules.exempt.iter().any(|network| network.contains(address));
        (!is_exempt).then(|| watch::source(address))
    }
}

impl Pass {
    /// The connection turns out to come from there.
    ///
    /// # Errors
    /// That is too many.
    pub(super) fn come_from(&mut self, address: IpAddr, bounds: &Bounds) -> Result<(), Shed> {
        let Some(source) = self.guard.counted(Some(address)) else {
            return Ok(());
        };
        let mut watch = self.guard.watch.lock();
        watch.come_from(source, bounds, Instant::now())?;
        self.guard.metrics.guard_entries.set(watch.size() as u64);
        self.source = Some(source);
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.guard.metrics.connections_current.dec();
        self.guard.watch.lock().leave(&self.listener, self.source);
    }
}
