//! Watches the files that listeners name for encryption, so that a renewed certificate or revocation list is in force
//! without anybody saying so.
//!
//! Events of the file system are only a hint to look, as in the policy folder; besides, the files are looked at every
//! so often, because not every file system tells.

use crate::config::Config;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Watches until dropped.
pub struct FileWatch {
    followed: Arc<Mutex<Followed>>,
    hint: SyncSender<()>,
    changes: mpsc::Receiver<()>,
    /// Why the file system does not tell of changes, if it does not: they are found all the same, later.
    pub problem: Option<String>,
}

/// What is watched, and how it was when it was last looked at.
#[derive(Default)]
struct Followed {
    files: BTreeMap<PathBuf, Option<Seen>>,
    /// For its directories.
    _watcher: Option<RecommendedWatcher>,
}

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    len: u64,
    modified: (i64, i64),
    /// Also when a copy keeps the time of its original.
    changed: (i64, i64),
}

impl FileWatch {
    /// Watches the files of a configuration. To be called before they are read, so that nothing falls between the two.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(config: &Config) -> std::io::Result<Self> {
        // A channel of one: while a look is due, further events say nothing new.
        let (hint, hints) = sync_channel(1);
        let (sender, changes) = mpsc::channel(1);
        let followed = Arc::<Mutex<Followed>>::default();
        let weak = Arc::downgrade(&followed);
        thread::Builder::new()
            .name("tls-watch".into())
            .spawn(move || keep_looking(&weak, &hints, &sender))?;
        let mut watch = Self {
            followed,
            hint,
            changes,
            problem: None,
        };
        watch.follow(config);
        Ok(watch)
    }

    /// Watches the files of this configuration instead.
    pub fn follow(&mut self, config: &Config) {
        let tls = config
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        let files = tls.flat_map(|tls| tls.files());
        let files: BTreeMap<PathBuf, Option<Seen>> =
            files.map(|file| (file.to_owned(), seen(file))).collect();
        let mut followed = self.followed.lock();
        if followed.files.keys().eq(files.keys()) {
            return;
        }
        let watcher = watch_directories(&files, self.hint.clone());
        self.problem = watcher.as_ref().err().map(ToString::to_string);
        followed.files = files;
        followed._watcher = watcher.ok();
    }

    /// Returns when a file has changed, or when it is time to look at them all. Nothing is lost when it is dropped.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // The thread ends with `self`.
            std::future::pending::<()>().await;
        }
    }
}

fn watch_directories(
    files: &BTreeMap<PathBuf, Option<Seen>>,
    hint: SyncSender<()>,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, |event| may_be_change(event.kind)) {
            let _ = hint.try_send(());
        }
    })?;
    // Links are common here: the directory of the link, and the one it leads to.
    let real = files.keys().filter_map(|file| fs::canonicalize(file).ok());
    let directories: BTreeSet<PathBuf> = files.keys().cloned().chain(real).filter_map(directory).collect();
    for directory in &directories {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn directory(file: PathBuf) -> Option<PathBuf> {
    let directory = file.parent()?;
    let is_here = directory.as_os_str().is_empty();
    Some(if is_here { Path::new(".") } else { directory }.to_owned())
}

/// Reading a file is an event, too; it must not lead to the next look.
fn may_be_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// Ends when the watch is dropped.
fn keep_looking(followed: &Weak<Mutex<Followed>>, hints: &Receiver<()>, changes: &mpsc::Sender<()>) {
    let mut looked = Instant::now();
    loop {
        match hints.recv_timeout(LOOK_EVERY) {
            Ok(()) => {
                let first = Instant::now();
                while first.elapsed() < PATIENCE && hints.recv_timeout(QUIET).is_ok() {}
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(followed) = followed.upgrade() else {
            return;
        };
        let is_due = looked.elapsed() >= LOOK_CLOSELY_EVERY;
        if followed.lock().look() || is_due {
            looked = Instant::now();
            // When one is waiting already, whoever takes it will read the files as they are then.
            let _ = changes.try_send(());
        }
    }
}

impl Followed {
    /// Whether something is different than before.
    fn look(&mut self) -> bool {
        let mut is_different = false;
        for (file, before) in &mut self.files {
            let now = seen(file);
            is_different |= *before != now;
            *before = now;
        }
        is_different
    }
}

/// `None`: it is not there.
fn seen(file: &Path) -> Option<Seen> {
    let metadata = fs::metadata(file).ok()?;
    Some(Seen {
        inode: metadata.ino(),
        len: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// Files are looked at when nothing has happened for so long: one may still be being written, or the key that belongs
/// to a certificate.
const QUIET: Duration = Duration::from_millis(200);
/// But no later than this after the first event.
const PATIENCE: Duration = Duration::from_secs(2);
/// Whatever the file system tells.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Whether or not they have changed: what is about to expire is said every day.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        let text = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n\
                    tls = { certificate = \"chain.pem\", key = \"live/key.pem\" }\n";
        Config::parse(&dir.join("sluice.toml"), text).expect("a configuration")
    }

    #[test]
    fn whatever_happens_to_a_file_is_seen_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("live")).expect("a directory");
        std::fs::write(path("first.pem"), "1").expect("a file");
        std::fs::write(path("second.pem"), "2").expect("a file");
        let mut followed = Followed::default();
        for name in ["chain.pem", "live/key.pem"] {
            followed.files.insert(path(name), seen(&path(name)));
        }
        let mut is_different = || followed.look();
        assert!(!is_different());
        std::fs::write(path("chain.pem"), "1").expect("a file");
        assert!(is_different() && !is_different(), "a file that is new");
        std::os::unix::fs::symlink("../first.pem", path("live/key.pem")).expect("a link");
        assert!(is_different() && !is_different(), "a link that is new");
        std::os::unix::fs::symlink("../second.pem", path("live/next")).expect("a link");
        std::fs::rename(path("live/next"), path("live/key.pem")).expect("it is renamed");
        assert!(is_different() && !is_different(), "a link that leads elsewhere");
        std::fs::write(path("second.pem"), "22").expect("a file");
        assert!(is_different() && !is_different(), "what a link leads to");
        std::fs::remove_file(path("chain.pem")).expect("it was there");
        assert!(is_different() && !is_different(), "a file that is gone");
    }

    #[tokio::test]
    async fn a_change_is_told_and_other_files_are_followed_when_the_configuration_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("live")).expect("a directory");
        let mut config = config(dir.path());
        let mut watch = FileWatch::start(&config).expect("a thread");
        assert_eq!(watch.problem, None);
        std::fs::write(dir.path().join("live/key.pem"), "1").expect("a file");
        watch.changed().await;
        let tls = config.listeners[0].tls.as_mut().expect("it encrypts");
        tls.certificates[0].key = dir.path().join("other.pem");
        watch.follow(&config);
        std::fs::write(dir.path().join("other.pem"), "1").expect("a file");
        watch.changed().await;
        let tls = config.listeners[0].tls.as_mut().expect("it encrypts");
        tls.certificates[0].key = "/nonexistent/key.pem".into();
        watch.follow(&config);
        assert!(watch.problem.is_some());
    }
}
