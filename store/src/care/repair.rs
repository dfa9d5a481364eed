//! A store without what cannot be read.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Change, MessageRecord, Recipient};
    use crate::engine::{MESSAGES, SESSIONS};
    use crate::options::Options;
    use crate::store::Store;
    use crate::testing::{block_on, offline_session};
    use sluice_mqtt::message::Message;
    use sluice_mqtt::packet::QoS;

    fn place(path: &Path) -> Place {
        Place {
            path: path.to_owned(),
            dir: None,
        }
    }

    /// Two sessions with a subscription and progress, and two messages for both. Returns the file, the first session and
    /// the first message.
    fn filled(dir: &Path) -> (PathBuf, u64, u64) {
        let (store, recovered) = Store::open(Options::new(dir), Arc::new(Unobserved)).unwrap();
        let first = recovered.first_number;
        let sessions = [first, first + 1];
        for session in sessions {
            let record = Box::new(offline_session(session));
            store.submit(Change::SessionOpened(record));
            let filter = "a/#".to_owned();
            store.submit(Change::Subscribed {
                session,
                filter,
                options: 1,
                id: 0,
            });
            store.submit(Change::InboundReceived {
                session,
                packet_id: 3,
            });
        }
        let seqs = [store.next_seq(), store.next_seq()];
        for (seq, position) in seqs.into_iter().zip(0..) {
            let recipients = sessions.map(|session| Recipient {
                session,
                position,
                qos: 1,
                retain: false,
                subscription_ids: Vec::new(),
            });
            let mut submission = store.begin();
            submission.message(MessageRecord {
                seq,
                message: &Message::own("a/b", "payload".into(), QoS::AtLeastOnce, false),
                recipients: recipients.to_vec(),
            });
            block_on(store.wait(submission.end())).unwrap();
        }
        store.close();
        (dir.join(crate::data_dir::STORE), first, seqs[0])
    }

    /// A damaged database may show a row once and not again: to whoever copies it, it is as if it had been deleted.
    #[test]
    fn what_refers_to_a_row_that_could_not_be_copied_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (path, session, seq) = filled(dir.path());
        let mut examined = examine::all(&place(&path).open().unwrap()).unwrap();
        assert!(examined.report.is_sound());
        let engine = |path: &Path| {
            let disk = FileDisk {
                path: path.to_owned(),
            };
            let engine = Engine::new(Box::new(disk), Arc::new(Unobserved), Trust::File);
            engine.open().unwrap();
            engine
        };
        let shown_once = engine(&path);
        shown_once
            .transaction(|transaction| {
                transaction.open_table(SESSIONS)?.remove(session)?;
                transaction.open_table(MESSAGES)?.remove(seq)?;
                Ok(())
            })
            .unwrap();
        shown_once.shut();

        let repaired = dir.path().join("repaired");
        open_private(&repaired, true).unwrap();
        let target = engine(&repaired);
        let kept = copy(&place(&path).open().unwrap(), &mut examined, &target).unwrap();
        target.shut();
        // Of the other session three rows, of the other message two.
        assert_eq!(kept, 5);
        let report = examine::all(&place(&repaired).open().unwrap()).unwrap().report;
        assert!(report.is_sound(), "{report:?}");
    }
}
