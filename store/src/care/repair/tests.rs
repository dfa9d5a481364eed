//! Databases that show less than they did.

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
