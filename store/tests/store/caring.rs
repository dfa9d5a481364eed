//! What an operator does with a store.

use crate::scene::{durable, message, opened, options, payload, publish, sent};
use serde_json::Value;
use sluice_store::care::{self, CareError};
use sluice_store::{Change, OpenError, Options, Recovered, Store, Ticket, Unobserved};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;

pub(crate) fn open(dir: &Path) -> (Store, Recovered) {
    let options = Options {
        data_dir: dir.to_owned(),
        ..options()
    };
    Store::open(options, Arc::new(Unobserved)).unwrap()
}

/// A store with a bit of everything, closed. Session and messages.
pub(crate) fn filled() -> (TempDir, u64, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovered) = open(dir.path());
    let session = recovered.first_number;
    let mut ticket = store.submit(opened(session));
    let mut seqs = Vec::new();
    for position in 0..200 {
        let (seq, _) = publish(
            &store,
            session,
            position,
            &format!("payload {position} {}", "x".repeat(500)),
        );
        seqs.push(seq);
    }
    store.submit(sent(session, 0, seqs[0], 7));
    store.submit(Change::Subscribed {
        session,
        filter: "a/#".to_owned(),
        options: 1,
        id: 5,
    });
    store.submit(Change::Retained(message("retained")));
    ticket = ticket.max(store.submit(Change::Fact {
        kind: 3,
        key: b"key".to_vec(),
        value: Some(b"value".to_vec()),
    }));
    durable(&store, ticket);
    store.close();
    (dir, session, seqs)
}

pub(crate) fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("store.redb")
}

/// Damages all copies of these bytes in the file.
pub(crate) fn damage(dir: &TempDir, mark: &[u8]) {
    let mut bytes = fs::read(file(dir)).unwrap();
    let mut hits = 0;
    while let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
        bytes[at] ^= 1;
        hits += 1;
    }
    assert!(hits > 0);
    fs::write(file(dir), bytes).unwrap();
}

