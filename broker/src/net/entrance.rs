//! The way from an accepted socket to one that carries MQTT: the header of the PROXY protocol, then the TLS handshake,
//! then the upgrade to a WebSocket, whichever the listener demands.

use super::carrier::Carrier;
use super::guard::Pass;
use super::proxy::{self, Announced, Unannounced};
use super::tls::Turns;
use super::websocket::{self, Failed, WebSocket};
use super::worker::Visit;
use super::{Door, Shared};
use crate::config;
use crate::config::quantity::duration_text;
use crate::event::Event;
use crate::hub::Caller;
use crate::metrics::Shed;
use crate::policy::verdict::Peer;
use crate::report;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A socket that carries MQTT from now on.
pub(super) enum Opened {
    Bare(Carrier),
    Framed(WebSocket<Carrier>),
}

/// The time that a client, and a proxy for it, has until its CONNECT is complete. TLS has a time of its own: it does
/// not count here.
pub(super) struct Patience {
    total: Duration,
    left: Duration,
}

/// [`Patience`] is at its end.
struct Late;

impl Patience {
    pub(super) fn new(door: &Door, accepted_at: Instant) -> Self {
        Self {
            total: door.connect_timeout,
            left: door.connect_timeout.saturating_sub(accepted_at.elapsed()),
        }
    }

    /// When CONNECT must be complete if nothing but CONNECT is to come.
    pub(super) fn ends_at(&self) -> Instant {
        Instant::now() + self.left
    }

    async fn within<T>(&mut self, step: impl Future<Output = T>) -> Result<T, Late> {
        let begun = Instant::now();
        let done = tokio::time::timeout(self.left, step).await;
        self.left = self.left.saturating_sub(begun.elapsed());
        done.map_err(|_| Late)
    }
}

/// `None`: there is no connection, and whoever has to know why has been told.
pub(super) async fn open(
    carrier: Carrier,
    visit: &mut Visit,
    (door, patience): (&Door, &mut Patience),
    shared: &Shared,
    turns: &Turns,
) -> Option<Opened> {
    let Visit { peer, pass, .. } = visit;
    let mut stopping = shared.stopping.clone();
    let opened = async {
        if door.proxies.protocol {
            announce(&carrier, (peer, pass), (door, patience), shared).await?;
        }
        let carrier = match (&door.tls, carrier) {
            (None, carrier) => carrier,
            (Some(acceptor), Carrier::Tcp(socket)) => {
                Carrier::Tls(acceptor.accept(socket, peer, shared, turns).await?)
            }
            // Never unencrypted what should be encrypted.
            (Some(_), _) => return None,
        };
        match &door.websocket {
            None => Some(Opened::Bare(carrier)),
            Some(settings) => upgrade(carrier, (peer, pass), (door, settings, patience), shared).await,
        }
    };
    tokio::select! {
        opened = opened => opened,
        // Whoever is not in yet is not waited for.
        _ = stopping.wait_for(|stopping| *stopping) => None,
    }
}

/// Agrees on a WebSocket, and looks at who the client is if a proxy has told.
async fn upgrade(
    carrier: Carrier,
    (peer, pass): (&mut Arc<Peer>, &mut Pass),
    (door, settings, patience): (&Door, &config::WebSocket, &mut Patience),
    shared: &Shared,
) -> Option<Opened> {
    let must_tell = !door.proxies.protocol && door.is_for_another(peer.address.parse().ok());
    let proxies = must_tell.then_some(&door.proxies.trusted[..]);
    let upgraded = websocket::upgrade(carrier, settings, proxies, Arc::make_mut(peer));
    let text = match patience.within(upgraded).await {
        Ok(Ok(websocket)) => {
            if must_tell {
                welcome(peer, door, pass, shared)?;
            }
            return Some(Opened::Framed(websocket));
        }
        Ok(Err(Failed::Silent)) => return None,
        Ok(Err(why)) => why.to_string(),
        Err(Late) => format!("no WebSocket within {}", duration_text(patience.total)),
    };
    shed(shared, peer, Shed::WebSocket, &text);
    None
}

/// Hears the proxy out, and looks at who the client is.
async fn announce(
    carrier: &Carrier,
    (peer, pass): (&mut Arc<Peer>, &mut Pass),
    (door, patience): (&Door, &mut Patience),
    shared: &Shared,
) -> Option<()> {
    let announced = patience
        .within(proxy::announced(carrier, Arc::make_mut(peer)))
        .await;
    let text = match announced {
        Ok(Ok(Announced::Client)) => return welcome(peer, door, pass, shared),
        Ok(Ok(Announced::Check)) => {
            shared.metrics.proxy_checks.inc();
            return None;
        }
        Ok(Err(Unannounced::Silent)) => return None,
        Ok(Err(why)) => why.to_string(),
        Err(Late) => format!("no PROXY header within {}", duration_text(patience.total)),
    };
    shed(shared, peer, Shed::ProxyHeader, &text);
    None
}

/// Whether this client, known at last, may come in; it counts by its address from now on. `None`: no, and the operator
/// has been told.
fn welcome(peer: &Peer, door: &Door, pass: &mut Pass, shared: &Shared) -> Option<()> {
    screen(peer, door, shared)?;
    let Ok(address) = peer.address.parse() else {
        return Some(());
    };
    match pass.come_from(address, &shared.bounds(door)) {
        Ok(()) => Some(()),
        Err(reason) => {
            shed(shared, peer, reason, why(reason));
            None
        }
    }
}

/// Whether clients from there may come in at all. `None`: no, and the operator has been told.
pub(super) fn screen(peer: &Peer, door: &Door, shared: &Shared) -> Option<()> {
    let address: Option<IpAddr> = peer.address.parse().ok();
    if address.is_some_and(|address| !door.admits(address)) {
        shed(shared, peer, Shed::Denied, why(Shed::Denied));
        return None;
    }
    let caller = Caller {
        address,
        ..Caller::default()
    };
    match shared.hub.banned("", &caller) {
        None => Some(()),
        Some(text) => {
            shed(shared, peer, Shed::Banned, &text);
            None
        }
    }
}

/// What the operator is to know beyond the reason's name.
pub(super) fn why(reason: Shed) -> &'static str {
    match reason {
        Shed::AddressConnectionsMax => "guard.connections_per_address_max is reached",
        Shed::AddressRate => "faster than guard.connects_per_address_per_second",
        Shed::ConnectionsMax => "limits.connections_max is reached",
        Shed::Denied => "the listener's allow and deny do not let it in",
        Shed::ListenerConnectionsMax => "the listener's connections_max is reached",
        Shed::ListenerRate => "faster than the listener's connects_per_second",
        Shed::ProxyUntrusted => "it is none of the listener's trusted_proxies",
        Shed::Banned | Shed::ProxyHeader | Shed::WebSocket => "",
    }
}

/// Tells that a connection is closed before a byte of MQTT was looked at.
pub(super) fn shed(shared: &Shared, peer: &Peer, reason: Shed, text: &str) {
    let origin = report::origin(peer);
    shared.events.emit(Event::ConnectionShed { origin, reason, text });
}
