//! What keeps an operator from caring for a store, and what is left of it then.

use crate::caring::{damage, file, filled, open};
use redb::{Database, TableDefinition};
use sluice_store::care::{self, CareError};
use sluice_store::{OpenError, Store};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// Makes a store say that it has this format.
fn set_format(path: &Path, format: u8) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut hasher = crc32fast::Hasher::new();
    // Table 1, the key, the value.
    hasher.update(&[1]);
    hasher.update(b"format");
    hasher.update(&[format]);
    let mut row = hasher.finalize().to_le_bytes().to_vec();
    row.push(format);
    let meta = TableDefinition::<&str, &[u8]>::new("meta");
    transaction
        .open_table(meta)
        .unwrap()
        .insert("format", row.as_slice())
        .unwrap();
    transaction.commit().unwrap();
}

/// Makes the page that holds these bytes say that it has one row less than it has, so that none of them is where it is
/// looked for.
fn break_page(dir: &TempDir, mark: &[u8]) {
    let mut bytes = fs::read(file(dir)).unwrap();
    let pages = bytes.chunks(4096);
    let marked = pages.map(|page| page.windows(mark.len()).any(|window| window == mark));
    let found: Vec<bool> = marked.collect();
    assert_eq!(found.iter().filter(|is_marked| **is_marked).count(), 1);
    let page = found.iter().position(|is_marked| *is_marked).unwrap();
    // A leaf: its kind, a byte that is not used, the number of its rows.
    let head = &mut bytes[page * 4096..][..4];
    assert!(head[0] == 1 && head[2] > 1, "{head:?}");
    head[2] -= 1;
    fs::write(file(dir), bytes).unwrap();
}

fn is_newer<T: std::fmt::Debug>(outcome: Result<T, CareError>) -> bool {
    let error = outcome.unwrap_err();
    matches!(error, CareError::Open(OpenError::Newer { found: 99, .. }))
}

fn is_in_use<T: std::fmt::Debug>(outcome: Result<T, CareError>) -> bool {
    let error = outcome.unwrap_err();
    matches!(error, CareError::Open(OpenError::InUse { .. }))
}

fn is_damaged<T: std::fmt::Debug>(outcome: Result<T, CareError>) -> bool {
    matches!(outcome.unwrap_err(), CareError::Damaged(_))
}

#[test]
fn a_store_of_a_newer_format_is_left_alone() {
    let (dir, ..) = filled();
    set_format(&file(&dir), 99);
    let before = fs::read(file(&dir)).unwrap();
    assert!(is_newer(care::check(dir.path())));
    assert!(is_newer(care::repair(dir.path())));
    assert!(is_newer(care::export(
        dir.path(),
        &mut Vec::new(),
        Path::new("out")
    )));
    let target = dir.path().join("target");
    assert!(is_newer(care::restore(&file(&dir), &target)));
    assert!(!target.join("store.redb").exists());
    assert!(fs::read(file(&dir)).unwrap() == before);
}

#[test]
fn a_store_that_a_broker_uses_is_neither_written_out_nor_replaced() {
    let (dir, ..) = filled();
    let copy = dir.path().join("copy");
    fs::copy(file(&dir), &copy).unwrap();
    let (_store, _) = open(dir.path());
    let mut out = Vec::new();
    assert!(is_in_use(care::export(dir.path(), &mut out, Path::new("out"))));
    assert!(out.is_empty());
    assert!(is_in_use(care::restore(&copy, dir.path())));
}

#[test]
fn a_damaged_structure_is_found_and_repaired() {
    let (dir, session, _) = filled();
    break_page(&dir, b"payload 17 ");
    let before = fs::read(file(&dir)).unwrap();
    let report = care::check(dir.path()).unwrap();
    let said = report.findings.join("\n");
    assert!(said.contains("the database itself"), "{said}");
    assert!(fs::read(file(&dir)).unwrap() == before);

    let mut out = Vec::new();
    care::export(dir.path(), &mut out, Path::new("out")).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\"unreadable\""));
    assert!(text.contains("\"kind\":\"session\""), "what can be read is there");

    let target = dir.path().join("target");
    assert!(is_damaged(care::restore(&file(&dir), &target)));
    assert!(!target.join("store.redb").exists());

    let repaired = care::repair(dir.path()).unwrap();
    assert!(fs::read(repaired.original.unwrap()).unwrap() == before);
    assert!(care::check(dir.path()).unwrap().is_sound());
    let (_store, recovered) = open(dir.path());
    assert_eq!(recovered.sessions[0].record.number, session);
    assert!(recovered.sessions[0].queue.len() < 199);
}

