//! Whether each row is what was written, and whether all of them together make sense.

use super::rows::{TABLES, each_row};
use super::{CareError, Opened};
use crate::change::SessionRecord;
use crate::engine::Engine;
use crate::ledger::{Granted, Saved};
use crate::row::{Damaged, Key, MessageRow, RecipientsRow, Table, open, open_value};
use crate::wall::Moment;
use std::collections::BTreeSet;

/// What a store looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each table.
    pub tables: Vec<TableReport>,
    /// What is wrong, in words, [`Report::FINDINGS_MAX`] at most.
    pub findings: Vec<String>,
    /// How many there are in all.
    pub findings_total: u64,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// Rows that were found.
    pub rows: u64,
    /// Those of them that are damaged, or refer to what is not there.
    pub damaged: u64,
}

impl Report {
    /// Findings that are kept in words.
    pub const FINDINGS_MAX: usize = 1_000;

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings_total == 0
    }

    fn find(&mut self, what: impl FnOnce() -> String) {
        self.findings_total += 1;
        if self.findings.len() < Self::FINDINGS_MAX {
            self.findings.push(what());
        }
    }
}

/// What an examination leaves behind.
#[derive(Default)]
pub(super) struct Examined {
    pub(super) report: Report,
    /// Sessions whose row can be read.
    sessions: BTreeSet<u64>,
    /// Messages whose row can be read.
    messages: BTreeSet<u64>,
    /// Messages whose recipients can be read as well.
    deliverable: BTreeSet<u64>,
    now: Option<Moment>,
    /// The highest number of a session or a message.
    pub(super) highest: u64,
}

pub(super) fn all(opened: &Opened) -> Result<Examined, CareError> {
    let mut examined = Examined::default();
    if let Some(structure) = &opened.structure {
        examined
            .report
            .find(|| format!("the database itself: {structure}"));
    }
    for table in TABLES {
        examined.table(&opened.engine, table);
    }
    examined.undeliverable();
    Ok(examined)
}

impl Examined {
    fn table(&mut self, engine: &Engine, table: Table) {
        let mut damaged = 0;
        let seen = each_row(engine, table, &mut |key, row| {
            if let Err(wrong) = self.row(table, key, row) {
                damaged += 1;
                self.report.find(|| wrong.to_string());
            }
        });
        if let Some(why) = seen.incomplete {
            self.report.find(|| format!("table {table}: {why}"));
        }
        if table == Table::Meta && seen.rows < 2 {
            self.report.find(|| format!("table {table}: rows are missing"));
        }
        self.report.tables.push(TableReport {
            table: table.to_string(),
            rows: seen.rows,
            damaged,
        });
    }

    /// Whether a row is sound. Those that others refer to are noted.
    pub(super) fn row(&mut self, table: Table, key: Key<'_>, row: &[u8]) -> Result<(), Damaged> {
        let now = *self.now.get_or_insert_with(Moment::now);
        let wrong = |what| Damaged::new(table, key, what);
        let no_session = "there is no such session";
        match (table, key) {
            (Table::Meta, Key::Text(_)) => open_value::<u64>(table, key, row).map(|_| ()),
            (Table::Sessions, Key::Number(number)) => {
                let record: SessionRecord = open_value(table, key, row)?;
                if record.number != number {
                    return Err(wrong("it is of another session"));
                }
                self.highest = self.highest.max(number);
                self.sessions.insert(number);
                Ok(())
            }
            (Table::Messages, Key::Number(seq)) => {
                self.highest = self.highest.max(seq);
                MessageRow::read(table, key, row, &now)?;
                self.messages.insert(seq);
                Ok(())
            }
            (Table::Recipients, Key::Number(seq)) => {
                self.highest = self.highest.max(seq);
                // Recipients whose sessions have ended are as good as gone.
                for recipient in RecipientsRow::read(seq, row)? {
                    recipient?;
                }
                if !self.messages.contains(&seq) {
                    return Err(wrong("its message is missing"));
                }
                self.deliverable.insert(seq);
                Ok(())
            }
            (Table::Progress, Key::Number(number)) => {
                open_value::<Saved>(table, key, row)?;
                if self.sessions.contains(&number) {
                    Ok(())
                } else {
                    Err(wrong(no_session))
                }
            }
            (Table::Subscriptions, Key::NumberAndText(number, _)) => {
                open_value::<Granted>(table, key, row)?;
                if self.sessions.contains(&number) {
                    Ok(())
                } else {
                    Err(wrong(no_session))
                }
            }
            (Table::Retained, Key::Text(topic)) => {
                if MessageRow::read(table, key, row, &now)?.topic() != topic {
                    return Err(wrong("it is of another topic"));
                }
                Ok(())
            }
            (Table::Facts, Key::KindAndBytes(..)) => open(table, key, row).map(|_| ()),
            _ => Err(wrong("it has a key of another table")),
        }
    }

    /// Begins anew with what rows may refer to.
    pub(super) fn forget_referred(&mut self) {
        self.sessions.clear();
        self.messages.clear();
    }

    /// Whether a row that is sound is of use.
    pub(super) fn is_kept(&self, table: Table, key: Key<'_>) -> bool {
        match (table, key) {
            (Table::Messages, Key::Number(seq)) => self.deliverable.contains(&seq),
            _ => true,
        }
    }

    /// Messages that nobody gets.
    fn undeliverable(&mut self) {
        let (messages, deliverable) = (&self.messages, &self.deliverable);
        for seq in messages.difference(deliverable) {
            let wrong = Damaged::new(Table::Messages, Key::Number(*seq), "its recipients are missing");
            self.report.find(|| wrong.to_string());
        }
    }
}
