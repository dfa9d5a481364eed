//! The database: rows in, rows out. It alone, and what repairs it, knows redb.
//!
//! Every commit is in two phases, because clients choose much of what is written, and saves which pages are in use, so
//! that opening it after a crash takes no longer than after a clean end.

mod disk;
mod lookup;
mod tables;
mod upgrade;
mod witness;
mod write;

pub use disk::Disk;
pub(crate) use disk::FileDisk;
pub(crate) use lookup::{Lookup, LookupError};
pub(crate) use tables::{
    FACTS, FORMAT_VERSION, MESSAGES, META, Meta, PROGRESS, RECIPIENTS, RETAINED, SESSIONS, SUBSCRIPTIONS,
};
pub(crate) use upgrade::upgrade;
pub(crate) use witness::{Keyed, all_are_there, is_there, make_all};

use crate::ledger::Rows;
use crate::observer::Observer;
use crate::row::Damaged;
use parking_lot::RwLock;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Memory for pages that were read or are about to be written.
const CACHE_BYTES: usize = 32 << 20;
/// Redb may panic when a file was changed behind its back. That must not end the broker, so each panic is caught; what
/// has panicked is not touched any more, not even to drop it, because that may panic again. So few are left behind.
const PANICS_MAX: u32 = 32;

/// A database that can be opened again when its disk fails.
pub(crate) struct Engine {
    disk: Box<dyn Disk>,
    observer: Arc<dyn Observer>,
    trust: Trust,
    panics: AtomicU32,
    /// Somebody waits for those who read to let go of the database, which fails.
    is_wanted: AtomicBool,
    /// `None` between a failure and the next attempt, and after the end.
    opened: RwLock<Option<Opened>>,
}

struct Opened {
    database: Database,
    has_panicked: AtomicBool,
}

/// Whether a file is believed to be what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is; each row is checked when it is read.
    File,
    /// It is checked as a whole when it is opened, which takes as long as reading it.
    Nothing,
}

/// Why the database could not do something.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The disk, or the database.
    Database(redb::Error),
    /// What the database has is not what was written.
    Damaged(Damaged),
    /// It panicked.
    Panicked(String),
    /// It is not open.
    Closed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Damaged(damaged) => damaged.fmt(f),
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
            Self::Panicked(_) | Self::Damaged(_) | Self::Database(redb::Error::Corrupted(_))
        )
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl From<Damaged> for Fault {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

impl Engine {
    pub(crate) fn new(disk: Box<dyn Disk>, observer: Arc<dyn Observer>, trust: Trust) -> Self {
        Self {
            disk,
            observer,
            trust,
            panics: AtomicU32::new(0),
            is_wanted: AtomicBool::new(false),
            opened: RwLock::new(None),
        }
    }

    /// Opens the database, or makes one where there is nothing.
    pub(crate) fn open(&self) -> Result<(), Fault> {
        *self.opened.write() = Some(self.opened(self.trust)?);
        Ok(())
    }

    /// Opens it anew and checks it as a whole, unless that was done when it was opened.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.trust == Trust::Nothing {
            return Ok(());
        }
        // Closing it would write to it.
        self.abandon();
        *self.opened.write() = Some(self.opened(Trust::Nothing)?);
        Ok(())
    }

    /// Leaves the database as its disk has it and opens it anew.
    pub(crate) fn reopen(&self) -> Result<(), Fault> {
        self.is_wanted.store(true, Ordering::Relaxed);
        let mut opened = self.opened.write();
        self.is_wanted.store(false, Ordering::Relaxed);
        self.close(opened.take());
        self.forget_cached()?;
        *opened = Some(self.opened(self.trust)?);
        Ok(())
    }

    /// Opens it anew if it has panicked.
    pub(crate) fn recover(&self) -> Result<(), Fault> {
        let opened = self.opened.read();
        let is_usable = opened
            .as_ref()
            .is_some_and(|opened| !opened.has_panicked.load(Ordering::Acquire));
        drop(opened);
        if is_usable { Ok(()) } else { self.reopen() }
    }

    /// Whether who reads for long had better end, so that what fails can be opened anew.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Before it is opened, if what the system remembers of the disk may not be there.
    pub(crate) fn forget_cached(&self) -> Result<(), Fault> {
        self.disk.forget_cached().map_err(redb::Error::Io)?;
        Ok(())
    }

    /// Closes the database.
    pub(crate) fn shut(&self) {
        let mut opened = self.opened.write();
        self.close(opened.take());
    }

    /// Leaves the database open for ever, because closing one writes to it: what is damaged stays as it is.
    pub(crate) fn abandon(&self) {
        let opened = self.opened.write().take();
        if opened.is_some() {
            self.disk.abandoned();
        }
        std::mem::forget(opened);
    }

    fn opened(&self, trust: Trust) -> Result<Opened, Fault> {
        let panics = self.panics.load(Ordering::Relaxed);
        if panics >= PANICS_MAX {
            return Err(Fault::Panicked(format!(
                "{panics} times, and is not used any more"
            )));
        }
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        builder.set_check_integrity_on_open(trust == Trust::Nothing);
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
        let database = self.unwinding(|| Ok(self.disk.open(&builder)?))?;
        Ok(Opened {
            database,
            has_panicked: AtomicBool::new(false),
        })
    }

    fn close(&self, opened: Option<Opened>) {
        let Some(Opened {
            database,
            has_panicked,
        }) = opened
        else {
            return;
        };
        if has_panicked.into_inner() {
            std::mem::forget(database);
            self.disk.abandoned();
            return;
        }
        // What it could not write is written after it is opened again.
        let closed = self.unwinding(|| Ok(database.close()?));
        drop(closed);
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
            let transaction = self.unwinding(|| {
                let mut transaction = database.begin_write()?;
                transaction.set_two_phase_commit(true);
                transaction.set_quick_repair(true);
                Ok(transaction)
            })?;
            match self.unwinding(|| Ok(work(&transaction)?)) {
                Ok(done) => {
                    self.unwinding(|| Ok(transaction.commit()?))?;
                    Ok(done)
                }
                Err(fault @ Fault::Panicked(_)) => {
                    std::mem::forget(transaction);
                    Err(fault)
                }
                Err(fault) => {
                    self.unwinding(|| Ok(transaction.abort()?)).ok();
                    Err(fault)
                }
            }
        })
    }

    /// Reads one state of the database, whatever is committed meanwhile.
    pub(crate) fn read<T, E: From<Fault>>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.with(|database| {
            self.unwinding(|| {
                let transaction = database.begin_read()?;
                Ok(work(&transaction))
            })
        })?
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        let opened = self.opened.read();
        let opened = opened.as_ref().ok_or(Fault::Closed)?;
        if opened.has_panicked.load(Ordering::Acquire) {
            return Err(Fault::Panicked("before".to_owned()));
        }
        let done = work(&opened.database);
        if matches!(done, Err(Fault::Panicked(_))) {
            opened.has_panicked.store(true, Ordering::Release);
        }
        done
    }

    fn unwinding<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        match std::panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome,
            Err(panic) => {
                self.panics.fetch_add(1, Ordering::Relaxed);
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Err(Fault::Panicked(text.unwrap_or_default()))
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut();
    }
}
