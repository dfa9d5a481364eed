//! From the configuration to the policy host, and from what the host notices to events: neither knows the other.

use crate::config::{self, Config};
use crate::event::{Event, Events, PolicyEvent};
use crate::policy::notice::{ActivationCause, LogLevel};
use crate::policy::{PoliciesConfig, PolicyNotice, PolicyObserver, PolicySource, PolicySpec};

/// What the policy host is to run.
pub(crate) fn policies(config: &Config) -> PoliciesConfig {
    let spec = |policy: &config::PolicyConfig| PolicySpec {
        name: policy.name.clone(),
        source: match &policy.source {
            config::PolicySource::StaticUsers => PolicySource::Embedded,
            config::PolicySource::File(path) => PolicySource::File(path.clone()),
        },
        settings: policy.settings.clone(),
        capabilities: policy.capabilities,
        limits: policy.limits,
    };
    let own_chain = |listener: &config::Listener| Some((listener.name.clone(), listener.policies.clone()?));
    PoliciesConfig {
        policies: config.policies.iter().map(spec).collect(),
        chains: config.listeners.iter().filter_map(own_chain).collect(),
        default_chain: config.default_chain.clone(),
        cache_dir: config.data_dir.as_ref().map(|dir| dir.join("policy-cache")),
        ..PoliciesConfig::default()
    }
}

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
