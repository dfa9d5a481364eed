//! The configuration in force: what was read, with what `limits set` has put in its place since.

use super::{Config, Problem};
use serde_json::Value;
use std::collections::HashMap;

/// What a running broker obeys. Not shared: whoever owns it decides in which order it changes.
#[derive(Clone, Debug)]
pub struct InForce {
    read: Config,
    now: Config,
}

/// A limit in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// As [`Config::with_limits`] takes it.
    pub key: String,
    /// As in a file.
    pub value: Value,
    /// What was read: it holds again when the configuration is read again.
    pub configured: Value,
    /// Who says so.
    pub origin: LimitOrigin,
}

/// Who says what a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOrigin {
    /// Nobody, or the file says the same.
    Default,
    /// The file.
    File,
    /// An operator, since the file was read.
    Set,
}

/// A limit that has another value than before.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitChange {
    /// As [`Config::with_limits`] takes it.
    pub key: String,
    /// As in a file.
    pub before: Value,
    /// As in a file.
    pub after: Value,
}

impl LimitOrigin {
    /// For people and machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Set => "set",
        }
    }
}

impl InForce {
    /// Of a configuration that was just read.
    #[must_use]
    pub fn new(read: Config) -> Self {
        Self {
            now: read.clone(),
            read,
        }
    }

    /// What is obeyed.
    #[must_use]
    pub fn now(&self) -> &Config {
        &self.now
    }

    /// What was read.
    #[must_use]
    pub fn as_read(&self) -> &Config {
        &self.read
    }

    /// Every limit that somebody speaks of, in the order of a file.
    #[must_use]
    pub fn limits(&self) -> Vec<Limit> {
        let defaults: HashMap<_, _> = Config::default().written_limits().into_iter().collect();
        let both = self
            .now
            .written_limits()
            .into_iter()
            .zip(self.read.written_limits());
        let limit = |((key, value), (_, configured)): ((String, Value), (String, Value))| {
            let origin = if value != configured {
                LimitOrigin::Set
            } else if *defaults.get(&key).unwrap_or(&Value::Null) == value {
                LimitOrigin::Default
            } else {
                LimitOrigin::File
            };
            Limit {
                key,
                value,
                configured,
                origin,
            }
        };
        both.map(limit)
            .filter(|limit| !limit.value.is_null() || !limit.configured.is_null())
            .collect()
    }

    /// Sets limits, `KEY=VALUE` each: all or none. Returns what has changed.
    ///
    /// # Errors
    /// Everything that is wrong; nothing has changed then.
    pub fn set_limits(&mut self, assignments: &[String]) -> Result<Vec<LimitChange>, Vec<Problem>> {
        let config = self.now.with_limits(assignments)?;
        let changes = changes(&self.now, &config);
        self.now = config;
        Ok(changes)
    }

    /// Takes over what was read again. Returns what `limits set` had put in force and is so no longer.
    pub fn replace(&mut self, read: Config) -> Vec<LimitChange> {
        let set: Vec<_> = changes(&self.read, &self.now)
            .into_iter()
            .map(|change| change.key)
            .collect();
        let mut replaced = changes(&self.now, &read);
        replaced.retain(|change| set.contains(&change.key));
        *self = Self::new(read);
        replaced
    }
}

/// Of two configurations with the same listeners.
fn changes(before: &Config, after: &Config) -> Vec<LimitChange> {
    let both = before.written_limits().into_iter().zip(after.written_limits());
    both.filter(|((_, before), (_, after))| before != after)
        .map(|((key, before), (_, after))| LimitChange { key, before, after })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn read(text: &str) -> InForce {
        InForce::new(Config::parse(Path::new("sluice.toml"), text).expect("it is right"))
    }

    fn limit(in_force: &InForce, key: &str) -> Option<(Value, Value, &'static str)> {
        let found = in_force.limits().into_iter().find(|limit| limit.key == key)?;
        Some((found.value, found.configured, found.origin.name()))
    }

    fn set(in_force: &mut InForce, assignments: &[&str]) -> Result<Vec<LimitChange>, Vec<Problem>> {
        in_force.set_limits(
            &assignments
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_limit_tells_who_says_so() {
        let mut in_force = read("limits = { receive_max = 7 }");
        set(&mut in_force, &["limits.inflight_max=3"]).expect("it is right");
        let of = |key| limit(&in_force, key).expect("a limit");
        assert_eq!(
            of("limits.sessions_max"),
            (json!(200_000), json!(200_000), "default")
        );
        assert_eq!(of("limits.receive_max"), (json!(7), json!(7), "file"));
        assert_eq!(of("limits.inflight_max"), (json!(3), json!(1024), "set"));
    }

    #[test]
    fn a_listener_is_listed_with_what_it_says_or_said() {
        let mut in_force = InForce::new(Config::default());
        let key = "listener.default.limits.subscriptions_max";
        assert_eq!(limit(&in_force, key), None);
        set(&mut in_force, &[&format!("{key}=5")]).expect("it is right");
        assert_eq!(limit(&in_force, key), Some((json!(5), Value::Null, "set")));
    }

    #[test]
    fn limits_are_set_all_or_none() {
        let mut in_force = InForce::new(Config::default());
        let wrong = set(
            &mut in_force,
            &["limits.inflight_max=3", "limits.receive_max=much"],
        );
        assert_eq!(wrong.expect_err("one is wrong").len(), 1);
        assert_eq!(in_force.now(), &Config::default());
    }

    #[test]
    fn what_is_read_again_goes_before_what_was_set_and_says_what_it_replaces() {
        let mut in_force = InForce::new(Config::default());
        let changed = set(
            &mut in_force,
            &[
                "limits.inflight_max=3",
                "limits.receive_max=9",
                "limits.qos_max=1",
            ],
        );
        assert_eq!(changed.expect("it is right").len(), 3);
        let mut read = Config::default();
        read.limits.receive_max = 9;
        read.limits.sessions_max = 5;
        let replaced = in_force.replace(read.clone());
        let keys: Vec<_> = replaced.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys, ["limits.inflight_max", "limits.qos_max"]);
        assert_eq!(in_force.now(), &read);
        assert!(
            in_force
                .limits()
                .iter()
                .all(|limit| limit.origin != LimitOrigin::Set)
        );
    }
}
