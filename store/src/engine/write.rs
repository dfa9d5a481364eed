//! Rows to the database.

use super::tables::{FACTS, MESSAGES, PROGRESS, RECIPIENTS, RETAINED, SESSIONS, SUBSCRIPTIONS, unwritable};
use crate::ledger::Rows;
use crate::row::{Key, MessageRow, Table, recipients_row, seal, seal_value};
use crate::wall::Moment;
use redb::{Error, TableDefinition, WriteTransaction};
use serde::Serialize;
use std::collections::BTreeMap;

/// Puts and deletes rows; returns the bytes of rows that were put. Deleting what is not there is no error.
pub(super) fn rows(transaction: &WriteTransaction, rows: &Rows) -> Result<u64, Error> {
    let now = Moment::now();
    let mut bytes = messages(transaction, rows, &now)?;
    bytes += numbered(transaction, PROGRESS, Table::Progress, &rows.progress)?;
    bytes += numbered(transaction, SESSIONS, Table::Sessions, &rows.sessions)?;
    bytes += subscriptions(transaction, rows)?;
    bytes += retained(transaction, rows, &now)?;
    bytes += facts(transaction, rows)?;
    Ok(bytes)
}

fn messages(transaction: &WriteTransaction, rows: &Rows, now: &Moment) -> Result<u64, Error> {
    if rows.messages.is_empty() && rows.finished.is_empty() {
        return Ok(0);
    }
    let mut bytes = 0;
    let mut messages = transaction.open_table(MESSAGES)?;
    let mut recipients = transaction.open_table(RECIPIENTS)?;
    // The ends of the table are where the pages are warm; each is changed as a whole.
    for seq in &rows.finished {
        messages.remove(seq)?;
        recipients.remove(seq)?;
    }
    for (seq, kept) in &rows.messages {
        let row =
            MessageRow::new(Table::Messages, Key::Number(*seq), &kept.message, now).map_err(unwritable)?;
        row.write(messages.insert_reserve(seq, row.len())?.as_mut());
        let to = recipients_row(*seq, kept, now).map_err(unwritable)?;
        recipients.insert(seq, to.as_slice())?;
        bytes += (row.len() + to.len()) as u64;
    }
    Ok(bytes)
}

fn numbered<T: Serialize>(
    transaction: &WriteTransaction,
    definition: TableDefinition<'_, u64, &'static [u8]>,
    table: Table,
    rows: &BTreeMap<u64, Option<T>>,
) -> Result<u64, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let mut bytes = 0;
    let mut place = transaction.open_table(definition)?;
    for (number, value) in rows {
        let Some(value) = value else {
            place.remove(number)?;
            continue;
        };
        let row = seal_value(table, Key::Number(*number), value).map_err(unwritable)?;
        place.insert(number, row.as_slice())?;
        bytes += row.len() as u64;
    }
    Ok(bytes)
}

fn subscriptions(transaction: &WriteTransaction, rows: &Rows) -> Result<u64, Error> {
    let ended = || rows.sessions.iter().filter(|(_, record)| record.is_none());
    if rows.subscriptions.is_empty() && ended().next().is_none() {
        return Ok(0);
    }
    let mut bytes = 0;
    let mut place = transaction.open_table(SUBSCRIPTIONS)?;
    for (session, _) in ended() {
        let all = (*session, "")..(session.saturating_add(1), "");
        place.retain_in(all, |_, _| false)?;
    }
    for (session, filters) in &rows.subscriptions {
        for (filter, granted) in filters {
            let key = (*session, filter.as_str());
            let Some(granted) = granted else {
                place.remove(key)?;
                continue;
            };
            let row = seal_value(
                Table::Subscriptions,
                Key::NumberAndText(*session, filter),
                granted,
            );
            let row = row.map_err(unwritable)?;
            place.insert(key, row.as_slice())?;
            bytes += row.len() as u64;
        }
    }
    Ok(bytes)
}

fn retained(transaction: &WriteTransaction, rows: &Rows, now: &Moment) -> Result<u64, Error> {
    if rows.retained.is_empty() {
        return Ok(0);
    }
    let mut bytes = 0;
    let mut place = transaction.open_table(RETAINED)?;
    for (topic, message) in &rows.retained {
        let topic = topic.as_str();
        let Some(message) = message else {
            place.remove(topic)?;
            continue;
        };
        let row = MessageRow::new(Table::Retained, Key::Text(topic), message, now).map_err(unwritable)?;
        row.write(place.insert_reserve(topic, row.len())?.as_mut());
        bytes += row.len() as u64;
    }
    Ok(bytes)
}

fn facts(transaction: &WriteTransaction, rows: &Rows) -> Result<u64, Error> {
    if rows.facts.is_empty() {
        return Ok(0);
    }
    let mut bytes = 0;
    let mut place = transaction.open_table(FACTS)?;
    for ((kind, key), value) in &rows.facts {
        let at = (*kind, key.as_slice());
        let Some(value) = value else {
            place.remove(at)?;
            continue;
        };
        let row = seal(Table::Facts, Key::KindAndBytes(*kind, key), value);
        place.insert(at, row.as_slice())?;
        bytes += row.len() as u64;
    }
    Ok(bytes)
}
