//! Gives each client, user or tenant a part of the topic tree of its own.
//!
//! It does not ask who a client is: put it into a chain after a policy that does.
//!
//! ```toml
//! [policy.prefix.settings]
//! # `{client}`, `{user}` and `{tenant}` stand for the client id, the user name, and what follows the last `@` in it.
//! prefix = "tenants/{tenant}/"
//! # true: the prefix is put before every topic and the client does not see it (a mount point);
//! # false: the client writes it itself, and may use no other topics, except for `rules`.
//! hidden = true
//! rules = [{ allow = "subscribe", topic = "news/#" }]
//! ```
//!
//! The mount point of a live session cannot change: a client whose prefix is another after a change of the settings
//! must leave.

use serde::Deserialize;
use sluice_policy::prelude::*;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TopicPrefix {
    prefix: String,
    hidden: bool,
    rules: Vec<Grant>,
}

impl Default for TopicPrefix {
    fn default() -> Self {
        Self {
            prefix: "clients/{client}/".to_owned(),
            hidden: true,
            rules: Vec::new(),
        }
    }
}

#[policy]
impl Policy for TopicPrefix {
    type Settings = Self;

    fn new(settings: Self) -> Result<Self, Error> {
        if !settings.prefix.ends_with('/') || settings.prefix.contains(['+', '#', '%', '\0']) {
            return Err("`prefix` must end in `/` and contain none of `+`, `#` and `%`".into());
        }
        if settings.hidden && !settings.rules.is_empty() {
            return Err("`rules` are for `hidden = false`: a hidden prefix is before every topic".into());
        }
        settings
            .prefix_of("client", Some("user@tenant"))
            .map_err(|denial| denial.reason_string.unwrap_or_default())?;
        Ok(settings)
    }

    async fn on_connect(&self, request: &ConnectRequest, _: &Ask) -> Connect {
        match self.prefix_of(&request.client_id, request.username.as_deref()) {
            Ok(prefix) => Connect::admit(self.terms(&prefix)),
            Err(denial) => Connect::deny(denial),
        }
    }

    fn on_refresh(&self, request: &RefreshRequest) -> Refresh {
        match self.prefix_of(&request.client_id, request.username.as_deref()) {
            Ok(prefix) => Refresh::admit(self.terms(&prefix)),
            Err(denial) => Refresh::deny(denial),
        }
    }
}

impl TopicPrefix {
    fn prefix_of(&self, client_id: &str, username: Option<&str>) -> Result<String, Denial> {
        let mut parts = self.prefix.split('{');
        let mut prefix = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (value, after) = match part.split_once('}') {
                Some(("client", after)) => (Some(client_id), after),
                Some(("user", after)) => (username, after),
                Some(("tenant", after)) => (username.and_then(|name| Some(name.rsplit_once('@')?.1)), after),
                _ => {
                    return Err(
                        Reason::NotAuthorized.because("`prefix` knows {client}, {user} and {tenant} only")
                    );
                }
            };
            // One level, which can mean no other: neither a wildcard, nor a placeholder of a grant, nor `$SYS`.
            let fits = |value: &&str| !value.is_empty() && !value.contains(['/', '+', '#', '%', '$', '\0']);
            let value = value
                .filter(fits)
                .ok_or(Reason::NotAuthorized.because("no topics for such a name"))?;
            prefix += value;
            prefix += after;
        }
        Ok(prefix)
    }

    fn terms(&self, prefix: &str) -> Admission {
        match self.hidden {
            true => Admission::new().mountpoint(prefix).grants([Grant::allow("#")]),
            false => {
                let own = Grant::allow(format!("{prefix}#"));
                Admission::new().grants([own]).grants(self.rules.iter().cloned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sluice_policy::testing::{self, Client, Tested};

    use super::*;

    fn gate(settings: Value) -> Tested<TopicPrefix> {
        testing::policy(settings).unwrap()
    }

    fn user(name: &str) -> Client {
        testing::client("dev-1").username(name)
    }

    #[test]
    fn a_hidden_prefix_is_the_mount_point() {
        let clients = gate(json!({}));
        assert_eq!(
            clients.admit(&user("a")).terms().mountpoint.as_deref(),
            Some("clients/dev-1/")
        );
        let tenants = gate(json!({ "prefix": "t/{tenant}/" }));
        let session = tenants.admit(&user("ada@home@acme"));
        assert_eq!(session.terms().mountpoint.as_deref(), Some("t/acme/"));
        assert!(session.may_publish("any/topic"));
        assert!(!session.may_subscribe("$SYS/#"));
    }

    #[test]
    fn a_visible_prefix_is_the_only_place_but_for_the_rules() {
        let rules = json!([{ "allow": "subscribe", "topic": "news/#" }]);
        let gate = gate(json!({ "prefix": "users/{user}/", "hidden": false, "rules": rules }));
        let ada = gate.admit(&user("ada"));
        assert!(ada.terms().mountpoint.is_none());
        assert!(ada.may_publish("users/ada/x") && ada.may_subscribe("users/ada/#"));
        assert!(!ada.may_publish("users/bob/x") && !ada.may_subscribe("users/#"));
        assert!(ada.may_subscribe("news/today") && !ada.may_publish("news/today"));
    }

    #[test]
    fn a_name_that_is_no_level_is_refused() {
        let tenants = gate(json!({ "prefix": "t/{tenant}/", "hidden": false }));
        for name in ["ada", "ada@", "ada@a/b", "ada@#", "ada@+", "ada@%c", "ada@$SYS"] {
            assert!(matches!(tenants.connect(&user(name)), Connect::Deny(_)), "{name}");
        }
        assert!(matches!(
            gate(json!({})).connect(&testing::client("")),
            Connect::Deny(_)
        ));
    }

    #[test]
    fn a_prefix_that_makes_no_sense_is_an_error() {
        for settings in [
            json!({ "prefix": "a" }),
            json!({ "prefix": "a/#/" }),
            json!({ "prefix": "a/{plan}/" }),
            json!({ "prefix": "a/{user/" }),
            json!({ "rules": [{ "allow": "all", "topic": "#" }] }),
        ] {
            assert!(
                testing::policy::<TopicPrefix>(settings.clone()).is_err(),
                "{settings}"
            );
        }
    }
}
