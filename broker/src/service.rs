//! What the service manager is told. Without one (no `NOTIFY_SOCKET`) nothing happens.

use crate::event::{Event, Events};
use crate::pulse::{Checkup, Pulse};
use sd_notify::NotifyState;
use std::io;
use std::time::Duration;
use tokio::sync::watch;

/// As often as the service manager wants to hear from us, if it does (sd_watchdog_enabled(3)).
pub(crate) fn pulse() -> Pulse {
    // Not by the library: it wants WATCHDOG_PID to be there, which may be missing.
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = std::env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    let microseconds = number("WATCHDOG_USEC").filter(|microseconds| ours && *microseconds > 0);
    Pulse::new(microseconds.map(Duration::from_micros))
}

/// Tells the service manager that we live, from the main loop, while all workers take their turns. When one does not,
/// it hears nothing and will end and restart us. Ends when the broker stops, as the workers do from then on.
pub(crate) async fn keep_alive(
    (every, mut checkup): (Duration, Checkup),
    events: Events,
    stopping: watch::Receiver<bool>,
) {
    let mut told = Vec::new();
    loop {
        // First, or workers that have not begun yet would be missed.
        tokio::time::sleep(every).await;
        if *stopping.borrow() {
            return;
        }
        let silent = checkup.silent();
        if silent.is_empty() {
            report(sd_notify::notify(false, &[NotifyState::Watchdog]), &events);
        } else if silent != told {
            for worker in &silent {
                let text = &format!("sluice-worker-{worker}");
                events.emit(Event::WorkerHangs { text });
            }
        }
        told = silent;
    }
}

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
