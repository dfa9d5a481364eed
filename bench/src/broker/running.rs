//! A broker that runs.

use super::guard::guarded;
use super::{Cores, Installed, Kind, Launch};
use crate::failure::{During, Failure, Result};
use crate::load::{Door, Fleet, arrive};
use crate::measure::{CpuTime, Memory, cpu_time, forget_peak, memory};
use crate::wire::{Credentials, Version};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const STARTS_WITHIN: Duration = Duration::from_secs(30);
const STOPS_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOG: &str = "log";

/// A broker that runs; it is stopped when this is dropped.
pub struct Running {
    /// Which one.
    pub kind: Kind,
    /// Where it listens, and what is spoken there.
    pub door: Door,
    /// Where its files are.
    pub directory: PathBuf,
    /// What its clients must show.
    pub credentials: Option<Credentials>,
    /// Its admin socket, if it has one.
    pub admin: Option<PathBuf>,
    /// Its program.
    pub program: PathBuf,
    /// The policy for cases about policies.
    pub policy: PathBuf,
    child: Child,
}

impl Running {
    pub(super) fn start(
        broker: &Installed,
        launch: Launch,
        version: Version,
        port: u16,
        directory: &Path,
        cores: Cores,
    ) -> Result<Self> {
        let place = directory.display();
        // What an earlier run left behind would be found by this one.
        let _ = std::fs::remove_dir_all(directory);
        std::fs::create_dir_all(directory).during(&place)?;
        for (name, text) in &launch.files {
            std::fs::write(directory.join(name), text).during(&place)?;
        }
        for mut preparation in launch.preparations {
            let status = preparation
                .status()
                .during(format_args!("{preparation:?} cannot be run"))?;
            if !status.success() {
                return Err(Failure::new(format!("{preparation:?} failed")));
            }
        }
        let log = std::fs::File::create(directory.join(LOG)).during(&place)?;
        let mut command = guarded(&launch.command, cores.broker)?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().during(&place)?)
            .stderr(log);
        let child = command
            .spawn()
            .during(format_args!("{command:?} cannot be run"))?;
        let mut running = Self {
            kind: broker.kind,
            door: Door {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                version,
                encryption: launch.encryption,
            },
            directory: directory.to_path_buf(),
            credentials: launch.credentials,
            admin: launch.admin,
            program: broker.program().to_path_buf(),
            policy: broker.policy().to_path_buf(),
            child,
        };
        running.await_ready()?;
        Ok(running)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<CpuTime> {
        cpu_time(self.pid())
    }

    /// Memory it uses now, and its peak since it was ready.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory(&self) -> Result<Memory> {
        memory(self.pid())
    }

    /// A fleet of clients for it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn fleet(&self) -> Result<Fleet> {
        Fleet::new(self.door.clone())
    }

    fn await_ready(&mut self) -> Result<()> {
        let since = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(self.directory.join(LOG)).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                return Err(Failure::new(format!(
                    "{} ended with {status}: {}",
                    self.kind,
                    last.join(" / ")
                )));
            }
            if TcpStream::connect(self.door.address).is_ok() {
                break;
            }
            if since.elapsed() > STARTS_WITHIN {
                return Err(Failure::new(format!("{} does not listen", self.kind)));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let mut fleet = self.fleet()?;
        arrive(&mut fleet, "ready", 1, self.credentials.as_ref())?;
        forget_peak(self.pid())
    }

    fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        let since = Instant::now();
        while since.elapsed() < STOPS_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("no port is free")?;
    Ok(listener.local_addr().during("no port is free")?.port())
}
