//! Rows of any table, as they lie in the database.

use crate::engine::{
    Engine, FACTS, Fault, Keyed, MESSAGES, META, PROGRESS, RECIPIENTS, RETAINED, SESSIONS, SUBSCRIPTIONS,
    is_there,
};
use crate::row::{Key, Table};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use std::ops::ControlFlow;

/// In the order in which they are looked at: who refers to something comes behind it.
pub(super) const TABLES: [Table; 8] = [
    Table::Meta,
    Table::Sessions,
    Table::Messages,
    Table::Recipients,
    Table::Progress,
    Table::Subscriptions,
    Table::Retained,
    Table::Facts,
];

/// What was seen of a table.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) rows: u64,
    /// Why there may be more that cannot be reached.
    pub(super) incomplete: Option<String>,
}

/// What is done with each row.
pub(super) type Visit<'a> = dyn FnMut(Key<'_>, &[u8]) -> ControlFlow<()> + 'a;

/// Shows every row of a table that can be reached. Reads from both ends, so that a page that is damaged hides no more
/// than what is behind it.
pub(super) fn each_row(engine: &Engine, table: Table, visit: &mut dyn FnMut(Key<'_>, &[u8])) -> Seen {
    let mut seen = Seen::default();
    let mut counted = |key: Key<'_>, row: &[u8]| {
        seen.rows += 1;
        visit(key, row);
        ControlFlow::Continue(())
    };
    // A table before may have made it panic.
    let walked: Result<Option<String>, Fault> = engine
        .recover()
        .and_then(|()| engine.read(|transaction| walk(transaction, table, &mut counted)));
    match walked {
        Ok(incomplete) => seen.incomplete = incomplete,
        Err(fault) => seen.incomplete = Some(fault.to_string()),
    }
    seen
}

/// [`each_row`] of a state that is open already, until it is broken off.
pub(super) fn walk(
    transaction: &ReadTransaction,
    table: Table,
    visit: &mut Visit<'_>,
) -> Result<Option<String>, Fault> {
    match table {
        Table::Meta => both_ends(&transaction.open_table(META)?, table, visit),
        Table::Messages => both_ends(&transaction.open_table(MESSAGES)?, table, visit),
        Table::Recipients => both_ends(&transaction.open_table(RECIPIENTS)?, table, visit),
        Table::Progress => both_ends(&transaction.open_table(PROGRESS)?, table, visit),
        Table::Sessions => both_ends(&transaction.open_table(SESSIONS)?, table, visit),
        Table::Subscriptions => both_ends(&transaction.open_table(SUBSCRIPTIONS)?, table, visit),
        Table::Retained => both_ends(&transaction.open_table(RETAINED)?, table, visit),
        Table::Facts => both_ends(&transaction.open_table(FACTS)?, table, visit),
    }
}

fn both_ends<K: Keyed>(
    place: &ReadOnlyTable<K, &'static [u8]>,
    table: Table,
    visit: &mut Visit<'_>,
) -> Result<Option<String>, Fault> {
    let mut rows = 0;
    let mut stopped = None;
    let mut show = |found: K::SelfType<'_>, row: &[u8]| {
        let key = K::key(found);
        if key == K::key(K::WITNESS) {
            ControlFlow::Continue(())
        } else {
            visit(key, row)
        }
    };
    for entry in place.iter()? {
        match entry {
            Ok((found, row)) => {
                if show(found.value(), row.value()).is_break() {
                    return Ok(None);
                }
            }
            Err(error) => {
                stopped = Some(error.to_string());
                break;
            }
        }
        rows += 1;
    }
    if stopped.is_some() {
        for entry in place.iter()?.rev() {
            let Ok((found, row)) = entry else { break };
            if show(found.value(), row.value()).is_break() {
                break;
            }
        }
        return Ok(stopped);
    }
    let all = place.len()?;
    if rows != all {
        return Ok(Some(format!("{rows} rows of {all} were found")));
    }
    match is_there(place, table) {
        Err(Fault::Damaged(damaged)) => Ok(Some(damaged.what().to_owned())),
        there => there.map(|()| None),
    }
}

/// The row of a message.
pub(super) fn message_row(engine: &Engine, seq: u64) -> Result<Option<Vec<u8>>, Fault> {
    engine.read(|transaction| {
        let messages = transaction.open_table(MESSAGES)?;
        let row = ReadableTable::get(&messages, seq)?;
        Ok(row.map(|row| row.value().to_owned()))
    })
}

/// A key that outlives the row it was found with.
#[derive(Clone, Debug)]
pub(super) enum OwnedKey {
    Number(u64),
    NumberAndText(u64, String),
    Text(String),
    KindAndBytes(u8, Vec<u8>),
}

impl From<Key<'_>> for OwnedKey {
    fn from(key: Key<'_>) -> Self {
        match key {
            Key::Number(number) => Self::Number(number),
            Key::NumberAndText(number, text) => Self::NumberAndText(number, text.to_owned()),
            Key::Text(text) => Self::Text(text.to_owned()),
            Key::KindAndBytes(kind, bytes) => Self::KindAndBytes(kind, bytes.to_owned()),
        }
    }
}

/// Rows on their way to another store, some at a time.
pub(super) struct Copying<'a> {
    target: &'a Engine,
    table: Table,
    rows: Vec<(OwnedKey, Vec<u8>)>,
    bytes: usize,
    pub(super) copied: u64,
}

/// Bytes of rows that one transaction copies.
const CHUNK_BYTES: usize = 8 << 20;

impl<'a> Copying<'a> {
    pub(super) fn new(target: &'a Engine, table: Table) -> Self {
        Self {
            target,
            table,
            rows: Vec::new(),
            bytes: 0,
            copied: 0,
        }
    }

    pub(super) fn row(&mut self, key: Key<'_>, row: &[u8]) -> Result<(), Fault> {
        self.bytes += row.len();
        self.rows.push((key.into(), row.to_owned()));
        if self.bytes >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        self.copied += rows.len() as u64;
        let table = self.table;
        self.target
            .transaction(|transaction| put(transaction, table, &rows))
    }
}

fn put(
    transaction: &WriteTransaction,
    table: Table,
    rows: &[(OwnedKey, Vec<u8>)],
) -> Result<(), redb::Error> {
    let numbered = match table {
        Table::Messages => Some(MESSAGES),
        Table::Recipients => Some(RECIPIENTS),
        Table::Progress => Some(PROGRESS),
        Table::Sessions => Some(SESSIONS),
        Table::Meta | Table::Subscriptions | Table::Retained | Table::Facts => None,
    };
    if let Some(definition) = numbered {
        let mut place = transaction.open_table(definition)?;
        for (key, row) in rows {
            if let OwnedKey::Number(number) = key {
                place.insert(number, row.as_slice())?;
            }
        }
        return Ok(());
    }
    for (key, row) in rows {
        let row = row.as_slice();
        match (table, key) {
            (Table::Meta, OwnedKey::Text(text)) => {
                transaction.open_table(META)?.insert(text.as_str(), row)?;
            }
            (Table::Retained, OwnedKey::Text(text)) => {
                transaction.open_table(RETAINED)?.insert(text.as_str(), row)?;
            }
            (Table::Subscriptions, OwnedKey::NumberAndText(number, text)) => {
                transaction
                    .open_table(SUBSCRIPTIONS)?
                    .insert((*number, text.as_str()), row)?;
            }
            (Table::Facts, OwnedKey::KindAndBytes(kind, bytes)) => {
                transaction
                    .open_table(FACTS)?
                    .insert((*kind, bytes.as_slice()), row)?;
            }
            _ => {}
        }
    }
    Ok(())
}
