//! Who is connected from where and how often it came: all of the guard's memory, and its decisions. No clock, no lock.
//!
//! Bounded whatever addresses the world has: what is counted of open connections has an entry per connection at most,
//! and of the past [`Records`] keeps those that were heard of last.

use super::records::{Level, Records, Tally};
use crate::config::Threshold;
use crate::metrics::Shed;
use crate::network::Network;
use crate::policy::budget::Rate;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// What a new connection must keep to.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Bounds {
    /// Connections of all listeners.
    pub(in crate::net) total_max: u32,
    pub(in crate::net) listener_max: Option<u32>,
    pub(in crate::net) listener_rate: Option<Rate>,
    pub(in crate::net) address_max: Option<u32>,
    pub(in crate::net) address_rate: Option<Rate>,
}

/// Everything the guard knows.
#[derive(Debug, Default)]
pub(super) struct Watch {
    open: u32,
    listeners: HashMap<String, Listener>,
    /// Open connections by address: no entry without one.
    addresses: HashMap<Network, u32, foldhash::fast::RandomState>,
    arrivals: Records<Network, Level>,
    failures: Records<Network, Tally>,
    /// Names that came and went, by their hash: a name can be 64 KiB long.
    comings: Records<u64, Tally>,
}

#[derive(Debug, Default)]
struct Listener {
    open: u32,
    arrivals: Level,
}

/// The addresses that are one to the guard: of IPv6 the network, because a client has 2^64 addresses to choose from.
pub(super) fn source(address: IpAddr) -> Network {
    let address = address.to_canonical();
    Network::around(address, if address.is_ipv4() { 32 } else { 64 })
}

impl Watch {
    /// One more connection, unless that is too many; nothing is counted then.
    pub(super) fn enter(
        &mut self,
        listener: &str,
        source: Option<Network>,
        bounds: &Bounds,
        now: Instant,
    ) -> Result<(), Shed> {
        if self.open >= bounds.total_max {
            return Err(Shed::ConnectionsMax);
        }
        let (open, arrivals) = match self.listeners.get_mut(listener) {
            Some(listener) => (listener.open, &mut listener.arrivals),
            None => {
                let entry = self.listeners.entry(listener.to_owned()).or_default();
                (0, &mut entry.arrivals)
            }
        };
        if bounds.listener_max.is_some_and(|max| open >= max) {
            return Err(Shed::ListenerConnectionsMax);
        }
        // Looked at here and filled below: who is refused for its own sake uses up nothing of the others'.
        if bounds.listener_rate.is_some_and(|rate| !arrivals.fits(rate, now)) {
            return Err(Shed::ListenerRate);
        }
        if let Some(source) = source {
            self.come_from(source, bounds, now)?;
        }
        self.open += 1;
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.open += 1;
            if bounds.listener_rate.is_some() {
                listener.arrivals.fill();
            }
        }
        Ok(())
    }

    /// A connection that was counted turns out to come from there; if that is too many, it is not counted there.
    pub(super) fn come_from(&mut self, source: Network, bounds: &Bounds, now: Instant) -> Result<(), Shed> {
        let open = self.addresses.get(&source).copied().unwrap_or(0);
        if bounds.address_max.is_some_and(|max| open >= max) {
            return Err(Shed::AddressConnectionsMax);
        }
        if let Some(rate) = bounds.address_rate {
            let arrivals = self.arrivals.of(source);
            if !arrivals.fits(rate, now) {
                return Err(Shed::AddressRate);
            }
            arrivals.fill();
        }
        *self.addresses.entry(source).or_default() += 1;
        Ok(())
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, listener: &str, source: Option<Network>) {
        self.open = self.open.saturating_sub(1);
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.open = listener.open.saturating_sub(1);
        }
        if let Some(source) = source
            && let Some(open) = self.addresses.get_mut(&source)
        {
            *open -= 1;
            if *open == 0 {
                self.addresses.remove(&source);
            }
        }
    }

    /// Somebody from there failed to come in; true: once too often, and counting begins anew.
    pub(super) fn failed(&mut self, source: Network, threshold: Threshold, now: Instant) -> bool {
        self.failures.of(source).exceeds(threshold, now)
    }

    /// A client of this name came in; true: once too often, and counting begins anew.
    pub(super) fn came(&mut self, name: u64, threshold: Threshold, now: Instant) -> bool {
        self.comings.of(name).exceeds(threshold, now)
    }

    /// Addresses and names it has something to remember of.
    pub(super) fn size(&self) -> usize {
        self.addresses.len() + self.arrivals.len() + self.failures.len() + self.comings.len()
    }
}
