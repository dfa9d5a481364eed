//! Takes commands from the admin socket.
//!
//! Bounded: [`CONNECTIONS_MAX`] connections at a time, one request each at a time, of bounded size, within bounded
//! time. Commands run on a thread that may block, never on one that serves clients.

use super::socket::{self, BindError, BoundSocket};
use super::{Commands, MODULE_BYTES_MAX, REQUEST_BYTES_MAX, Request, Response};
use crate::config::AdminSocket;
use crate::event::{Event, Events};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A socket that is ready to take commands.
#[derive(Debug)]
pub struct Server {
    socket: BoundSocket,
    events: Events,
}

impl Server {
    /// Makes the socket as configured. `None`: there is to be none, or the usual place is not to be had, which the
    /// log then says.
    ///
    /// # Errors
    /// When the configured place is not to be had.
    pub fn bind(configured: &AdminSocket, events: Events) -> Result<Option<Self>, BindError> {
        let Some(path) = socket::path_of(configured) else {
            return Ok(None);
        };
        match socket::bind(&path) {
            Ok(socket) => Ok(Some(Self { socket, events })),
            Err(error) if *configured == AdminSocket::Usual => {
                events.emit(Event::AdminUnavailable {
                    error: &error.to_string(),
                });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.socket.path
    }

    /// Takes commands until it is dropped. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the runtime does not take the socket.
    pub async fn serve(self, commands: Arc<Commands>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.socket.listener.try_clone()?)?;
        self.events.emit(Event::AdminListening { socket: self.path() });
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return Ok(());
            };
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, most likely; clients have them back before long.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (commands, events) = (Arc::clone(&commands), self.events.clone());
            tokio::spawn(async move {
                // A peer that breaks off has nobody left to tell.
                let _ = Conversation { commands, events }.hold(stream).await;
                drop(slot);
            });
        }
    }
}

struct Conversation {
    commands: Arc<Commands>,
    events: Events,
}

impl Conversation {
    async fn hold(self, stream: UnixStream) -> io::Result<()> {
        let uid = stream.peer_cred()?.uid();
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        if uid != socket::own_uid() && uid != 0 {
            let refusal = Response::Error("only the broker's own user and root may command it".to_owned());
            return write.write_all(&line_of(&refusal)).await;
        }
        while let Some(request) = within(next_request(&mut read)).await? {
            let (response, goes_on) = match request {
                Ok((request, module)) => (self.obey(request, module, uid).await, true),
                Err(wrong) => (Response::Error(wrong), false),
            };
            within(write.write_all(&line_of(&response))).await?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    async fn obey(&self, request: Request, module: Vec<u8>, uid: u32) -> Response {
        let (command, about, is_change) = (request.name(), request.about(), request.is_change());
        let commands = Arc::clone(&self.commands);
        let done = tokio::task::spawn_blocking(move || commands.obey(request, module)).await;
        let done =
            done.unwrap_or_else(|_| Err("the command failed inside the broker; see its log".to_owned()));
        if is_change {
            let error = done.as_ref().err().map(String::as_str);
            self.events.emit(Event::AdminCommand {
                command,
                uid,
                about: &about,
                error,
            });
        }
        done.map_or_else(Response::Error, Response::Ok)
    }
}

/// The next request and its module, or what is wrong with it. `None`: there is none any more.
async fn next_request<R: AsyncBufRead + Unpin>(
    read: &mut R,
) -> io::Result<Option<Result<(Request, Vec<u8>), String>>> {
    let mut line = Vec::new();
    let mut bounded = AsyncReadExt::take(&mut *read, REQUEST_BYTES_MAX as u64 + 1);
    if bounded.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        let wrong = if line.len() > REQUEST_BYTES_MAX {
            "is too long"
        } else {
            "is not complete"
        };
        return Ok(Some(Err(format!("the request {wrong}"))));
    }
    let request: Request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return Ok(Some(Err(format!("the request is not understood: {error}")))),
    };
    if request.module_bytes() > MODULE_BYTES_MAX {
        return Ok(Some(Err(format!(
            "a module may have at most {MODULE_BYTES_MAX} bytes"
        ))));
    }
    let module = exactly(read, request.module_bytes()).await?;
    Ok(Some(Ok((request, module))))
}

/// Reads so many bytes; memory grows with what really comes.
async fn exactly<R: AsyncRead + Unpin>(read: &mut R, bytes: usize) -> io::Result<Vec<u8>> {
    let mut module = Vec::new();
    let came = AsyncReadExt::take(read, bytes as u64)
        .read_to_end(&mut module)
        .await?;
    if came < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(module)
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn line_of(response: &Response) -> Vec<u8> {
    // A Response always serialises: it has no map with keys that are no text.
    let mut line = serde_json::to_vec(response).unwrap_or_default();
    line.push(b'\n');
    line
}

const CONNECTIONS_MAX: usize = 8;
/// For a whole request to arrive, and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
