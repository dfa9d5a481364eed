//! The tables, and the version of all that is in them.

use super::Fault;
use crate::row::{Damaged, Key, Table, open_value, seal_value};
use redb::{ReadTransaction, TableDefinition, WriteTransaction};

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
///
/// 1: the first. 2: every table has a witness, see `witness`.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// What [`META`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) format: u32,
    pub(crate) boot: u64,
}

impl Meta {
    pub(crate) fn read(transaction: &ReadTransaction) -> Result<Self, Fault> {
        let table = transaction.open_table(META)?;
        let read = |name: &'static str| -> Result<u64, Fault> {
            let missing = || Damaged::new(Table::Meta, Key::Text(name), "it is missing");
            let row = table.get(name)?.ok_or_else(missing)?;
            Ok(open_value(Table::Meta, Key::Text(name), row.value())?)
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

/// A value that serde cannot write. There is none among ours.
pub(crate) fn unwritable(error: postcard::Error) -> redb::Error {
    redb::Error::Io(std::io::Error::other(error))
}
