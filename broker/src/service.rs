//! What the service manager is told. Without one (no `NOTIFY_SOCKET`) nothing happens.

use crate::event::{Event, Events};
use sd_notify::NotifyState;
use std::io;

/// Clients can connect; also ends a reload.
pub(crate) fn ready(events: &Events) {
    report(sd_notify::notify(false, &[NotifyState::Ready]), events);
}

/// The configuration is being read again. systemd wants to know since when.
pub(crate) fn reloading(events: &Events) {
    let told = NotifyState::monotonic_usec_now()
        .and_then(|now| sd_notify::notify(false, &[NotifyState::Reloading, now]));
    report(told, events);
}

/// The broker is about to end.
pub(crate) fn stopping(events: &Events) {
    report(sd_notify::notify(false, &[NotifyState::Stopping]), events);
}

fn report(told: io::Result<()>, events: &Events) {
    if let Err(error) = told {
        events.emit(Event::ServiceManagerUnreachable {
            error: &error.to_string(),
        });
    }
}
