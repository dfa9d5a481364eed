//! Listening sockets.

use super::carrier::Incoming;
use super::unix::{self, Access, BoundSocket};
use super::{Shared, Workers, entrance};
use crate::config::{Address, Listener, UnixSocket};
use crate::event::Event;
use crate::metrics::Shed;
use crate::policy::verdict::Peer;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::watch;

/// Connections the kernel keeps while the broker is busy.
const BACKLOG: u32 = 4_096;
/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that could not be opened.
#[derive(Debug)]
pub struct ListenError {
    what: String,
    address: String,
    why: String,
}

impl ListenError {
    fn of(listener: &Listener, why: impl fmt::Display) -> Self {
        Self {
            what: format!("listener `{}`", listener.name),
            address: listener.address.to_string(),
            why: why.to_string(),
        }
    }

    /// With what helps against the error.
    pub(super) fn new(what: String, address: SocketAddr, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "; is another broker running? Choose another address or stop it",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
            _ => "",
        };
        Self {
            what,
            address: address.to_string(),
            why: format!("{error}{remedy}"),
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, address, why } = self;
        write!(f, "{what} cannot listen on {address}: {why}")
    }
}

impl std::error::Error for ListenError {}

/// All open listeners.
pub struct Listeners {
    open: Vec<Open>,
}

struct Open {
    name: Arc<str>,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    /// The file goes with it.
    Unix(
        UnixListener,
        #[allow(dead_code, reason = "it is held")] BoundSocket,
    ),
}

impl Listeners {
    /// Binds all; nothing is accepted before [`Listeners::accept`].
    ///
    /// # Errors
    /// Names the first listener that could not be opened; the others are closed again.
    pub fn bind(listeners: &[Listener], shared: &Shared) -> Result<Self, ListenError> {
        let mut open = Vec::new();
        for listener in listeners {
            let (socket, address) = open_socket(listener)?;
            shared.events.emit(Event::Listening {
                listener: &listener.name,
                address: &address,
            });
            open.push(Open {
                name: listener.name.as_str().into(),
                socket,
            });
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
    async fn next(&self, turn: &mut usize) -> io::Result<(&Arc<str>, Incoming, Option<SocketAddr>)> {
        std::future::poll_fn(|cx| {
            for offset in 1..=self.open.len() {
                let index = (*turn + offset) % self.open.len();
                let Some(Open { name, socket }) = self.open.get(index) else {
                    continue;
                };
                if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                    *turn = index;
                    return Poll::Ready(accepted.map(|(socket, from)| (name, socket, from)));
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Socket {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Incoming, Option<SocketAddr>)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map(|accepted| {
                let (socket, from) = accepted?;
                // Without it small packets wait for the peer's delayed acknowledgement.
                let _ = socket.set_nodelay(true);
                Ok((Incoming::Tcp(socket.into_std()?), Some(from)))
            }),
            Self::Unix(listener, _) => listener.poll_accept(cx).map(|accepted| {
                let (socket, _) = accepted?;
                Ok((Incoming::Unix(socket.into_std()?), None))
            }),
        }
    }
}

/// The socket, and where it is.
fn open_socket(listener: &Listener) -> Result<(Socket, String), ListenError> {
    match &listener.address {
        Address::Ip(address) => {
            let what = || format!("listener `{}`", listener.name);
            let fail = |error| ListenError::new(what(), *address, &error);
            let socket = bind(*address).map_err(fail)?;
            let address = socket.local_addr().map_err(fail)?;
            Ok((Socket::Tcp(socket), address.to_string()))
        }
        Address::Unix(socket) => {
            let socket = open_unix(socket).map_err(|why| ListenError::of(listener, why))?;
            Ok((socket, listener.address.to_string()))
        }
    }
}

fn open_unix(socket: &UnixSocket) -> Result<Socket, String> {
    let group = socket.group.as_deref().map(group_number).transpose()?;
    let access = Access {
        mode: socket.mode,
        group,
    };
    let bound = unix::listen_at(&socket.path, access).map_err(|error| match error {
        unix::BindError::Alive => "another broker listens there; choose another path or stop it".to_owned(),
        unix::BindError::NotASocket => "something that is no socket is there; remove it yourself".to_owned(),
        unix::BindError::Io(error) => match error.kind() {
            io::ErrorKind::NotFound => format!("{error}; its directory must exist"),
            io::ErrorKind::PermissionDenied => {
                format!("{error}; the directory must be ours to write to, and the group one of ours")
            }
            _ => error.to_string(),
        },
    })?;
    let listener = bound.listener.try_clone().and_then(UnixListener::from_std);
    let listener = listener.map_err(|error| error.to_string())?;
    Ok(Socket::Unix(listener, bound))
}

fn group_number(group: &str) -> Result<u32, String> {
    let by_name = || uzers::get_group_by_name(group).map(|group| group.gid());
    let number = group.parse().ok().or_else(by_name);
    number.ok_or_else(|| format!("there is no group {group:?} for its socket_group"))
}

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
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

/// Looks at who comes and hands the connection to a worker, or closes it.
async fn admit(
    shared: &Shared,
    workers: &mut Workers,
    listener: &Arc<str>,
    socket: Incoming,
    from: Option<SocketAddr>,
) {
    let address = from.map(|from| from.ip().to_canonical());
    let peer = Arc::new(Peer {
        address: address.as_ref().map(IpAddr::to_string).unwrap_or_default(),
        port: from.map_or(0, |from| from.port()),
        listener: listener.to_string(),
        ..Peer::default()
    });
    let Some(door) = shared.door(listener) else {
        return;
    };
    if door.proxies.protocol && !door.trusts(address) {
        let reason = Shed::ProxyUntrusted;
        entrance::shed(shared, &peer, reason, entrance::why(reason));
        return;
    }
    // Who speaks for another is counted where the client is known.
    let counted = address.filter(|_| !door.is_for_another(address));
    if counted.is_some() && entrance::screen(&peer, &door, shared).is_none() {
        return;
    }
    match shared.guard.enter(listener, counted, &shared.bounds(&door)) {
        Ok(pass) => workers.drive(socket, peer, pass).await,
        Err(reason) => entrance::shed(shared, &peer, reason, entrance::why(reason)),
    }
}
