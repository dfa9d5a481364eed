//! From what the operator says about policies to what the policy host runs.

use super::{Config, Listener, PolicyConfig, PolicySource};
use crate::policy::{self, PoliciesConfig, PolicySpec};

impl Config {
    /// All policies and chains, for the policy host.
    #[must_use]
    pub fn policies_config(&self) -> PoliciesConfig {
        let own_chain = |listener: &Listener| Some((listener.name.clone(), listener.policies.clone()?));
        PoliciesConfig {
            policies: self.policies.iter().map(spec).collect(),
            chains: self.listeners.iter().filter_map(own_chain).collect(),
            default_chain: self.default_chain.clone(),
            services: self.services.clone(),
            issuers: self.issuers.clone(),
            cache_dir: self.data_dir.as_ref().map(|dir| dir.join("compiled-policies")),
            kv_bytes_max: self.limits.policy_kv_bytes_max,
            ..PoliciesConfig::default()
        }
    }
}

fn spec(policy: &PolicyConfig) -> PolicySpec {
    PolicySpec {
        name: policy.name.clone(),
        source: match &policy.source {
            PolicySource::StaticUsers => policy::PolicySource::Embedded,
            PolicySource::File(path) => policy::PolicySource::File(path.clone()),
        },
        settings: policy.settings.clone(),
        capabilities: policy.capabilities,
        resources: policy.resources.clone(),
        limits: policy.limits,
    }
}
