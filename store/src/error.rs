//! Why a store cannot be opened, or a message not be read.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a store cannot be opened. Each says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// The other process; `None`: it does not say.
        process: Option<u32>,
    },
    /// It was written by a newer version.
    Newer {
        /// The format it has.
        found: u32,
        /// The newest that this version understands.
        understood: u32,
    },
    /// It is damaged; what is wrong with it.
    Corrupt(String),
    /// The directory or a file in it cannot be used.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { data_dir, process } => {
                write!(f, "{} is in use by ", data_dir.display())?;
                match process {
                    Some(process) => write!(f, "process {process}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; stop that broker, or give this one another data_dir")
            }
            Self::Newer { found, understood } => write!(
                f,
                "the store has format {found}, this version of Sluice understands up to {understood}: start the version \
                 that wrote it, or `sluice store export` with that and begin anew"
            ),
            Self::Corrupt(what) => write!(
                f,
                "the store is damaged ({what}): see `sluice store check`, then `sluice store repair` drops what cannot \
                 be read, or restore a backup; `sluice store export` writes out what can be read"
            ),
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::InUse { .. } | Self::Newer { .. } | Self::Corrupt(_) => None,
        }
    }
}

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It is damaged, for good; what is wrong with it.
    Corrupt(String),
    /// The disk fails, or the store is closed: perhaps it can be read later.
    Unavailable(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(what) => write!(f, "damaged: {what}"),
            Self::Unavailable(why) => write!(f, "not available: {why}"),
        }
    }
}

impl std::error::Error for ReadError {}
