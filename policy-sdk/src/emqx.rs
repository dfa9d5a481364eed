//! Rules in the words of EMQX, which services and issuers of tokens that were made for it use.

use serde_json::Value;

use crate::bindings::host::sluice::policy::types::{Grant, GrantVerdict};
use crate::reason::QoS;

/// The grants that an access control list of EMQX means, as its HTTP services (`acl` of an answer) and its tokens
/// have it: a list, `[{ "permission": "allow", "action": "publish", "topic": "t/${clientid}" }]`, or topics by action,
/// `{ "pub": [...], "sub": [...], "all": [...] }`. `${clientid}` and `${username}` stand for the client's own.
///
/// # Errors
/// When any rule is not understood: one that is left out could be one that forbids.
pub fn grants(acl: &Value) -> Result<Vec<Grant>, String> {
    match acl {
        Value::Array(rules) => rules.iter().map(rule).collect(),
        Value::Object(by_action) => {
            let mut grants = Vec::new();
            for (action, topics) in by_action {
                let topics = topics.as_array().ok_or("the rules name no topics")?;
                for topic in topics {
                    let grant = Grant::allow(filter(topic.as_str().ok_or("a topic is no text")?)?);
                    grants.push(limited(grant, action)?);
                }
            }
            Ok(grants)
        }
        _ => Err("the rules are neither a list nor topics by action".to_owned()),
    }
}

fn rule(rule: &Value) -> Result<Grant, String> {
    let text = |key: &str| {
        rule.get(key)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("a rule has no `{key}`"))
    };
    let filter = filter(text("topic")?)?;
    let grant = match text("permission")? {
        "allow" => Grant::allow(filter),
        "deny" => Grant::deny(filter),
        other => return Err(format!("`{other}` is no permission")),
    };
    let grant = limited(grant, text("action")?)?;
    let is_denial = grant.verdict == GrantVerdict::Deny;
    let narrowed = ["qos", "retain"].into_iter().any(|key| rule.get(key).is_some());
    match (narrowed, is_denial) {
        (false, _) => Ok(grant),
        // It would forbid only some messages of its topics, which a grant cannot say.
        (true, true) => Err("a rule that denies names a QoS or the retain flag".to_owned()),
        (true, false) => narrow(grant, rule),
    }
}

fn limited(grant: Grant, action: &str) -> Result<Grant, String> {
    match action {
        "pub" | "publish" => Ok(grant.publish()),
        "sub" | "subscribe" => Ok(grant.subscribe()),
        "all" => Ok(grant),
        other => Err(format!("`{other}` is no action")),
    }
}

/// `"qos": [0, 1]` is a highest QoS here, so it has to begin with 0; `"retain": false` forbids retained messages.
fn narrow(mut grant: Grant, rule: &Value) -> Result<Grant, String> {
    if let Some(levels) = rule.get("qos") {
        let levels: Option<Vec<u64>> = match levels {
            Value::Array(levels) => levels.iter().map(Value::as_u64).collect(),
            level => level.as_u64().map(|level| vec![level]),
        };
        grant = match levels.as_deref() {
            Some([0]) => grant.qos_max(QoS::AtMostOnce),
            Some([0, 1]) => grant.qos_max(QoS::AtLeastOnce),
            Some([0, 1, 2]) => grant,
            _ => return Err("`qos` of a rule is not [0], [0, 1] or [0, 1, 2]".to_owned()),
        };
    }
    match rule.get("retain") {
        None => Ok(grant),
        Some(Value::String(all)) if all == "all" => Ok(grant),
        Some(Value::Bool(false)) => Ok(grant.not_retained()),
        Some(Value::Number(zero)) if zero.as_u64() == Some(0) => Ok(grant.not_retained()),
        Some(_) => Err("`retain` of a rule is not false or \"all\"".to_owned()),
    }
}

/// Their placeholders in our words. A topic that begins with `eq ` is one topic and no filter there.
fn filter(topic: &str) -> Result<String, String> {
    let plain = topic.replace('%', "%%");
    let filter = plain.replace("${clientid}", "%c").replace("${username}", "%u");
    let is_exact = filter.strip_prefix("eq ");
    if filter.contains("${") || is_exact.is_some_and(|topic| topic.contains(['+', '#'])) {
        return Err(format!("`{topic}` cannot be a rule here"));
    }
    Ok(is_exact.unwrap_or(&filter).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_understood() {
        let list = grants(&json!([
            { "permission": "allow", "action": "publish", "topic": "a/${clientid}/%", "qos": [0, 1], "retain": false },
            { "permission": "deny", "action": "all", "topic": "b/#" },
            { "permission": "allow", "action": "subscribe", "topic": "eq c/d" },
        ]));
        let expected = vec![
            Grant::allow("a/%c/%%")
                .publish()
                .qos_max(QoS::AtLeastOnce)
                .not_retained(),
            Grant::deny("b/#"),
            Grant::allow("c/d").subscribe(),
        ];
        assert_eq!(list.unwrap(), expected);
        let by_action = grants(&json!({ "pub": ["a"], "sub": ["b/${username}"], "all": [] })).unwrap();
        assert_eq!(
            by_action,
            [Grant::allow("a").publish(), Grant::allow("b/%u").subscribe()]
        );
    }

    #[test]
    fn what_is_not_understood_grants_nothing() {
        let allow = |more: Value| {
            let mut rule = json!({ "permission": "allow", "action": "all", "topic": "a" });
            rule.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!([rule])
        };
        for acl in [
            json!("all"),
            json!([7]),
            json!([{ "permission": "allow", "action": "all" }]),
            json!({ "pub": "a" }),
            json!({ "pub": [1] }),
            json!({ "everything": ["#"] }),
            allow(json!({ "permission": "ignore" })),
            allow(json!({ "action": "read" })),
            allow(json!({ "topic": "${tenant}/a" })),
            allow(json!({ "topic": "eq a/+" })),
            allow(json!({ "qos": [1] })),
            allow(json!({ "qos": "all" })),
            allow(json!({ "retain": true })),
            allow(json!({ "permission": "deny", "qos": [0] })),
        ] {
            assert!(grants(&acl).is_err(), "{acl}");
        }
    }
}
