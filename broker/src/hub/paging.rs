//! Fetching from the store what a session is about to send: no more than a page of a queue is in memory.

use super::Hub;
use super::cell::{SessionCell, SessionState};
use crate::event::Event;
use sluice_mqtt::packet::QoS;
use sluice_mqtt::session::{Delivery, Place, SubscriptionIds};
use std::sync::Arc;

impl Hub {
    /// Begins to fetch what the session wants, on a thread that may wait for the disk; its driver is woken when it is
    /// there. The caller holds the session and is inside a runtime.
    pub fn fetch(&self, cell: &Arc<SessionCell>, state: &mut SessionState) {
        if !cell.durable || state.fetching {
            return;
        }
        let wanted = state.session.wanted();
        if wanted.is_empty() {
            return;
        }
        state.fetching = true;
        let (hub, cell) = (self.clone(), Arc::clone(cell));
        tokio::task::spawn_blocking(move || {
            let fetched = wanted
                .into_iter()
                .map(|place| (place, hub.read(&cell, place)))
                .collect();
            let mut state = cell.lock();
            // What it notes is saved by the driver, with its next turn.
            state.session.arrived(fetched);
            state.fetching = false;
            state.wake();
        });
    }

    /// `None`: it is not there, or damaged. Whoever expected it goes on without.
    fn read(&self, cell: &SessionCell, place: Place) -> Option<Delivery> {
        let found = self
            .inner
            .store
            .read_at(place.seq.get(), cell.number, place.position);
        let error = match found {
            Ok(Some(found)) => {
                return Some(Delivery {
                    message: found.message,
                    qos: QoS::new(found.qos).unwrap_or_default(),
                    retain: found.retain,
                    subscription_ids: SubscriptionIds::from(found.subscription_ids),
                    place: Some(place),
                });
            }
            Ok(None) => "it is not in the store".to_owned(),
            Err(error) => error.to_string(),
        };
        self.inner.events.emit(Event::StoredMessageLost {
            client: crate::report::session(&cell.key.client_id),
            error: &error,
        });
        None
    }
}
