//! The handle that the broker holds.

use crate::batch::Kept;
use crate::care::{Backup, CareError};
use crate::change::{Change, MessageRecord, StoredMessage};
use crate::engine::{Disk, Trust};
use crate::error::{OpenError, ReadError};
use crate::journal::{Health, Journal};
use crate::observer::Observer;
use crate::options::Options;
use crate::recovered::Recovered;
use crate::running::Running;
use crate::ticket::{InDoubt, Ticket, Wait};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

/// What outlives the process. A clone is another handle of the same store; the last one that is dropped closes it.
#[derive(Clone)]
pub struct Store(Kind);

#[derive(Clone)]
enum Kind {
    /// Keeps nothing; counts only.
    Memory(Arc<AtomicU64>),
    Disk(Arc<Running>),
}

impl Store {
    /// A store that keeps nothing.
    #[must_use]
    pub fn memory() -> Self {
        Self(Kind::Memory(Arc::new(AtomicU64::new(1))))
    }

    /// Opens the store in a directory, or makes one there, and returns all that it has. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`]; the directory is as it was then.
    pub fn open(options: Options, observer: Arc<dyn Observer>) -> Result<(Self, Recovered), OpenError> {
        let (running, recovered) = Running::open(&options, observer)?;
        Ok((Self(Kind::Disk(Arc::new(running))), recovered))
    }

