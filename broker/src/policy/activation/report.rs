//! What is told about policies: what a load has done, and how each fares.

use super::Slot;
use crate::policy::Host;
use crate::policy::set::Policy;
use crate::policy::spec::{CapabilitySet, Resources};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a load or reload has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// The generation in force now.
    pub generation: u64,
    /// False: what was loaded is what was in force; nothing has happened.
    pub changed: bool,
    /// The policies whose modules or terms changed.
    pub policies: Vec<LoadedPolicy>,
}

/// One policy of a [`LoadReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedPolicy {
    /// Its name.
    pub name: String,
    /// SHA-256 of its module, hexadecimal.
    pub digest: String,
    /// Size of its module.
    pub bytes: usize,
    /// Its hooks.
    pub hooks: Vec<&'static str>,
    /// Time to compile it.
    pub compile_took: Duration,
}

/// How a policy fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// SHA-256 of its module, hexadecimal.
    pub digest: String,
    /// Size of its module.
    pub bytes: usize,
    /// Its hooks.
    pub hooks: Vec<&'static str>,
    /// What it is granted.
    pub capabilities: CapabilitySet,
    /// The services and issuers it may ask.
    pub resources: Resources,
    /// Instances of it that exist.
    pub instances: u64,
    /// The generation that brought its module.
    pub generation: u64,
    /// How long the module is in force.
    pub active_for: Duration,
    /// Calls since then; up to 64 per thread are not yet counted.
    pub calls: u64,
    /// Calls that failed.
    pub faults: u64,
    /// It failed too often and there was nothing to go back to.
    pub quarantined: bool,
    /// Its own counters.
    pub counters: Vec<(String, u64)>,
    /// SHA-256 of the modules one can go back to, the newest first.
    pub previous: Vec<String>,
    /// Why the last load was refused, if the last one was.
    pub last_error: Option<String>,
}

impl Host {
    pub(super) fn report(&self, changed: bool, policies: &[Arc<Policy>]) -> LoadReport {
        let loaded = |policy: &Arc<Policy>| LoadedPolicy {
            name: policy.name.to_string(),
            digest: policy.program.inspection.digest.clone(),
            bytes: policy.program.inspection.bytes,
            hooks: policy.program.inspection.hooks.clone(),
            compile_took: policy.program.compile_took,
        };
        LoadReport {
            generation: self.generation.load(Ordering::Relaxed),
            changed,
            policies: policies.iter().map(loaded).collect(),
        }
    }

    pub(in crate::policy) fn list(&self) -> Vec<PolicyStatus> {
        let shelf = self.registry.shelf.lock();
        let status = |slot: &Slot| {
            let (policy, totals) = (&slot.policy, slot.policy.health.totals());
            let inspection = &policy.program.inspection;
            PolicyStatus {
                name: policy.name.to_string(),
                digest: inspection.digest.clone(),
                bytes: inspection.bytes,
                hooks: inspection.hooks.clone(),
                capabilities: policy.spec.capabilities,
                resources: policy.spec.resources.clone(),
                instances: policy.holdings().instances.load(Ordering::Relaxed) as u64,
                generation: slot.activated,
                active_for: totals.active_for,
                calls: totals.calls,
                faults: totals.faults,
                quarantined: totals.quarantined,
                counters: policy.holdings().counters(),
                previous: slot
                    .previous
                    .iter()
                    .rev()
                    .map(|policy| policy.program.inspection.digest.clone())
                    .collect(),
                last_error: slot.last_error.clone(),
            }
        };
        shelf.slots.iter().map(status).collect()
    }
}
