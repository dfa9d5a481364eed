//! A store that is open: its parts, and how they come up and go down.

use crate::care::{self, Backup, CareError};
use crate::change::StoredMessage;
use crate::commit::Committer;
use crate::data_dir::{DataDir, Stage, open_private, rename_durably};
use crate::engine::{Disk, Engine, FileDisk, Lookup, LookupError, Trust};
use crate::error::{OpenError, ReadError};
use crate::journal::{Health, Journal};
use crate::observer::{Observer, Unobserved};
use crate::options::Options;
use crate::recovered::Recovered;
use crate::recovery::{Refusal, format, recover};
use crate::ticket::InDoubt;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

/// What a disk is called that has no path.
const DISK: &str = "the disk";

pub(crate) struct Running {
    pub(crate) journal: Arc<Journal>,
    engine: Arc<Engine>,
    observer: Arc<dyn Observer>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
}

impl Running {
    pub(crate) fn open(
        options: &Options,
        observer: Arc<dyn Observer>,
    ) -> Result<(Self, Recovered), OpenError> {
        let dir = DataDir::lock(&options.data_dir)?;
        let path = dir.store();
        let is_there = path.try_exists().map_err(|error| OpenError::Io {
            path: path.clone(),
            error,
        })?;
        if is_there {
            // What was not finished when its process ended.
            std::fs::remove_file(dir.unfinished()).ok();
        } else {
            make(&dir, Arc::clone(&observer))?;
        }
        let disk = Box::new(FileDisk { path: path.clone() });
        let trust = if dir.is_suspect() {
            Trust::Nothing
        } else {
            Trust::File
        };
        Self::start(disk, options, observer, trust, Some(Arc::new(dir)))
    }

    pub(crate) fn format(disk: Box<dyn Disk>) -> Result<(), OpenError> {
        make_on(disk, Arc::new(Unobserved), Path::new(DISK))
    }

    /// A store wherever `disk` says; `data_dir` is not looked at.
    pub(crate) fn open_on(
        disk: Box<dyn Disk>,
        options: &Options,
        observer: Arc<dyn Observer>,
        trust: Trust,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::start(disk, options, observer, trust, None)
    }

    fn start(
        disk: Box<dyn Disk>,
        options: &Options,
        observer: Arc<dyn Observer>,
        trust: Trust,
        data_dir: Option<Arc<DataDir>>,
    ) -> Result<(Self, Recovered), OpenError> {
        let path = data_dir
            .as_ref()
            .map_or_else(|| PathBuf::from(DISK), |dir| dir.store());
        let refused = |fault| Refusal::Fault(fault).into_error(&path);
        let engine = Arc::new(Engine::new(disk, Arc::clone(&observer), trust));
        if trust == Trust::Nothing {
            engine.forget_cached().map_err(refused)?;
        }
        engine.open().map_err(refused)?;
        let recovery = recover(&engine, &*observer, &path).inspect_err(|_| engine.abandon())?;
        if let Some(dir) = &data_dir {
            dir.note(Stage::Using).map_err(|error| OpenError::Io {
                path: path.clone(),
                error,
            })?;
        }
        let journal = Arc::new(Journal::new(options, recovery.first_seq));
        let committer = Committer {
            journal: Arc::clone(&journal),
            engine: Arc::clone(&engine),
            observer: Arc::clone(&observer),
            data_dir,
            ledger: recovery.ledger,
            rows: recovery.rows,
            retry_interval: options.retry_interval,
        };
        let thread = thread::Builder::new()
            .name("sluice-store".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| OpenError::Io {
                path: path.clone(),
                error,
            })?;
        let running = Self {
            journal,
            engine,
            observer,
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        };
        Ok((running, recovery.recovered))
    }

    pub(crate) fn read(
        &self,
        seq: u64,
        session: u64,
        position: Option<u64>,
    ) -> Result<Option<StoredMessage>, ReadError> {
        if let Some(kept) = self.journal.find(seq) {
            return Ok(kept.copy_for(session, position));
        }
        let wanted = Lookup {
            seq,
            session,
            position,
        };
        let mut found = self.engine.lookup(wanted);
        if matches!(found, Err(LookupError::Fault(_))) && self.journal.health() == Health::Open {
            // Redb does nothing more after a failure, nor after a panic, until it is opened anew.
            self.engine.reopen().ok();
            found = self.engine.lookup(wanted);
        }
        let error = match found {
            Ok(found) => return Ok(found),
            Err(LookupError::Damaged(damaged)) => ReadError::Corrupt(damaged.to_string()),
            Err(LookupError::Fault(fault)) if fault.is_damage() => ReadError::Corrupt(fault.to_string()),
            Err(LookupError::Fault(fault)) => ReadError::Unavailable(fault.to_string()),
        };
        if let ReadError::Corrupt(why) = &error {
            self.observer.unreadable(seq, why);
        }
        Err(error)
    }

    /// See [`crate::Store::backup`].
    pub(crate) fn backup(&self, path: &Path) -> Result<Backup, CareError> {
        let written = self.journal.flush();
        written.map_err(|InDoubt| CareError::InDoubt)?;
        care::backup(&self.engine, path)
    }

    pub(crate) fn close(&self) {
        self.journal.close();
        // A waker that the thread wakes may drop the last handle there.
        if thread::current().id() == self.thread_id {
            return;
        }
        // Whoever closes it at the same time waits for the end as well.
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes a store under another name first: one that is half made is never taken for one that is damaged.
fn make(dir: &DataDir, observer: Arc<dyn Observer>) -> Result<(), OpenError> {
    let path = dir.unfinished();
    let failed = |error| OpenError::Io {
        path: path.clone(),
        error,
    };
    open_private(&path, true).map_err(failed)?;
    make_on(Box::new(FileDisk { path: path.clone() }), observer, &path)?;
    rename_durably(&path, &dir.store()).map_err(failed)
}

fn make_on(disk: Box<dyn Disk>, observer: Arc<dyn Observer>, path: &Path) -> Result<(), OpenError> {
    let engine = Engine::new(disk, observer, Trust::File);
    let made = engine.open().and_then(|()| format(&engine));
    engine.shut();
    made.map_err(|fault| Refusal::Fault(fault).into_error(path))
}
