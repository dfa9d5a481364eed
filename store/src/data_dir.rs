//! The directory of a store: whose it is, and what is in it.
//!
//! The file `lock` is held locked by the process that uses the store, and names it. While the store is being opened,
//! and while its disk fails, it says so, for the process that comes after one that ended meanwhile.

use crate::error::OpenError;
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A directory that this process uses.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: Mutex<Option<File>>,
    is_suspect: bool,
}

/// What the process that uses a store is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It opens the store. If it ends here, the store may be what ended it.
    Opening,
    /// All is well.
    Using,
    /// The disk fails. What the system shows of it may not be there.
    Failing,
}

/// For the owner only: payloads are the clients' secrets.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

const LOCK: &str = "lock";
const STORE: &str = "store.redb";
/// A store that is being made, or copied to here.
const UNFINISHED: &str = "store.redb.new";

impl DataDir {
    /// Makes it if it is not there, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |path: PathBuf| move |error| OpenError::Io { path, error };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIR_MODE);
        builder.create(path).map_err(failed(path.to_owned()))?;
        let at = path.join(LOCK);
        let mut file = open_private(&at, false).map_err(failed(at.clone()))?;
        let mut text = String::new();
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let said = file.read_to_string(&mut text).ok().and_then(|_| process(&text));
                return Err(OpenError::InUse {
                    data_dir: path.to_owned(),
                    process: said,
                });
            }
            Err(error) => return Err(failed(at)(error.into())),
        }
        // What it says was written by hand or by us; if it cannot be read it says nothing.
        file.read_to_string(&mut text).ok();
        let dir = Self {
            path: path.to_owned(),
            lock: Mutex::new(Some(file)),
            is_suspect: [Stage::Opening, Stage::Failing]
                .iter()
                .any(|stage| text.contains(stage.word())),
        };
        dir.note(Stage::Opening).map_err(failed(at))?;
        Ok(dir)
    }

    /// Whether the process that used it before ended while it opened the store, or while its disk failed.
    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    pub(crate) fn unfinished(&self) -> PathBuf {
        self.path.join(UNFINISHED)
    }

    /// Notes what the process is at. The note outlives the process, not the machine: what it warns of does not either.
    pub(crate) fn note(&self, stage: Stage) -> io::Result<()> {
        let mut lock = self.lock.lock();
        let Some(file) = lock.as_mut() else { return Ok(()) };
        file.rewind()?;
        // Always as long as before: it never needs room that there may not be.
        writeln!(file, "{:<10} {:<8}", std::process::id(), stage.word())
    }

    /// Gives it free.
    pub(crate) fn unlock(&self) {
        let Some(file) = self.lock.lock().take() else {
            return;
        };
        file.set_len(0).ok();
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        self.unlock();
    }
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Using => "using",
            Self::Failing => "failing",
        }
    }
}

fn process(text: &str) -> Option<u32> {
    text.split_whitespace().next()?.parse().ok()
}

/// Opens a file for reading and writing, and makes it for the owner only if it is not there.
pub(crate) fn open_private(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(FILE_MODE)
        .open(path)
}

/// Renames a file that is complete and on disk; when this returns, the new name is on disk too.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}
