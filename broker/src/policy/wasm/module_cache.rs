//! Compiled modules on disk, so that a start does not compile what was compiled before.
//!
//! Compiled code is as powerful as the broker: a file is used only when it and its directory belong to this user and
//! nobody else may write there, and when its contents fit their digest.

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File};
use std::hash::{Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Most compiled modules kept; the oldest go first.
const FILES_MAX: usize = 64;
/// Largest file considered.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const SUFFIX: &str = "cwasm";

/// A directory of compiled modules.
pub(in crate::policy) struct ModuleCache {
    dir: PathBuf,
}

impl ModuleCache {
    /// Creates the directory if need be.
    ///
    /// # Errors
    /// When it cannot be created or trusted; the text says why.
    pub(in crate::policy) fn open(dir: &Path) -> Result<Self, String> {
        let explain = |error: std::io::Error| format!("the module cache {}: {error}", dir.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(explain)?;
        let metadata = fs::symlink_metadata(dir).map_err(explain)?;
        if !metadata.is_dir() || !is_ours(&metadata) {
            return Err(format!(
                "the module cache {} must be a directory of this user that nobody else can write to",
                dir.display()
            ));
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The compiled form of a module, if it is there and sound.
    pub(super) fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(self.path(engine, digest), flags, Mode::empty()).ok()?;
        let mut file = File::from(file);
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || !is_ours(&metadata) || metadata.len() > FILE_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let (expected, code) = bytes.split_at_checked(32)?;
        if Sha256::digest(code).as_slice() != expected {
            return None;
        }
        // SAFETY: `deserialize` trusts the code it is given. These bytes were written by `put` of a broker of this
        // same user: file and directory belong to us and nobody else may write there (checked on the open file), and
        // the digest shows that they are complete. wasmtime itself checks that its version and settings fit.
        #[allow(unsafe_code, reason = "loading compiled code is the purpose of this file")]
        unsafe { Component::deserialize(engine, code) }.ok()
    }

    /// Keeps a compiled module. Failing only costs time at the next start; the text says why.
    pub(super) fn put(&self, engine: &Engine, digest: &str, component: &Component) -> Result<(), String> {
        let write = || -> std::io::Result<()> {
            let code = component
                .serialize()
                .map_err(|error| std::io::Error::other(format!("{error:#}")))?;
            let path = self.path(engine, digest);
            let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(&Sha256::digest(&code))?;
            file.write_all(&code)?;
            fs::rename(&unfinished, &path)
        };
        self.prune();
        write().map_err(|error| format!("the module cache {}: {error}", self.dir.display()))
    }

    /// The name holds everything the compiled code depends on.
    fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.dir
            .join(format!("{digest}-{:016x}.{SUFFIX}", hasher.finish()))
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        let mut files: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == SUFFIX))
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
        for (_, path) in files.into_iter().take(surplus) {
            // Another broker may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
}

fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::super::engine::for_inspection;
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn filled() -> (tempfile::TempDir, ModuleCache, Engine, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let cache = ModuleCache::open(&dir.path().join("modules")).unwrap();
        let engine = for_inspection().unwrap();
        let component = Component::new(&engine, wat::parse_str("(component)").unwrap()).unwrap();
        cache.put(&engine, "d1", &component).unwrap();
        let path = cache.path(&engine, "d1");
        (dir, cache, engine, path)
    }

    #[test]
    fn what_was_put_is_got() {
        let (_dir, cache, engine, path) = filled();
        assert!(cache.get(&engine, "d1").is_some());
        assert!(cache.get(&engine, "d2").is_none());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(&cache.dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn a_corrupted_or_cut_file_is_not_used() {
        let (_dir, cache, engine, path) = filled();
        let sound = fs::read(&path).unwrap();
        for at in [0, 31, 32, sound.len() / 2, sound.len() - 1] {
            let mut corrupt = sound.clone();
            corrupt[at] ^= 1;
            fs::write(&path, corrupt).unwrap();
            assert!(cache.get(&engine, "d1").is_none(), "byte {at}");
        }
        for len in [0, 10, 32, sound.len() - 1] {
            fs::write(&path, &sound[..len]).unwrap();
            assert!(cache.get(&engine, "d1").is_none(), "{len} bytes");
        }
        fs::write(&path, &sound).unwrap();
        assert!(cache.get(&engine, "d1").is_some());
    }

    #[test]
    fn what_others_can_write_is_not_used() {
        let (_dir, cache, engine, path) = filled();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.get(&engine, "d1").is_none());
        fs::set_permissions(&cache.dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(ModuleCache::open(&cache.dir).is_err());
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let (_dir, cache, engine, path) = filled();
        let elsewhere = path.with_extension("moved");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(cache.get(&engine, "d1").is_none());
    }
}
