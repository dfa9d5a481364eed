//! Commands about bans.

use super::CLIENTS_LISTED_MAX;
use crate::hub::{Ban, BannedBy, Hub, Subject};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

pub(super) fn ban(
    hub: &Hub,
    subject: Subject,
    reason: String,
    milliseconds: Option<u64>,
) -> Result<Value, String> {
    let since = SystemTime::now();
    // What is further away than time can be told never comes.
    let until = milliseconds.and_then(|milliseconds| since.checked_add(Duration::from_millis(milliseconds)));
    let ban = Ban {
        subject,
        reason,
        by: BannedBy::Operator,
        since,
        until,
    };
    let ended = hub.ban(ban).map_err(|error| error.to_string())?;
    Ok(json!({ "ended": ended }))
}

pub(super) fn unban(hub: &Hub, subject: &Subject) -> Result<Value, String> {
    match hub.unban(subject) {
        true => Ok(json!({})),
        false => Err(format!("{subject} is not banned; see `sluice client bans`")),
    }
}

/// At most [`CLIENTS_LISTED_MAX`] bans.
pub(super) fn list(hub: &Hub) -> Value {
    let mut bans = hub.bans();
    let all = bans.len();
    bans.truncate(CLIENTS_LISTED_MAX);
    let now = SystemTime::now();
    let bans: Vec<_> = bans.iter().map(|ban| row(ban, now)).collect();
    json!({ "matching": all, "bans": bans })
}

fn row(ban: &Ban, now: SystemTime) -> Value {
    let (kind, name) = match &ban.subject {
        Subject::Client(id) => ("client", id.clone()),
        Subject::User(name) => ("user", name.clone()),
        Subject::Address(network) => ("address", network.to_string()),
    };
    let (by, policy) = match &ban.by {
        BannedBy::Operator => ("operator", None),
        BannedBy::Broker => ("broker", None),
        BannedBy::Policy(name) => ("policy", Some(name)),
    };
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
    };
    let left = ban
        .until
        .map(|until| until.duration_since(now).unwrap_or_default());
    json!({
        "kind": kind,
        "name": name,
        "reason": ban.reason,
        "by": by,
        "policy": policy,
        "since_unix_seconds": seconds(ban.since),
        "until_unix_seconds": ban.until.map(seconds),
        "left_milliseconds": left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
    })
}
