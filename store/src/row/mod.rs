//! How rows are written: a checksum of four bytes, then the value.
//!
//! The checksum covers the table and the key as well, so that a row that is found under a key is the one that was
//! written there.

mod message;
mod recipients;

pub(crate) use message::MessageRow;
pub(crate) use recipients::{RecipientsRow, recipients_row};

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Which table a row is in. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Table {
    Meta = 1,
    Messages = 2,
    Recipients = 3,
    Progress = 4,
    Sessions = 5,
    Subscriptions = 6,
    Retained = 7,
    Facts = 8,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Meta => "meta",
            Self::Messages => "messages",
            Self::Recipients => "recipients",
            Self::Progress => "progress",
            Self::Sessions => "sessions",
            Self::Subscriptions => "subscriptions",
            Self::Retained => "retained",
            Self::Facts => "facts",
        })
    }
}

/// What a row is found under, as its checksum covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Number(u64),
    NumberAndText(u64, &'a str),
    Text(&'a str),
    KindAndBytes(u8, &'a [u8]),
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::NumberAndText(number, text) => write!(f, "{number} {text:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::KindAndBytes(kind, bytes) => write!(f, "{kind} \"{}\"", bytes.escape_ascii()),
        }
    }
}

/// A row, or a table, that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    table: Table,
    /// `None`: the table as a whole.
    key: Option<String>,
    what: &'static str,
}

impl Damaged {
    pub(crate) fn new(table: Table, key: Key<'_>, what: &'static str) -> Self {
        Self {
            table,
            key: Some(key.to_string()),
            what,
        }
    }

    pub(crate) fn table(table: Table, what: &'static str) -> Self {
        Self {
            table,
            key: None,
            what,
        }
    }

    /// What is wrong, without where.
    pub(crate) fn what(&self) -> &'static str {
        self.what
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "table {}, row {key}: {}", self.table, self.what),
            None => write!(f, "table {}: {}", self.table, self.what),
        }
    }
}

pub(crate) const CHECKSUM_BYTES: usize = 4;

/// The checksum of a row whose value consists of these pieces.
pub(crate) fn checksum(table: Table, key: Key<'_>, pieces: &[&[u8]]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[table as u8]);
    match key {
        Key::Number(number) => hasher.update(&number.to_le_bytes()),
        Key::NumberAndText(number, text) => {
            hasher.update(&number.to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Key::Text(text) => hasher.update(text.as_bytes()),
        Key::KindAndBytes(kind, bytes) => {
            hasher.update(&[kind]);
            hasher.update(bytes);
        }
    }
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().to_le_bytes()
}

/// The row for these bytes.
pub(crate) fn seal(table: Table, key: Key<'_>, value: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(CHECKSUM_BYTES + value.len());
    row.extend_from_slice(&checksum(table, key, &[value]));
    row.extend_from_slice(value);
    row
}

/// The bytes in a row, if they are those that were written.
pub(crate) fn open<'a>(table: Table, key: Key<'_>, row: &'a [u8]) -> Result<&'a [u8], Damaged> {
    let Some((sum, value)) = row.split_first_chunk::<CHECKSUM_BYTES>() else {
        return Err(Damaged::new(table, key, "too short"));
    };
    if checksum(table, key, &[value]) != *sum {
        return Err(Damaged::new(table, key, "its checksum is wrong"));
    }
    Ok(value)
}

/// [`seal`] for what serde can write.
pub(crate) fn seal_value(
    table: Table,
    key: Key<'_>,
    value: &impl Serialize,
) -> Result<Vec<u8>, postcard::Error> {
    Ok(seal(table, key, &postcard::to_stdvec(value)?))
}

/// [`open`] for what serde can read.
pub(crate) fn open_value<T: DeserializeOwned>(table: Table, key: Key<'_>, row: &[u8]) -> Result<T, Damaged> {
    let value = open(table, key, row)?;
    match postcard::take_from_bytes(value) {
        Ok((value, [])) => Ok(value),
        _ => Err(Damaged::new(table, key, "it makes no sense")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_only_where_it_was_written_and_as_it_was_written() {
        let row = seal(Table::Facts, Key::Number(7), b"value");
        assert_eq!(open(Table::Facts, Key::Number(7), &row), Ok(&b"value"[..]));
        assert!(open(Table::Facts, Key::Number(8), &row).is_err());
        assert!(open(Table::Meta, Key::Number(7), &row).is_err());
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(Table::Facts, Key::Number(7), &flipped).is_err(), "bit {bit}");
        }
        assert!(open(Table::Facts, Key::Number(7), b"abc").is_err());
    }

    #[test]
    fn a_value_with_bytes_behind_it_makes_no_sense() {
        let row = seal(Table::Meta, Key::Text("boot"), &[5, 6]);
        let read = open_value::<u64>(Table::Meta, Key::Text("boot"), &row);
        assert_eq!(
            read.unwrap_err().to_string(),
            "table meta, row \"boot\": it makes no sense"
        );
    }
}
