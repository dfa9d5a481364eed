//! Runs the broker's binary for a test, and ends it with the test.

use crate::PATIENCE;
use crate::compiled;
use crate::log::LogLine;
use crate::packet::{Connect, Version, connect};
use crate::peer::Peer;
use crate::reply::ConnAck;
use crate::unique;
use rustix::process::Pid;
pub use rustix::process::Signal;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running broker with a directory of its own; killed when dropped.
pub struct Broker {
    process: Process,
    /// What the process before it logged, if there was one.
    earlier: Option<Arc<Log>>,
    arguments: Vec<String>,
    environment: Vec<(String, OsString)>,
    dir: TempDir,
}

/// One run of the binary, up to where it listens.
struct Process {
    child: Child,
    log: Arc<Log>,
    address: SocketAddr,
}

#[derive(Default)]
struct Log {
    lines: Mutex<LogLines>,
    changed: Condvar,
}

#[derive(Default)]
struct LogLines {
    lines: Vec<LogLine>,
    ended: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogLines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first line that `found` accepts; `None`: not within `patience`, or the log ended without it.
    fn wait_for<T>(&self, patience: Duration, mut found: impl FnMut(&LogLine) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut seen = 0;
        let mut log = self.lock();
        loop {
            if let Some(result) = log.lines.iter().skip(seen).find_map(&mut found) {
                return Some(result);
            }
            seen = log.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if log.ended || left.is_zero() {
                return None;
            }
            log = self
                .changed
                .wait_timeout(log, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn text(&self) -> String {
        self.lock()
            .lines
            .iter()
            .map(|line| format!("{}\n", line.text))
            .collect()
    }
}

impl Process {
    fn start(dir: &Path, arguments: &[String], environment: &[(String, OsString)]) -> Self {
        let mut child = command(dir)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("SLUICE_UNDER_TEST_ENDS_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Log::default());
        let collected = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                collected.lock().lines.push(LogLine::new(line));
                collected.changed.notify_all();
            }
            collected.lock().ended = true;
            collected.changed.notify_all();
        });
        let address = log.wait_for(PATIENCE, |line| {
            line.is("listening")
                .then(|| line.text_field("address"))
                .flatten()?
                .parse()
                .ok()
        });
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the broker does not listen; its log:\n{}", log.text());
        };
        Self { child, log, address }
    }
}

