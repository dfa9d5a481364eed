//! What of a changed configuration a running broker can take.

use super::{Config, Listener, Log};
use crate::config::Problem;

/// The difference of two configurations, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Takes effect at once.
    pub live: Vec<String>,
    /// Takes effect with the next start.
    pub restart: Vec<String>,
}

impl Changes {
    /// Whether the two are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }

    /// One warning for each key that waits for the next start.
    #[must_use]
    pub fn warnings(&self, new: &Config) -> Vec<Problem> {
        let warning = |key: &String| Problem {
            file: new.file.clone(),
            line: new.lines.of(key),
            key: key.clone(),
            what: "changed, but needs a restart".to_owned(),
            remedy: "until then the old value holds".to_owned(),
        };
        self.restart.iter().map(warning).collect()
    }
}

/// What a running broker is to obey when `new` is read: all that can change live, and of the rest what it has.
pub(super) fn in_force(old: &Config, new: &Config) -> Config {
    let mut warnings = new.warnings.clone();
    warnings.extend(changes(old, new).warnings(new));
    let log = Log {
        level: new.log.level,
        format: old.log.format,
    };
    Config {
        file: new.file.clone(),
        lines: new.lines.clone(),
        data_dir: old.data_dir.clone(),
        store: old.store,
        policy_dir: old.policy_dir.clone(),
        workers: old.workers,
        // A socket that is open stays open, and keeps its own chain when the new configuration does not know it.
        listeners: old
            .listeners
            .iter()
            .map(|listener| listener_in_force(listener, new))
            .collect(),
        limits: new.limits.clone(),
        total: new.total,
        guard: new.guard.clone(),
        memory_limit: new.memory_limit,
        policies: new.policies.clone(),
        default_chain: new.default_chain.clone(),
        services: new.services.clone(),
        issuers: new.issuers.clone(),
        admin: old.admin.clone(),
        health: old.health,
        log,
        sys_interval: old.sys_interval,
        confine: old.confine,
        warnings,
    }
}

fn listener_in_force(old: &Listener, new: &Config) -> Listener {
    let known = new.listeners.iter().find(|listener| listener.name == old.name);
    Listener {
        address: old.address.clone(),
        ..known.unwrap_or(old).clone()
    }
}

pub(super) fn changes(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes::default();
    // Named field by field: a new one must be sorted into one of the two kinds to compile.
    let Config {
        file: _,
        lines: _,
        data_dir,
        store,
        policy_dir,
        workers,
        listeners,
        limits,
        total,
        guard,
        memory_limit,
        policies,
        default_chain,
        services,
        issuers,
        admin,
        health,
        log,
        sys_interval,
        confine,
        warnings: _,
    } = old;
    for (key, changed) in [
        ("limits", *limits != new.limits),
        ("total", *total != new.total),
        ("guard", *guard != new.guard),
        ("memory_limit", *memory_limit != new.memory_limit),
        ("log.level", log.level != new.log.level),
        ("policies", *default_chain != new.default_chain),
        ("policy", *policies != new.policies),
        ("service", *services != new.services),
        ("jwt", *issuers != new.issuers),
    ] {
        if changed {
            changes.live.push(key.to_owned());
        }
    }
    for (key, changed) in [
        ("admin", *admin != new.admin),
        ("confine", *confine != new.confine),
        ("data_dir", *data_dir != new.data_dir),
        ("store", *store != new.store),
        ("health", *health != new.health),
        ("log.format", log.format != new.log.format),
        ("policy_dir", *policy_dir != new.policy_dir),
        ("sys_interval", *sys_interval != new.sys_interval),
        ("workers", *workers != new.workers),
    ] {
        if changed {
            changes.restart.push(key.to_owned());
        }
    }
    listener_changes(listeners, &new.listeners, &mut changes);
    changes
}

/// The socket of a listener stays as it is; what is asked of its clients changes live.
fn listener_changes(old: &[Listener], new: &[Listener], changes: &mut Changes) {
    for listener in old {
        let Some(other) = new.iter().find(|other| other.name == listener.name) else {
            changes
                .restart
                .push(format!("listener \"{}\" (removed)", listener.name));
            continue;
        };
        if listener.address != other.address {
            changes
                .restart
                .push(format!("listener \"{}\" address", listener.name));
        }
        if *other
            != (Listener {
                address: other.address.clone(),
                ..listener.clone()
            })
        {
            changes.live.push(format!("listener \"{}\"", listener.name));
        }
    }
    for listener in new {
        if !old.iter().any(|other| other.name == listener.name) {
            changes
                .restart
                .push(format!("listener \"{}\" (added)", listener.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_policies_and_the_log_level_change_live() {
        let old = Config::default();
        let mut new = old.clone();
        assert!(old.changes_to(&new).is_empty());
        new.limits.receive_max = 7;
        new.log.level = tracing::Level::DEBUG;
        new.default_chain.push("other".to_owned());
        let changes = old.changes_to(&new);
        assert_eq!(changes.live, ["limits", "log.level", "policies"]);
        assert!(changes.restart.is_empty());
    }

    #[test]
    fn sockets_wait_for_a_restart_and_say_so() {
        let old = Config::default();
        let mut new = old.clone();
        new.workers = Some(3);
        new.listeners = vec![Listener::new("tls", old.listeners[0].address.clone())];
        let changes = old.changes_to(&new);
        assert_eq!(
            changes.restart,
            [
                "workers",
                "listener \"default\" (removed)",
                "listener \"tls\" (added)"
            ]
        );
        assert_eq!(
            changes.warnings(&new)[0].to_string(),
            "workers: changed, but needs a restart: until then the old value holds"
        );
    }

    #[test]
    fn the_chain_of_a_listener_changes_live_its_address_does_not() {
        let old = Config::default();
        let mut new = old.clone();
        new.listeners[0].policies = Some(vec!["users".to_owned()]);
        assert_eq!(old.changes_to(&new).live, ["listener \"default\""]);
        assert!(old.changes_to(&new).restart.is_empty());
        new.listeners[0].address = std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into();
        assert_eq!(old.changes_to(&new).restart, ["listener \"default\" address"]);
        let in_force = old.in_force_with(&new);
        assert_eq!(in_force.listeners[0].policies, new.listeners[0].policies);
        assert_eq!(in_force.listeners[0].address, old.listeners[0].address);
        assert_eq!(in_force.warnings.len(), 1);
    }

    #[test]
    fn an_open_socket_keeps_its_own_chain_when_it_is_removed_from_the_configuration() {
        let mut old = Config::default();
        old.listeners[0].policies = Some(vec!["strict".to_owned()]);
        let mut new = Config::default();
        new.listeners[0].name = "other".to_owned();
        new.limits.receive_max = 7;
        let in_force = old.in_force_with(&new);
        assert_eq!(in_force.listeners, old.listeners);
        assert_eq!(in_force.limits, new.limits);
    }
}
