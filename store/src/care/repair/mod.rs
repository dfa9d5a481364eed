//! A store without what cannot be read.

#[cfg(test)]
mod tests;

use super::examine::{self, Examined};
use super::rows::{Copying, TABLES, each_row};
use super::{CareError, Opened, Place, Report, at, failed};
use crate::data_dir::{Stage, UNFINISHED_SUFFIX, open_private, rename_durably, with_suffix};
use crate::engine::{Engine, FORMAT_VERSION, Fault, FileDisk, Meta, Trust};
use crate::observer::Unobserved;
use crate::recovery::{BOOT_SHIFT, meta};
use crate::row::Table;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What was found: all of it is dropped.
    pub report: Report,
    /// Rows that were kept.
    pub kept: u64,
    /// Where the store is as it was; `None`: nothing was wrong, and nothing was done.
    pub original: Option<PathBuf>,
}

/// Puts in the place of a damaged store one with all that can be read, and keeps the damaged one beside it.
///
/// A session whose progress is lost may get messages again that it had already.
///
/// # Errors
/// See [`CareError`]; the store is as it was then.
pub fn repair(path: &Path) -> Result<Repaired, CareError> {
    let place = Place::of(path)?;
    let opened = place.open()?;
    let mut examined = examine::all(&opened)?;
    if examined.report.is_sound() {
        return Ok(Repaired {
            report: examined.report,
            kept: 0,
            original: None,
        });
    }
    let unfinished = with_suffix(&place.path, UNFINISHED_SUFFIX);
    open_private(&unfinished, true).map_err(at(&unfinished))?;
    let disk = FileDisk {
        path: unfinished.clone(),
    };
    let target = Engine::new(Box::new(disk), Arc::new(Unobserved), Trust::File);
    target.open().map_err(|fault| failed(fault, &unfinished))?;
    let kept = copy(&opened, &mut examined, &target).map_err(|fault| {
        std::fs::remove_file(&unfinished).ok();
        failed(fault, &unfinished)
    })?;
    target.shut();
    let copied = Place {
        path: unfinished.clone(),
        dir: None,
    };
    if !examine::all(&copied.open()?)?.report.is_sound() {
        std::fs::remove_file(&unfinished).ok();
        return Err(CareError::Damaged(
            "what could be read of it makes no whole".to_owned(),
        ));
    }
    let original = keep_original(&place.path)?;
    rename_durably(&unfinished, &place.path).map_err(at(&place.path))?;
    if let Some(dir) = &place.dir {
        // All of it is new: it can be trusted.
        dir.note(Stage::Using).map_err(at(&place.path))?;
    }
    Ok(Repaired {
        report: examined.report,
        kept,
        original: Some(original),
    })
}

fn copy(opened: &Opened, examined: &mut Examined, target: &Engine) -> Result<u64, Fault> {
    let known = opened.engine.read(meta).ok();
    // Numbers that were used are not used again, even if nobody knows any more how far they went.
    let boot = known
        .map_or(0, |meta| meta.boot)
        .max(examined.highest >> BOOT_SHIFT);
    let meta = Meta {
        format: FORMAT_VERSION,
        boot,
    };
    target.transaction(|transaction| {
        crate::engine::make_all(transaction)?;
        meta.write(transaction)
    })?;
    let mut kept = 0;
    // What could be read before may not be reached any more: what refers to it is dropped with it.
    examined.forget_referred();
    for table in TABLES.into_iter().filter(|table| *table != Table::Meta) {
        let mut copying = Copying::new(target, table);
        let mut outcome = Ok(());
        each_row(&opened.engine, table, &mut |key, row| {
            let is_sound = examined.row(table, key, row).is_ok() && examined.is_kept(table, key);
            if outcome.is_ok() && is_sound {
                outcome = copying.row(key, row);
            }
        });
        outcome.and_then(|()| copying.flush())?;
        kept += copying.copied;
    }
    Ok(kept)
}

/// Gives the damaged file a second name, so that there is a store under its first one all the time.
fn keep_original(path: &Path) -> Result<PathBuf, CareError> {
    for number in 1_u32.. {
        let original = with_suffix(path, &format!(".damaged-{number}"));
        match std::fs::hard_link(path, &original) {
            Ok(()) => return Ok(original),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(&original)(error)),
        }
    }
    Err(CareError::Exists(path.to_owned()))
}
