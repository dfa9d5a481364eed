//! After a swap of policies: every session is judged again, the disconnected ones here, the others by their drivers.

use super::Hub;
use super::cell::{Offline, Phase, SessionCell};
use super::routes::parse_filter;
use crate::event::Event;
use crate::policy::Gate;
use crate::policy::verdict::{RefreshCause, RefreshVerdict, SubscribeVerdict};
use crate::report;
use sluice_mqtt::packet::{QoS, SubscriptionOptions};
use std::sync::Arc;
use std::time::Instant;

/// Sessions judged before others get a turn.
const SESSIONS_PER_TURN: usize = 64;

impl Hub {
    /// Judges all sessions again under the current policies.
    pub async fn judge_again(&self) {
        self.wake_all();
        let cells = self.inner.registry.lock().all();
        for (index, cell) in cells.iter().enumerate() {
            if index % SESSIONS_PER_TURN == SESSIONS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            self.judge_offline_again(cell);
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
