//! Listening sockets in the file system: permissions before anybody can connect, and nothing but a dead socket is ever
//! replaced.

use rustix::fs::{Gid, Mode, chmod, chown};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Connections the kernel keeps while the broker is busy; it may keep less.
const BACKLOG: i32 = 4_096;

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Permission bits; to connect is to write.
    pub mode: u32,
    /// Numeric identifier of the group the socket is to belong to; `None`: the broker's own.
    pub group: Option<u32>,
}

/// A listening socket that does not block; its file goes with it.
#[derive(Debug)]
pub struct BoundSocket {
    /// The socket.
    pub listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
    /// Device and inode of the file: another broker may have put its own there since.
    file: (u64, u64),
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.file);
        if is_ours {
            // If it is gone already, so much the better.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why there is no socket.
#[derive(Debug)]
pub enum BindError {
    /// Somebody answers there.
    Alive,
    /// Something else is there.
    NotASocket,
    /// The system refuses.
    Io(io::Error),
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for BindError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Makes the socket, in the place of one that nobody listens on any more. Nobody can connect before it has its
/// permissions: until then it does not listen.
///
/// # Errors
/// Why there is none; what was there is as it was.
pub fn listen_at(path: &Path, access: Access) -> Result<BoundSocket, BindError> {
    make_way(path)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let _ = fs::remove_file(&temporary);
    let placed = make(&temporary, access).and_then(|(listener, file)| {
        fs::rename(&temporary, path)?;
        Ok(BoundSocket {
            listener,
            path: path.to_owned(),
            file,
        })
    });
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed
}

fn make(path: &Path, access: Access) -> Result<(UnixListener, (u64, u64)), BindError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    if let Some(group) = access.group {
        chown(path, None, Some(Gid::from_raw(group)))?;
    }
    chmod(path, Mode::from_raw_mode(access.mode))?;
    listen(&socket, BACKLOG)?;
    let file = identity(&fs::symlink_metadata(path)?);
    Ok((UnixListener::from(socket), file))
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Sees to it that nobody is in the way: what a broker that ended without cleaning up left behind may be replaced, and
/// nothing else.
fn make_way(path: &Path) -> Result<(), BindError> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !file.file_type().is_socket() {
        return Err(BindError::NotASocket);
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) => Err(BindError::Alive),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const OURS: Access = Access {
        mode: 0o600,
        group: None,
    };

    #[test]
    fn the_socket_has_its_permissions_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("mqtt.sock");
        for mode in [0o600, 0o660, 0o666] {
            let group = Some(rustix::process::getgid().as_raw());
            let socket = listen_at(&path, Access { mode, group }).expect("a socket");
            let file = fs::metadata(&path).expect("the socket");
            assert_eq!(file.permissions().mode() & 0o777, mode);
            assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1);
            UnixStream::connect(&path).expect("it listens");
            drop(socket);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_socket_left_behind_is_replaced_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("mqtt.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "left behind");
        let socket = listen_at(&path, OURS).expect("it is replaced");
        assert!(matches!(listen_at(&path, OURS), Err(BindError::Alive)));
        UnixStream::connect(&path).expect("it listens still");
        drop(socket);
        listen_at(&path, OURS).expect("free again");
    }

    #[test]
    fn nothing_but_a_socket_of_ours_is_ever_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("precious");
        fs::write(&path, "data").expect("a file");
        assert!(matches!(listen_at(&path, OURS), Err(BindError::NotASocket)));
        assert_eq!(fs::read(&path).expect("the file"), b"data");
        let path = dir.path().join("mqtt.sock");
        let ours = listen_at(&path, OURS).expect("a socket");
        fs::remove_file(&path).expect("somebody removes it");
        let theirs = listen_at(&path, OURS).expect("and puts its own there");
        drop(ours);
        UnixStream::connect(&path).expect("which stays");
        drop(theirs);
    }
}
