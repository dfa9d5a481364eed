//! Rules the broker applies without calling the policy.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::bindings::host::sluice::policy::types::{Grant, GrantAction, GrantVerdict};
use crate::reason::QoS;

/// Most grants of one admission; with more the broker refuses the client.
pub const GRANTS_MAX: usize = 256;

/// A grant speaks of publishing and subscribing, at any QoS and retained or not, until it is narrowed.
impl Grant {
    /// Topics under this filter are allowed.
    pub fn allow(filter: impl Into<String>) -> Self {
        Self::new(filter, GrantVerdict::Allow)
    }

    /// Topics under this filter are refused.
    pub fn deny(filter: impl Into<String>) -> Self {
        Self::new(filter, GrantVerdict::Deny)
    }

    /// For topics under this filter ask `on_publish` or `on_subscribe`.
    pub fn consult(filter: impl Into<String>) -> Self {
        Self::new(filter, GrantVerdict::Consult)
    }

    /// Only for publishing.
    #[must_use]
    pub fn publish(mut self) -> Self {
        self.action = GrantAction::Publish;
        self
    }

    /// Only for subscribing.
    #[must_use]
    pub fn subscribe(mut self) -> Self {
        self.action = GrantAction::Subscribe;
        self
    }

    /// A publish above this QoS is refused, a subscription above it is granted this one.
    #[must_use]
    pub fn qos_max(mut self, qos: QoS) -> Self {
        self.qos_max = qos.level();
        self
    }

    /// Retained messages are refused.
    #[must_use]
    pub fn not_retained(mut self) -> Self {
        self.retain = false;
        self
    }

    fn new(filter: impl Into<String>, verdict: GrantVerdict) -> Self {
        Self {
            filter: filter.into(),
            action: GrantAction::PublishAndSubscribe,
            qos_max: QoS::ExactlyOnce.level(),
            retain: true,
            verdict,
        }
    }
}

/// A grant as operators write it in a policy's settings:
/// `{ allow = "publish", topic = "sensors/%c/#", qos_max = 1, retain = false }`; the verdict is one of `allow`,
/// `deny` and `consult`, its value one of `publish`, `subscribe` and `all`.
impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rule = Rule::deserialize(deserializer)?;
        let (grant, action) = match (rule.allow, rule.deny, rule.consult) {
            (Some(action), None, None) => (Self::allow(rule.topic), action),
            (None, Some(action), None) => (Self::deny(rule.topic), action),
            (None, None, Some(action)) => (Self::consult(rule.topic), action),
            _ => {
                return Err(D::Error::custom(
                    "a rule has exactly one of `allow`, `deny` and `consult`",
                ));
            }
        };
        check_filter(&grant.filter).map_err(|why| {
            D::Error::custom(format_args!(
                "`{}` is not a topic filter: {why}",
                grant.filter.escape_debug()
            ))
        })?;
        if rule.qos_max > QoS::ExactlyOnce.level() {
            return Err(D::Error::custom("`qos_max` is 0, 1 or 2"));
        }
        let action = match action {
            Action::All => GrantAction::PublishAndSubscribe,
            Action::Publish => GrantAction::Publish,
            Action::Subscribe => GrantAction::Subscribe,
        };
        Ok(Self {
            action,
            qos_max: rule.qos_max,
            retain: rule.retain,
            ..grant
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    topic: String,
    allow: Option<Action>,
    deny: Option<Action>,
    consult: Option<Action>,
    #[serde(default = "qos_max")]
    qos_max: u8,
    #[serde(default = "retain")]
    retain: bool,
}

fn qos_max() -> u8 {
    QoS::ExactlyOnce.level()
}

fn retain() -> bool {
    true
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    All,
    Publish,
    Subscribe,
}

/// Finds what the broker would refuse later, so that the operator learns it when the policy is loaded.
fn check_filter(filter: &str) -> Result<(), &'static str> {
    if filter.is_empty() {
        return Err("it is empty");
    }
    if filter.len() > usize::from(u16::MAX) {
        return Err("it is longer than 65535 bytes");
    }
    if filter.contains('\0') {
        return Err("it contains U+0000");
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err("`#` must be its whole last level");
        }
        if level.contains('+') && level != "+" {
            return Err("`+` must be a whole level");
        }
        check_placeholders(level)?;
    }
    Ok(())
}

fn check_placeholders(level: &str) -> Result<(), &'static str> {
    let mut rest = level;
    while let Some((_, placeholder)) = rest.split_once('%') {
        rest = match placeholder.strip_prefix("a{") {
            Some(name) => name.split_once('}').map(|(_, after)| after),
            None => placeholder.strip_prefix(['c', 'u', '%']),
        }
        .ok_or("after `%` comes `c`, `u`, `a{attribute}` or `%`")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(json: &str) -> Result<Grant, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_of_the_settings_is_a_grant() {
        assert_eq!(
            grant(r##"{"allow": "all", "topic": "a/#"}"##),
            Ok(Grant::allow("a/#"))
        );
        assert_eq!(
            grant(r#"{"deny": "publish", "topic": "a/%c/%u/%a{site}%%", "qos_max": 1, "retain": false}"#),
            Ok(Grant::deny("a/%c/%u/%a{site}%%")
                .publish()
                .qos_max(QoS::AtLeastOnce)
                .not_retained())
        );
        assert_eq!(
            grant(r#"{"consult": "subscribe", "topic": "+/b"}"#),
            Ok(Grant::consult("+/b").subscribe())
        );
    }

    #[test]
    fn a_rule_that_contradicts_itself_is_an_error() {
        for rule in [
            r#"{"topic": "a"}"#,
            r#"{"topic": "a", "allow": "all", "deny": "all"}"#,
        ] {
            assert!(grant(rule).unwrap_err().contains("exactly one of"), "{rule}");
        }
        assert!(
            grant(r#"{"topic": "a", "allow": "all", "qos_max": 3}"#)
                .unwrap_err()
                .contains("qos_max")
        );
        assert!(
            grant(r#"{"topic": "a", "allow": "all", "qos": 1}"#)
                .unwrap_err()
                .contains("`qos`")
        );
    }

    #[test]
    fn a_filter_the_broker_would_refuse_is_an_error() {
        for filter in ["", "a#", "a/#/b", "a+/b", "%", "%x", "%a", "%a{site", "100%"] {
            let rule = format!(r#"{{"topic": "{filter}", "allow": "all"}}"#);
            assert!(
                grant(&rule).unwrap_err().contains("not a topic filter"),
                "{filter}"
            );
        }
    }
}
