//! From rows to what the broker goes on with. Payloads are not read: start-up takes as long as there are queued
//! recipients, sessions and retained messages, not bytes.

use crate::engine::{
    Engine, FACTS, FORMAT_VERSION, Fault, Keyed, MESSAGES, Meta, PROGRESS, RECIPIENTS, RETAINED, SESSIONS,
    SUBSCRIPTIONS, all_are_there, make_all, upgrade,
};
use crate::error::OpenError;
use crate::ledger::{Granted, Ledger, Place, Rows, Saved};
use crate::observer::Observer;
use crate::recovered::{Awaits, Exchange, Fact, Recovered, RecoveredSession, Stored};
use crate::row::{Damaged, Key, MessageRow, RecipientsRow, Table, open, open_value};
use crate::wall::Moment;
use foldhash::fast::RandomState;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition};
use sluice_mqtt::message::Message;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

/// What an open store starts with.
pub(crate) struct Recovery {
    pub(crate) recovered: Recovered,
    pub(crate) ledger: Ledger,
    /// What is to be put right on disk with the first batch.
    pub(crate) rows: Rows,
    /// The first number of a message.
    pub(crate) first_seq: u64,
}

/// Numbers of sessions and of messages begin anew with each start, above all those of the starts before.
pub(crate) const BOOT_SHIFT: u32 = 40;
/// Progress is told so often, and a store that opens faster says nothing.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// The clock is looked at after so many rows.
const ROWS_PER_LOOK: u64 = 4096;

/// Makes a store where there is none.
pub(crate) fn format(engine: &Engine) -> Result<(), Fault> {
    engine.transaction(|transaction| {
        make_all(transaction)?;
        let meta = Meta {
            format: FORMAT_VERSION,
            boot: 0,
        };
        meta.write(transaction)
    })
}

/// Reads all of it, and notes that it was started once more.
pub(crate) fn recover(engine: &Engine, observer: &dyn Observer, path: &Path) -> Result<Recovery, OpenError> {
    let refused = |refusal: Refusal| refusal.into_error(path);
    if engine.read(meta).map_err(refused)?.format < FORMAT_VERSION {
        // Before there were witnesses: a table that seems to be empty may have been damaged.
        engine.check().map_err(|fault| refused(fault.into()))?;
    }
    let meta = current(engine).map_err(refused)?;
    let mut recovery = engine
        .read(|transaction| Reading::new(transaction, observer).all())
        .map_err(refused)?;
    let boot = meta.boot + 1;
    engine
        .transaction(|transaction| Meta { boot, ..meta }.write(transaction))
        .map_err(|fault| refused(fault.into()))?;
    recovery.recovered.first_number = boot << BOOT_SHIFT;
    recovery.first_seq = (boot << BOOT_SHIFT) + 1;
    Ok(recovery)
}

/// Brings a store that an older version wrote to the format of this one.
pub(crate) fn current(engine: &Engine) -> Result<Meta, Refusal> {
    let found = engine.read(meta)?;
    Ok(upgrade(engine, found)?)
}

