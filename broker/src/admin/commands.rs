//! What each command does.

use super::{Orders, Request, bans, clients};
use crate::config::quantity;
use crate::exposition;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::policy::{LoadReport, LoadedPolicy, Policies, PolicyStatus};
use serde_json::{Value, json};
use std::sync::Arc;

/// The parts of the broker that commands act on.
pub struct Commands {
    /// Whose clients are listed, limited, kicked and banned.
    pub hub: Hub,
    /// To the owner of the configuration in force.
    pub orders: Orders,
    /// Listed, replaced and rolled back.
    pub policies: Policies,
    /// For `status` and `metrics`.
    pub metrics: Arc<Metrics>,
}

impl Commands {
    /// Carries out a command; may block.
    ///
    /// # Errors
    /// What to tell the operator; nothing has changed then.
    pub fn obey(&self, request: Request, module: Vec<u8>) -> Result<Value, String> {
        match request {
            Request::Status => Ok(self.status()),
            Request::Metrics => Ok(Value::from(exposition::text(
                &self.hub,
                &self.policies,
                &self.metrics,
            ))),
            Request::ClientList { prefix } => Ok(clients::list(&self.hub, &prefix)),
            Request::ClientShow { client_id } => clients::show(&self.hub, &client_id),
            Request::ClientLimits {
                client_id,
                assignments,
            } => clients::set_limits(&self.hub, &client_id, &assignments),
            Request::ClientLimitsReset { client_id } => clients::reset_limits(&self.hub, &client_id),
            Request::ClientBan {
                subject,
                reason,
                milliseconds,
            } => bans::ban(&self.hub, subject, reason, milliseconds),
            Request::ClientUnban { subject } => bans::unban(&self.hub, &subject),
            Request::ClientBans => Ok(bans::list(&self.hub)),
            Request::LimitsShow => self.orders.show_limits(),
            Request::LimitsSet { assignments } => self.orders.set_limits(assignments),
            Request::ClientKick { client_id } => Ok(json!({ "ended": self.hub.kick(&client_id) })),
            Request::PolicyList => Ok(Value::Array(
                self.policies.list().iter().map(policy_status).collect(),
            )),
            Request::PolicyLoad { name, .. } => {
                crate::config::check_name(&name)?;
                self.policies
                    .load(&name, module)
                    .map(|report| load_report(&report))
                    .map_err(told)
            }
            Request::PolicyRollback { name } => self
                .policies
                .rollback(&name)
                .map(|report| load_report(&report))
                .map_err(told),
        }
    }

    fn status(&self) -> Value {
        let metrics = &self.metrics;
        self.hub.expire_bans();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_seconds": metrics.uptime_seconds(),
            "connections": metrics.connections_current.get(),
            "connections_total": metrics.connections_total.get(),
            "sessions": metrics.sessions_current.get(),
            "bans": metrics.bans_current.get(),
            "subscriptions": metrics.subscriptions_current.get(),
            "retained_messages": metrics.retained_current.get(),
            "retained_bytes": metrics.retained_bytes.get(),
            "messages_received": metrics.messages_received.total(),
            "messages_sent": metrics.messages_sent.total(),
            "bytes_received": metrics.bytes_received.get(),
            "bytes_sent": metrics.bytes_sent.get(),
            "connects_refused": metrics.connects_refused.get(),
            "publishes_refused": metrics.publishes_refused.get(),
            "subscribes_refused": metrics.subscribes_refused.get(),
            "policy_generation": self.policies.generation(),
            "policy_faults": metrics.policy_faults.get(),
        })
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn policy_status(policy: &PolicyStatus) -> Value {
    json!({
        "name": policy.name,
        "digest": policy.digest,
        "bytes": policy.bytes,
        "size": quantity::size_text(policy.bytes as u64),
        "hooks": policy.hooks,
        "capabilities": policy.capabilities.iter().map(|granted| granted.name()).collect::<Vec<_>>(),
        "generation": policy.generation,
        "active_seconds": policy.active_for.as_secs(),
        "calls": policy.calls,
        "faults": policy.faults,
        "quarantined": policy.quarantined,
        "previous": policy.previous,
        "last_error": policy.last_error,
    })
}

fn load_report(report: &LoadReport) -> Value {
    let loaded = |policy: &LoadedPolicy| {
        json!({
            "name": policy.name,
            "digest": policy.digest,
            "bytes": policy.bytes,
            "hooks": policy.hooks,
            "compile_milliseconds": u64::try_from(policy.compile_took.as_millis()).unwrap_or(u64::MAX),
        })
    };
    json!({
        "generation": report.generation,
        "changed": report.changed,
        "policies": report.policies.iter().map(loaded).collect::<Vec<_>>(),
    })
}
