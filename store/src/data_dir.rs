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
use std::sync::atomic::{AtomicBool, Ordering};

/// A directory that this process uses.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: Mutex<Option<File>>,
    is_suspect: AtomicBool,
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
pub(crate) const STORE: &str = "store.redb";
/// Behind the name of a file that is being written.
pub(crate) const UNFINISHED_SUFFIX: &str = ".new";

impl DataDir {
    /// Makes it if it is not there, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |path: PathBuf| move |error| OpenError::Io { path, error };
        make_durably(path).map_err(failed(path.to_owned()))?;
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
            is_suspect: AtomicBool::new(
                [Stage::Opening, Stage::Failing]
                    .iter()
                    .any(|stage| text.contains(stage.word())),
            ),
        };
        dir.note(Stage::Opening).map_err(failed(at))?;
        Ok(dir)
    }

    /// Whether the process that used it before ended while it opened the store, or while its disk failed.
    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// A store that is being made, or copied to here.
    pub(crate) fn unfinished(&self) -> PathBuf {
        with_suffix(&self.store(), UNFINISHED_SUFFIX)
    }

    /// Notes what the process is at. The note outlives the process, not the machine: what it warns of does not either.
    pub(crate) fn note(&self, stage: Stage) -> io::Result<()> {
        let mut lock = self.lock.lock();
        let Some(file) = lock.as_mut() else { return Ok(()) };
        match stage {
            Stage::Opening => {}
            Stage::Using => self.is_suspect.store(false, Ordering::Relaxed),
            Stage::Failing => self.is_suspect.store(true, Ordering::Relaxed),
        }
        file.rewind()?;
        // Always as long as before: it never needs room that there may not be.
        writeln!(file, "{:<10} {:<8}", std::process::id(), stage.word())
    }

    /// Gives it free. What is suspect and has not been used since stays so.
    pub(crate) fn unlock(&self) {
        let Some(file) = self.lock.lock().take() else {
            return;
        };
        if !self.is_suspect() {
            file.set_len(0).ok();
        }
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

/// Makes a directory and those it is in, so that they are on disk as well as what will be in them.
fn make_durably(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.is_dir()).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(DIR_MODE).create(path)?;
    for made in missing {
        if let Some(parent) = made.parent() {
            sync_dir(parent)?;
        }
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    let is_here = dir.as_os_str().is_empty();
    File::open(if is_here { Path::new(".") } else { dir })?.sync_all()
}

/// The name with something behind it.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
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
    sync_dir(to.parent().unwrap_or(Path::new("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_badly_is_suspect_until_it_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let lock = || DataDir::lock(path).unwrap();
        assert!(!lock().is_suspect());
        let used = lock();
        used.note(Stage::Using).unwrap();
        drop(used);
        let failing = lock();
        assert!(!failing.is_suspect());
        failing.note(Stage::Failing).unwrap();
        drop(failing);
        assert!(lock().is_suspect());
        assert!(lock().is_suspect(), "looking at it changes nothing");
        let used = lock();
        used.note(Stage::Using).unwrap();
        drop(used);
        assert!(!lock().is_suspect());
        // A process that ended while it opened the store leaves this behind.
        std::fs::write(path.join(LOCK), "4711       opening \n").unwrap();
        assert!(lock().is_suspect());
    }
}
