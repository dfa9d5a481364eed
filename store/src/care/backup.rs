//! Copies of a store: made while it is used, and put back.

use super::rows::{Copying, TABLES, walk};
use super::{CareError, Place, at, examine, failed};
use crate::data_dir::{DataDir, UNFINISHED_SUFFIX, open_private, rename_durably, with_suffix};
use crate::engine::{Engine, Fault, FileDisk, Trust};
use crate::observer::Unobserved;
use crate::row::open;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// A copy that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Rows it has.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Copies one state of a database to a new file, whatever is committed meanwhile.
pub(crate) fn backup(source: &Engine, path: &Path) -> Result<Backup, CareError> {
    if path.try_exists().map_err(at(path))? {
        return Err(CareError::Exists(path.to_owned()));
    }
    let unfinished = with_suffix(path, UNFINISHED_SUFFIX);
    open_private(&unfinished, true).map_err(at(&unfinished))?;
    let copied = copy(source, &unfinished);
    if copied.is_err() {
        // It is of no use, and takes room.
        std::fs::remove_file(&unfinished).ok();
    }
    let rows = copied.map_err(|fault| failed(fault, path))?;
    let bytes = std::fs::metadata(&unfinished).map_err(at(&unfinished))?.len();
    rename_durably(&unfinished, path).map_err(at(path))?;
    Ok(Backup { rows, bytes })
}

fn copy(source: &Engine, path: &Path) -> Result<u64, Fault> {
    let disk = FileDisk {
        path: path.to_owned(),
    };
    let target = Engine::new(Box::new(disk), Arc::new(Unobserved), Trust::File);
    target.open()?;
    target.transaction(crate::engine::make_all)?;
    let rows = source.read(|transaction| {
        let mut rows = 0;
        for table in TABLES {
            let mut copying = Copying::new(&target, table);
            let mut outcome = Ok(());
            let incomplete = walk(transaction, table, &mut |key, row| {
                // Who wants to open the store anew cannot while it is read.
                outcome = if source.is_wanted() {
                    Err(Fault::Closed)
                } else {
                    // A copy with it could not be put back; better to know that now.
                    open(table, key, row)
                        .map_err(damaged)
                        .and_then(|_| copying.row(key, row))
                };
                match outcome {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            outcome.and_then(|()| copying.flush())?;
            if let Some(why) = incomplete {
                return Err(damaged(format!("table {table}: {why}")));
            }
            rows += copying.copied;
        }
        Ok(rows)
    })?;
    target.shut();
    Ok(rows)
}

fn damaged(what: impl ToString) -> Fault {
    Fault::from(redb::Error::Corrupted(what.to_string()))
}

/// Puts a copy into a directory that has no store yet.
///
/// # Errors
/// If there is a store already, if a broker uses the directory, or if the copy is damaged. The directory has no store
/// then.
pub fn restore(file: &Path, data_dir: &Path) -> Result<(), CareError> {
    let place = Place::of(file)?;
    let report = examine::all(&place.open()?)?.report;
    if let Some(finding) = report.findings.first() {
        return Err(CareError::Damaged(finding.clone()));
    }
    let dir = DataDir::lock(data_dir)?;
    let store = dir.store();
    if store.try_exists().map_err(at(&store))? {
        return Err(CareError::Exists(store));
    }
    let unfinished = dir.unfinished();
    let mut from = File::open(&place.path).map_err(at(&place.path))?;
    let mut to = open_private(&unfinished, true).map_err(at(&unfinished))?;
    let copied = io::copy(&mut from, &mut to).and_then(|_| to.sync_all());
    if copied.is_err() {
        // It is of no use, and takes room.
        std::fs::remove_file(&unfinished).ok();
    }
    copied.map_err(at(&unfinished))?;
    rename_durably(&unfinished, &store).map_err(at(&store))
}
