//! The policy directory: `NAME.wasm` in it is the module of policy `NAME`, from the moment it is there.
//!
//! Events of the file system are only a hint to look: what is loaded is decided by comparing files with what was
//! seen before, so that lost or doubled events do no harm. A file that is removed changes nothing; the module that is
//! in force stays.

use super::{Policies, PolicyError, PolicyErrorKind};
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A directory is looked at when nothing has happened in it for so long: a file may still be being written.
const QUIET: Duration = Duration::from_millis(200);
/// But no later than this after the first event.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches the policy directory until dropped.
#[derive(Debug)]
pub struct PolicyWatch {
    _watcher: RecommendedWatcher,
}

/// What tells two states of a file apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    len: u64,
    modified: Option<SystemTime>,
}

impl PolicyWatch {
    /// Loads every module of the directory, then watches it. Blocks while they are loaded.
    ///
    /// # Errors
    /// When the directory cannot be watched, when everyone may write to it, or when one of the modules in it cannot
    /// be loaded: starting without it would put in force what it was to replace. Later, such a module is reported
    /// and what is in force stays.
    pub fn start(policies: &Policies, dir: &Path) -> Result<Self, Vec<PolicyError>> {
        let broken = |error: String| {
            let kind = PolicyErrorKind::Host(format!("the policy directory {}: {error}", dir.display()));
            vec![PolicyError {
                policy: String::new(),
                kind,
            }]
        };
        let metadata = fs::metadata(dir).map_err(|error| broken(error.to_string()))?;
        if !metadata.is_dir() || metadata.mode() & 0o002 != 0 {
            return Err(broken(
                "it must be a directory that not everyone can write to".into(),
            ));
        }
        // A channel of one: while a look is due, further events say nothing new.
        let (hint, hints) = sync_channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, |event| may_be_change(event.kind)) {
                let _ = hint.try_send(());
            }
        })
        .map_err(|error| broken(error.to_string()))?;
        // Before the first look, so that nothing falls between the two.
        watcher
            .watch(dir, RecursiveMode::NonRecursive)
            .map_err(|error| broken(error.to_string()))?;
        let mut seen = HashMap::new();
        let errors = look(policies, dir, &mut seen).map_err(|error| broken(error.to_string()))?;
        if !errors.is_empty() {
            return Err(errors);
        }
        let (policies, dir) = (policies.clone(), dir.to_owned());
        thread::Builder::new()
            .name("policy-watch".into())
            .spawn(move || keep_looking(&policies, &dir, seen, &hints))
            .map_err(|error| {
                vec![PolicyError {
                    policy: String::new(),
                    kind: PolicyErrorKind::Host(error.to_string()),
                }]
            })?;
        Ok(Self { _watcher: watcher })
    }
}

/// Reading a directory is an event, too; it must not lead to the next look.
fn may_be_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// Ends when the watcher, which holds the other end of `hints`, is dropped.
fn keep_looking(policies: &Policies, dir: &Path, mut seen: HashMap<PathBuf, Seen>, hints: &Receiver<()>) {
    while hints.recv().is_ok() {
        let first = Instant::now();
        while first.elapsed() < PATIENCE && hints.recv_timeout(QUIET).is_ok() {}
        // What cannot be loaded was reported as rejected. A directory that is gone is looked for at the next event.
        let _ = look(policies, dir, &mut seen);
    }
}

/// Loads what is new or different, in the order of the names.
fn look(policies: &Policies, dir: &Path, seen: &mut HashMap<PathBuf, Seen>) -> io::Result<Vec<PolicyError>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            paths.push(path);
        }
    }
    paths.sort();
    seen.retain(|path, _| paths.contains(path));
    let mut errors = Vec::new();
    for path in paths {
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        let now = Seen {
            inode: metadata.ino(),
            len: metadata.len(),
            modified: metadata.modified().ok(),
        };
        if !metadata.is_file() || seen.insert(path.clone(), now) == Some(now) {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        errors.extend(policies.load_file(&name, &path).err());
    }
    Ok(errors)
}
