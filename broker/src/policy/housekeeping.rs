//! A thread for what must not hold up a call: making spare instances, and going back from a module that fails.

use super::Host;
use super::notice::{ActivationCause, PolicyErrorKind, PolicyNotice};
use super::set::Policy;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

/// Errands under way; twice as many as there may be policies.
const ERRANDS_MAX: usize = 512;

/// Something to be done soon.
pub(super) enum Errand {
    /// A policy has used its spare.
    Refill(Weak<Policy>),
    /// A module has failed too often.
    Quarantine { name: Arc<str>, id: u64 },
}

pub(super) fn channel() -> (SyncSender<Errand>, Receiver<Errand>) {
    sync_channel(ERRANDS_MAX)
}

/// Starts the thread. It ends with the host.
pub(super) fn start(host: &Arc<Host>, errands: Receiver<Errand>) -> io::Result<()> {
    let host = Arc::downgrade(host);
    thread::Builder::new()
        .name("policy-house".into())
        .spawn(move || {
            while let Ok(errand) = errands.recv() {
                match errand {
                    Errand::Refill(policy) => {
                        if let Some(policy) = policy.upgrade() {
                            policy.refill();
                        }
                    }
                    Errand::Quarantine { name, id } => {
                        let Some(host) = host.upgrade() else { return };
                        quarantine(&host, &name, id);
                    }
                }
            }
        })
        .map(drop)
}

fn quarantine(host: &Host, name: &Arc<str>, id: u64) {
    let Some(digest) = host.digest_of(name, id) else {
        // It has been replaced in the meantime.
        return;
    };
    match host.rollback(name, Some(id), ActivationCause::Quarantine) {
        Err(error) if error.kind == PolicyErrorKind::NoPrevious => {
            host.observer.observe(&PolicyNotice::Quarantined {
                policy: Arc::clone(name),
                digest,
            });
        }
        // A swap that came first has done it.
        Ok(_) | Err(_) => {}
    }
}
