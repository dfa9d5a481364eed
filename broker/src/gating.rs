//! From what the policy host notices to events: neither knows the other.

use crate::event::{Event, Events, PolicyEvent};
use crate::policy::notice::{ActivationCause, LogLevel, ServiceNotice};
use crate::policy::{PolicyNotice, PolicyObserver};

/// Passes on what the policy host notices.
pub(crate) struct Observer(pub(crate) Events);

impl PolicyObserver for Observer {
    fn observe(&self, notice: &PolicyNotice) {
        self.0.emit(Event::Policy(event(notice)));
    }
}

fn event(notice: &PolicyNotice) -> PolicyEvent<'_> {
    match notice {
        PolicyNotice::Fault {
            policy,
            generation,
            hook,
            fault,
        } => PolicyEvent::Fault {
            policy,
            generation: *generation,
            hook: hook.name(),
            fault: fault.kind.name(),
            text: &fault.detail,
        },
        PolicyNotice::Activated {
            policy,
            generation,
            digest,
            cause,
            took,
        } => PolicyEvent::Activated {
            policy,
            generation: *generation,
            digest,
            cause: cause_name(*cause),
            took: *took,
        },
        PolicyNotice::Rejected {
            policy,
            digest,
            error,
        } => PolicyEvent::Rejected {
            policy,
            digest: digest.as_deref(),
            error,
        },
        PolicyNotice::Quarantined { policy, digest } => PolicyEvent::Quarantined { policy, digest },
        PolicyNotice::Log {
            policy,
            level,
            message,
            suppressed,
        } => PolicyEvent::Log {
            policy,
            level: match level {
                LogLevel::Error => tracing::Level::ERROR,
                LogLevel::Warn => tracing::Level::WARN,
                LogLevel::Info => tracing::Level::INFO,
                LogLevel::Debug => tracing::Level::DEBUG,
            },
            text: message,
            suppressed: *suppressed,
        },
        PolicyNotice::Forgotten { client_id: client } => PolicyEvent::Forgotten { client },
        PolicyNotice::Service { service, what } => match what {
            ServiceNotice::Failed(text) => PolicyEvent::ServiceFailed { service, text },
            ServiceNotice::LeftAlone(time) => PolicyEvent::ServiceLeftAlone { service, time: *time },
            ServiceNotice::Back => PolicyEvent::ServiceBack { service },
        },
        PolicyNotice::Host { message } => PolicyEvent::Host { text: message },
    }
}

fn cause_name(cause: ActivationCause) -> &'static str {
    match cause {
        ActivationCause::Start => "start",
        ActivationCause::Load => "load",
        ActivationCause::Reload => "reload",
        ActivationCause::Rollback => "rollback",
        ActivationCause::Quarantine => "quarantine",
    }
}
