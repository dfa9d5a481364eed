//! Gives each user the limits of a plan.
//!
//! It does not ask whether a user name is true and grants no topics: put it into a chain after policies that do.
//!
//! ```toml
//! [policy.plans.settings]
//! # For users who are not named below, and for clients without a user name.
//! default = "free"
//! users = { ada = "gold" }
//!
//! # A plan has any limits of a budget. Rates are per second, and `burst` is how much may come at once after a pause;
//! # bytes are those on the wire, headers and properties included. What a plan does not say is as in [limits] of the
//! # broker, which a plan can only lower.
//! [policy.plans.settings.plans.free]
//! bytes_in_per_second = { per_second = 1024, burst = 8192 }
//! bytes_out_per_second = { per_second = 4096, burst = 65536 }
//! messages_in_per_second = { per_second = 2, burst = 20 }
//! messages_out_per_second = { per_second = 10, burst = 100 }
//! subscribes_per_second = { per_second = 1, burst = 10 } # filters
//! # For those who send more: "delay" reads them more slowly, "refuse" answers 0x97 Quota exceeded, "drop" acknowledges
//! # and forgets, "disconnect" ends the connection with 0x96 Message rate too high.
//! over_limit = "refuse"
//! packet_bytes_max = 8192
//! payload_bytes_max = 4096
//! inflight_max = 10
//! queue_messages_max = 100
//! queue_bytes_max = 262144
//! queue_overflow = "drop-oldest" # or "drop-new", "disconnect"
//! subscriptions_max = 10
//! session_expiry_seconds_max = 3600
//! # After a day the client is asked to come back, with 0xA0 Maximum connect time.
//! connection_seconds_max = 86400
//!
//! [policy.plans.settings.plans.gold]
//! bytes_in_per_second = { per_second = 1048576, burst = 4194304 }
//! bytes_out_per_second = { per_second = 4194304, burst = 16777216 }
//! ```
//!
//! A change of the settings reaches live sessions at once: nobody has to connect again.

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

/// What would lock its users out, or could not be meant.
fn check(budget: &Budget) -> Result<(), String> {
    let rates = [
        ("bytes_in_per_second", budget.bytes_in_per_second),
        ("bytes_out_per_second", budget.bytes_out_per_second),
        ("messages_in_per_second", budget.messages_in_per_second),
        ("messages_out_per_second", budget.messages_out_per_second),
        ("subscribes_per_second", budget.subscribes_per_second),
    ];
    for (name, rate) in rates {
        if rate.is_some_and(|rate| rate.per_second == 0 || rate.burst == 0) {
            return Err(format!("`{name}`: a rate of 0 would never let anything through"));
        }
    }
    let maxima = [
        ("packet_bytes_max", budget.packet_bytes_max == Some(0)),
        ("inflight_max", budget.inflight_max == Some(0)),
        ("queue_messages_max", budget.queue_messages_max == Some(0)),
        ("queue_bytes_max", budget.queue_bytes_max == Some(0)),
        ("connection_seconds_max", budget.connection_seconds_max == Some(0)),
    ];
    match maxima.into_iter().find(|(_, is_zero)| *is_zero) {
        Some((name, _)) => Err(format!("`{name}`: with 0 nobody could use the plan")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sluice_policy::testing;

    use super::*;

    fn settings() -> Value {
        json!({
            "default": "free",
            "users": { "ada": "gold" },
            "plans": {
                "free": {
                    "bytes_in_per_second": { "per_second": 1024, "burst": 8192 },
                    "bytes_out_per_second": { "per_second": 4096, "burst": 65536 },
                    "messages_in_per_second": { "per_second": 2, "burst": 20 },
                    "messages_out_per_second": { "per_second": 10, "burst": 100 },
                    "subscribes_per_second": { "per_second": 1, "burst": 10 },
                    "over_limit": "refuse",
                    "queue_overflow": "drop-oldest",
                    "connection_seconds_max": 86400,
                },
                "gold": { "messages_in_per_second": { "per_second": 200, "burst": 1000 } },
            },
        })
    }

    fn free() -> Budget {
        Budget::default()
            .bytes_in_per_second(Rate::per_second(1024).burst(8192))
            .bytes_out_per_second(Rate::per_second(4096).burst(65536))
            .messages_in_per_second(Rate::per_second(2).burst(20))
            .messages_out_per_second(Rate::per_second(10).burst(100))
            .subscribes_per_second(Rate::per_second(1).burst(10))
            .over_limit(OverLimitAction::Refuse)
            .queue_overflow(Overflow::DropOldest)
            .connection_seconds_max(86_400)
    }

    fn gold() -> Budget {
        Budget::default().messages_in_per_second(Rate::per_second(200).burst(1000))
    }

    #[test]
    fn the_plan_of_the_user_is_its_budget() {
        let gate = testing::policy::<ThrottleByPlan>(settings()).unwrap();
        let ada = gate.admit(&testing::client("a").username("ada"));
        assert_eq!(ada.budget(), gold());
        for other in [testing::client("a"), testing::client("a").username("bob")] {
            assert_eq!(gate.admit(&other).budget(), free());
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
        assert_eq!(terms.budget, free());
    }

    #[test]
    fn settings_that_make_no_sense_are_errors_that_name_the_limit() {
        let changed = |key: &str, value: Value| {
            let mut settings = settings();
            settings["plans"]["free"][key] = value;
            settings
        };
        for (key, value) in [
            ("bytes_in_per_second", json!({ "per_second": 0, "burst": 1 })),
            ("messages_out_per_second", json!({ "per_second": 1, "burst": 0 })),
            ("connection_seconds_max", json!(0)),
            ("bytes_per_second", json!({ "per_second": 1, "burst": 1 })),
            ("over_limit", json!("forgive")),
        ] {
            let error = testing::policy::<ThrottleByPlan>(changed(key, value)).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        let mut unknown = settings();
        unknown["users"]["ada"] = json!("platinum");
        for settings in [unknown, json!({})] {
            assert!(
                testing::policy::<ThrottleByPlan>(settings.clone()).is_err(),
                "{settings}"
            );
        }
    }
}
