//! Listening sockets.

use super::{Shared, Workers, entrance};
use crate::config::Listener;
use crate::event::Event;
use crate::metrics::Shed;
use crate::policy::verdict::Peer;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Connections the kernel keeps while the broker is busy.
const BACKLOG: u32 = 4_096;
/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener that could not be opened.
#[derive(Debug)]
pub struct ListenError {
    name: String,
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address, error } = self;
        write!(f, "listener `{name}` cannot listen on {address}: {error}")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("; is another broker running? Choose another address or stop it")
            }
            io::ErrorKind::PermissionDenied => f.write_str("; ports below 1024 need CAP_NET_BIND_SERVICE"),
            io::ErrorKind::AddrNotAvailable => f.write_str("; no interface of this machine has this address"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ListenError {}

/// All open listeners.
pub struct Listeners {
    open: Vec<(String, TcpListener)>,
}

impl Listeners {
    /// Binds all; nothing is accepted before [`Listeners::accept`].
    ///
    /// # Errors
    /// Names the first listener that could not be opened; the others are closed again.
    pub fn bind(listeners: &[Listener], shared: &Shared) -> Result<Self, ListenError> {
        let mut open = Vec::new();
        for listener in listeners {
            let fail = |error| ListenError {
                name: listener.name.clone(),
                address: listener.address,
                error,
            };
            let socket = bind(listener.address).map_err(fail)?;
            let address = socket.local_addr().map_err(fail)?;
            shared.events.emit(Event::Listening {
                listener: &listener.name,
                address,
            });
            open.push((listener.name.clone(), socket));
        }
        Ok(Self { open })
    }

    /// Accepts until `stop` turns true, then closes the listeners and returns.
    pub async fn accept(self, shared: &Shared, workers: &mut Workers, mut stop: watch::Receiver<bool>) {
        let mut turn = 0;
        loop {
            let next = tokio::select! {
                accepted = self.next(&mut turn) => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match next {
                Ok((name, socket, from)) => admit(shared, workers, name, socket, from).await,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: others must end first. A broker never gives up listening.
                    let error = error.to_string();
                    shared.events.emit(Event::AcceptFailed { error: &error });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The next connection of any listener, all of them in turn.
    async fn next(&self, turn: &mut usize) -> io::Result<(&str, TcpStream, SocketAddr)> {
        std::future::poll_fn(|cx| {
            for offset in 1..=self.open.len() {
                let index = (*turn + offset) % self.open.len();
                let Some((name, listener)) = self.open.get(index) else {
                    continue;
                };
                if let std::task::Poll::Ready(accepted) = listener.poll_accept(cx) {
                    *turn = index;
                    return std::task::Poll::Ready(
                        accepted.map(|(socket, from)| (name.as_str(), socket, from)),
                    );
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

async fn admit(shared: &Shared, workers: &mut Workers, listener: &str, socket: TcpStream, from: SocketAddr) {
    let ip = from.ip().to_canonical();
    let address = ip.to_string();
    let peer = Arc::new(Peer {
        address,
        port: from.port(),
        listener: listener.to_string(),
        ..Peer::default()
    });
    let Some(door) = shared.door(listener) else {
        return;
    };
    if door.proxies.protocol && !door.trusts(ip) {
        let text = "it is none of the listener's trusted_proxies";
        entrance::shed(shared, &peer, Shed::ProxyUntrusted, text);
        return;
    }
    if !door.is_for_another(ip) && entrance::welcome(&peer, shared).is_none() {
        return;
    }
    if shared.metrics.connections_current.get() >= u64::from(shared.hub.limits().connections_max) {
        let text = "limits.connections_max is reached";
        entrance::shed(shared, &peer, Shed::ConnectionsMax, text);
        return;
    }
    // Without it small packets wait for the peer's delayed acknowledgement.
    let _ = socket.set_nodelay(true);
    match socket.into_std() {
        Ok(socket) => workers.drive(socket, peer).await,
        Err(error) => tracing::error!(%error, "an accepted socket cannot be handed on"),
    }
}