/// Why a store is not opened.
pub(crate) enum Refusal {
    Fault(Fault),
    Newer(u32),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Damaged> for Refusal {
    fn from(damaged: Damaged) -> Self {
        Self::Fault(damaged.into())
    }
}

impl From<redb::TableError> for Refusal {
    fn from(error: redb::TableError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<redb::StorageError> for Refusal {
    fn from(error: redb::StorageError) -> Self {
        Self::Fault(error.into())
    }
}

impl Refusal {
    pub(crate) fn into_error(self, path: &Path) -> OpenError {
        match self {
            Self::Newer(found) => OpenError::Newer {
                found,
                understood: FORMAT_VERSION,
            },
            Self::Fault(Fault::Database(redb::Error::Io(error)))
                if error.kind() != std::io::ErrorKind::InvalidData =>
            {
                OpenError::Io {
                    path: path.to_owned(),
                    error,
                }
            }
            Self::Fault(Fault::Database(redb::Error::DatabaseAlreadyOpen)) => OpenError::InUse {
                data_dir: path.to_owned(),
                process: None,
            },
            Self::Fault(fault) => OpenError::Corrupt(fault.to_string()),
        }
    }
}

/// What the store says of itself, if this version understands it.
pub(crate) fn meta(transaction: &ReadTransaction) -> Result<Meta, Refusal> {
    let meta = Meta::read(transaction)?;
    match meta.format {
        0 => Err(Damaged::new(Table::Meta, Key::Text("format"), "there is no such format").into()),
        1..=FORMAT_VERSION => Ok(meta),
        newer => Err(Refusal::Newer(newer)),
    }
}

/// What is in flight, by session and packet identifier.
type Found = HashMap<(u64, u16), Stored, RandomState>;

/// Reads a whole table, and sees that no row is lost: a page that is damaged may hide some.
fn each<K: Keyed>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, K, &'static [u8]>,
    table: Table,
    mut row: impl FnMut(K::SelfType<'_>, &[u8]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let place = transaction.open_table(definition)?;
    let mut seen = 0;
    for entry in place.iter()? {
        let (key, value) = entry?;
        seen += 1;
        if !K::is_witness(key.value()) {
            row(key.value(), value.value())?;
        }
    }
    if seen != place.len()? {
        return Err(Damaged::table(table, "rows are missing").into());
    }
    Ok(())
}

struct Reading<'a> {
    transaction: &'a ReadTransaction,
    observer: &'a dyn Observer,
    now: Moment,
    ledger: Ledger,
    sessions: BTreeMap<u64, RecoveredSession>,
    told: Instant,
}

impl<'a> Reading<'a> {
    fn new(transaction: &'a ReadTransaction, observer: &'a dyn Observer) -> Self {
        Self {
            transaction,
            observer,
            now: Moment::now(),
            ledger: Ledger::default(),
            sessions: BTreeMap::new(),
            told: Instant::now(),
        }
    }

    fn all(mut self) -> Result<Recovery, Refusal> {
        all_are_there(self.transaction)?;
        self.sessions()?;
        self.subscriptions()?;
        let mut rows = Rows::default();
        self.recipients(&mut rows)?;
        rows.absorb(self.ledger.recovered());
        let recovered = Recovered {
            first_number: 0,
            retained: self.retained()?,
            facts: self.facts()?,
            sessions: self.finished_sessions(),
        };
        Ok(Recovery {
            recovered,
            ledger: self.ledger,
            rows,
            first_seq: 0,
        })
    }

    fn sessions(&mut self) -> Result<(), Refusal> {
        let transaction = self.transaction;
        each(transaction, SESSIONS, Table::Sessions, |number, row| {
            let record = open_value(Table::Sessions, Key::Number(number), row)?;
            self.ledger.recover_session(number, Saved::default());
            let session = RecoveredSession {
                record,
                subscriptions: Vec::new(),
                queue: Vec::new(),
                inflight: Vec::new(),
                received: Vec::new(),
                next_position: 0,
            };
            self.sessions.insert(number, session);
            Ok(())
        })?;
        each(transaction, PROGRESS, Table::Progress, |number, row| {
            let saved = open_value(Table::Progress, Key::Number(number), row)?;
            if self.ledger.knows(number) {
                self.ledger.recover_session(number, saved);
            }
            Ok(())
        })
    }

    fn subscriptions(&mut self) -> Result<(), Refusal> {
        let table = Table::Subscriptions;
        each(self.transaction, SUBSCRIPTIONS, table, |(number, filter), row| {
            let granted: Granted = open_value(table, Key::NumberAndText(number, filter), row)?;
            if let Some(session) = self.sessions.get_mut(&number) {
                let subscription = (filter.to_owned(), granted.options, granted.id);
                session.subscriptions.push(subscription);
            }
            Ok(())
        })
    }

    fn recipients(&mut self, rows: &mut Rows) -> Result<(), Refusal> {
        let total = self.transaction.open_table(RECIPIENTS)?.len()?;
        if self.transaction.open_table(MESSAGES)?.len()? != total {
            return Err(Damaged::table(Table::Messages, "there are not as many as recipients").into());
        }
        let mut done = 0;
        // In the order of packet identifiers they wait here until all are known.
        let mut inflight = Found::default();
        each(self.transaction, RECIPIENTS, Table::Recipients, |seq, row| {
            let row = RecipientsRow::read(seq, row)?;
            if !self.recipient(seq, row, &mut inflight)? {
                rows.finished.insert(seq);
            }
            done += 1;
            self.tell(done, total);
            Ok(())
        })?;
        self.exchanges(&inflight);
        Ok(())
    }

