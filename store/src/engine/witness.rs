//! A row that every table has from its beginning to its end, and that is looked for whenever a store is opened.
//!
//! To redb a table without a root is an empty one, and one flipped bit takes a root away: bans and whole queues would be
//! gone as if there had never been any. A table of ours is never empty, so one that seems to be is damaged.
//!
//! The witness is the first row, not the last: redb packs pages when rows are added behind the last one.

use super::Fault;
use super::tables::{FACTS, MESSAGES, META, PROGRESS, RECIPIENTS, RETAINED, SESSIONS, SUBSCRIPTIONS};
use crate::row::{Damaged, Key, Table, open, seal};
use redb::{ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};

/// A kind of key that tables have.
pub(crate) trait Keyed: redb::Key + 'static {
    /// What the witness is found under, and nothing else: numbers begin above 0, and no topic and no name is empty.
    const WITNESS: Self::SelfType<'static>;

    /// A key as checksums cover it.
    fn key<'k>(found: Self::SelfType<'k>) -> Key<'k>;

    /// Whether it is that of the witness.
    fn is_witness(found: Self::SelfType<'_>) -> bool {
        Self::key(found) == Self::key(Self::WITNESS)
    }
}

impl Keyed for u64 {
    const WITNESS: Self = 0;

    fn key<'k>(found: <Self as Value>::SelfType<'k>) -> Key<'k> {
        Key::Number(found)
    }
}

impl Keyed for &'static str {
    const WITNESS: Self = "";

    fn key<'k>(found: <Self as Value>::SelfType<'k>) -> Key<'k> {
        Key::Text(found)
    }
}

impl Keyed for (u64, &'static str) {
    const WITNESS: Self = (0, "");

    fn key<'k>((number, text): <Self as Value>::SelfType<'k>) -> Key<'k> {
        Key::NumberAndText(number, text)
    }
}

impl Keyed for (u8, &'static [u8]) {
    const WITNESS: Self = (0, b"");

    fn key<'k>((kind, bytes): <Self as Value>::SelfType<'k>) -> Key<'k> {
        Key::KindAndBytes(kind, bytes)
    }
}

/// Makes every table, with its witness.
pub(crate) fn make_all(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    for (definition, table) in [
        (MESSAGES, Table::Messages),
        (RECIPIENTS, Table::Recipients),
        (PROGRESS, Table::Progress),
        (SESSIONS, Table::Sessions),
    ] {
        make(transaction, definition, table)?;
    }
    make(transaction, SUBSCRIPTIONS, Table::Subscriptions)?;
    make(transaction, RETAINED, Table::Retained)?;
    make(transaction, FACTS, Table::Facts)?;
    make(transaction, META, Table::Meta)
}

fn make<K: Keyed>(
    transaction: &WriteTransaction,
    definition: TableDefinition<'_, K, &'static [u8]>,
    table: Table,
) -> Result<(), redb::Error> {
    let row = seal(table, K::key(K::WITNESS), &[]);
    transaction
        .open_table(definition)?
        .insert(K::WITNESS, row.as_slice())?;
    Ok(())
}

/// Whether every table has its witness. Reads one row of each.
pub(crate) fn all_are_there(transaction: &ReadTransaction) -> Result<(), Fault> {
    for (definition, table) in [
        (MESSAGES, Table::Messages),
        (RECIPIENTS, Table::Recipients),
        (PROGRESS, Table::Progress),
        (SESSIONS, Table::Sessions),
    ] {
        is_there(&transaction.open_table(definition)?, table)?;
    }
    is_there(&transaction.open_table(SUBSCRIPTIONS)?, Table::Subscriptions)?;
    is_there(&transaction.open_table(RETAINED)?, Table::Retained)?;
    is_there(&transaction.open_table(FACTS)?, Table::Facts)?;
    is_there(&transaction.open_table(META)?, Table::Meta)
}

/// Whether a table has its witness.
pub(crate) fn is_there<K: Keyed>(
    place: &impl ReadableTable<K, &'static [u8]>,
    table: Table,
) -> Result<(), Fault> {
    let Some(row) = place.get(K::WITNESS)? else {
        let lost = "it has not even the row that every table has, so its rows are lost";
        return Err(Damaged::table(table, lost).into());
    };
    open(table, K::key(K::WITNESS), row.value())?;
    Ok(())
}
