//! Where the admin socket is, and how it comes to be there safely.

use crate::config::AdminSocket;
use crate::net::unix;
pub(super) use crate::net::unix::BoundSocket;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why there is no admin socket.
#[derive(Debug)]
pub enum BindError {
    /// Another broker answers there.
    Alive(PathBuf),
    /// Something else is there.
    NotASocket(PathBuf),
    /// The directory belongs to someone else, or others may write to it.
    Directory(PathBuf),
    /// The system refuses.
    Io(PathBuf, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive(path) => write!(
                f,
                "another broker uses the admin socket {}; set admin.socket to another path, or to \"off\"",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "{} exists and is not a socket; remove it, or set admin.socket to another path",
                path.display()
            ),
            Self::Directory(path) => write!(
                f,
                "the directory {} must belong to this user and be closed to others (chmod 700)",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "the admin socket {} cannot be made: {error}", path.display()),
        }
    }
}

impl std::error::Error for BindError {}

/// Where the socket is when nobody says otherwise.
#[must_use]
pub fn usual_path() -> PathBuf {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute());
    match (runtime_dir, own_uid()) {
        (Some(dir), _) => dir.join("sluice.sock"),
        (None, 0) => PathBuf::from("/run/sluice/admin.sock"),
        (None, uid) => PathBuf::from(format!("/tmp/sluice-{uid}/admin.sock")),
    }
}

/// The path that the configuration means; `None`: there is to be none.
#[must_use]
pub fn path_of(socket: &AdminSocket) -> Option<PathBuf> {
    match socket {
        AdminSocket::Usual => Some(usual_path()),
        AdminSocket::Path(path) => Some(path.clone()),
        AdminSocket::Off => None,
    }
}

pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes the socket, closed to others.
pub(super) fn bind(path: &Path) -> Result<BoundSocket, BindError> {
    make_directory(path)?;
    let access = unix::Access {
        mode: 0o600,
        group: None,
    };
    unix::listen_at(path, access).map_err(|error| match error {
        unix::BindError::Alive => BindError::Alive(path.to_owned()),
        unix::BindError::NotASocket => BindError::NotASocket(path.to_owned()),
        unix::BindError::Io(error) => BindError::Io(path.to_owned(), error),
    })
}

/// A directory that is missing is made for us alone. One in a public place may have been made by someone else.
fn make_directory(path: &Path) -> Result<(), BindError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    let failed = |error| BindError::Io(path.to_owned(), error);
    if !parent.exists() {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(failed)?;
    }
    let is_public = parent.starts_with("/tmp") || parent.starts_with("/var/tmp");
    let metadata = fs::symlink_metadata(parent).map_err(failed)?;
    let is_ours = metadata.is_dir() && metadata.uid() == own_uid() && metadata.mode() & 0o022 == 0;
    if is_public && !is_ours {
        return Err(BindError::Directory(parent.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_socket_is_closed_to_others_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new").join("admin.sock");
        let socket = bind(&path).expect("a socket");
        assert_eq!(fs::metadata(&path).expect("the socket").mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().expect("a parent"))
                .expect("the directory")
                .mode()
                & 0o777,
            0o700
        );
        assert_eq!(
            fs::read_dir(path.parent().expect("a parent"))
                .expect("the directory")
                .count(),
            1
        );
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_behind_is_replaced_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("admin.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "left behind");
        let socket = bind(&path).expect("it is replaced");
        let error = bind(&path).expect_err("it is alive");
        let text = error.to_string();
        assert!(
            text.starts_with("another broker uses the admin socket ") && text.contains("admin.sock"),
            "{text}"
        );
        drop(socket);
        bind(&path).expect("free again");
    }

    #[test]
    fn nothing_but_a_socket_is_ever_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("precious");
        fs::write(&path, "data").expect("a file");
        assert!(matches!(bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path).expect("the file"), b"data");
    }

    #[test]
    fn a_public_directory_that_others_may_write_to_is_not_used() {
        let dir = tempfile::Builder::new().tempdir_in("/tmp").expect("a directory");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("permissions");
        assert!(matches!(
            bind(&dir.path().join("admin.sock")),
            Err(BindError::Directory(_))
        ));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("permissions");
        bind(&dir.path().join("admin.sock")).expect("ours alone");
    }
}
