//! Commands about what is kept: sessions and retained messages.

use super::CLIENTS_LISTED_MAX;
use crate::hub::Hub;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_mqtt::message::Message;
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::TopicFilter;
use std::path::Path;
use std::time::Instant;

/// At most [`CLIENTS_LISTED_MAX`] sessions whose client id begins so.
pub(super) fn sessions(hub: &Hub, prefix: &str) -> Value {
    let mut sessions = hub.sessions();
    sessions.retain(|session| session.client_id.starts_with(prefix));
    let matching = sessions.len();
    sessions.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    sessions.truncate(CLIENTS_LISTED_MAX);
    json!({ "matching": matching, "sessions": sessions })
}

pub(super) fn session(hub: &Hub, client_id: &str) -> Result<Value, String> {
    let sessions = hub.sessions_of(client_id);
    if sessions.is_empty() {
        return Err(format!("client {client_id:?} has no session"));
    }
    let with_subscriptions = sessions.into_iter().map(|(session, subscriptions)| {
        let mut value = json!(session);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("filters".to_owned(), json!(subscriptions));
        }
        value
    });
    Ok(json!({ "client_id": client_id, "sessions": with_subscriptions.collect::<Vec<_>>() }))
}

pub(super) fn drop_session(hub: &Hub, client_id: &str) -> Result<Value, String> {
    match hub.drop_sessions(client_id) {
        0 => Err(format!("client {client_id:?} has no session")),
        dropped => Ok(json!({ "dropped": dropped })),
    }
}

/// At most [`CLIENTS_LISTED_MAX`] retained messages, without their payloads.
pub(super) fn retained(hub: &Hub, filter: &str) -> Result<Value, String> {
    let (messages, matching) = hub.retained_messages(&parsed(filter)?, CLIENTS_LISTED_MAX);
    let rows: Vec<_> = messages.iter().map(row).collect();
    Ok(json!({ "matching": matching, "retained": rows }))
}

pub(super) fn retained_message(hub: &Hub, topic: &str) -> Result<Value, String> {
    if topic.contains(['+', '#']) {
        return Err(format!("{topic:?} is a filter; see `sluice retained list`"));
    }
    let (messages, _) = hub.retained_messages(&parsed(topic)?, 1);
    let message = messages
        .first()
        .ok_or_else(|| format!("topic {topic:?} has no retained message"))?;
    let mut value = row(message);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("payload".to_owned(), json!(STANDARD.encode(message.payload())));
    }
    Ok(value)
}

pub(super) fn clear_retained(hub: &Hub, filter: &str) -> Result<Value, String> {
    Ok(json!({ "cleared": hub.clear_retained(&parsed(filter)?) }))
}

/// Copies the store to a file beside it: there the broker can write in any case. Blocks.
pub(super) fn backup(hub: &Hub, data_dir: Option<&Path>) -> Result<Value, String> {
    let data_dir = data_dir.ok_or("the broker has no data_dir, so there is nothing to copy")?;
    let data_dir = data_dir
        .canonicalize()
        .map_err(|error| format!("{}: {error}", data_dir.display()))?;
    let path = data_dir.join("backup.redb");
    // Of one that nobody fetched.
    if path.exists() {
        std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let made = hub.store().backup(&path).map_err(|error| error.to_string())?;
    Ok(json!({ "path": path.display().to_string(), "rows": made.rows, "bytes": made.bytes }))
}

fn parsed(filter: &str) -> Result<TopicFilter, String> {
    let text = Text::try_from(filter).map_err(|_| "a topic filter has no NUL and at most 65,535 bytes")?;
    TopicFilter::new(text).map_err(|error| format!("{filter:?} is no topic filter: {error}"))
}

fn row(message: &Message) -> Value {
    let left = message
        .expires_at()
        .map(|at| at.saturating_duration_since(Instant::now()).as_secs());
    json!({
        "topic": message.topic(),
        "payload_bytes": message.payload().len(),
        "qos": message.qos() as u8,
        "expires_in_seconds": left,
    })
}
