//! The tables, and the version of all that is in them.

use crate::row::{Damaged, Key, Table, open_value, seal_value};
use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

/// Seq to message.
pub(crate) const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
/// Seq to recipients.
pub(crate) const RECIPIENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("recipients");
/// Session to how far it has come.
pub(crate) const PROGRESS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("progress");
/// Session to what is known of it.
pub(crate) const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");
/// Session and filter to what was granted.
pub(crate) const SUBSCRIPTIONS: TableDefinition<'_, (u64, &str), &[u8]> =
    TableDefinition::new("subscriptions");
/// Topic to message.
pub(crate) const RETAINED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("retained");
/// Kind and key to value.
pub(crate) const FACTS: TableDefinition<'_, (u8, &[u8]), &[u8]> = TableDefinition::new("facts");
/// [`FORMAT`] and [`BOOT`].
pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Key of the format's version in [`META`].
const FORMAT: &str = "format";
/// Key of how often the store was opened in [`META`].
const BOOT: &str = "boot";

/// The version this code writes. One that changes what a row means raises it and adds the step from the
/// version before to `upgrade`.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// What [`META`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) format: u32,
    pub(crate) boot: u64,
}

/// Why [`META`] says nothing.
pub(crate) enum MetaError {
    Damaged(Damaged),
    Table(TableError),
}

impl Meta {
    pub(crate) fn read(transaction: &ReadTransaction) -> Result<Self, MetaError> {
        let table = transaction.open_table(META).map_err(MetaError::Table)?;
        let get = |name: &'static str| {
            let row = table.get(name).map_err(|error| MetaError::Table(error.into()))?;
            let missing = || MetaError::Damaged(Damaged::new(Table::Meta, Key::Text(name), "it is missing"));
            row.ok_or_else(missing)
        };
        let read = |name: &'static str| -> Result<u64, MetaError> {
            let row = get(name)?;
            open_value(Table::Meta, Key::Text(name), row.value()).map_err(MetaError::Damaged)
        };
        Ok(Self {
            format: u32::try_from(read(FORMAT)?).unwrap_or(u32::MAX),
            boot: read(BOOT)?,
        })
    }

    pub(crate) fn write(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let mut table = transaction.open_table(META)?;
        for (name, value) in [(FORMAT, u64::from(self.format)), (BOOT, self.boot)] {
            let row = seal_value(Table::Meta, Key::Text(name), &value).map_err(unwritable)?;
            table.insert(name, row.as_slice())?;
        }
        Ok(())
    }
}

/// Makes every table, so that reading finds them.
pub(crate) fn make_all(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    for table in [MESSAGES, RECIPIENTS, PROGRESS, SESSIONS] {
        transaction.open_table(table)?;
    }
    transaction.open_table(SUBSCRIPTIONS)?;
    transaction.open_table(RETAINED)?;
    transaction.open_table(FACTS)?;
    Ok(())
}

/// A value that serde cannot write. There is none among ours.
pub(crate) fn unwritable(error: postcard::Error) -> redb::Error {
    redb::Error::Io(std::io::Error::other(error))
}
