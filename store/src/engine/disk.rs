//! Where the bytes are: a file, or what a test puts in its place.

use redb::{Builder, Database, DatabaseError, StorageBackend};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Where the bytes of a store are.
pub trait Disk: Send + Sync {
    /// Opens them, or makes a database where there is nothing yet: [`Builder::create_with_backend`].
    ///
    /// # Errors
    /// What that reports.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// Forgets what is cached of them: called after a failure, before they are opened again.
    ///
    /// # Errors
    /// What doing so reports.
    fn forget_cached(&self) -> io::Result<()>;

    /// What was opened last is never used again, and never closed either: it may be let go of.
    fn abandoned(&self) {}
}

/// A file in a directory that is locked, so that it needs no lock itself.
#[derive(Debug)]
pub(crate) struct FileDisk {
    pub(crate) path: PathBuf,
}

/// An open file.
#[derive(Debug)]
struct FileBackend(File);

impl StorageBackend for FileBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

impl FileDisk {
    fn file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }
}

impl Disk for FileDisk {
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(FileBackend(self.file()?))
    }

    /// After a sync that failed the kernel calls pages clean that never came to the disk, and goes on to show them.
    /// What is read from here on is what is on the disk.
    fn forget_cached(&self) -> io::Result<()> {
        rustix::fs::fadvise(self.file()?, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}
