//! The threads that drive connections: one runtime each, so that a connection, its policy instances and its wake-ups
//! stay on one thread.

use super::carrier::{Carrier, Incoming};
use super::entrance::{self, Opened, Patience};
use super::guard::Pass;
use super::tls::Turns;
use super::{Door, Shared, driver};
use crate::policy::verdict::Peer;
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Accepted sockets waiting for a worker; more are left in the kernel's backlog.
const ACCEPTED_MAX: usize = 1_024;

/// A connection on its way to a worker.
struct Accepted {
    socket: Incoming,
    visit: Visit,
}

/// What belongs to a connection beside its socket.
pub(super) struct Visit {
    accepted_at: Instant,
    pub(super) peer: Arc<Peer>,
    /// Counts it.
    pub(super) pass: Pass,
    /// Dropped when the connection has ended: shutdown waits for all of them.
    open: mpsc::Sender<()>,
}

/// All workers.
pub struct Workers {
    queues: Vec<mpsc::Sender<Accepted>>,
    next: usize,
    open: mpsc::Sender<()>,
    closed: mpsc::Receiver<()>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When the operating system gives no thread or no event queue.
    pub fn start(count: usize, shared: &Shared) -> std::io::Result<Self> {
        let queues = (0..count)
            .map(|number| start(number, Arc::new(shared.clone())))
            .collect::<Result<_, _>>()?;
        let (open, closed) = mpsc::channel(1);
        Ok(Self {
            queues,
            next: 0,
            open,
            closed,
        })
    }

    /// Hands a socket to the next worker in turn.
    pub(super) async fn drive(&mut self, socket: Incoming, peer: Arc<Peer>, pass: Pass) {
        let visit = Visit {
            accepted_at: Instant::now(),
            peer,
            pass,
            open: self.open.clone(),
        };
        let accepted = Accepted { socket, visit };
        self.next = (self.next + 1) % self.queues.len().max(1);
        if let Some(queue) = self.queues.get(self.next) {
            // A worker ends only with its queue, and the queue only with `self`.
            let _ = queue.send(accepted).await;
        }
    }

    /// Waits until every connection has ended.
    pub async fn drained(mut self) {
        drop(self.open);
        drop(self.queues);
        while self.closed.recv().await.is_some() {}
    }
}

fn start(number: usize, shared: Arc<Shared>) -> std::io::Result<mpsc::Sender<Accepted>> {
    let (queue, mut accepted) = mpsc::channel::<Accepted>(ACCEPTED_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let beat = shared.pulse.worker();
    let run = move || {
        runtime.block_on(async move {
            tokio::spawn(beat.go_on());
            let turns = Turns::new();
            let (here, mut all_gone) = mpsc::channel::<()>(1);
            while let Some(accepted) = accepted.recv().await {
                let Accepted { socket, visit } = accepted;
                let Some(door) = shared.door(&visit.peer.listener) else {
                    continue;
                };
                let carrier = match socket.watched() {
                    Ok(carrier) => carrier,
                    Err(error) => {
                        tracing::error!(%error, "an accepted socket cannot be watched");
                        continue;
                    }
                };
                let (shared, here) = (Arc::clone(&shared), here.clone());
                // Tasks of their own, so that a plain connection does not pay for the room of others.
                match carrier {
                    Carrier::Tcp(socket) if door.is_plain() => {
                        tokio::spawn(serve(socket, visit, door, shared, here))
                    }
                    carrier => tokio::spawn(serve_opened(carrier, visit, door, shared, turns.clone(), here)),
                };
            }
            // No more will come; those that are open go on until they end.
            drop(here);
            let _ = all_gone.recv().await;
        });
    };
    thread::Builder::new()
        .name(format!("sluice-worker-{number}"))
        .spawn(run)?;
    Ok(queue)
}

async fn serve(
    socket: TcpStream,
    visit: Visit,
    door: Arc<Door>,
    shared: Arc<Shared>,
    here: mpsc::Sender<()>,
) {
    let connect_by = Patience::new(&door, visit.accepted_at).ends_at();
    drop(door);
    driver::serve(socket, shared, visit.peer, connect_by).await;
    drop((visit.pass, visit.open, here));
}

/// The same where something comes before MQTT.
async fn serve_opened(
    carrier: Carrier,
    mut visit: Visit,
    door: Arc<Door>,
    shared: Arc<Shared>,
    turns: Turns,
    here: mpsc::Sender<()>,
) {
    let mut patience = Patience::new(&door, visit.accepted_at);
    // What it takes to open a socket is given back then, not kept in the connection's task.
    let opening = entrance::open(carrier, &mut visit, (&door, &mut patience), &shared, &turns);
    let opened = Box::pin(opening).await;
    let connect_by = patience.ends_at();
    drop((door, turns));
    match opened {
        Some(Opened::Bare(socket)) => driver::serve(socket, shared, visit.peer, connect_by).await,
        Some(Opened::Framed(socket)) => driver::serve(socket, shared, visit.peer, connect_by).await,
        None => {}
    }
    drop((visit.pass, visit.open, here));
}
