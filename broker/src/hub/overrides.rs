//! An operator's word about single clients: limits that go before what everybody else says.

use super::Hub;
use crate::policy::budget::Budget;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Clients with limits of their own.
const CLIENTS_MAX: usize = 100_000;

/// Limits of single clients, by client id in every mount point. They hold until they are taken back or the broker
/// stops, whether the client is connected or not.
#[derive(Default)]
pub(super) struct Overrides {
    /// Most brokers have none: a connection then takes no lock.
    has_any: AtomicBool,
    budgets: RwLock<HashMap<Box<str>, Budget>>,
}

impl Hub {
    /// What the operator says about this client.
    pub fn client_limits(&self, client_id: &str) -> Option<Budget> {
        let overrides = &self.inner.overrides;
        if !overrides.has_any.load(Ordering::Acquire) {
            return None;
        }
        overrides.budgets.read().get(client_id).copied()
    }

    /// Adds to what the operator says about a client, or takes all of it back (`None`). In force at once; returns how
    /// many of its connections are open.
    ///
    /// # Errors
    /// When too many clients have limits of their own.
    pub fn set_client_limits(&self, client_id: &str, budget: Option<Budget>) -> Result<usize, String> {
        {
            let mut budgets = self.inner.overrides.budgets.write();
            match budget {
                None => {
                    budgets.remove(client_id);
                }
                Some(_) if budgets.len() >= CLIENTS_MAX && !budgets.contains_key(client_id) => {
                    return Err(format!(
                        "{CLIENTS_MAX} clients have limits of their own; take some back with --reset"
                    ));
                }
                Some(budget) => {
                    let before = budgets.entry(client_id.into()).or_default();
                    *before = before.overridden_by(&budget);
                }
            }
            self.inner
                .overrides
                .has_any
                .store(!budgets.is_empty(), Ordering::Release);
        }
        let tell = |cell: &std::sync::Arc<super::SessionCell>| {
            let mut state = cell.lock();
            state.orders.limits_changed = true;
            state.wake();
            state.is_online()
        };
        Ok(self.walk_client(client_id).filter(tell).count())
    }
}