    /// Gives a message to those that need it; whether there are any.
    fn recipient(&mut self, seq: u64, row: RecipientsRow<'_>, inflight: &mut Found) -> Result<bool, Damaged> {
        let (bytes, expires_at) = (row.bytes, row.expires_at);
        let expires_at = expires_at.and_then(|at| self.now.instant(at));
        let sessions = &mut self.sessions;
        self.ledger.recover_message(seq, row, |recipient, place| {
            let stored = Stored {
                seq,
                position: recipient.position,
                bytes,
                qos: recipient.qos,
                expires_at,
            };
            match place {
                Place::InFlight(packet_id) => {
                    inflight.insert((recipient.session, packet_id), stored);
                }
                Place::Queued => {
                    if let Some(session) = sessions.get_mut(&recipient.session) {
                        session.queue.push(stored);
                    }
                }
            }
        })
    }

    fn tell(&mut self, done: u64, total: u64) {
        if done.is_multiple_of(ROWS_PER_LOOK) && self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            self.observer.progress("reading the queues", done, total);
        }
    }

    /// What each session has in flight, with the messages that were found for it.
    fn exchanges(&mut self, found: &Found) {
        for (number, session) in &mut self.sessions {
            let Some(progress) = self.ledger.progress(*number) else {
                continue;
            };
            for sent in &progress.saved.inflight {
                let stored = found.get(&(*number, sent.packet_id)).copied();
                if stored.is_some() || sent.awaits == Awaits::Comp {
                    session.inflight.push(Exchange {
                        packet_id: sent.packet_id,
                        awaits: sent.awaits,
                        stored,
                    });
                }
            }
            session.received.clone_from(&progress.saved.inbound);
            session.next_position = progress.next_position();
            // Publishers that were at it at the same time may have taken their positions in another order than their
            // numbers.
            session.queue.sort_unstable_by_key(|stored| stored.position);
        }
    }

    fn retained(&self) -> Result<Vec<Message>, Refusal> {
        let mut retained = Vec::new();
        each(self.transaction, RETAINED, Table::Retained, |topic, row| {
            let message = MessageRow::read(Table::Retained, Key::Text(topic), row, &self.now)?;
            retained.push(message);
            Ok(())
        })?;
        Ok(retained)
    }

    fn facts(&self) -> Result<Vec<Fact>, Refusal> {
        let mut facts = Vec::new();
        each(self.transaction, FACTS, Table::Facts, |(kind, key), row| {
            let value = open(Table::Facts, Key::KindAndBytes(kind, key), row)?;
            facts.push((kind, key.to_owned(), value.to_owned()));
            Ok(())
        })?;
        Ok(facts)
    }

    fn finished_sessions(&mut self) -> Vec<RecoveredSession> {
        std::mem::take(&mut self.sessions).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Trust;
    use crate::observer::Unobserved;
    use crate::testing::Plate;
    use std::sync::Arc;

    /// What opening says of a store after this was done to it.
    fn refused(change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> OpenError {
        let plate = Plate::new(1);
        let engine = Engine::new(Box::new(plate), Arc::new(Unobserved), Trust::File);
        engine.open().unwrap();
        format(&engine).unwrap();
        assert!(recover(&engine, &Unobserved, Path::new("p")).is_ok());
        engine.transaction(change).unwrap();
        recover(&engine, &Unobserved, Path::new("p")).err().unwrap()
    }

    #[test]
    fn a_store_of_a_newer_format_is_refused() {
        let error = refused(|transaction| {
            let meta = Meta {
                format: FORMAT_VERSION + 1,
                boot: 1,
            };
            meta.write(transaction)
        });
        let said = error.to_string();
        assert!(matches!(error, OpenError::Newer { found, .. } if found == FORMAT_VERSION + 1));
        assert!(said.contains("`sluice store export`"), "{said}");
    }

    #[test]
    fn a_row_or_a_message_that_is_missing_is_noticed() {
        let without_message = refused(|transaction| {
            let row = crate::row::seal(Table::Recipients, Key::Number(9), &[0, 0, 0]);
            transaction.open_table(RECIPIENTS)?.insert(9, row.as_slice())?;
            Ok(())
        });
        assert!(
            matches!(without_message, OpenError::Corrupt(_)),
            "{without_message}"
        );
        let without_meta = refused(|transaction| {
            transaction.open_table(crate::engine::META)?.remove("boot")?;
            Ok(())
        });
        let said = without_meta.to_string();
        assert!(said.contains("table meta, row \"boot\": it is missing"), "{said}");
    }
}
