//! Looking at sessions and ending connections from outside: operators, policies, shutdown.

use super::Hub;
use super::cell::{Account, Asked, Phase, SessionCell, Stop};
use serde::Serialize;
use sluice_mqtt::reason::ReasonCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// A session as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ClientSummary {
    /// Client identifier.
    pub client_id: String,
    /// Prefix of its topics.
    pub mountpoint: String,
    /// User name of its last CONNECT.
    pub username: Option<String>,
    /// IP address it came from last.
    pub address: Option<String>,
    /// Whether it is connected.
    pub online: bool,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// Messages in its queue.
    pub queue_messages: usize,
    /// Bytes in its queue.
    pub queue_bytes: u64,
    /// Messages sent and not acknowledged.
    pub inflight: usize,
    /// Wire bytes from the client, on this connection.
    pub bytes_in: u64,
    /// Wire bytes to the client.
    pub bytes_out: u64,
    /// PUBLISH packets from the client.
    pub messages_in: u64,
    /// PUBLISH packets to the client.
    pub messages_out: u64,
    /// Milliseconds for which its socket was left unread because of a limit.
    pub throttled_in_milliseconds: u64,
    /// Milliseconds for which what it was to be sent was held back because of a limit.
    pub throttled_out_milliseconds: u64,
}

/// How long an operator waits for a client's account.
const ACCOUNT_TIMEOUT: Duration = Duration::from_secs(2);

impl Hub {
    /// All sessions, connected or not, in the order they began.
    pub fn clients(&self) -> Vec<ClientSummary> {
        self.walk().map(|cell| summary(&cell)).collect()
    }

    /// Brings the gauges that no event keeps up to date: what waits in all queues together.
    pub fn measure(&self) {
        let (mut messages, mut bytes) = (0, 0);
        for cell in self.walk() {
            let state = cell.lock();
            messages += state.session.queue_len() as u64;
            bytes += state.session.queue_bytes();
        }
        self.inner.metrics.queue_messages_current.set(messages);
        self.inner.metrics.queue_bytes_current.set(bytes);
        let backlog = self.inner.store.backlog_bytes();
        self.inner.metrics.store.backlog_bytes.set(backlog);
    }

    /// Ends the connections of a client id, in every mount point; returns how many there were.
    pub fn kick(&self, client_id: &str) -> usize {
        let stop = Stop {
            reason: ReasonCode::ADMINISTRATIVE_ACTION,
            text: "ended by the operator",
        };
        self.walk_client(client_id)
            .filter(|cell| order_stop(cell, &stop))
            .count()
    }

    /// What is enforced for the connected clients of this client id, in every mount point. Blocks until their drivers
    /// have answered, two seconds at most.
    pub fn accounts(&self, client_id: &str) -> Vec<(ClientSummary, Option<Account>)> {
        let mut accounts = Vec::new();
        for cell in self.walk_client(client_id) {
            let (sender, receiver) = sync_channel(1);
            let is_online = {
                let mut state = cell.lock();
                if state.is_online() {
                    state.orders.account = Some(sender);
                    state.wake();
                }
                state.is_online()
            };
            let account = is_online
                .then(|| receiver.recv_timeout(ACCOUNT_TIMEOUT).ok())
                .flatten();
            accounts.push((summary(&cell), account));
        }
        accounts
    }

    /// Tells every connection to end; used at shutdown.
    pub fn stop_all(&self, stop: &Stop) {
        for cell in self.walk() {
            order_stop(&cell, stop);
        }
    }

    /// Passes on what a policy asks for a session, by the number under which policies know it.
    pub fn ask(&self, judged: u64, policy: Arc<str>, asked: Asked) {
        let Some(cell) = self.inner.registry.lock().by_judged(judged) else {
            return;
        };
        let mut state = cell.lock();
        if state.is_online() {
            // One place for each policy: its last word counts, and a stop is the last.
            match state
                .orders
                .asked
                .iter_mut()
                .find(|(earlier, _)| *earlier == policy)
            {
                Some((_, Asked::Stop(_))) => {}
                Some((_, place)) => *place = asked,
                None => state.orders.asked.push((policy, asked)),
            }
            state.wake();
        }
    }

    /// Wakes every connection, to look at a new generation of policies or new limits.
    pub fn wake_all(&self) {
        for cell in self.walk() {
            cell.lock().wake();
        }
    }
}

pub(super) fn order_stop(cell: &Arc<SessionCell>, stop: &Stop) -> bool {
    let mut state = cell.lock();
    let online = state.is_online();
    if online {
        state.orders.stop = Some(stop.clone());
        state.wake();
    }
    online
}

fn summary(cell: &SessionCell) -> ClientSummary {
    let state = cell.lock();
    ClientSummary {
        client_id: cell.key.client_id.to_string(),
        mountpoint: cell.key.mountpoint.to_string(),
        username: state.caller.username.as_deref().map(str::to_owned),
        address: state.caller.address.map(|address| address.to_string()),
        online: matches!(state.phase, Phase::Online),
        subscriptions: state.subscriptions.len(),
        queue_messages: state.session.queue_len(),
        queue_bytes: state.session.queue_bytes(),
        inflight: state.session.inflight_len(),
        bytes_in: state.usage.bytes_in,
        bytes_out: state.usage.bytes_out,
        messages_in: state.usage.messages_in,
        messages_out: state.usage.messages_out,
        throttled_in_milliseconds: milliseconds(state.usage.throttled_in),
        throttled_out_milliseconds: milliseconds(state.usage.throttled_out),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
