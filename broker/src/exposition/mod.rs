//! All metrics as one text, whoever asks: what the parts count, then what the policy host knows by itself.

mod services;

use crate::hub::Hub;
use crate::metrics::{Exposition, Metrics};
use crate::policy::Policies;

/// The Prometheus text format, version 0.0.4.
pub(crate) fn text(hub: &Hub, policies: &Policies, metrics: &Metrics) -> String {
    hub.expire_bans();
    let mut text = Exposition::default();
    let listed = policies.list();
    for policy in &listed {
        let labels = [("policy", policy.name.as_str())];
        text.counter(
            "sluice_policy_calls_total",
            "Calls of a policy's hooks.",
            &labels,
            policy.calls,
        );
    }
    let decisions = policies.decisions();
    for (tier, count) in [
        ("grant", decisions.grant),
        ("cache", decisions.cache),
        ("call", decisions.call),
    ] {
        text.counter(
            "sluice_policy_decisions_total",
            "Decisions on publishes and subscriptions, by the costliest thing each needed.",
            &[("tier", tier)],
            count,
        );
    }
    for policy in &listed {
        text.gauge(
            "sluice_policy_instances",
            "Instances of a policy that exist.",
            &[("policy", policy.name.as_str())],
            policy.instances,
        );
    }
    services::render(policies, &mut text);
    for policy in &listed {
        for (name, value) in &policy.counters {
            let labels = [("policy", policy.name.as_str()), ("name", name)];
            text.counter(
                "sluice_policy_counter_total",
                "What policies count themselves.",
                &labels,
                *value,
            );
        }
    }
    metrics.render() + &text.into_string()
}