#[test]
fn no_backup_is_made_of_what_could_not_be_put_back() {
    for is_structure in [false, true] {
        let (dir, ..) = filled();
        if is_structure {
            break_page(&dir, b"payload 17 ");
        } else {
            damage(&dir, b"payload 17 ");
        }
        // Messages are not read when it is opened.
        let (store, _) = open(dir.path());
        let copy = dir.path().join("copy");
        assert!(is_damaged(store.backup(&copy)), "structure: {is_structure}");
        assert!(!copy.exists() && !dir.path().join("copy.new").exists());
        store.close();
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named_and_nothing_is_left_there() {
    let (dir, ..) = filled();
    let is_io = |error: CareError, path: &Path| match error {
        CareError::Io { path: found, .. } | CareError::Open(OpenError::Io { path: found, .. }) => {
            assert_eq!(found, path);
        }
        error => panic!("{error}"),
    };
    let (store, _) = open(dir.path());
    let plain = dir.path().join("plain");
    fs::write(&plain, "not a directory").unwrap();
    let missing = dir.path().join("missing");
    let error = store.backup(&missing.join("copy")).unwrap_err();
    is_io(error, &missing.join("copy.new"));
    let copy = dir.path().join("copy");
    store.backup(&copy).unwrap();
    store.close();

    let below = plain.join("data");
    is_io(care::restore(&copy, &below).unwrap_err(), &below);
    let target = dir.path().join("target");
    fs::create_dir_all(target.join("store.redb.new")).unwrap();
    is_io(
        care::restore(&copy, &target).unwrap_err(),
        &target.join("store.redb.new"),
    );
    assert!(!target.join("store.redb").exists());

    damage(&dir, b"payload 17 ");
    let before = fs::read(file(&dir)).unwrap();
    let unfinished = dir.path().join("store.redb.new");
    fs::create_dir(&unfinished).unwrap();
    is_io(care::repair(dir.path()).unwrap_err(), &unfinished);
    assert!(fs::read(file(&dir)).unwrap() == before);
}

#[test]
fn an_export_that_cannot_be_written_names_the_output_and_not_the_store() {
    let (dir, ..) = filled();
    let full = Path::new("/dev/full");
    let open = || fs::OpenOptions::new().write(true).open(full).unwrap();
    // What is kept back is written at the end, and may fail then.
    let mut kept_back = std::io::BufWriter::with_capacity(1 << 20, open());
    for out in [&mut open() as &mut dyn Write, &mut kept_back] {
        let said = care::export(dir.path(), out, full).unwrap_err().to_string();
        assert!(
            said.starts_with("/dev/full: ") && said.contains("make room"),
            "{said}"
        );
    }
}

#[test]
fn a_restore_that_runs_out_of_room_leaves_the_directory_as_it_was() {
    let (dir, ..) = filled();
    let copy = dir.path().join("copy");
    fs::copy(file(&dir), &copy).unwrap();
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("other"), "kept").unwrap();
    let unfinished = target.join("store.redb.new");
    // Whatever is written there finds no room.
    symlink("/dev/full", &unfinished).unwrap();
    let error = care::restore(&copy, &target).unwrap_err();
    assert!(matches!(error, CareError::Io { .. }), "{error}");
    let said = error.to_string();
    assert!(said.starts_with(&format!("{}: ", unfinished.display())), "{said}");
    assert!(
        said.contains("make room there, or choose another place"),
        "{said}"
    );
    let mut names: Vec<_> = fs::read_dir(&target)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["lock", "other"]);

    care::restore(&copy, &target).unwrap();
    assert!(care::check(&target).unwrap().is_sound(), "there is room again");
}

#[test]
fn a_format_that_never_was_is_refused() {
    let (dir, ..) = filled();
    set_format(&file(&dir), 0);
    let options = sluice_store::Options::new(dir.path());
    let error = Store::open(options, std::sync::Arc::new(sluice_store::Unobserved)).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt(_)), "{error}");
}
