//! A store as lines of JSON, for whoever wants to read it without us.

use super::rows::{each_row, message_row};
use super::{CareError, Opened, Place, at};
use crate::change::{Phase, Recipient, SessionRecord, WillRecord};
use crate::ledger::{Granted, Ledger, Saved};
use crate::row::{Damaged, Key, MessageRow, RecipientsRow, Table, open, open_value};
use crate::wall::{self, Moment};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_mqtt::message::Message;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// Writes sessions, queued messages, retained messages and facts, one on a line. Payloads and other bytes are in Base64
/// (RFC 4648, section 4), times in milliseconds since 1970. What cannot be read has a line that says so. `name` is what
/// errors call `out`.
///
/// # Errors
/// If there is no store, if it is in use, of a newer format, or so damaged that nothing can be read; and what writing
/// reports.
pub fn export(path: &Path, out: &mut dyn Write, name: &Path) -> Result<(), CareError> {
    let place = Place::of(path)?;
    let opened = place.open()?;
    let mut export = Export {
        out,
        outcome: Ok(()),
        now: Moment::now(),
        ledger: Ledger::default(),
        clients: BTreeMap::new(),
    };
    if let Some(structure) = &opened.structure {
        export.line(&json!({ "kind": "unreadable", "what": structure }));
    }
    export.all(&opened);
    let outcome = export.outcome;
    outcome.and_then(|()| out.flush()).map_err(at(name))
}

struct Export<'a> {
    out: &'a mut dyn Write,
    outcome: io::Result<()>,
    now: Moment,
    ledger: Ledger,
    /// Names of sessions.
    clients: BTreeMap<u64, String>,
}

impl Export<'_> {
    fn line(&mut self, value: &Value) {
        if self.outcome.is_ok() {
            self.outcome = writeln!(self.out, "{value}");
        }
    }

    fn all(&mut self, opened: &Opened) {
        let progress = self.progress(opened);
        self.table(opened, Table::Sessions, |export, key, row| {
            let record: SessionRecord = open_value(Table::Sessions, key, row)?;
            let saved = progress.get(&record.number).cloned().unwrap_or_default();
            export.ledger.recover_session(record.number, saved);
            export.clients.insert(record.number, record.client_id.clone());
            Ok(Some(session(&record)))
        });
        self.table(opened, Table::Subscriptions, |_, key, row| {
            let granted: Granted = open_value(Table::Subscriptions, key, row)?;
            let Key::NumberAndText(session, filter) = key else {
                return Ok(None);
            };
            Ok(Some(json!({
                "kind": "subscription",
                "session": session,
                "filter": filter,
                "options": granted.options,
                "id": granted.id,
            })))
        });
        self.messages(opened);
        self.table(opened, Table::Retained, |export, key, row| {
            let message = MessageRow::read(Table::Retained, key, row, &export.now)?;
            Ok(Some(export.message("retained", &message)))
        });
        self.table(opened, Table::Facts, |_, key, row| {
            let value = open(Table::Facts, key, row)?;
            let Key::KindAndBytes(of, key) = key else {
                return Ok(None);
            };
            let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
            Ok(Some(
                json!({ "kind": "fact", "of": of, "key": key, "value": value }),
            ))
        });
    }

    fn table(
        &mut self,
        opened: &Opened,
        table: Table,
        mut line: impl FnMut(&mut Self, Key<'_>, &[u8]) -> Result<Option<Value>, Damaged>,
    ) {
        let seen = each_row(
            &opened.engine,
            table,
            &mut |key, row| match line(self, key, row) {
                Ok(Some(value)) => self.line(&value),
                Ok(None) => {}
                Err(wrong) => self.unreadable(&wrong.to_string()),
            },
        );
        if let Some(why) = seen.incomplete {
            self.unreadable(&format!("table {table}: {why}"));
        }
    }

    fn unreadable(&mut self, what: &str) {
        self.line(&json!({ "kind": "unreadable", "what": what }));
    }

    fn progress(&mut self, opened: &Opened) -> BTreeMap<u64, Saved> {
        let mut all = BTreeMap::new();
        self.table(opened, Table::Progress, |_, key, row| {
            if let Key::Number(number) = key {
                all.insert(number, open_value(Table::Progress, key, row)?);
            }
            Ok(None)
        });
        all
    }

    /// Messages that somebody is still to get.
    fn messages(&mut self, opened: &Opened) {
        self.table(opened, Table::Recipients, |export, key, row| {
            let Key::Number(seq) = key else { return Ok(None) };
            let mut live: Vec<Recipient> = Vec::new();
            let recipients = RecipientsRow::read(seq, row)?;
            export
                .ledger
                .recover_message(seq, recipients, |recipient, _| live.push(recipient))?;
            if live.is_empty() {
                return Ok(None);
            }
            let missing = |_| Damaged::new(Table::Messages, key, "it cannot be reached");
            let row = message_row(&opened.engine, seq).map_err(missing)?;
            let row = row.ok_or_else(|| Damaged::new(Table::Messages, key, "it is missing"))?;
            let message = MessageRow::read(Table::Messages, key, &row, &export.now)?;
            let mut value = export.message("message", &message);
            let to: Vec<Value> = live.iter().map(|to| export.recipient(to)).collect();
            if let Some(fields) = value.as_object_mut() {
                fields.insert("seq".to_owned(), json!(seq));
                fields.insert("to".to_owned(), json!(to));
            }
            Ok(Some(value))
        });
    }

    fn recipient(&self, recipient: &Recipient) -> Value {
        json!({
            "session": recipient.session,
            "client_id": self.clients.get(&recipient.session),
            "position": recipient.position,
            "qos": recipient.qos,
            "retain": recipient.retain,
            "subscription_ids": recipient.subscription_ids,
        })
    }

    fn message(&self, kind: &str, message: &Message) -> Value {
        json!({
            "kind": kind,
            "topic": message.topic(),
            "payload": STANDARD.encode(message.payload()),
            "properties": STANDARD.encode(message.forwarded()),
            "qos": message.qos() as u8,
            "retain": message.retain(),
            "expires_at": message.expires_at().map(|at| self.now.milliseconds(at)),
        })
    }
}

fn session(record: &SessionRecord) -> Value {
    let expires_at = match record.phase {
        Phase::Online => None,
        Phase::Offline { expires_at } => expires_at.map(wall::to_milliseconds),
    };
    json!({
        "kind": "session",
        "session": record.number,
        "mountpoint": record.mountpoint,
        "client_id": record.client_id,
        "username": record.username,
        "address": record.address,
        "expiry_seconds": record.expiry_seconds,
        "online": record.phase == Phase::Online,
        "expires_at": expires_at,
        "will": record.will.as_ref().map(will),
    })
}

fn will(will: &WillRecord) -> Value {
    json!({
        "topic": will.topic,
        "payload": STANDARD.encode(&will.payload),
        "properties": STANDARD.encode(&will.forwarded),
        "qos": will.qos,
        "retain": will.retain,
        "delay_seconds": will.delay_seconds,
        "expiry_seconds": will.expiry_seconds,
        "due_at": will.due_at.map(wall::to_milliseconds),
    })
}
