//! The operator's configuration: TOML in, checked values out.
//!
//! [`Config::default`] is what `sluice run` without a file uses. [`Config::load`] reports every problem of a file
//! at once, each with its line, its key and what to do about it. An unknown key is a problem: nothing is ignored.

use serde_json::{Map, Value};
use sluice_mqtt::packet::{QoS, Version};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything an operator decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it came from; `None`: the defaults.
    pub file: Option<PathBuf>,
    /// Where the broker keeps what it makes: compiled policies. `None`: nothing is kept.
    pub data_dir: Option<PathBuf>,
    /// Directory that is watched: `NAME.wasm` in it replaces the module of policy `NAME`.
    pub policy_dir: Option<PathBuf>,
    /// Threads that serve clients. `None`: one per processor.
    pub workers: Option<usize>,
    /// Never empty; names and addresses are unique.
    pub listeners: Vec<Listener>,
    /// What clients may use.
    pub limits: Limits,
    /// Every policy, by unique name.
    pub policies: Vec<PolicyConfig>,
    /// Policies that judge the clients of listeners without a chain of their own. Never empty; all exist.
    pub default_chain: Vec<String>,
    /// The admin socket.
    pub admin: Admin,
    /// The log.
    pub log: Log,
    /// How often `$SYS` topics are published. `None`: never.
    pub sys_interval: Option<Duration>,
}

/// A socket that accepts clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// For policies, logs and metrics: `[a-z0-9_-]`, at most 32 bytes.
    pub name: String,
    /// Where it listens; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Its own chain of policies; `None`: the default chain.
    pub policies: Option<Vec<String>>,
    /// From the accept to a complete CONNECT.
    pub connect_timeout: Duration,
    /// Versions it speaks, in ascending order, never empty.
    pub versions: Vec<Version>,
}

/// What gives way when a session's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOverflow {
    /// The message that came last.
    #[default]
    DropNew,
    /// The message that waits longest.
    DropOldest,
    /// The client: it is disconnected with 0x97 Quota exceeded.
    Disconnect,
}

/// Bounds on what clients may use; `sluice.toml` says what each costs at worst. A policy's budget can only lower
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet taken, fixed header included; announced as Maximum Packet Size.
    pub packet_bytes_max: u32,
    /// Largest payload of a PUBLISH.
    pub payload_bytes_max: u32,
    /// Largest CONNECT and, until it is accepted, largest packet of any kind.
    pub connect_bytes_max: u32,
    /// Open sockets.
    pub connections_max: u32,
    /// Messages of QoS 1 and 2 under way to a client at the same time.
    pub inflight_max: u16,
    /// Messages of QoS 1 and 2 under way from a client at the same time; announced as Receive Maximum.
    pub receive_max: u16,
    /// Topic aliases a client may set; announced as Topic Alias Maximum.
    pub topic_alias_max: u16,
    /// Longest keep alive. `None`: any, also 0, which is for ever.
    pub keep_alive_max: Option<Duration>,
    /// How long a session may outlive its connection. Whole seconds.
    pub session_expiry_max: Duration,
    /// Longest Will Delay Interval. Whole seconds.
    pub will_delay_max: Duration,
    /// Sessions, connected or not.
    pub sessions_max: u32,
    /// Subscriptions of one client.
    pub subscriptions_max: u32,
    /// Messages waiting for one client.
    pub queue_messages_max: u32,
    /// Bytes waiting for one client.
    pub queue_bytes_max: u64,
    /// What gives way when either is reached.
    pub queue_overflow: QueueOverflow,
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
}

/// One policy, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyConfig {
    /// For chains, logs and commands: `[a-z0-9_-]`, at most 32 bytes.
    pub name: String,
    /// Where its module is.
    pub source: PolicySource,
    /// Handed to the policy, as JSON; always an object.
    pub settings: Value,
    /// What it may import.
    pub capabilities: Vec<String>,
    /// What one call may use. `None`: the host's default.
    pub limits: PolicyLimits,
}

/// Where a module comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// Built into the binary, by this name.
    Builtin(String),
    /// A file.
    File(PathBuf),
}

/// What the operator says about the limits of one policy; `None` leaves the host's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Linear memory of one instance.
    pub memory_bytes_max: Option<u64>,
    /// Size of the module.
    pub module_bytes_max: Option<u64>,
    /// CPU time of `on-publish`.
    pub publish_deadline: Option<Duration>,
    /// CPU time of `on-subscribe`.
    pub subscribe_deadline: Option<Duration>,
    /// CPU time of `on-message`.
    pub content_deadline: Option<Duration>,
    /// CPU time of `on-event`.
    pub event_deadline: Option<Duration>,
    /// CPU time of one round of `on-connect`, and of `on-refresh`.
    pub connect_deadline: Option<Duration>,
    /// CPU time of instantiation, `configure` and `self-test`, each.
    pub configure_deadline: Option<Duration>,
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
            data_dir: None,
            policy_dir: None,
            workers: None,
            listeners: vec![Listener::new(
                "default",
                SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)),
            )],
            limits: Limits::default(),
            policies: vec![PolicyConfig::builtin()],
            default_chain: vec![PolicyConfig::builtin().name],
            admin: Admin::default(),
            log: Log::default(),
            sys_interval: Some(Duration::from_secs(10)),
        }
    }
}

impl Listener {
    /// A listener with the default chain, for every version.
    #[must_use]
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            policies: None,
            connect_timeout: Duration::from_secs(10),
            versions: vec![Version::V31, Version::V311, Version::V5],
        }
    }
}

impl PolicyConfig {
    /// The policy of a broker that names none: users and rules from its settings. Without settings it admits
    /// clients of this machine only.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            name: "users".to_owned(),
            source: PolicySource::Builtin("static-users".to_owned()),
            settings: Value::Object(Map::new()),
            capabilities: Vec::new(),
            limits: PolicyLimits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            payload_bytes_max: 1024 * 1024,
            connect_bytes_max: 64 * 1024,
            connections_max: 100_000,
            inflight_max: 1_024,
            receive_max: 1_024,
            topic_alias_max: 32,
            keep_alive_max: None,
            session_expiry_max: Duration::from_secs(7 * 24 * 3600),
            will_delay_max: Duration::from_secs(24 * 3600),
            sessions_max: 200_000,
            subscriptions_max: 1_000,
            queue_messages_max: 10_000,
            queue_bytes_max: 16 * 1024 * 1024,
            queue_overflow: QueueOverflow::default(),
            retained_messages_max: 1_000_000,
            retained_bytes_max: 1024 * 1024 * 1024,
            topic_levels_max: 128,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
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
