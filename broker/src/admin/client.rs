//! The other end of the admin socket.

use super::{REQUEST_BYTES_MAX, Request, Response, socket};
use rustix::net::sockopt::socket_peercred;
use serde_json::Value;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A connection to a running broker.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Why a command was not carried out.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens there.
    NoBroker(PathBuf),
    /// The socket belongs to another user.
    NotAllowed(PathBuf),
    /// The socket is there, but the conversation fails.
    Io(PathBuf, io::Error),
    /// The broker says no.
    Refused(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBroker(path) => write!(
                f,
                "no broker answers at {}; start one with `sluice run`, or say where its admin socket is with \
                 --socket PATH or --config FILE",
                path.display()
            ),
            Self::NotAllowed(path) => write!(
                f,
                "{} belongs to another user; run this as the broker's user or as root",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "the broker at {} does not answer: {error}", path.display()),
            Self::Refused(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// Connects to the broker whose admin socket is there.
    ///
    /// # Errors
    /// When none is, or it belongs to someone else.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoBroker(path.to_owned())
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed(path.to_owned()),
            _ => ClientError::Io(path.to_owned(), error),
        })?;
        let failed = |error: io::Error| ClientError::Io(path.to_owned(), error);
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        let broker = socket_peercred(&stream)
            .map_err(|error| failed(error.into()))?
            .uid
            .as_raw();
        // Someone else's socket in a public place must not be told our modules, nor be believed.
        if broker != socket::own_uid() && broker != 0 && socket::own_uid() != 0 {
            return Err(ClientError::NotAllowed(path.to_owned()));
        }
        Ok(Self {
            stream: BufReader::new(stream),
            path: path.to_owned(),
        })
    }

    /// Waits for answers as long as it takes.
    ///
    /// # Errors
    /// When the socket does not take that.
    pub fn be_patient(&mut self) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(None)
    }

    /// Sends a command, with the module it brings if it brings one, and waits for the answer.
    ///
    /// # Errors
    /// When the broker refuses, or the conversation fails.
    pub fn call(&mut self, request: &Request, module: &[u8]) -> Result<Value, ClientError> {
        let failed = |error: io::Error| ClientError::Io(self.path.clone(), error);
        let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let stream = self.stream.get_mut();
        // A broker that refuses early does not read the rest; what it says matters more than the broken pipe.
        let sent = stream.write_all(&line).and_then(|()| stream.write_all(module));
        let mut answer = Vec::new();
        let read = (&mut self.stream)
            .take(ANSWER_BYTES_MAX)
            .read_until(b'\n', &mut answer);
        if answer.is_empty() {
            sent.map_err(failed)?;
        }
        read.map_err(failed)?;
        match serde_json::from_slice(&answer).map_err(|error| failed(error.into()))? {
            Response::Ok(value) => Ok(value),
            Response::Error(error) => Err(ClientError::Refused(error)),
        }
    }
}

/// Policies are compiled and tried while we wait.
const PATIENCE: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: u64 = 1024 * REQUEST_BYTES_MAX as u64;
