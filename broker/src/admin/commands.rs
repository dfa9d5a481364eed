//! What each command does.

use super::{Orders, Request, bans, clients, kept};
use crate::config::quantity;
use crate::exposition;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::policy::{LoadReport, LoadedPolicy, Policies, PolicyStatus};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;

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
    /// Where the store is, if there is one.
    pub data_dir: Option<PathBuf>,
}

impl Commands {
    /// Carries out a command; may block, and is called inside a runtime. What is to outlive the process is on disk then.
    ///
    /// # Errors
    /// What to tell the operator; nothing has changed then, unless it says so.
    pub fn obey(&self, request: Request, module: Vec<u8>) -> Result<Value, String> {
        let is_kept = matches!(
            request,
            Request::ClientBan { .. }
                | Request::ClientUnban { .. }
                | Request::SessionDrop { .. }
                | Request::RetainedClear { .. }
        );
        let answer = self.carry_out(request, module)?;
        if is_kept {
            self.wait_until_stored()?;
        }
        Ok(answer)
    }

    fn wait_until_stored(&self) -> Result<(), String> {
        let store = self.hub.store();
        let stored = Handle::current().block_on(store.wait(store.latest()));
        let in_doubt = "it is so now, but the store could not write it: a restart may undo it, see the log";
        stored.map_err(|_| in_doubt.to_owned())
    }

    fn carry_out(&self, request: Request, module: Vec<u8>) -> Result<Value, String> {
        match request {
            Request::Status => Ok(self.status()),
            Request::Metrics => Ok(Value::from(exposition::text(
                &self.hub,
                &self.policies,
                &self.metrics,
            ))),
            Request::Reload => self.orders.reload(),
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
            Request::SessionList { prefix } => Ok(kept::sessions(&self.hub, &prefix)),
            Request::SessionShow { client_id } => kept::session(&self.hub, &client_id),
            Request::SessionDrop { client_id } => kept::drop_session(&self.hub, &client_id),
            Request::RetainedList { filter } => kept::retained(&self.hub, &filter),
            Request::RetainedGet { topic } => kept::retained_message(&self.hub, &topic),
            Request::RetainedClear { filter } => kept::clear_retained(&self.hub, &filter),
            Request::Backup => kept::backup(&self.hub, self.data_dir.as_deref()),
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

/// As in the configuration.
fn granted(policy: &PolicyStatus) -> Vec<String> {
    let capabilities = policy
        .capabilities
        .iter()
        .map(|capability| capability.name().to_owned());
    capabilities
        .chain(policy.resources.iter().map(ToString::to_string))
        .collect()
}

fn policy_status(policy: &PolicyStatus) -> Value {
    json!({
        "name": policy.name,
        "digest": policy.digest,
        "bytes": policy.bytes,
        "size": quantity::size_text(policy.bytes as u64),
        "hooks": policy.hooks,
        "capabilities": granted(policy),
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
