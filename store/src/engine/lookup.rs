//! One message out of the database.

use super::tables::{MESSAGES, RECIPIENTS};
use super::{Engine, Fault};
use crate::change::StoredMessage;
use crate::row::{Damaged, Key, MessageRow, RecipientsRow, Table};
use crate::wall::Moment;

/// Which copy of which message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup {
    pub(crate) seq: u64,
    pub(crate) session: u64,
    /// `None`: whichever there is.
    pub(crate) position: Option<u64>,
}

/// Why it cannot be had.
pub(crate) enum LookupError {
    Damaged(Damaged),
    Fault(Fault),
}

impl From<Fault> for LookupError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Damaged> for LookupError {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

impl Engine {
    pub(crate) fn lookup(&self, wanted: Lookup) -> Result<Option<StoredMessage>, LookupError> {
        let seq = wanted.seq;
        self.read(|transaction| {
            let recipients = transaction.open_table(RECIPIENTS).map_err(Fault::from)?;
            let messages = transaction.open_table(MESSAGES).map_err(Fault::from)?;
            let Some(row) = recipients.get(seq).map_err(Fault::from)? else {
                // They come and go together. A damaged page can lead a search to where the row is not.
                return match messages.get(seq).map_err(Fault::from)? {
                    Some(_) => Err(missing(Table::Recipients, seq).into()),
                    None => Ok(None),
                };
            };
            let mut recipient = None;
            for found in RecipientsRow::read(seq, row.value())? {
                let found = found?;
                if found.is(wanted.session, wanted.position) {
                    recipient = Some(found);
                    break;
                }
            }
            let Some(recipient) = recipient else {
                return Ok(None);
            };
            let row = messages.get(seq).map_err(Fault::from)?;
            let row = row.ok_or_else(|| missing(Table::Messages, seq))?;
            let message = MessageRow::read(Table::Messages, Key::Number(seq), row.value(), &Moment::now())?;
            Ok(Some(recipient.with(message)))
        })
    }
}

fn missing(table: Table, seq: u64) -> Damaged {
    Damaged::new(table, Key::Number(seq), "it is missing")
}
