//! Brokers as processes: found, configured alike, started on a core of their own, stopped.

mod aedes;
mod cores;
mod guard;
mod identity;
mod mosquitto;
mod rumqttd;
mod running;
mod sluice;

pub use cores::{Cores, raise_open_files};
pub use guard::{SUBCOMMAND, become_broker};
pub use running::Running;

use crate::failure::Result;
use crate::load::Encryption;
use crate::wire::{Credentials, Version};
use clap::{Args, ValueEnum};
use identity::Identity;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A broker that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This repository's.
    Sluice,
    /// Mosquitto, in C.
    Mosquitto,
    /// rumqttd, in Rust.
    Rumqttd,
    /// Aedes, in JavaScript.
    Aedes,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Sluice => "sluice",
            Self::Mosquitto => "mosquitto",
            Self::Rumqttd => "rumqttd",
            Self::Aedes => "aedes",
        })
    }
}

/// Who decides what clients may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// As it comes, everything allowed.
    Plain,
    /// Sluice: so many grants, of which the last matches.
    Grants(u32),
    /// Sluice: a policy is asked, and its answer is kept.
    Cached,
    /// Sluice: a policy is asked about every message.
    Asked,
    /// Mosquitto: a password file, and so many patterns of which the last matches.
    Passwords {
        /// Patterns; 0: none are needed.
        acl_patterns: u32,
    },
}

/// What clients speak MQTT over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS, as [`Encryption`](crate::load::Encryption) says.
    Tls,
}

/// Where a broker keeps what is to outlive its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory.
    Memory,
    /// On disk, as safely as it can: Sluice syncs before it acknowledges; Mosquitto writes everything down every half
    /// hour and when it ends, and acknowledges meanwhile.
    Disk,
}

/// How much may wait for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queues {
    /// So much that nothing that a case sends is dropped.
    Raised,
    /// What the broker comes with.
    Default,
}

/// How a broker is to be set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Who decides.
    pub gate: Gate,
    /// How much may wait.
    pub queues: Queues,
    /// What clients will connect over.
    pub transport: Transport,
    /// What outlives the broker.
    pub storage: Storage,
    /// The version that clients will speak.
    pub version: Version,
}

impl Setup {
    /// Whether this broker can be set up so, as it is installed here.
    pub fn is_known_to(&self, kind: Kind) -> bool {
        let decides = match self.gate {
            Gate::Plain => true,
            Gate::Grants(_) | Gate::Cached | Gate::Asked => kind == Kind::Sluice,
            Gate::Passwords { .. } => kind == Kind::Mosquitto,
        };
        let is_simple = self.transport == Transport::Tcp && self.storage == Storage::Memory;
        decides && (is_simple || matches!(kind, Kind::Sluice | Kind::Mosquitto))
    }
}

/// Where brokers are. Relative paths start from the current directory, which is meant to be the repository's root.
#[derive(Args, Clone, Debug)]
pub struct Programs {
    /// Sluice's program.
    #[arg(long, value_name = "FILE", default_value = "target/release/sluice")]
    pub sluice: PathBuf,
    /// Mosquitto's program.
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/mosquitto")]
    pub mosquitto: PathBuf,
    /// rumqttd's program.
    #[arg(long, value_name = "FILE", default_value = "bench/peers/target/bin/rumqttd")]
    pub rumqttd: PathBuf,
    /// The script that runs Aedes with `node`.
    #[arg(long, value_name = "FILE", default_value = "bench/peers/aedes/broker.mjs")]
    pub aedes: PathBuf,
    /// The policy of bench/policy, for the cases that measure policies.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/wasm32-unknown-unknown/release/sluice_bench_policy.wasm"
    )]
    pub policy: PathBuf,
}

/// A broker that is installed here.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Which one.
    pub kind: Kind,
    /// Its own words about its version.
    pub version: String,
    program: PathBuf,
    policy: PathBuf,
}

/// Everything needed to start a broker once.
struct Launch {
    command: Command,
    /// Names and contents, in the broker's directory.
    files: Vec<(&'static str, String)>,
    /// To be run before, when the files are there.
    preparations: Vec<Command>,
    credentials: Option<Credentials>,
    encryption: Option<Encryption>,
    /// Where its admin socket will be.
    admin: Option<PathBuf>,
}

impl Launch {
    /// Just this command.
    fn of(command: Command) -> Self {
        Self {
            command,
            files: Vec::new(),
            preparations: Vec::new(),
            credentials: None,
            encryption: None,
            admin: None,
        }
    }
}

impl Installed {
    /// Looks for a broker.
    ///
    /// # Errors
    /// Why it cannot be used: it is not installed.
    pub fn find(kind: Kind, programs: &Programs) -> Result<Self> {
        let (program, version) = match kind {
            Kind::Sluice => (&programs.sluice, sluice::version(&programs.sluice)?),
            Kind::Mosquitto => (&programs.mosquitto, mosquitto::version(&programs.mosquitto)?),
            Kind::Rumqttd => (&programs.rumqttd, rumqttd::version(&programs.rumqttd)?),
            Kind::Aedes => (&programs.aedes, aedes::version(&programs.aedes)?),
        };
        Ok(Self {
            kind,
            version,
            program: program.clone(),
            policy: programs.policy.clone(),
        })
    }

    /// Starts it on a free port and waits until it lets a client in. Its files and its log are in `directory`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, setup: Setup, directory: &Path, cores: Cores) -> Result<Running> {
        let port = running::free_port()?;
        let directory = std::path::absolute(directory.join(self.kind.to_string()))
            .map_err(|error| crate::failure::Failure::new(error.to_string()))?;
        let mut launch = match self.kind {
            Kind::Sluice => sluice::launch(&self.program, &self.policy, setup, port, &directory)?,
            Kind::Mosquitto => mosquitto::launch(&self.program, setup, port, &directory),
            Kind::Rumqttd => rumqttd::launch(&self.program, setup, port, &directory),
            Kind::Aedes => aedes::launch(&self.program, setup, port),
        };
        if setup.transport == Transport::Tls {
            let Identity { files, encryption } = Identity::new()?;
            launch.files.extend(files);
            launch.encryption = Some(encryption);
        }
        Running::start(self, launch, setup.version, port, &directory, cores)
    }

    /// Its program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The policy for cases about policies.
    pub fn policy(&self) -> &Path {
        &self.policy
    }
}

/// What a program says about its version: the first line.
fn first_line(program: &Path, arguments: &[&str]) -> Result<String> {
    use crate::failure::{During, Failure};
    let name = program.display();
    let output = Command::new(program)
        .args(arguments)
        .output()
        .during(format_args!("{name} cannot be run"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().map(str::trim).unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::new(format!("{name} does not tell its version")));
    }
    Ok(line.to_owned())
}