#[test]
fn a_sound_store_is_found_sound_and_not_changed() {
    let (dir, ..) = filled();
    let before = fs::read(file(&dir)).unwrap();
    let report = care::check(dir.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let rows: BTreeMap<_, _> = report
        .tables
        .iter()
        .map(|table| (table.table.as_str(), table.rows))
        .collect();
    let expected = [
        ("facts", 1),
        ("messages", 200),
        ("meta", 2),
        ("progress", 1),
        ("recipients", 200),
        ("retained", 1),
        ("sessions", 1),
        ("subscriptions", 1),
    ];
    assert_eq!(rows, BTreeMap::from(expected));
    assert!(fs::read(file(&dir)).unwrap() == before);
    let repaired = care::repair(dir.path()).unwrap();
    assert_eq!(
        (repaired.original, repaired.kept),
        (None, 0),
        "there is nothing to do"
    );
    assert!(fs::read(file(&dir)).unwrap() == before);
}

#[test]
fn a_store_in_use_is_left_alone() {
    let (dir, ..) = filled();
    let (_store, _) = open(dir.path());
    let error = care::check(dir.path()).unwrap_err();
    assert!(
        matches!(error, CareError::Open(OpenError::InUse { .. })),
        "{error}"
    );
    let error = care::repair(dir.path()).unwrap_err();
    assert!(
        matches!(error, CareError::Open(OpenError::InUse { .. })),
        "{error}"
    );
}

#[test]
fn a_repair_drops_what_cannot_be_read_and_keeps_the_rest_and_the_original() {
    let (dir, session, seqs) = filled();
    damage(&dir, b"payload 17 ");
    let damaged = fs::read(file(&dir)).unwrap();
    let report = care::check(dir.path()).unwrap();
    assert!(!report.is_sound());
    let expected = format!("table messages, row {}: its checksum is wrong", seqs[17]);
    assert!(report.findings.contains(&expected), "{:?}", report.findings);

    let repaired = care::repair(dir.path()).unwrap();
    assert_eq!(repaired.report.findings, report.findings);
    let original = repaired.original.unwrap();
    assert!(fs::read(&original).unwrap() == damaged);
    let report = care::check(dir.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");

    let (store, recovered) = open(dir.path());
    assert!(recovered.first_number > session);
    assert!(store.next_seq() > seqs[199]);
    let found = &recovered.sessions[0];
    assert_eq!((found.queue.len(), found.inflight.len()), (198, 1));
    assert!(found.queue.iter().all(|stored| stored.seq != seqs[17]));
    for stored in &found.queue {
        let expected = format!("payload {} ", stored.position);
        assert!(
            payload(&store, stored.seq, session)
                .unwrap()
                .starts_with(&expected)
        );
    }
    assert_eq!((recovered.retained.len(), recovered.facts.len()), (1, 1));
    assert_eq!(found.subscriptions, [("a/#".to_owned(), 1, 5)]);
}

#[test]
fn a_second_repair_keeps_both_originals() {
    let (dir, ..) = filled();
    damage(&dir, b"payload 17 ");
    let first = care::repair(dir.path()).unwrap().original.unwrap();
    damage(&dir, b"payload 18 ");
    let second = care::repair(dir.path()).unwrap().original.unwrap();
    assert_ne!(first, second);
    assert!(first.exists() && second.exists());
}

#[test]
fn a_session_whose_row_is_damaged_is_dropped_with_all_that_is_its() {
    let (dir, session, _) = filled();
    let name = format!("c{session}");
    damage(&dir, name.as_bytes());
    let error = Store::open(
        Options {
            data_dir: dir.path().to_owned(),
            ..options()
        },
        Arc::new(Unobserved),
    );
    let error = error.unwrap_err();
    assert!(matches!(error, OpenError::Corrupt(_)), "{error}");
    let repaired = care::repair(dir.path()).unwrap();
    let wrong = repaired.report.findings.join("\n");
    assert!(wrong.contains("table sessions, row"), "{wrong}");
    assert!(wrong.contains("there is no such session"), "{wrong}");
    let (_store, recovered) = open(dir.path());
    assert!(recovered.sessions.is_empty());
    assert!(recovered.first_number > session, "its number is not used again");
    assert_eq!(recovered.retained.len(), 1);
}

#[test]
fn a_store_is_written_out_as_lines_of_json() {
    let (dir, session, seqs) = filled();
    let mut out = Vec::new();
    care::export(dir.path(), &mut out, Path::new("out")).unwrap();
    let lines: Vec<Value> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str| -> Vec<&Value> { lines.iter().filter(|line| line["kind"] == kind).collect() };
    assert_eq!(of("session")[0]["client_id"], format!("c{session}"));
    assert_eq!(of("subscription")[0]["filter"], "a/#");
    let messages = of("message");
    assert_eq!(messages.len(), 200);
    assert_eq!(messages[0]["seq"], seqs[0]);
    assert_eq!(messages[3]["to"][0]["position"], 3);
    assert_eq!(messages[3]["to"][0]["client_id"], format!("c{session}"));
    assert_eq!(of("retained")[0]["payload"], "cmV0YWluZWQ=");
    assert_eq!(of("fact")[0]["value"], "dmFsdWU=");
    assert!(of("unreadable").is_empty());

    damage(&dir, b"payload 17 ");
    let mut out = Vec::new();
    care::export(dir.path(), &mut out, Path::new("out")).unwrap();
    let text = String::from_utf8(out).unwrap();
    let unreadable = text.lines().filter(|line| line.contains("\"unreadable\""));
    assert!(unreadable.count() > 0);
    assert_eq!(
        text.lines().filter(|line| line.contains("\"message\"")).count(),
        199
    );
}

#[test]
fn a_backup_of_a_store_in_use_is_one_state_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovered) = open(&dir.path().join("one"));
    let session = recovered.first_number;
    durable(&store, store.submit(opened(session)));
    let pair = |number: u64| {
        // Both are there, or neither is.
        let mut submission = store.begin();
        for kind in [1, 2] {
            submission.change(Change::Fact {
                kind,
                key: number.to_le_bytes().to_vec(),
                value: Some(vec![7; 2_000]),
            });
        }
        submission.end()
    };
    let mut number = 0;
    let copy = dir.path().join("copy");
    let made = thread::scope(|scope| {
        let (store, copy) = (&store, &copy);
        durable(store, pair(number));
        let backup = scope.spawn(move || store.backup(copy));
        while !backup.is_finished() {
            number += 1;
            durable(store, pair(number));
        }
        backup.join().unwrap().unwrap()
    });
    assert!(made.rows > 4 && made.bytes > 0, "{made:?}");
    let error = store.backup(&copy).unwrap_err();
    assert!(matches!(error, CareError::Exists(_)), "{error}");
    store.close();

    assert!(care::check(&copy).unwrap().is_sound());
    let two = dir.path().join("two");
    care::restore(&copy, &two).unwrap();
    let error = care::restore(&copy, &two).unwrap_err();
    assert!(matches!(error, CareError::Exists(_)), "{error}");
    let (_store, recovered) = open(&two);
    assert_eq!(recovered.sessions[0].record.number, session);
    let of = |kind| {
        recovered
            .facts
            .iter()
            .filter(move |fact| fact.0 == kind)
            .map(|fact| &fact.1)
    };
    assert!(of(1).count() > 0 && of(1).eq(of(2)));
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 3, "no unfinished copy is left");
}

#[test]
fn a_backup_has_what_was_submitted_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir.path().join("one"));
    let ticket = store.submit(Change::Retained(message("kept")));
    assert_ne!(ticket, Ticket::NONE);
    store.backup(&dir.path().join("copy")).unwrap();
    care::restore(&dir.path().join("copy"), &dir.path().join("two")).unwrap();
    let (_store, recovered) = open(&dir.path().join("two"));
    assert_eq!(recovered.retained.len(), 1);
}

#[test]
fn a_copy_that_is_damaged_is_not_restored() {
    let (dir, ..) = filled();
    damage(&dir, b"payload 17 ");
    let target = dir.path().join("target");
    let error = care::restore(&file(&dir), &target).unwrap_err();
    assert!(matches!(error, CareError::Damaged(_)), "{error}");
    assert!(!target.join("store.redb").exists());
}

#[test]
fn there_is_no_store_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    for outcome in [
        care::check(dir.path()).map(|_| ()),
        care::repair(dir.path()).map(|_| ()),
        care::export(dir.path(), &mut Vec::new(), Path::new("out")),
        care::restore(&dir.path().join("copy"), &dir.path().join("new")),
        Store::memory().backup(&dir.path().join("copy")).map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(CareError::Missing(_))), "{outcome:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "and none is made");
}
