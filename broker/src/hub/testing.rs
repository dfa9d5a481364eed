//! What tests of the hub begin with.

use super::bans::Caller;
use super::cell::SessionCell;
use super::{Attach, Hub, SessionKey};
use crate::config::Limits;
use crate::event::Events;
use sluice_mqtt::session::{Overflow, SessionLimits};
use sluice_store::Store;
use std::sync::Arc;
use std::time::Instant;

/// A hub that keeps nothing.
pub(super) fn hub() -> Hub {
    let metrics = Arc::default();
    let events = Events::new(Arc::clone(&metrics));
    Hub::new(Limits::default(), Store::memory(), metrics, events)
}

/// A connected client, with nothing to its name but this number.
pub(super) fn attach(hub: &Hub, number: u64) -> Arc<SessionCell> {
    let key = SessionKey {
        mountpoint: "".into(),
        client_id: number.to_string().into(),
    };
    let request = Attach {
        key,
        caller: Caller::default(),
        judged: number,
        clean_start: true,
        expiry_seconds: 0,
        receive_max: 1,
        session_limits: SessionLimits {
            queue_messages_max: 1,
            queue_bytes_max: 1,
            overflow: Overflow::DropNew,
            inflight_max: 1,
        },
        subscriptions_max: 1,
        may_create: true,
        gate: None,
        will: None,
    };
    hub.attach(request, Instant::now()).ok().unwrap().cell
}
