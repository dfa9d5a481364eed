//! The operator's configuration: TOML in, checked values out.
//!
//! [`Config::default`] is what `sluice run` without a file uses. [`Config::load`] reports every problem of a file
//! at once, each with its line, its key and what to do about it. An unknown key is a problem: nothing is ignored.

mod address;
mod budget;
mod diff;
mod guard;
mod in_force;
mod listener;
mod policies;
mod problem;
pub mod quantity;
mod read;
mod services;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod value;
mod websocket;
mod written;

pub use address::{Address, UnixSocket};
pub use budget::parse_client_limits;
pub use diff::Changes;
pub use guard::{Guard, ListenerGuard, Threshold};
pub use in_force::{InForce, Limit, LimitChange, LimitOrigin};
pub use listener::{Listener, Proxies};
pub use problem::{Lines, Problem};
pub use store::StoreConfig;
pub use tls::{CertificateFiles, ClientCertificates, CrlCheck, IdentityField, IdentityRule, Tls, TlsVersion};
pub use websocket::{Origins, WebSocket};
pub use written::{amount_written, written_text};

use crate::policy::budget::{Budget, OverLimitAction, QueueOverflow};
use crate::policy::spec::{IssuerSpec, ServiceSpec};
use crate::policy::{CapabilitySet, PolicyLimits, Resources};
use serde_json::{Map, Value};
use sluice_mqtt::packet::QoS;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything an operator decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it came from; `None`: the defaults.
    pub file: Option<PathBuf>,
    /// Where in it each key stands.
    pub lines: Lines,
    /// Where everything is that outlives the process. `None`: nothing does.
    pub data_dir: Option<PathBuf>,
    /// How the store in it works.
    pub store: StoreConfig,
    /// Directory that is watched: `NAME.wasm` in it replaces the module of policy `NAME`.
    pub policy_dir: Option<PathBuf>,
    /// Threads that serve clients. `None`: one per processor.
    pub workers: Option<usize>,
    /// Never empty; names and addresses are unique.
    pub listeners: Vec<Listener>,
    /// What clients may use.
    pub limits: Limits,
    /// What all clients together may use: only its rates count.
    pub total: Budget,
    /// Who is too many, and who failed too often.
    pub guard: Guard,
    /// The memory the broker keeps to. `None`: what there is.
    pub memory_limit: Option<u64>,
    /// Every policy, by unique name.
    pub policies: Vec<PolicyConfig>,
    /// Policies that judge the clients of listeners without a chain of their own. Never empty; all exist.
    pub default_chain: Vec<String>,
    /// Services that policies may ask, by unique name.
    pub services: Vec<ServiceSpec>,
    /// Issuers whose tokens policies may have checked, by unique name.
    pub issuers: Vec<IssuerSpec>,
    /// The admin socket.
    pub admin: Admin,
    /// Where `/livez`, `/readyz` and `/metrics` are served over HTTP. `None`: nowhere.
    pub health: Option<SocketAddr>,
    /// The log.
    pub log: Log,
    /// How often `$SYS` topics are published. `None`: never.
    pub sys_interval: Option<Duration>,
    /// Whether the process gives up what it does not need.
    pub confine: bool,
    /// What deserves attention without being wrong.
    pub warnings: Vec<Problem>,
}

/// Bounds on what clients may use; `sluice.toml` says what each costs at worst. A policy's budget can only lower
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What each client may use; listeners, policies and operators say it in the same words. Its sizes, counts and
    /// rules are all there.
    pub client: Budget,
    /// Largest CONNECT and, until it is accepted, largest packet of any kind.
    pub connect_bytes_max: u32,
    /// Open sockets.
    pub connections_max: u32,
    /// Messages of QoS 1 and 2 under way from a client at the same time; announced as Receive Maximum.
    pub receive_max: u16,
    /// Topic aliases a client may set; announced as Topic Alias Maximum.
    pub topic_alias_max: u16,
    /// Longest keep alive. `None`: any, also 0, which is for ever.
    pub keep_alive_max: Option<Duration>,
    /// Longest pause of a publisher after messages that fill up a queue. `None`: none.
    pub backpressure_max: Option<Duration>,
    /// Longest Will Delay Interval. Whole seconds.
    pub will_delay_max: Duration,
    /// Sessions, connected or not.
    pub sessions_max: u32,
    /// Retained messages.
    pub retained_messages_max: u64,
    /// Bytes of all retained messages.
    pub retained_bytes_max: u64,
    /// Levels of a topic name or filter.
    pub topic_levels_max: u16,
    /// Highest QoS of messages and subscriptions; announced as Maximum QoS.
    pub qos_max: QoS,
    /// Whether messages may be retained; announced as Retain Available.
    pub retain_available: bool,
    /// Bytes that one policy's key-value store holds.
    pub policy_kv_bytes_max: usize,
}

/// One policy, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyConfig {
    /// For chains, logs and commands: `[a-z0-9_-]`, at most 64 bytes.
    pub name: String,
    /// Where its module is.
    pub source: PolicySource,
    /// Handed to the policy, as JSON; always an object.
    pub settings: Value,
    /// What it may import.
    pub capabilities: CapabilitySet,
    /// The services and issuers it may ask; all exist.
    pub resources: Resources,
    /// What one call may use.
    pub limits: PolicyLimits,
}

/// Where a module comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// Built into the binary: `static-users`.
    StaticUsers,
    /// A file.
    File(PathBuf),
}

