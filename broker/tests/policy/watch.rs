//! The policy directory.

use crate::guest::{ALLOW, DENY, publisher};
use crate::support::{ALLOWED, Host, denied, publish, start_one};
use sluice::policy::notice::PolicyNotice;
use sluice::policy::{PolicyErrorKind, PolicyWatch};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn wait_for_generation(host: &Host, expected: u64) {
    host.recorder.wait_for(|notice| {
        matches!(notice, PolicyNotice::Activated { generation, .. } if *generation == expected).then_some(())
    });
}

fn rejections(host: &Host) -> usize {
    host.recorder
        .notices()
        .iter()
        .filter(|notice| matches!(notice, PolicyNotice::Rejected { .. }))
        .count()
}

/// As a careful tool does it.
fn replace(path: &Path, wasm: &[u8]) {
    let unfinished = path.with_extension("part");
    fs::write(&unfinished, wasm).unwrap();
    fs::rename(unfinished, path).unwrap();
}

#[test]
fn a_file_that_is_put_into_the_directory_replaces_the_module() {
    let dir = tempfile::tempdir().unwrap();
    let host = start_one(publisher(ALLOW).build());
    let _watch = PolicyWatch::start(&host.policies, dir.path()).unwrap();
    let mut gate = host.admit("c");
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    let path = dir.path().join("p.wasm");
    replace(&path, &publisher(DENY).build());
    wait_for_generation(&host, 2);
    denied(publish(&mut gate, "t"));
    // Written in place, bit by bit, it is loaded when it is whole.
    fs::write(&path, publisher(ALLOW).build()).unwrap();
    wait_for_generation(&host, 3);
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    fs::write(dir.path().join("notes.txt"), "no policy").unwrap();
    replace(&path, b"no policy either");
    host.recorder
        .wait_for(|notice| matches!(notice, PolicyNotice::Rejected { .. }).then_some(()));
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    assert_eq!(host.policies.generation(), 3);
}

#[test]
fn what_is_there_at_the_start_is_in_force_before_anyone_enters() {
    let dir = tempfile::tempdir().unwrap();
    replace(&dir.path().join("p.wasm"), &publisher(DENY).build());
    let host = start_one(publisher(ALLOW).build());
    let _watch = PolicyWatch::start(&host.policies, dir.path()).unwrap();
    denied(publish(&mut host.admit("c"), "t"));
    assert_eq!(host.policies.generation(), 2);
}

#[test]
fn a_module_that_does_not_load_at_the_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    replace(&dir.path().join("p.wasm"), b"no policy");
    let host = start_one(publisher(ALLOW).build());
    let errors = PolicyWatch::start(&host.policies, dir.path()).unwrap_err();
    assert!(
        matches!(&errors[..], [error] if matches!(error.kind, PolicyErrorKind::Invalid(_))),
        "{errors:?}"
    );
    assert_eq!(rejections(&host), 1);
}

#[test]
fn a_directory_that_everyone_can_write_to_is_not_watched() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let host = start_one(publisher(ALLOW).build());
    PolicyWatch::start(&host.policies, dir.path()).unwrap_err();
    PolicyWatch::start(&host.policies, &dir.path().join("missing")).unwrap_err();
}
