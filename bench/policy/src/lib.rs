//! Lets everybody do everything, deciding in the way its settings name: the benchmark compares what each way costs.
//!
//! ```toml
//! [policy.bench]
//! file = "sluice_bench_policy.wasm"
//! # "grants": so many rules, of which only the last matches; "cached": it is asked and its answer is kept;
//! # "asked": it is asked about every message.
//! settings = { decide = "grants", grants = 10 }
//! ```

use std::time::Duration;

use serde::Deserialize;
use sluice_policy::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bench {
    decide: Way,
    #[serde(default = "one")]
    grants: usize,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    Grants,
    Cached,
    Asked,
}

fn one() -> usize {
    1
}

#[policy]
impl Policy for Bench {
    type Settings = Self;

    fn new(settings: Self) -> Result<Self, Error> {
        if settings.grants == 0 {
            return Err("`grants` is at least 1: nobody could do anything".into());
        }
        Ok(settings)
    }

    async fn on_connect(&self, _: &ConnectRequest, _: &Ask) -> Connect {
        Connect::admit(self.terms())
    }

    // Without it, sessions would stay as they were, and a swap would be cheaper than those of real policies.
    fn on_refresh(&self, _: &RefreshRequest) -> Refresh {
        Refresh::admit(self.terms())
    }

    fn on_publish(&self, _: &PublishRequest) -> Publish {
        if self.decide == Way::Cached {
            Publish::allow().cache_for(Duration::from_secs(3600))
        } else {
            Publish::allow()
        }
    }

    fn on_subscribe(&self, _: &SubscribeRequest) -> Subscribe {
        Subscribe::allow()
    }
}

impl Bench {
    fn terms(&self) -> Admission {
        if self.decide != Way::Grants {
            return Admission::new();
        }
        let others = (1..self.grants).map(|number| Grant::allow(format!("other/{number}/+/#")));
        Admission::new().grants(others.chain([Grant::allow("#")]))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sluice_policy::testing;

    use super::*;

    fn allows_everything(settings: Value) {
        let gate = testing::policy::<Bench>(settings).unwrap();
        let session = gate.admit(&testing::client("x"));
        assert!(session.may_publish("bench/1/t"));
        assert!(session.may_subscribe("bench/+/t"));
    }

    #[test]
    fn every_way_allows_everything() {
        allows_everything(json!({ "decide": "grants" }));
        allows_everything(json!({ "decide": "grants", "grants": 10 }));
        allows_everything(json!({ "decide": "cached" }));
        allows_everything(json!({ "decide": "asked" }));
    }

    #[test]
    fn the_rule_that_matches_is_the_last() {
        let gate = testing::policy::<Bench>(json!({ "decide": "grants", "grants": 3 })).unwrap();
        let session = gate.admit(&testing::client("x"));
        let grants = session.terms().grants.as_ref().unwrap();
        let filters: Vec<&str> = grants.iter().map(|grant| grant.filter.as_str()).collect();
        assert_eq!(filters, ["other/1/+/#", "other/2/+/#", "#"]);
    }

    #[test]
    fn no_rule_at_all_is_an_error() {
        assert!(testing::policy::<Bench>(json!({ "decide": "grants", "grants": 0 })).is_err());
    }
}
