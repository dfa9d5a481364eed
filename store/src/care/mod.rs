//! What an operator does with a store: check it, repair it, write it out, copy it while it is used, and put a copy back.
//!
//! All but the copying want a store that no broker uses, and none but `repair` and `restore` writes to a directory:
//! whatever opening a database would change goes to memory.

mod backup;
mod examine;
mod export;
mod overlay;
mod repair;
mod rows;

pub use backup::{Backup, restore};
pub use examine::{Report, TableReport};
pub use export::export;
pub use repair::{Repaired, repair};

pub(crate) use backup::backup;

use crate::data_dir::{DataDir, STORE};
use crate::engine::{Engine, FORMAT_VERSION, Fault, Trust};
use crate::error::OpenError;
use crate::observer::Unobserved;
use crate::recovery::{Refusal, current};
use overlay::Overlay;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Looks at every row of a store, and changes nothing. `path` is a `data_dir` or a copy made by
/// [`crate::Store::backup`].
///
/// # Errors
/// If there is no store, if it is in use, or of a newer format. Damage is no error but what the report is for.
pub fn check(path: &Path) -> Result<Report, CareError> {
    let place = Place::of(path)?;
    let opened = place.open()?;
    Ok(examine::all(&opened)?.report)
}

/// Why something could not be done.
#[derive(Debug)]
pub enum CareError {
    /// The store cannot be opened.
    Open(OpenError),
    /// A file cannot be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is something already where the result belongs.
    Exists(PathBuf),
    /// There is no store.
    Missing(PathBuf),
    /// The store, or the copy, is damaged; what is wrong with it.
    Damaged(String),
    /// What was submitted last is not on disk, because the disk fails.
    InDoubt,
}

impl fmt::Display for CareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Io { path, error } => {
                write!(f, "{}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        f.write_str(": make room there, or choose another place")
                    }
                    _ => Ok(()),
                }
            }
            Self::Exists(path) => write!(
                f,
                "{} exists and is not overwritten: move it away, or choose another name",
                path.display()
            ),
            Self::Missing(path) => write!(f, "{}: there is no store", path.display()),
            Self::Damaged(what) => write!(
                f,
                "it is damaged ({what}): see `sluice store check`; `sluice store repair` drops what cannot be read"
            ),
            Self::InDoubt => f.write_str("the disk of the store fails, so that what came last is not on it"),
        }
    }
}

impl std::error::Error for CareError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) => Some(error),
            Self::Io { error, .. } => Some(error),
            Self::Exists(_) | Self::Missing(_) | Self::Damaged(_) | Self::InDoubt => None,
        }
    }
}

impl From<OpenError> for CareError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

/// Says of which file an error is.
fn at(path: &Path) -> impl FnOnce(io::Error) -> CareError + '_ {
    move |error| CareError::Io {
        path: path.to_owned(),
        error,
    }
}

/// A store that no broker uses.
struct Place {
    /// The file.
    path: PathBuf,
    /// Its directory, locked; `None`: it is a copy, which nobody uses.
    dir: Option<DataDir>,
}

impl Place {
    fn of(path: &Path) -> Result<Self, CareError> {
        let file = if path.is_dir() {
            path.join(STORE)
        } else {
            path.to_owned()
        };
        if !file.is_file() {
            return Err(CareError::Missing(path.to_owned()));
        }
        let dir = if path.is_dir() {
            Some(DataDir::lock(path)?)
        } else {
            None
        };
        Ok(Self { path: file, dir })
    }

    /// Opens it so that nothing of it changes; one of an older format is seen as it will be once it is upgraded.
    fn open(&self) -> Result<Opened, CareError> {
        let engine = |trust| {
            let disk = Overlay::new(self.path.clone());
            Engine::new(Box::new(disk), Arc::new(Unobserved), trust)
        };
        let checked = engine(Trust::Nothing);
        let (engine, structure) = match checked.open() {
            Ok(()) => (checked, None),
            Err(fault) if fault.is_damage() => {
                let trusting = engine(Trust::File);
                let opened = trusting.open();
                opened.map_err(|_| CareError::Damaged(fault.to_string()))?;
                (trusting, Some(fault.to_string()))
            }
            Err(fault) => return Err(Refusal::Fault(fault).into_error(&self.path).into()),
        };
        let opened = Opened { engine, structure };
        match current(&opened.engine) {
            Err(Refusal::Newer(found)) => Err(CareError::Open(OpenError::Newer {
                found,
                understood: FORMAT_VERSION,
            })),
            Ok(_) | Err(Refusal::Fault(_)) => Ok(opened),
        }
    }
}

/// A store that is looked at.
struct Opened {
    engine: Engine,
    /// What is wrong with the database below the rows.
    structure: Option<String>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Closing a damaged one writes, which may end the process; there is nothing to be written anyway.
        if self.structure.is_some() {
            self.engine.abandon();
        }
    }
}

/// What a database says that is read, or that is written to `path`.
fn failed(fault: Fault, path: &Path) -> CareError {
    match fault {
        Fault::Database(redb::Error::Io(error)) => at(path)(error),
        Fault::Closed => CareError::InDoubt,
        fault => CareError::Damaged(fault.to_string()),
    }
}
