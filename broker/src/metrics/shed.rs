//! Connections that were closed before a byte of MQTT was looked at, by reason.

use super::{Counter, Exposition};

/// Why a connection was closed before a byte of MQTT was looked at. The names are those of the log and of the label
/// `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// So many come from the client's address already.
    AddressConnectionsMax,
    /// They come too fast from the client's address.
    AddressRate,
    /// The client's address is banned.
    Banned,
    /// `limits.connections_max` is reached.
    ConnectionsMax,
    /// The listener does not let this address in.
    Denied,
    /// So many are on the listener already.
    ListenerConnectionsMax,
    /// They come too fast to the listener.
    ListenerRate,
    /// The listener demands the PROXY protocol, and no usable header came.
    ProxyHeader,
    /// The listener demands the PROXY protocol, and somebody else than a trusted proxy connected.
    ProxyUntrusted,
    /// The listener speaks WebSocket, and the request for it was refused or did not come.
    WebSocket,
}

impl Shed {
    const ALL: [Self; 10] = [
        Self::AddressConnectionsMax,
        Self::AddressRate,
        Self::Banned,
        Self::ConnectionsMax,
        Self::Denied,
        Self::ListenerConnectionsMax,
        Self::ListenerRate,
        Self::ProxyHeader,
        Self::ProxyUntrusted,
        Self::WebSocket,
    ];

    /// As logs and metrics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AddressConnectionsMax => "address_connections_max",
            Self::AddressRate => "address_rate",
            Self::Banned => "banned",
            Self::ConnectionsMax => "connections_max",
            Self::Denied => "denied",
            Self::ListenerConnectionsMax => "listener_connections_max",
            Self::ListenerRate => "listener_rate",
            Self::ProxyHeader => "proxy_header",
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::WebSocket => "websocket",
        }
    }
}

/// One counter per reason.
#[derive(Debug, Default)]
pub struct ShedCounter {
    reasons: [Counter; Shed::ALL.len()],
}

impl ShedCounter {
    /// Adds one connection.
    pub fn inc(&self, reason: Shed) {
        if let Some(counter) = self.reasons.get(reason as usize) {
            counter.inc();
        }
    }

    /// Connections of this reason.
    #[must_use]
    pub fn get(&self, reason: Shed) -> u64 {
        self.reasons.get(reason as usize).map_or(0, Counter::get)
    }

    pub(super) fn render(&self, text: &mut Exposition) {
        for reason in Shed::ALL {
            text.counter(
                "sluice_connections_shed_total",
                "Connections closed before a byte of MQTT was looked at.",
                &[("reason", reason.name())],
                self.get(reason),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        for (place, reason) in Shed::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            let same_name = Shed::ALL
                .into_iter()
                .filter(|other| other.name() == reason.name());
            assert_eq!(same_name.count(), 1);
        }
    }
}
