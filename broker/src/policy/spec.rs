//! What the operator says about policies.

pub use super::effects::spec::{
    HeaderSpec, IssuerSpec, Resource, Resources, Secret, ServiceSpec, ServiceUrl,
};

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// All policies and where they apply.
#[derive(Clone, Debug)]
pub struct PoliciesConfig {
    /// Every policy, by unique name.
    pub policies: Vec<PolicySpec>,
    /// Chains of listeners that have their own.
    pub chains: HashMap<String, Vec<String>>,
    /// Chain of every other listener. Empty: nobody is let in.
    pub default_chain: Vec<String>,
    /// Services that policies may ask, by unique name.
    pub services: Vec<ServiceSpec>,
    /// Issuers whose tokens policies may have checked, by unique name.
    pub issuers: Vec<IssuerSpec>,
    /// Directory of compiled modules. `None`: compile at each start.
    pub cache_dir: Option<PathBuf>,
    /// Most bytes one policy's key-value store holds, keys included.
    pub kv_bytes_max: usize,
    /// How many calls an instance answers before it is replaced by a fresh one: a random number from this range.
    pub instance_calls: (u32, u32),
}

impl Default for PoliciesConfig {
    fn default() -> Self {
        Self {
            policies: Vec::new(),
            chains: HashMap::new(),
            default_chain: Vec::new(),
            services: Vec::new(),
            issuers: Vec::new(),
            cache_dir: None,
            kv_bytes_max: 1024 * 1024,
            instance_calls: (10_000, 100_000),
        }
    }
}

/// One policy: a module and what the operator grants it.
#[derive(Clone, Debug)]
pub struct PolicySpec {
    /// For chains, logs and commands.
    pub name: String,
    /// Where its module is.
    pub source: PolicySource,
    /// Given to `configure` as JSON.
    pub settings: serde_json::Value,
    /// What it may import beyond the log.
    pub capabilities: CapabilitySet,
    /// The services and issuers it may ask.
    pub resources: Resources,
    /// What it may use.
    pub limits: PolicyLimits,
}

impl PolicySpec {
    /// A policy without settings and capabilities, with the default limits.
    #[must_use]
    pub fn new(name: impl Into<String>, source: PolicySource) -> Self {
        Self {
            name: name.into(),
            source,
            settings: serde_json::Value::Object(serde_json::Map::new()),
            capabilities: CapabilitySet::default(),
            resources: Resources::new(),
            limits: PolicyLimits::default(),
        }
    }
}

/// Where a module comes from.
#[derive(Clone)]
pub enum PolicySource {
    /// `static-users`, which is part of the broker: users and topic rules in its settings.
    Embedded,
    /// A `.wasm` file, read at the start and at each reload.
    File(PathBuf),
    /// The module itself.
    Bytes(Arc<[u8]>),
}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("Embedded"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// What one call of a policy may use. Exceeding any of it denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Linear memory of one instance. Default 16 MiB.
    pub memory_bytes_max: usize,
    /// Size of the module. Default 8 MiB.
    pub module_bytes_max: usize,
    /// CPU time of `on-publish`. Default 2 ms.
    pub publish_deadline: Duration,
    /// CPU time of `on-subscribe`. Default 2 ms.
    pub subscribe_deadline: Duration,
    /// CPU time of `on-message`. Default 5 ms.
    pub content_deadline: Duration,
    /// CPU time of `on-event`. Default 2 ms.
    pub event_deadline: Duration,
    /// CPU time of one round of `on-connect` and of `on-refresh`. Default 20 ms.
    pub connect_deadline: Duration,
    /// CPU time of instantiation, `configure` and `self-test`, each. Default 500 ms.
    pub configure_deadline: Duration,
}

impl Default for PolicyLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 16 * 1024 * 1024,
            module_bytes_max: 8 * 1024 * 1024,
            publish_deadline: Duration::from_millis(2),
            subscribe_deadline: Duration::from_millis(2),
            content_deadline: Duration::from_millis(5),
            event_deadline: Duration::from_millis(2),
            connect_deadline: Duration::from_millis(20),
            configure_deadline: Duration::from_millis(500),
        }
    }
}

/// Something a policy may import only when the operator grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// The time of day.
    Clock,
    /// Random numbers.
    Random,
    /// Counters of its own.
    Metrics,
    /// A bounded key-value store.
    Kv,
    /// Acting on live sessions.
    Sessions,
    /// Keeping clients out for a while.
    Bans,
}

impl Capability {
    /// All of them, in the order they are listed to people.
    pub const ALL: [Self; 6] = [
        Self::Clock,
        Self::Random,
        Self::Metrics,
        Self::Kv,
        Self::Sessions,
        Self::Bans,
    ];

    /// As written in the configuration and in the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Metrics => "metrics",
            Self::Kv => "kv",
            Self::Sessions => "sessions",
            Self::Bans => "bans",
        }
    }

    /// `clock, random, ...`
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a capability; its message lists those there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCapability(pub String);

impl fmt::Display for UnknownCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a capability; there are {}, http:SERVICE and jwt:ISSUER",
            self.0,
            Capability::names()
        )
    }
}

impl std::error::Error for UnknownCapability {}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Self, UnknownCapability> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.name() == name)
            .ok_or_else(|| UnknownCapability(name.to_owned()))
    }
}

/// The capabilities granted to one policy. Empty by default.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySet(u8);

impl CapabilitySet {
    /// Adds one.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// Whether it was granted.
    #[must_use]
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u8 != 0
    }

    /// Those granted.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
