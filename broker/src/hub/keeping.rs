//! What is kept for clients that are away, as an operator sees it: sessions and retained messages.

use super::Hub;
use super::cell::{Phase, SessionCell, Stop};
use super::routes::parse_filter;
use serde::Serialize;
use sluice_mqtt::message::Message;
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::topic::TopicFilter;
use sluice_store::Change;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// A session, as to what is kept of it.
#[derive(Clone, Debug, Serialize)]
pub struct SessionSummary {
    /// Client identifier.
    pub client_id: String,
    /// Prefix of its topics.
    pub mountpoint: String,
    /// Whether it is connected.
    pub online: bool,
    /// Whether it outlives the process.
    pub durable: bool,
    /// Seconds until it ends by itself; `None`: while it is connected, or never.
    pub expires_in_seconds: Option<u64>,
    /// Whether a will waits for its delay.
    pub will_pending: bool,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// Messages in its queue.
    pub queue_messages: usize,
    /// Bytes in its queue.
    pub queue_bytes: u64,
    /// Messages sent and not acknowledged.
    pub inflight: usize,
    /// QoS 2 messages received from it and not released.
    pub received: usize,
}

/// One subscription of a session.
#[derive(Clone, Debug, Serialize)]
pub struct SubscriptionSummary {
    /// As the client wrote it.
    pub filter: String,
    /// Granted.
    pub qos: u8,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
}

impl Hub {
    /// All sessions.
    pub fn sessions(&self) -> Vec<SessionSummary> {
        let now = Instant::now();
        self.walk().map(|cell| summary(&cell, now)).collect()
    }

    /// The sessions of a client id, one in each mount point, with their subscriptions.
    pub fn sessions_of(&self, client_id: &str) -> Vec<(SessionSummary, Vec<SubscriptionSummary>)> {
        let now = Instant::now();
        self.walk_client(client_id)
            .map(|cell| (summary(&cell, now), self.subscriptions_of(&cell)))
            .collect()
    }

    fn subscriptions_of(&self, cell: &SessionCell) -> Vec<SubscriptionSummary> {
        let filters = cell.lock().subscriptions.clone();
        let summary = |filter: Box<str>| {
            let parsed = parse_filter(&filter)?;
            let options = self.subscription_options(cell, &parsed)?;
            Some(SubscriptionSummary {
                filter: filter.into(),
                qos: options.qos as u8,
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
            })
        };
        filters.into_iter().filter_map(summary).collect()
    }

    /// Ends the sessions of a client id, with their subscriptions and queues; connections are closed. Returns how many.
    pub fn drop_sessions(&self, client_id: &str) -> usize {
        let mut dropped = 0;
        for cell in self.walk_client(client_id) {
            let offline = {
                let mut state = cell.lock();
                if state.ended {
                    continue;
                }
                state.orders.stop = Some(Stop {
                    reason: ReasonCode::ADMINISTRATIVE_ACTION,
                    text: "its session was dropped by the operator",
                });
                match &mut state.phase {
                    Phase::Online => None,
                    Phase::Offline(offline) => offline.take(),
                }
            };
            if let Some(offline) = &offline {
                self.unschedule(offline, cell.number);
            }
            self.end(&cell, offline, Instant::now());
            dropped += 1;
        }
        dropped
    }

    /// Retained messages whose topics match, at most so many, and how many there are in all.
    pub fn retained_messages(&self, filter: &TopicFilter, max: usize) -> (Vec<Message>, usize) {
        let now = Instant::now();
        let retained = self.inner.retained.lock();
        let (mut found, mut all) = (Vec::new(), 0);
        retained.each(filter, |message| {
            if !message.is_expired(now) {
                all += 1;
                if found.len() < max {
                    found.push(message.clone());
                }
            }
            ControlFlow::Continue(())
        });
        (found, all)
    }

    /// Removes the retained messages whose topics match; returns how many.
    pub fn clear_retained(&self, filter: &TopicFilter) -> usize {
        let mut retained = self.inner.retained.lock();
        let mut topics = Vec::new();
        retained.each(filter, |message| {
            topics.push(message.topic().to_owned());
            ControlFlow::Continue(())
        });
        let count = topics.len();
        for topic in topics {
            retained.remove(&topic);
            self.inner.store.submit(Change::RetainedCleared(topic));
        }
        self.report_retained(&retained);
        count
    }
}

fn summary(cell: &Arc<SessionCell>, now: Instant) -> SessionSummary {
    let state = cell.lock();
    let offline = match &state.phase {
        Phase::Online => None,
        Phase::Offline(offline) => offline.as_deref(),
    };
    SessionSummary {
        client_id: cell.key.client_id.to_string(),
        mountpoint: cell.key.mountpoint.to_string(),
        online: state.is_online(),
        durable: cell.durable,
        expires_in_seconds: offline
            .and_then(|offline| offline.expires_at)
            .map(|at| at.saturating_duration_since(now).as_secs()),
        will_pending: offline.is_some_and(|offline| offline.will.is_some()),
        subscriptions: state.subscriptions.len(),
        queue_messages: state.session.queue_len(),
        queue_bytes: state.session.queue_bytes(),
        inflight: state.session.inflight_len(),
        received: state.session.received_len(),
    }
}
