//! Gives each client the budget that its user name names, to see budgets set and changed in every way there is.
//!
//! * `NAME`: from the beginning; a user name without a budget is admitted without limits.
//! * `NAME@later`: when it is judged again after a second.
//! * `NAME@v2`: from the second version of this policy on (feature `v2`), and for those who connect to it.
//! * A message to `set-budget/CLIENT/NAME`, whoever sends it, gives the client of this identifier that budget.

use std::collections::BTreeMap;

use serde::Deserialize;
use sluice_policy::prelude::*;
use sluice_policy::{RefreshCause, host};

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Budgets {
    budgets: BTreeMap<String, Budget>,
}

#[policy]
impl Policy for Budgets {
    type Settings = Self;

    async fn on_connect(&self, request: &ConnectRequest, _: &Ask) -> Connect {
        let key = session_key(&request.client_id);
        if !host::kv::put(&key, &request.session.to_le_bytes(), None) {
            return Connect::deny(Reason::QuotaExceeded);
        }
        Connect::admit(self.terms(request.username.as_deref().unwrap_or_default(), None))
    }

    fn on_refresh(&self, request: &RefreshRequest) -> Refresh {
        let name = request.username.as_deref().unwrap_or_default();
        Refresh::admit(self.terms(name, Some(request.cause)))
    }

    fn on_publish(&self, request: &PublishRequest) -> Publish {
        let Some(order) = request.topic.strip_prefix("set-budget/") else {
            return Publish::allow();
        };
        let order = order.split_once('/');
        let Some((session, budget)) = order.and_then(|(client, name)| {
            let session = host::kv::get(&session_key(client))?;
            Some((
                u64::from_le_bytes(session.try_into().ok()?),
                self.budgets.get(name)?,
            ))
        }) else {
            return Publish::deny_with(Reason::TopicNameInvalid);
        };
        host::sessions::set_budget(session, *budget);
        Publish::drop()
    }

    fn on_subscribe(&self, _: &SubscribeRequest) -> Subscribe {
        Subscribe::allow()
    }
}

impl Budgets {
    fn terms(&self, name: &str, cause: Option<RefreshCause>) -> Admission {
        let version = if cfg!(feature = "v2") { "@v2" } else { "" };
        let budget = |suffix| self.budgets.get(&format!("{name}{suffix}"));
        let first = budget(version).or(budget("")).copied().unwrap_or_default();
        let later = budget("@later").copied();
        let now = match cause {
            Some(RefreshCause::Interval) => later.unwrap_or(first),
            Some(RefreshCause::Swap) | None => first,
        };
        let terms = Admission::new().budget(now);
        match later {
            Some(_) => terms.refresh_every(std::time::Duration::from_secs(1)),
            None => terms,
        }
    }
}

fn session_key(client_id: &str) -> String {
    format!("session/{client_id}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_policy::testing;

    use super::*;

    #[test]
    fn a_budget_is_found_by_name_and_given_to_whom_the_topic_names() {
        let budgets = json!({
            "small": { "payload_bytes_max": 1 },
            "small@later": { "payload_bytes_max": 2 },
            "small@v2": { "payload_bytes_max": 3 },
        });
        let gate = testing::policy::<Budgets>(json!({ "budgets": budgets })).unwrap();
        let mut session = gate.admit(&testing::client("a").username("small"));
        let first = if cfg!(feature = "v2") { 3 } else { 1 };
        assert_eq!(session.budget().payload_bytes_max, Some(first));
        let mut in_time = session.refresh_request();
        in_time.cause = RefreshCause::Interval;
        let Refresh::Admit(later) = gate.refresh(&in_time) else {
            panic!("it may stay")
        };
        assert_eq!(later.budget.payload_bytes_max, Some(2));

        let other = gate.admit(&testing::client("b").session(2));
        for client in ["a", "b"] {
            let order = format!("set-budget/{client}/small@later");
            assert_eq!(session.publish(order.as_str()), Publish::drop());
        }
        for session in [&session, &other] {
            assert_eq!(session.budget().payload_bytes_max, Some(2));
        }
        let _ = session.refresh();
        assert_eq!(session.budget().payload_bytes_max, Some(first), "after a swap");
        assert!(!session.may_publish("set-budget/a/unknown"));
        assert!(!session.may_publish("set-budget/c/small"));
        assert!(session.may_publish("anything/else"));
    }
}
