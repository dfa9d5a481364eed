//! The database: rows in, rows out. It alone, and what repairs it, knows redb.
//!
//! Every commit is in two phases, because clients choose much of what is written, and saves which pages are in use, so
//! that opening it after a crash takes no longer than after a clean end.

mod disk;
mod lookup;
mod tables;
mod write;

pub use disk::Disk;
pub(crate) use disk::FileDisk;
pub(crate) use lookup::{Lookup, LookupError};
pub(crate) use tables::{
    FACTS, FORMAT_VERSION, Meta, MetaError, PROGRESS, RECIPIENTS, RETAINED, SESSIONS, SUBSCRIPTIONS, make_all,
};

use crate::ledger::Rows;
use crate::observer::Observer;
use parking_lot::RwLock;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Memory for pages that were read or are about to be written.
const CACHE_BYTES: usize = 32 << 20;

/// A database that can be opened again when its disk fails.
pub(crate) struct Engine {
    disk: Box<dyn Disk>,
    observer: Arc<dyn Observer>,
    /// `None` between a failure and the next attempt, and after the end.
    database: RwLock<Option<Database>>,
}

/// Why the database could not do something.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The disk, or the database.
    Database(redb::Error),
    /// It panicked, as it may when a file was changed behind its back.
    Panicked(String),
    /// It is not open.
    Closed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Panicked(message) => write!(f, "the database panicked: {message}"),
            Self::Closed => f.write_str("it is not open"),
        }
    }
}

impl Fault {
    /// Whether what is on disk is at fault, and not the disk for now.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Panicked(_) | Self::Database(redb::Error::Corrupted(_))
        )
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl Engine {
    pub(crate) fn new(disk: Box<dyn Disk>, observer: Arc<dyn Observer>) -> Self {
        Self {
            disk,
            observer,
            database: RwLock::new(None),
        }
    }

    /// Opens the database, or makes one where there is nothing.
    pub(crate) fn open(&self) -> Result<(), Fault> {
        *self.database.write() = Some(self.opened()?);
        Ok(())
    }

    /// Leaves the database as its disk has it and opens it anew.
    pub(crate) fn reopen(&self) -> Result<(), Fault> {
        let mut database = self.database.write();
        close(database.take());
        self.forget_cached()?;
        *database = Some(self.opened()?);
        Ok(())
    }

    /// Before it is opened, if what the system remembers of the disk may not be there.
    pub(crate) fn forget_cached(&self) -> Result<(), Fault> {
        self.disk.forget_cached().map_err(redb::Error::Io)?;
        Ok(())
    }

    /// Closes the database.
    pub(crate) fn shut(&self) {
        close(self.database.write().take());
    }

    fn opened(&self) -> Result<Database, Fault> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let observer = Arc::clone(&self.observer);
        builder.set_repair_callback(move |repair| {
            // Never negative, and at most 1.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "see above"
            )]
            let percent = (repair.progress() * 100.0) as u64;
            observer.progress("checking the store", percent, 100);
        });
        unwinding(|| Ok(self.disk.open(&builder)?))
    }

    /// Puts and deletes rows, all or none; returns the bytes of rows that were put.
    pub(crate) fn write(&self, rows: &Rows) -> Result<u64, Fault> {
        self.transaction(|transaction| write::rows(transaction, rows))
    }

    /// One transaction that is on disk when this returns.
    pub(crate) fn transaction<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Fault> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            transaction.set_quick_repair(true);
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// Reads one state of the database, whatever is committed meanwhile.
    pub(crate) fn read<T, E: From<Fault>>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.with(|database| {
            let transaction = database.begin_read()?;
            Ok(work(&transaction))
        })?
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        let database = self.database.read();
        let database = database.as_ref().ok_or(Fault::Closed)?;
        unwinding(|| work(database))
    }
}

/// What closing a database could not write is written after it is opened again.
fn close(database: Option<Database>) {
    unwinding(|| {
        drop(database);
        Ok(())
    })
    .ok();
}

/// A damaged file may make redb panic; that must not end the broker. The database is dropped then, or not used again
/// before it is opened anew.
pub(crate) fn unwinding<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Fault::Panicked(text.unwrap_or_default()))
        }
    }
}
