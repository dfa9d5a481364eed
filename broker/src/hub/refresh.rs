//! After a swap of policies: every session is judged again, the disconnected ones here, the others by their drivers.
//!
//! A driver judges again before it does anything else under the new policies, so who has something to do never waits for
//! its turn here. All others are woken a few at a time: each of them in line at once would be in the way of every
//! message for as long as they all take.

use super::Hub;
use super::cell::{Offline, Phase, SessionCell};
use super::routes::parse_filter;
use crate::event::Event;
use crate::policy::Gate;
use crate::policy::verdict::{RefreshCause, RefreshVerdict, SubscribeVerdict};
use crate::report;
use sluice_mqtt::packet::{QoS, SubscriptionOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sessions that are judged here before others get a turn.
const SESSIONS_PER_TURN: usize = 64;
/// Connections of one worker that are woken at a time: each takes it a few microseconds.
const CONNECTIONS_PER_TURN: usize = 64;
/// The pause after that. What the worker does not need of it belongs to the messages.
const TURN: Duration = Duration::from_millis(1);

impl Hub {
    /// Judges all sessions again under the current policies; `workers` threads drive the connections. Takes about a
    /// millisecond for each 64 connections of a worker.
    pub async fn judge_again(&self, workers: usize) {
        let connections_per_turn = CONNECTIONS_PER_TURN * workers.max(1);
        let (mut woken, mut judged) = (0, 0);
        for cell in self.walk() {
            if cell.lock().wake_driver() {
                woken += 1;
                if woken % connections_per_turn == 0 {
                    tokio::time::sleep(TURN).await;
                }
                continue;
            }
            self.judge_offline_again(&cell);
            judged += 1;
            if judged % SESSIONS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn judge_offline_again(&self, cell: &Arc<SessionCell>) {
        let (mut offline, connection) = {
            let mut state = cell.lock();
            let Phase::Offline(kept) = &mut state.phase else {
                return;
            };
            let Some(offline) = kept.take_if(|offline| !offline.gate.is_current()) else {
                return;
            };
            (offline, state.connection)
        };
        self.unschedule(&offline, cell.number);
        let now = Instant::now();
        match self.is_still_admitted(cell, &mut offline) {
            true => self.settle(cell, connection, offline, now),
            false => self.end(cell, Some(offline), now),
        }
    }

    /// Judges a session without a connection by the policies in force, unless they have done so.
    pub(super) fn is_still_admitted(&self, cell: &SessionCell, offline: &mut Offline) -> bool {
        if offline.gate.is_current() {
            return true;
        }
        if let RefreshVerdict::Deny(refusal) = offline.gate.refresh(RefreshCause::Swap) {
            let client = report::session(&cell.key.client_id);
            self.inner.events.emit(Event::SessionRefused {
                client,
                refusal: report::refusal(&refusal),
            });
            return false;
        }
        self.judge_subscriptions(cell, &mut offline.gate);
        true
    }

    /// Removes the subscriptions of a session that its gate no longer allows; returns how many.
    pub fn judge_subscriptions(&self, cell: &SessionCell, gate: &mut Gate) -> usize {
        let subscriptions: Vec<Box<str>> = cell.lock().subscriptions.iter().cloned().collect();
        let mut removed = 0;
        for text in subscriptions {
            let Some(filter) = parse_filter(&text) else {
                continue;
            };
            // Removed meanwhile, by the client itself.
            let Some(options) = self.subscription_options(cell, &filter) else {
                continue;
            };
            let bits = option_bits(options, filter.share().is_some());
            let refusal = match gate.subscribe(filter.filter(), bits) {
                SubscribeVerdict::Allow { .. } => continue,
                SubscribeVerdict::Deny(refusal) | SubscribeVerdict::Disconnect(refusal) => refusal,
            };
            removed += usize::from(self.unsubscribe(cell, &filter).is_some());
            // Said once it is so: whoever waits for the line must not see another message.
            self.inner.events.emit(Event::SubscriptionRemoved {
                client: report::session(&cell.key.client_id),
                filter: filter.as_str(),
                refusal: report::refusal(&refusal),
            });
        }
        removed
    }
}

/// Subscription options as `on-subscribe` gets them.
pub fn option_bits(options: SubscriptionOptions, shared: bool) -> u32 {
    let qos = match options.qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 1,
        QoS::ExactlyOnce => 2,
    };
    qos | u32::from(options.no_local) << 2
        | u32::from(options.retain_as_published) << 3
        | (options.retain_handling as u32) << 4
        | u32::from(shared) << 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing;
    use std::future::Future as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    /// Counts how many drivers were woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_swap_wakes_a_few_connections_at_a_time_and_all_of_them_in_the_end() {
        const CLIENTS: usize = 5 * CONNECTIONS_PER_TURN;
        const WORKERS: usize = 2;
        let hub = testing::hub();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        for number in 0..CLIENTS {
            testing::attach(&hub, number as u64).lock().park(&waker, true);
        }
        let woken = || woken.0.load(Ordering::Relaxed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut judging = Box::pin(hub.judge_again(WORKERS));
            let most = CONNECTIONS_PER_TURN * WORKERS;
            let mut before = 0;
            // Each look goes on to the next pause.
            std::future::poll_fn(|cx: &mut Context<'_>| {
                let polled = judging.as_mut().poll(cx);
                assert!(woken() - before <= most, "{} at once", woken() - before);
                before = woken();
                polled
            })
            .await;
        });
        assert_eq!(woken(), CLIENTS);
    }
}