    /// Makes a new store on a disk that the caller owns, which is empty.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn format(disk: Box<dyn Disk>) -> Result<(), OpenError> {
        Running::format(disk)
    }

    /// Opens the store on a disk that the caller owns. [`Options::data_dir`] is not looked at.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(
        disk: Box<dyn Disk>,
        options: Options,
        observer: Arc<dyn Observer>,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::open_trusting(disk, &options, observer, Trust::File)
    }

    pub(crate) fn open_trusting(
        disk: Box<dyn Disk>,
        options: &Options,
        observer: Arc<dyn Observer>,
        trust: Trust,
    ) -> Result<(Self, Recovered), OpenError> {
        let (running, recovered) = Running::open_on(disk, options, observer, trust)?;
        Ok((Self(Kind::Disk(Arc::new(running))), recovered))
    }

    /// Whether anything is kept.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        matches!(self.0, Kind::Disk(_))
    }

    /// Whether durable work can be taken. One atomic load.
    #[must_use]
    pub fn health(&self) -> Health {
        self.journal().map_or(Health::Open, Journal::health)
    }

    /// Whether more waits to be written than [`Options::backlog_bytes_max`].
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.journal().is_some_and(Journal::is_congested)
    }

    /// Bytes that wait to be written, about.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        self.journal().map_or(0, Journal::backlog_bytes)
    }

    /// A number for a message: above every number there ever was, never 0.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        match &self.0 {
            Kind::Memory(next) => next.fetch_add(1, Ordering::Relaxed),
            Kind::Disk(running) => running.journal.next_seq(),
        }
    }

    /// Opens a submission. It is ended within microseconds: no batch is written while one is open.
    ///
    /// Positions in queues are taken while it is open: a later position is then never in an earlier batch.
    pub fn begin(&self) -> Submission {
        Submission {
            store: self.clone(),
            ticket: self.journal().map_or(Ticket::NONE, Journal::begin),
            announced: None,
            is_empty: true,
        }
    }

    /// Opens a submission about a message, and gives the message its number as [`Store::next_seq`] does.
    ///
    /// A session may be told of the message, and want to read it, before the submission is ended: [`Store::read`] waits
    /// for that. Who opens it must not read.
    pub fn begin_message(&self) -> (Submission, u64) {
        let (ticket, seq) = match self.journal() {
            None => (Ticket::NONE, self.next_seq()),
            Some(journal) => journal.begin_message(),
        };
        let submission = Submission {
            store: self.clone(),
            ticket,
            announced: Some(seq),
            is_empty: true,
        };
        (submission, seq)
    }

    /// Submits one change. The lock it takes is held for nanoseconds and nothing else is locked under it.
    pub fn submit(&self, change: Change) -> Ticket {
        self.journal()
            .map_or(Ticket::NONE, |journal| journal.change(change))
    }

    /// When this is durable, so is all that was ever submitted.
    #[must_use]
    pub fn latest(&self) -> Ticket {
        self.journal().map_or(Ticket::NONE, Journal::latest)
    }

    /// Whether all that was submitted under this ticket is durable. If that is not known yet, its batch is written as
    /// soon as possible, and the waker is woken then.
    ///
    /// # Errors
    /// [`InDoubt`] if writing it failed and has not succeeded since.
    pub fn poll_durable(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), InDoubt>> {
        match self.journal() {
            Some(journal) => journal.poll_durable(ticket, waker),
            None => Poll::Ready(Ok(())),
        }
    }

    /// [`Store::poll_durable`] as a future.
    pub fn wait(&self, ticket: Ticket) -> Wait {
        Wait {
            store: self.clone(),
            ticket,
        }
    }

    /// The message with this number as the session is to get it; `None` if it is not kept for it any more. Blocks.
    ///
    /// # Errors
    /// See [`ReadError`]; the observer is told of what is damaged.
    pub fn read(&self, seq: u64, session: u64) -> Result<Option<StoredMessage>, ReadError> {
        match &self.0 {
            Kind::Memory(_) => Ok(None),
            Kind::Disk(running) => running.read(seq, session, None),
        }
    }

    /// [`Store::read`] for a session that may have several copies of a message: the one at this position.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_at(&self, seq: u64, session: u64, position: u64) -> Result<Option<StoredMessage>, ReadError> {
        match &self.0 {
            Kind::Memory(_) => Ok(None),
            Kind::Disk(running) => running.read(seq, session, Some(position)),
        }
    }

    /// Copies all that was submitted so far to a new file, which [`crate::care::restore`] puts back. The store goes on
    /// meanwhile; it grows by what is changed while the copy is made. Blocks.
    ///
    /// # Errors
    /// See [`CareError`]; there is no such file then. [`CareError::Missing`] for a memory store.
    pub fn backup(&self, path: &Path) -> Result<Backup, CareError> {
        match &self.0 {
            Kind::Memory(_) => Err(CareError::Missing(path.to_owned())),
            Kind::Disk(running) => running.backup(path),
        }
    }

    /// Writes all that was submitted and gives the directory free. Blocks until then, and until no submission is open.
    /// What is submitted later is lost.
    pub fn close(&self) {
        if let Kind::Disk(running) = &self.0 {
            running.close();
        }
    }

    fn journal(&self) -> Option<&Journal> {
        match &self.0 {
            Kind::Memory(_) => None,
            Kind::Disk(running) => Some(&running.journal),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("is_durable", &self.is_durable())
            .field("health", &self.health())
            .field("backlog_bytes", &self.backlog_bytes())
            .finish_non_exhaustive()
    }
}

/// Changes that become durable together. Dropping it ends it: what was said is kept.
#[derive(Debug)]
#[must_use = "its ticket says when it is durable"]
pub struct Submission {
    store: Store,
    ticket: Ticket,
    /// The number of the message it is about.
    announced: Option<u64>,
    is_empty: bool,
}

impl Submission {
    /// A message for durable sessions. Within a batch, sessions are opened first, then messages are taken in, then all
    /// else follows in its order.
    pub fn message(&mut self, record: MessageRecord<'_>) {
        let Some(journal) = self.store.journal() else {
            return;
        };
        journal.message(record.seq, Arc::new(Kept::new(record)));
        self.is_empty = false;
    }

    /// A change.
    pub fn change(&mut self, change: Change) {
        let Some(journal) = self.store.journal() else {
            return;
        };
        debug_assert!(!change.is_of_the_store(), "{change:?}");
        journal.change(change);
        self.is_empty = false;
    }

    /// Ends it. [`Ticket::NONE`] if nothing was said.
    pub fn end(self) -> Ticket {
        if self.is_empty { Ticket::NONE } else { self.ticket }
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        if let Some(journal) = self.store.journal() {
            journal.end(self.announced);
        }
    }
}
