//! Allows what its version stands for, to see one version replaced by the other: the first allows topics under `v1/`
//! and `both/`, the second (feature `v2`) topics under `v2/` and `both/`. Settings may say otherwise.

use serde::Deserialize;
use sluice_policy::prelude::*;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Marker {
    /// Only topics under these prefixes are allowed.
    allow: Vec<String>,
    /// Topics under these are not, whatever `allow` says.
    deny: Vec<String>,
    /// States its rules as grants, which the broker applies, instead of being asked.
    grants: bool,
    /// Tells clients that connect which version let them in, as the user property `version`.
    announce: bool,
}

const VERSION: &str = if cfg!(feature = "v2") { "v2" } else { "v1" };

impl Default for Marker {
    fn default() -> Self {
        Self {
            allow: vec![format!("{VERSION}/"), "both/".to_owned()],
            deny: Vec::new(),
            grants: false,
            announce: false,
        }
    }
}

#[policy]
impl Policy for Marker {
    type Settings = Self;

    async fn on_connect(&self, _: &ConnectRequest, _: &Ask) -> Connect {
        Connect::admit(self.terms())
    }

    fn on_refresh(&self, _: &RefreshRequest) -> Refresh {
        Refresh::admit(self.terms())
    }

    fn on_publish(&self, request: &PublishRequest) -> Publish {
        if self.allows(&request.topic) {
            Publish::allow()
        } else {
            Publish::deny()
        }
    }

    fn on_subscribe(&self, request: &SubscribeRequest) -> Subscribe {
        if self.allows(&request.filter) {
            Subscribe::allow()
        } else {
            Subscribe::deny()
        }
    }
}

impl Marker {
    fn terms(&self) -> Admission {
        let mut terms = Admission::new();
        if self.announce {
            terms = terms.user_property("version", VERSION);
        }
        if self.grants {
            let deny = self.deny.iter().map(|prefix| Grant::deny(format!("{prefix}#")));
            let allow = self.allow.iter().map(|prefix| Grant::allow(format!("{prefix}#")));
            terms = terms.grants(deny.chain(allow));
        }
        terms
    }

    fn allows(&self, topic: &str) -> bool {
        let under = |prefixes: &[String]| prefixes.iter().any(|prefix| topic.starts_with(prefix.as_str()));
        under(&self.allow) && !under(&self.deny)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_policy::testing;

    use super::*;

    #[test]
    fn each_version_allows_its_own_topics_whoever_applies_the_rules() {
        for grants in [false, true] {
            let gate =
                testing::policy::<Marker>(json!({ "grants": grants, "deny": ["both/secret/"] })).unwrap();
            let session = gate.admit(&testing::client("a"));
            assert_eq!(session.may_publish("v1/x"), VERSION == "v1");
            assert_eq!(session.may_subscribe("v2/x"), VERSION == "v2");
            assert!(session.may_publish("both/x") && !session.may_publish("both/secret/x"));
            assert!(!session.may_publish("other"));
        }
    }
}
