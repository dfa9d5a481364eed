//! Commands about clients: who is there, what each may use and uses, and who is to go.

use super::CLIENTS_LISTED_MAX;
use super::orders::lines;
use crate::config::{amount_written, parse_client_limits};
use crate::hub::{Account, ClientSummary, Hub};
use crate::policy::budget::{Amount, Budget};
use serde_json::{Value, json};
use std::time::SystemTime;

/// At most [`CLIENTS_LISTED_MAX`] sessions whose client id begins so.
pub(super) fn list(hub: &Hub, prefix: &str) -> Value {
    let mut clients = hub.clients();
    clients.retain(|client| client.client_id.starts_with(prefix));
    let matching = clients.len();
    clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    clients.truncate(CLIENTS_LISTED_MAX);
    json!({ "matching": matching, "clients": clients })
}

/// Everything about the sessions of a client id, one in each mount point.
pub(super) fn show(hub: &Hub, client_id: &str) -> Result<Value, String> {
    let accounts = hub.accounts(client_id);
    let said = hub.client_limits(client_id);
    if accounts.is_empty() && said.is_none() {
        return Err(format!("there is no client {client_id:?}"));
    }
    let sessions = accounts.iter().map(session).collect::<Vec<_>>();
    Ok(json!({ "client_id": client_id, "sessions": sessions, "operator": said.map(|said| written(&said)) }))
}

/// Adds to what the operator says about one client.
pub(super) fn set_limits(hub: &Hub, client_id: &str, assignments: &[String]) -> Result<Value, String> {
    let budget = parse_client_limits(assignments).map_err(|problems| lines(&problems))?;
    let connections = hub.set_client_limits(client_id, Some(budget))?;
    let said = hub.client_limits(client_id).unwrap_or_default();
    Ok(json!({ "connections": connections, "operator": written(&said) }))
}

/// Takes back what the operator says about one client.
pub(super) fn reset_limits(hub: &Hub, client_id: &str) -> Result<Value, String> {
    if hub.client_limits(client_id).is_none() {
        return Err(format!("client {client_id:?} has no limits of its own"));
    }
    let connections = hub.set_client_limits(client_id, None)?;
    Ok(json!({ "connections": connections, "operator": null }))
}

fn session((summary, account): &(ClientSummary, Option<Account>)) -> Value {
    let mut session = json!(summary);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let connection = account.as_ref().map(|account| {
        json!({
            "peer": account.peer,
            "listener": account.listener,
            "principal": account.principal,
            "connected_seconds": account.connected_seconds,
            "connected_since_unix_seconds": now.saturating_sub(account.connected_seconds),
            "read_buffer_bytes": account.read_buffer_bytes,
            "write_buffer_bytes": account.write_buffer_bytes,
            "limits": limits(account),
        })
    });
    if let Some(session) = session.as_object_mut() {
        session.insert("connection".to_owned(), json!(connection));
    }
    session
}

/// Each limit with its value, who set it, and what the others say.
fn limits(account: &Account) -> Vec<Value> {
    let spoken: Vec<_> = account
        .says
        .iter()
        .map(|(who, budget)| (who.as_str(), budget.amounts()))
        .collect();
    let limit = |(index, (key, effective)): (usize, (&str, Option<Amount>))| {
        let said: Vec<_> = spoken
            .iter()
            .filter_map(|(who, amounts)| Some((*who, amounts.get(index)?.1?)))
            .collect();
        let others = said.iter().filter(|(_, amount)| Some(*amount) != effective);
        json!({
            "key": key,
            "value": effective.map_or(Value::from("unlimited"), amount_written),
            "set_by": set_by(&said, effective),
            "others": others
                .map(|(who, amount)| json!({ "who": who, "value": amount_written(*amount) }))
                .collect::<Vec<_>>(),
        })
    };
    account
        .budget
        .amounts()
        .into_iter()
        .enumerate()
        .map(limit)
        .collect()
}

/// The operator if it spoke, else the first who said just this. `None`: nobody said anything.
fn set_by(said: &[(&str, Amount)], effective: Option<Amount>) -> Option<String> {
    let operator = said.iter().find(|(who, _)| *who == "operator");
    let first = said.iter().find(|(_, amount)| Some(*amount) == effective);
    if let Some((who, _)) = operator.or(first) {
        return Some((*who).to_owned());
    }
    // The rate of one with the burst of another.
    let all: Vec<_> = said.iter().map(|(who, _)| *who).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

fn written(budget: &Budget) -> Value {
    let said = budget.amounts().into_iter();
    said.filter_map(|(key, amount)| Some((key.to_owned(), amount_written(amount?))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::budget::Rate;

    fn rated(per_second: u64, burst: u64) -> Budget {
        Budget {
            messages_in_per_second: Some(Rate { per_second, burst }),
            ..Budget::default()
        }
    }

    fn of(says: &[(&str, Budget)], budget: Budget) -> Value {
        let account = Account {
            budget,
            says: says
                .iter()
                .map(|(who, budget)| ((*who).to_owned(), *budget))
                .collect(),
            connected_seconds: 0,
            peer: String::new(),
            listener: String::new(),
            principal: None,
            read_buffer_bytes: 0,
            write_buffer_bytes: 0,
        };
        let limits = limits(&account).into_iter();
        let mut limits = limits.filter(|limit| limit["key"] == "messages_in_per_second");
        limits.next().expect("it is listed")
    }

    #[test]
    fn the_first_who_says_it_has_set_it_and_the_others_are_told() {
        let says = [
            ("limits", rated(9, 9)),
            ("listener a", rated(5, 5)),
            ("policy p", rated(5, 5)),
        ];
        let limit = of(&says, rated(5, 5));
        assert_eq!(
            (&limit["value"], &limit["set_by"]),
            (&json!(5), &json!("listener a"))
        );
        assert_eq!(limit["others"], json!([{ "who": "limits", "value": 9 }]));
    }

    #[test]
    fn the_operator_has_set_what_it_spoke_of_whoever_says_the_same() {
        let says = [("limits", rated(5, 5)), ("operator", rated(5, 5))];
        let limit = of(&says, rated(5, 5));
        assert_eq!(limit["set_by"], "operator");
        assert_eq!(limit["others"], json!([]));
    }

    #[test]
    fn a_rate_can_be_of_one_and_its_burst_of_another() {
        let says = [("limits", rated(5, 50)), ("policy p", rated(9, 9))];
        let limit = of(&says, rated(5, 9));
        assert_eq!(limit["value"], json!({ "per_second": 5, "burst": 9 }));
        assert_eq!(limit["set_by"], "limits and policy p");
    }

    #[test]
    fn what_nobody_limits_is_unlimited() {
        let limit = of(&[("limits", Budget::default())], Budget::default());
        assert_eq!(
            (&limit["value"], &limit["set_by"]),
            (&json!("unlimited"), &Value::Null)
        );
    }
}
