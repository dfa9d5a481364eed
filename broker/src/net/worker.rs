//! The threads that drive connections: one runtime each, so that a connection, its policy instances and its wake-ups
//! stay on one thread.

use super::tls::{Acceptor, Turns};
use super::{Shared, driver};
use crate::metrics::Metrics;
use crate::policy::verdict::Peer;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use tokio::sync::mpsc;

/// Accepted sockets waiting for a worker; more are left in the kernel's backlog.
const ACCEPTED_MAX: usize = 1_024;

/// A socket on its way to a worker.
struct Accepted {
    socket: TcpStream,
    peer: Arc<Peer>,
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
    pub async fn drive(&mut self, socket: TcpStream, peer: Arc<Peer>) {
        let accepted = Accepted {
            socket,
            peer,
            open: self.open.clone(),
        };
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
                let (shared, here) = (Arc::clone(&shared), here.clone());
                // Tasks of their own, so that a plain connection does not pay for the room of an encrypted one.
                match shared.acceptor(&accepted.peer.listener) {
                    None => tokio::spawn(serve(accepted, shared, here)),
                    Some(acceptor) => {
                        let encrypted = serve_encrypted(accepted, shared, acceptor, turns.clone(), here);
                        tokio::spawn(encrypted)
                    }
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

async fn serve(accepted: Accepted, shared: Arc<Shared>, here: mpsc::Sender<()>) {
    let Accepted { socket, peer, open } = accepted;
    let metrics = Arc::clone(&shared.metrics);
    if let Some(socket) = begin(socket, &metrics) {
        driver::serve(socket, shared, peer).await;
    }
    metrics.connections_current.dec();
    drop((open, here));
}

async fn serve_encrypted(
    accepted: Accepted,
    shared: Arc<Shared>,
    acceptor: Acceptor,
    turns: Turns,
    here: mpsc::Sender<()>,
) {
    let Accepted {
        socket,
        mut peer,
        open,
    } = accepted;
    let metrics = Arc::clone(&shared.metrics);
    if let Some(socket) = begin(socket, &metrics)
        && let Some(socket) = acceptor.accept(socket, &mut peer, &shared, &turns).await
    {
        drop((acceptor, turns));
        driver::serve(socket, shared, peer).await;
    }
    metrics.connections_current.dec();
    drop((open, here));
}

fn begin(socket: TcpStream, metrics: &Metrics) -> Option<tokio::net::TcpStream> {
    metrics.connections_total.inc();
    metrics.connections_current.inc();
    tokio::net::TcpStream::from_std(socket)
        .inspect_err(|error| tracing::error!(%error, "an accepted socket cannot be watched"))
        .ok()
}
