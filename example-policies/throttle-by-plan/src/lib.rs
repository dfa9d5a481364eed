//! Gives each user the rates of a plan.
//!
//! It does not ask whether a user name is true and grants no topics: put it into a chain after policies that do.
//!
//! ```toml
//! [policy.plans.settings]
//! # For users who are not named below, and for clients without a user name.
//! default = "free"
//! users = { ada = "gold" }
//!
//! # Anything a budget has: rates of bytes and messages in both directions, sizes, queues, times. `burst` is how much
//! # may come at once.
//! [policy.plans.settings.plans.free]
//! bytes_in_per_second = { per_second = 1024, burst = 4096 }
//! messages_in_per_second = { per_second = 2, burst = 10 }
//! over_limit = "delay" # or "refuse", "drop", "disconnect"
//!
//! [policy.plans.settings.plans.gold]
//! bytes_in_per_second = { per_second = 1048576, burst = 4194304 }
//! ```
//!
//! After a change of the settings live sessions get the rates of their plan at once.

use std::collections::BTreeMap;

use serde::Deserialize;
use sluice_policy::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    plans: BTreeMap<String, Budget>,
    default: String,
    #[serde(default)]
    users: BTreeMap<String, String>,
}

struct ThrottleByPlan {
    default: Plan,
    users: BTreeMap<String, Plan>,
}

#[derive(Clone)]
struct Plan {
    name: String,
    budget: Budget,
}

#[policy]
impl Policy for ThrottleByPlan {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        for (name, budget) in &settings.plans {
            check(budget).map_err(|why| format!("`plans.{name}`: {why}"))?;
        }
        let plan = |name: String| match settings.plans.get(&name) {
            Some(budget) => Ok(Plan {
                name,
                budget: *budget,
            }),
            None => Err(Error::from(format!("there is no plan `{name}` among `plans`"))),
        };
        Ok(Self {
            default: plan(settings.default)?,
            users: settings
                .users
                .into_iter()
                .map(|(user, name)| Ok((user, plan(name)?)))
                .collect::<Result<_, Error>>()?,
        })
    }

    async fn on_connect(&self, request: &ConnectRequest, _: &Ask) -> Connect {
        Connect::admit(self.terms(request.username.as_deref()))
    }

    fn on_refresh(&self, request: &RefreshRequest) -> Refresh {
        Refresh::admit(self.terms(request.username.as_deref()))
    }
}

impl ThrottleByPlan {
    fn terms(&self, username: Option<&str>) -> Admission {
        let plan = username
            .and_then(|name| self.users.get(name))
            .unwrap_or(&self.default);
        Admission::new().attribute("plan", &plan.name).budget(plan.budget)
    }
}

fn check(budget: &Budget) -> Result<(), &'static str> {
    let rates = [
        budget.bytes_in_per_second,
        budget.bytes_out_per_second,
        budget.messages_in_per_second,
        budget.messages_out_per_second,
        budget.subscribes_per_second,
    ];
    match rates
        .iter()
        .flatten()
        .any(|rate| rate.per_second == 0 || rate.burst == 0)
    {
        true => Err("a rate of 0 would never let anything through"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sluice_policy::testing::{self, Client};

    use super::*;

    fn settings() -> Value {
        json!({
            "default": "free",
            "users": { "ada": "gold" },
            "plans": {
                "free": { "messages_in_per_second": { "per_second": 2, "burst": 10 }, "over_limit": "delay" },
                "gold": { "messages_in_per_second": { "per_second": 200, "burst": 1000 } },
            },
        })
    }

    fn rate(settings: Value, client: &Client) -> Option<Rate> {
        let gate = testing::policy::<ThrottleByPlan>(settings).unwrap();
        let session = gate.admit(client);
        session.terms().budget.messages_in_per_second
    }

    #[test]
    fn the_plan_of_the_user_sets_the_rates() {
        let ada = testing::client("a").username("ada");
        assert_eq!(rate(settings(), &ada), Some(Rate::new(200, 1000)));
        for other in [testing::client("a"), testing::client("a").username("bob")] {
            assert_eq!(rate(settings(), &other), Some(Rate::new(2, 10)));
        }
    }

    #[test]
    fn a_change_of_plan_reaches_live_sessions() {
        let gate = testing::policy::<ThrottleByPlan>(settings()).unwrap();
        let request = gate
            .admit(&testing::client("a").username("ada"))
            .refresh_request();
        let mut changed = settings();
        changed["users"] = json!({});
        let Refresh::Admit(terms) = testing::policy::<ThrottleByPlan>(changed)
            .unwrap()
            .refresh(&request)
        else {
            panic!("it may stay")
        };
        assert_eq!(terms.attributes, [("plan".to_owned(), "free".to_owned())]);
    }

    #[test]
    fn settings_that_make_no_sense_are_errors() {
        let mut unknown = settings();
        unknown["users"]["ada"] = json!("platinum");
        let mut standstill = settings();
        standstill["plans"]["free"]["bytes_in_per_second"] = json!({ "per_second": 0, "burst": 1 });
        let mut misspelt = settings();
        misspelt["plans"]["free"]["bytes_per_second"] = json!({ "per_second": 1, "burst": 1 });
        for settings in [unknown, standstill, misspelt, json!({})] {
            assert!(
                testing::policy::<ThrottleByPlan>(settings.clone()).is_err(),
                "{settings}"
            );
        }
    }
}
