//! The thread that writes batches.
//!
//! When writing fails it keeps the rows, opens the database anew and tries again until it succeeds or the store is
//! closed. The rows are what is to be on disk whether or not the failed attempt has put some of them there, so trying
//! again does no harm.

use crate::data_dir::{DataDir, Stage};
use crate::engine::{Engine, Fault, all_are_there};
use crate::journal::{Closed, Journal};
use crate::ledger::{Ledger, Rows};
use crate::observer::{Committed, Observer};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) struct Committer {
    pub(crate) journal: Arc<Journal>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) observer: Arc<dyn Observer>,
    /// `None`: there is no directory.
    pub(crate) data_dir: Option<Arc<DataDir>>,
    pub(crate) ledger: Ledger,
    /// What is to be written with the first batch.
    pub(crate) rows: Rows,
    pub(crate) retry_interval: Duration,
}

/// What is being written.
struct Work {
    rows: Rows,
    /// The ticket that is durable then.
    number: u64,
    /// What its batches are accounted with.
    bytes: u64,
}

/// The disk failed to the end.
struct GivenUp;

impl Committer {
    /// Writes batches until the store is closed.
    pub(crate) fn run(mut self) {
        loop {
            let closed = self.journal.next();
            let last = closed.last;
            if self.commit(closed).is_err() || last {
                break;
            }
        }
        self.engine.shut();
        self.journal.closed();
        if let Some(dir) = &self.data_dir {
            dir.unlock();
        }
    }

    fn commit(&mut self, closed: Closed) -> Result<(), GivenUp> {
        let began = Instant::now();
        let mut work = Work {
            rows: std::mem::take(&mut self.rows),
            number: 0,
            bytes: 0,
        };
        self.take_up(&mut work, closed);
        if work.rows.is_empty() {
            self.journal.committed(work.number, work.bytes);
            return Ok(());
        }
        let bytes = match self.engine.write(&work.rows) {
            Ok(bytes) => bytes,
            Err(fault) => self.write_again(&mut work, &fault)?,
        };
        self.journal.committed(work.number, work.bytes);
        self.observer.committed(&Committed {
            messages: work.rows.messages.len() as u64,
            bytes,
            duration: began.elapsed(),
        });
        Ok(())
    }

    fn note(&self, stage: Stage) {
        if let Some(dir) = &self.data_dir {
            // On a disk that fails this may fail too; there is nothing left to do about it.
            dir.note(stage).ok();
        }
    }

    fn take_up(&mut self, work: &mut Work, closed: Closed) {
        work.number = closed.number;
        work.bytes += closed.batch.bytes;
        work.rows.absorb(self.ledger.apply(closed.batch));
    }

    /// Tries until it is written. What comes meanwhile joins it when it is much, so that what is the same is held once.
    fn write_again(&mut self, work: &mut Work, fault: &Fault) -> Result<u64, GivenUp> {
        self.journal.fail();
        self.note(Stage::Failing);
        self.observer.failing(&fault.to_string());
        loop {
            let (closing, more) = self.journal.pause(Instant::now() + self.retry_interval);
            if let Some(more) = more {
                self.take_up(work, more);
            }
            let opened = self.engine.reopen();
            let sound = opened.and_then(|()| self.engine.read(all_are_there));
            match sound.and_then(|()| self.engine.write(&work.rows)) {
                Ok(bytes) => {
                    self.note(Stage::Using);
                    self.journal.recovered();
                    self.observer.recovered();
                    return Ok(bytes);
                }
                Err(_) if closing => return Err(GivenUp),
                Err(_) => {}
            }
        }
    }
}