/// The admin socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where it is.
    pub socket: AdminSocket,
}

/// Where the admin socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdminSocket {
    /// The usual place; the broker runs without one when it is taken or not writable.
    #[default]
    Usual,
    /// Here; the broker does not start otherwise.
    Path(PathBuf),
    /// Nowhere.
    Off,
}

/// The log, written to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important lines that are written.
    pub level: tracing::Level,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `Human` on a terminal, otherwise `Json`.
    #[default]
    Auto,
    /// `TIME LEVEL event key=value ...`
    Human,
    /// One JSON object.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            lines: Lines::default(),
            data_dir: None,
            store: StoreConfig::default(),
            policy_dir: None,
            workers: None,
            listeners: vec![Listener::new(
                "default",
                SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)),
            )],
            limits: Limits::default(),
            total: Budget::default(),
            guard: Guard::default(),
            memory_limit: None,
            policies: vec![PolicyConfig::builtin()],
            default_chain: vec![PolicyConfig::builtin().name],
            services: Vec::new(),
            issuers: Vec::new(),
            admin: Admin::default(),
            health: None,
            log: Log::default(),
            sys_interval: Some(Duration::from_secs(10)),
            confine: true,
            warnings: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Every problem, in the order of lines.
    pub fn load(file: &Path) -> Result<Self, Vec<Problem>> {
        let unreadable = |error: std::io::Error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::InvalidData => "is it the right file? It must be text in UTF-8",
                _ => "check the path and its permissions",
            };
            vec![Problem::of_file(file, format!("cannot be read: {error}"), remedy)]
        };
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            let most = quantity::size_text(FILE_BYTES_MAX);
            return Err(vec![Problem::of_file(
                file,
                format!("is larger than {most}"),
                "is it the right file?",
            )]);
        }
        Self::parse(file, &text)
    }

    /// Reads the text of a file; its path is what relative paths in it start from.
    ///
    /// # Errors
    /// Every problem, in the order of lines.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        read::parse(file, text)
    }

    /// Listens on these addresses instead, with the default chain.
    ///
    /// # Errors
    /// Every address that is none.
    pub fn listen_on(&mut self, addresses: &[String]) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut listeners = Vec::new();
        for (index, text) in addresses.iter().enumerate() {
            match value::parse_address(text) {
                Ok(address) => listeners.push(Listener::new(format!("listen-{}", index + 1), address)),
                Err(wrong) => problems.push(Problem {
                    file: None,
                    line: None,
                    key: "--listen".to_owned(),
                    what: wrong.what,
                    remedy: wrong.remedy,
                }),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if !listeners.is_empty() {
            self.listeners = listeners;
        }
        Ok(())
    }

    /// What a broker that runs with this one is to obey when it reads `new`; its warnings say what must wait.
    #[must_use]
    pub fn in_force_with(&self, new: &Self) -> Self {
        diff::in_force(self, new)
    }

    /// What changes when `new` takes the place of this one.
    #[must_use]
    pub fn changes_to(&self, new: &Self) -> Changes {
        diff::changes(self, new)
    }
}

/// Checks what is to be the name of a policy or a listener.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    value::check_name(name).map_err(|wrong| format!("{}: {}", wrong.what, wrong.remedy))
}

impl PolicyConfig {
    /// The policy of a broker that names none: users and rules from its settings. Without settings it admits
    /// clients of this machine only.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            name: "users".to_owned(),
            source: PolicySource::StaticUsers,
            settings: Value::Object(Map::new()),
            capabilities: CapabilitySet::default(),
            resources: Resources::new(),
            limits: PolicyLimits::default(),
        }
    }
}

impl PolicyConfig {
    /// False for the built-in policy without users: it lets in clients of this machine only.
    fn admits_others(&self) -> bool {
        let has = |key| {
            self.settings
                .get(key)
                .is_some_and(|value| *value != Value::Array(Vec::new()))
        };
        self.source != PolicySource::StaticUsers || has("users") || has("anonymous") || has("by_certificate")
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client: Budget {
                packet_bytes_max: Some(1024 * 1024),
                payload_bytes_max: Some(1024 * 1024),
                inflight_max: Some(1_024),
                queue_messages_max: Some(10_000),
                queue_bytes_max: Some(16 * 1024 * 1024),
                queue_overflow: Some(QueueOverflow::DropNew),
                subscriptions_max: Some(1_000),
                session_expiry_seconds_max: Some(7 * 24 * 3600),
                over_limit: Some(OverLimitAction::Delay),
                ..Budget::default()
            },
            connect_bytes_max: 64 * 1024,
            connections_max: 100_000,
            receive_max: 1_024,
            topic_alias_max: 32,
            keep_alive_max: None,
            backpressure_max: Some(Duration::from_millis(100)),
            will_delay_max: Duration::from_secs(24 * 3600),
            sessions_max: 200_000,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 1024 * 1024 * 1024,
            topic_levels_max: 128,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            policy_kv_bytes_max: 1024 * 1024,
        }
    }
}

impl LogFormat {
    /// `None`: it depends on the terminal.
    #[must_use]
    pub fn is_json(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Human => Some(false),
            Self::Json => Some(true),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: tracing::Level::INFO,
            format: LogFormat::default(),
        }
    }
}

/// Far more than any real one; keeps a wrong path, such as a device, from filling the memory.
const FILE_BYTES_MAX: u64 = 64 << 20;