impl Broker {
    /// A broker without configuration: its defaults, on a port the system chooses.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(new_dir(), &["run", "--listen", "127.0.0.1:0"])
    }

    /// A broker with this `sluice.toml`. Addresses in it should have port 0; the admin socket is `admin.sock` in the
    /// broker's directory unless the configuration says otherwise.
    #[must_use]
    pub fn with_config(toml: &str) -> Self {
        Self::with_files(toml, &[])
    }

    /// The same, with further files that the configuration names, relative to the broker's directory.
    #[must_use]
    pub fn with_files(toml: &str, files: &[(&str, &[u8])]) -> Self {
        let dir = new_dir();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).expect("the file is written");
        }
        std::fs::write(dir.path().join("sluice.toml"), toml).expect("the configuration is written");
        Self::start_in(dir, &["run", "--config", "sluice.toml"])
    }

    /// A broker with a store in its directory, one listener, `default`, and what else the configuration says.
    #[must_use]
    pub fn durable(more: &str) -> Self {
        Self::durable_in(new_dir(), more)
    }

    /// The same in a chosen directory.
    ///
    /// # Panics
    /// When it cannot be written to.
    #[must_use]
    pub fn durable_in(dir: TempDir, more: &str) -> Self {
        compiled::lend(&dir.path().join("data"));
        std::fs::write(dir.path().join("sluice.toml"), durable_config(more))
            .expect("the configuration is written");
        Self::start_in(dir, &["run", "--config", "sluice.toml"])
    }

    /// A broker that runs in `dir` with these arguments.
    ///
    /// # Panics
    /// When it does not begin to listen, with all that it logged.
    #[must_use]
    pub fn start_in(dir: TempDir, arguments: &[&str]) -> Self {
        Self::start_with(dir, arguments, &[])
    }

    /// The same, with more in its environment.
    ///
    /// # Panics
    /// When it does not begin to listen, with all that it logged.
    #[must_use]
    pub fn start_with(dir: TempDir, arguments: &[&str], environment: &[(&str, &OsStr)]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self {
            process: Process::start(dir.path(), &arguments, &environment),
            earlier: None,
            arguments,
            environment,
            dir,
        }
    }

    /// Sends a signal that ends the process, and waits until it has ended.
    ///
    /// # Panics
    /// When it cannot be sent, or the process runs on.
    pub fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.wait_for_exit();
    }

    /// Starts the binary once more, in the same directory and with the same arguments. The ports are others.
    ///
    /// # Panics
    /// When it does not begin to listen, with all that it logged.
    pub fn start_again(&mut self) {
        let process = Process::start(self.dir.path(), &self.arguments, &self.environment);
        let before = std::mem::replace(&mut self.process, process);
        self.earlier = Some(before.log);
    }

    /// [`Broker::end`], then [`Broker::start_again`].
    pub fn restart(&mut self, signal: Signal) {
        self.end(signal);
        self.start_again();
    }

    /// The address of the first listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// The address of the listener with this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn listener(&self, name: &str) -> SocketAddr {
        self.process
            .log
            .wait_for(PATIENCE, |line| {
                let ours = line.is("listening") && line.has("listener", name);
                ours.then(|| line.text_field("address")).flatten()?.parse().ok()
            })
            .unwrap_or_else(|| {
                panic!(
                    "no listener is named {name}; the log:\n{}",
                    self.process.log.text()
                )
            })
    }

    /// Its working directory, where `sluice.toml` and other files of the test are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process identifier.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// A TCP connection on which nothing was sent yet.
    #[must_use]
    pub fn peer(&self, version: Version) -> Peer {
        Peer::open(self.process.address, version)
    }

    /// Sends a CONNECT on a new connection and returns the answer, whatever it says.
    #[must_use]
    pub fn try_join(&self, connect: &Connect) -> (Peer, ConnAck) {
        let mut peer = self.peer(connect.version);
        peer.insist_on(connect);
        peer.send(connect);
        let connack = peer.expect_connack();
        (peer, connack)
    }

    /// Sends a CONNECT on a new connection, which must be accepted.
    #[must_use]
    pub fn join(&self, connect: &Connect) -> (Peer, ConnAck) {
        let (peer, connack) = self.try_join(connect);
        if connack.code != 0 {
            peer.fail(&format!("refused with 0x{:02X}", connack.code));
        }
        (peer, connack)
    }

    /// A connected client with a clean session and a client identifier of its own.
    #[must_use]
    pub fn client(&self, version: Version) -> Peer {
        self.join(&connect(version, unique("client"))).0
    }

    /// The first line of the log that fits.
    ///
    /// # Panics
    /// When none comes, with the whole log.
    pub fn wait_for_log(&self, what: &str, fits: impl Fn(&LogLine) -> bool) -> LogLine {
        let found = self
            .process
            .log
            .wait_for(PATIENCE, |line| fits(line).then(|| line.clone()));
        found.unwrap_or_else(|| panic!("not in the log: {what}; the log:\n{}", self.process.log.text()))
    }

    /// The log so far.
    #[must_use]
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.process.log.lock().lines.clone()
    }

    /// The log so far, as text.
    #[must_use]
    pub fn log_text(&self) -> String {
        self.process.log.text()
    }

    /// Runs another command of the same binary in the broker's directory, such as `policy list`.
    ///
    /// # Panics
    /// When the binary cannot be run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Output {
        command(self.dir())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the command runs")
    }

    /// Commands the broker over its admin socket: what the command said, or what it complained about.
    ///
    /// # Errors
    /// When the command ends with another exit code than 0.
    pub fn sluice(&self, arguments: &[&str]) -> Result<String, String> {
        self.wait_for_log("the admin socket", |line| line.is("admin_listening"));
        let output = self.command(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Sends a signal to the process.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process.child);
        rustix::process::kill_process(pid, signal).expect("the signal is sent");
    }

    /// Waits for the process to end by itself; its exit status.
    ///
    /// # Panics
    /// When it runs on.
    pub fn wait_for_exit(&mut self) -> std::process::ExitStatus {
        // The log ends with the process: nothing else holds its standard error.
        let _: Option<()> = self.process.log.wait_for(PATIENCE, |_| None);
        assert!(
            self.process.log.lock().ended,
            "the broker does not end; its log:\n{}",
            self.process.log.text()
        );
        self.process
            .child
            .wait()
            .expect("the broker is a child of this process")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        if std::thread::panicking() {
            if let Some(earlier) = &self.earlier {
                eprintln!("--- the log of the broker before:\n{}", earlier.text());
            }
            eprintln!("--- the broker's log:\n{}---", self.process.log.text());
        }
    }
}

/// A directory that lasts as long as its broker.
#[must_use]
pub fn new_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("sluice-test-")
        .tempdir()
        .expect("a temporary directory")
}

/// The configuration of a broker with a store in its directory, one listener, `default`, and what else it says.
#[must_use]
pub fn durable_config(more: &str) -> String {
    format!("data_dir = \"data\"\n{more}\n[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n")
}

/// The binary under test, to be run in `dir` without anything of this machine's own configuration.
#[must_use]
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .current_dir(dir)
        .env("XDG_RUNTIME_DIR", dir)
        // Tests run as whoever they like; the one about root takes it away again.
        .env("SLUICE_ALLOW_ROOT", "1")
        .env_remove("RUST_LOG")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID");
    command
}

/// Cargo builds this package's binaries next to the directory of its test programs.
fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("the test program has a path");
    let dir = tests
        .parent()
        .and_then(Path::parent)
        .expect("target/debug/deps/test");
    dir.join(format!("sluice-under-test{}", std::env::consts::EXE_SUFFIX))
}
