//! Tables that are gone, although the database says that they are only empty.

use crate::caring::{file, filled, open};
use crate::scene::options;
use sluice_store::testing::lose_root;
use sluice_store::{OpenError, Options, Store, Unobserved, care};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const TABLES: [&str; 8] = [
    "facts",
    "messages",
    "meta",
    "progress",
    "recipients",
    "retained",
    "sessions",
    "subscriptions",
];

/// A store with a bit of everything, which was closed in order, and whose table is lost.
fn without(table: &str) -> TempDir {
    let (dir, ..) = filled();
    let mut image = fs::read(file(&dir)).unwrap();
    assert!(lose_root(&mut image, table) > 0, "{table}");
    fs::write(file(&dir), image).unwrap();
    dir
}

#[test]
fn a_table_that_only_seems_to_be_empty_is_noticed_at_a_start_that_trusts_the_file() {
    for table in TABLES {
        let dir = without(table);
        let options = Options {
            data_dir: dir.path().to_owned(),
            ..options()
        };
        let error = Store::open(options, Arc::new(Unobserved)).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt(_)), "{table}: {error}");
        let said = error.to_string();
        for expected in [
            &format!("table {table}"),
            "`sluice store check`",
            "`sluice store repair`",
            "`sluice store export`",
        ] {
            assert!(said.contains(expected), "{table}: {said}");
        }
    }
}

#[test]
fn a_check_says_which_table_is_lost_and_an_export_has_the_others() {
    for table in TABLES {
        let dir = without(table);
        let said = care::check(dir.path()).unwrap().findings.join("\n");
        assert!(said.contains(&format!("table {table}: ")), "{table}: {said}");
        let mut out = Vec::new();
        care::export(dir.path(), &mut out, Path::new("out")).unwrap();
        let text = String::from_utf8(out).unwrap();
        for (kind, of) in [
            ("session", "sessions"),
            ("retained", "retained"),
            ("fact", "facts"),
        ] {
            let is_there = text.contains(&format!("\"kind\":\"{kind}\""));
            assert_eq!(is_there, of != table, "{table}: {kind}");
        }
    }
}

#[test]
fn a_repair_keeps_all_tables_but_the_one_that_is_lost() {
    for table in TABLES {
        let dir = without(table);
        assert!(care::repair(dir.path()).unwrap().original.is_some(), "{table}");
        assert!(care::check(dir.path()).unwrap().is_sound(), "{table}");
        let (store, recovered) = open(dir.path());
        assert_eq!(recovered.facts.len(), usize::from(table != "facts"), "{table}");
        assert_eq!(
            recovered.retained.len(),
            usize::from(table != "retained"),
            "{table}"
        );
        assert_eq!(
            recovered.sessions.len(),
            usize::from(table != "sessions"),
            "{table}"
        );
        for session in &recovered.sessions {
            let messages = session.queue.len() + session.inflight.len();
            let kept = !["messages", "recipients"].contains(&table);
            assert_eq!(messages, if kept { 200 } else { 0 }, "{table}");
        }
        store.close();
    }
}

#[test]
fn a_file_without_any_table_is_no_new_store() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(file(&dir), []).unwrap();
    let options = Options {
        data_dir: dir.path().to_owned(),
        ..options()
    };
    let error = Store::open(options, Arc::new(Unobserved)).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt(_)), "{error}");
}
