//! Which directories a configuration needs, and for what.
//!
//! Rights are given for the directory of a file, not for the file: a file that is renewed is another one to the kernel.

use crate::admin::socket;
use crate::config::{Address, Config, Listener, PolicySource, Tls, UnixSocket};
use landlock::{AccessFs, BitFlags, make_bitflags};
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Directories, without symbolic links, with the rights that are kept in them and below.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) read: BTreeMap<PathBuf, BitFlags<AccessFs>>,
    pub(super) write: BTreeMap<PathBuf, BitFlags<AccessFs>>,
}

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile});
const LIST: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// For the admin socket and those of listeners: each is made under another name and moved.
const SOCKET: BitFlags<AccessFs> = make_bitflags!(AccessFs::{MakeSock | RemoveFile});
const KEEP: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});
/// Where the system keeps how names are looked up and which authorities are trusted.
const SYSTEM: [&str; 4] = [
    "/etc",
    "/usr/share/ca-certificates",
    "/usr/lib/ssl",
    "/run/systemd/resolve",
];
/// How many processors this control group may use is asked again and again, by the standard library.
const PROCESSORS: [&str; 2] = ["/proc/self/cgroup", "/sys/fs/cgroup"];

impl Places {
    /// What a broker with this configuration needs from its start to its end.
    pub(super) fn of(config: &Config) -> Self {
        let mut places = Self::default();
        let own = config.file.iter().cloned();
        for file in own.chain(files(config).into_iter().map(|(_, path)| path)) {
            // Both: a link may be replaced by one to elsewhere in its directory, its target by another beside it.
            let target = file.canonicalize().ok();
            for dir in [Some(file), target]
                .into_iter()
                .flatten()
                .filter_map(|path| directory(&path))
            {
                *places.read.entry(dir).or_default() |= READ;
            }
        }
        for dir in config.policy_dir.iter().filter_map(|dir| dir.canonicalize().ok()) {
            *places.read.entry(dir).or_default() |= LIST;
        }
        for path in PROCESSORS
            .iter()
            .filter_map(|path| Path::new(path).canonicalize().ok())
        {
            places.read.insert(path, READ);
        }
        if !config.services.is_empty() || sockets(config).any(|socket| socket.group.is_some()) {
            // By what the system says, services' names are looked up and their certificates verified, and groups are.
            for dir in SYSTEM.iter().filter_map(|dir| Path::new(dir).canonicalize().ok()) {
                *places.read.entry(dir).or_default() |= LIST;
            }
        }
        for dir in config.data_dir.iter().filter_map(|dir| dir.canonicalize().ok()) {
            *places.write.entry(dir).or_default() |= KEEP;
        }
        let admin = socket::path_of(&config.admin.socket);
        let listeners = sockets(config).map(|socket| socket.path.clone());
        for dir in admin
            .into_iter()
            .chain(listeners)
            .filter_map(|path| directory(&path))
        {
            *places.write.entry(dir).or_default() |= SOCKET;
        }
        places
    }
}

/// Those of the listeners.
fn sockets(config: &Config) -> impl Iterator<Item = &UnixSocket> {
    config
        .listeners
        .iter()
        .filter_map(|listener| match &listener.address {
            Address::Unix(socket) => Some(socket),
            Address::Ip(_) => None,
        })
}

/// Makes the directories that the broker would make itself: later it can do so only in those that exist now.
pub(super) fn make(config: &Config) {
    let socket = socket::path_of(&config.admin.socket);
    let beside = socket.as_deref().and_then(Path::parent);
    for dir in config.data_dir.as_deref().into_iter().chain(beside) {
        // Whoever needs it says what is wrong with it.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    }
}

/// The files that are read at the start and again with SIGHUP, each with the key that names it.
pub(super) fn files(config: &Config) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    for policy in &config.policies {
        if let PolicySource::File(path) = &policy.source {
            files.push((format!("policy.{}.file", policy.name), path.clone()));
        }
    }
    let services = config.services.iter().flat_map(|service| service.files());
    files.extend(services.map(|path| ("service".to_owned(), path.to_owned())));
    let issuers = config.issuers.iter().flat_map(|issuer| issuer.files());
    files.extend(issuers.map(|path| ("jwt".to_owned(), path.to_owned())));
    for (index, listener) in config.listeners.iter().enumerate() {
        let named = listener_files(listener).into_iter();
        files.extend(named.map(|(key, path)| (format!("listener[{index}].{key}"), path.to_owned())));
    }
    files
}

/// Named field by field: a new one must be sorted into files and others to compile.
fn listener_files(listener: &Listener) -> Vec<(&'static str, &Path)> {
    let Listener {
        name: _,
        address: _,
        guard: _,
        proxies: _,
        websocket: _,
        policies: _,
        tls,
        connect_timeout: _,
        versions: _,
        limits: _,
        total: _,
    } = listener;
    let files = tls.iter().flat_map(Tls::files);
    files.map(|path| ("tls", path)).collect()
}

/// The directory of a file, without symbolic links.
fn directory(file: &Path) -> Option<PathBuf> {
    let parent = file.parent()?;
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    parent.canonicalize().ok()
}
