//! What the policy host reports as it happens, and its errors.

use super::spec::{Capability, Resource};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Receives what the policy host reports. Called on whatever thread it happens, a connection's included: it must be
/// quick, must not block and must not call policies.
pub trait PolicyObserver: Send + Sync {
    /// Something happened.
    fn observe(&self, notice: &PolicyNotice);
}

/// Something the operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyNotice {
    /// A call failed; the decision was a refusal.
    Fault {
        /// Whose call.
        policy: Arc<str>,
        /// Under which generation.
        generation: u64,
        /// Which export was called.
        hook: Hook,
        /// Why it failed.
        fault: Fault,
    },
    /// A set of policies is in force.
    Activated {
        /// The policy that changed.
        policy: Arc<str>,
        /// The new generation.
        generation: u64,
        /// SHA-256 of its module, hexadecimal.
        digest: String,
        /// What brought it about.
        cause: ActivationCause,
        /// Time from the bytes to the swap.
        took: Duration,
    },
    /// A module was refused; everything is as it was.
    Rejected {
        /// Which policy it was meant for.
        policy: Arc<str>,
        /// SHA-256 of the module, if it could be read.
        digest: Option<String>,
        /// Why.
        error: String,
    },
    /// A module failed too often and there is no earlier one: it stays, and what it is asked is denied.
    Quarantined {
        /// Whose module.
        policy: Arc<str>,
        /// SHA-256 of the module.
        digest: String,
    },
    /// A line from a policy. Control characters are already escaped.
    Log {
        /// Who says it.
        policy: Arc<str>,
        /// How important.
        level: LogLevel,
        /// At most 512 bytes.
        message: String,
        /// Lines of this policy that the rate limit kept back before this one.
        suppressed: u64,
    },
    /// What policies know of a session is too much to be remembered: after a restart they have to admit it anew, or it
    /// ends.
    Forgotten {
        /// Whose session.
        client_id: String,
    },
    /// Something about a service that policies ask.
    Service {
        /// Which.
        service: Arc<str>,
        /// What has happened.
        what: ServiceNotice,
    },
    /// Something about the host itself, such as a cache directory it cannot use.
    Host {
        /// What.
        message: String,
    },
}

/// What happens with a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceNotice {
    /// It gave no answer that could be used. One line, escaped, at most 512 bytes.
    Failed(String),
    /// It failed too often and is left alone for so long.
    LeftAlone(Duration),
    /// It answers again.
    Back,
}

/// Why a set was activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationCause {
    /// The broker started.
    Start,
    /// A module was loaded.
    Load,
    /// The configuration was read again.
    Reload,
    /// The operator went back.
    Rollback,
    /// The module before it failed too often.
    Quarantine,
}

/// Importance of a policy's log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something is wrong.
    Error,
    /// Something is odd.
    Warn,
    /// Worth knowing.
    Info,
    /// For the author.
    Debug,
}

/// An export of a policy that the host calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Creating an instance, its start functions included.
    Instantiate,
    /// `setup.configure`
    Configure,
    /// `setup.self-test`
    SelfTest,
    /// `connect.on-connect`
    Connect,
    /// `connect.on-refresh`
    Refresh,
    /// `publish.on-publish`
    Publish,
    /// `publish-many.on-publish-many`
    PublishMany,
    /// `subscribe.on-subscribe`
    Subscribe,
    /// `content.on-message`
    Content,
    /// `events.on-event`
    Event,
}

impl Hook {
    /// As the interface names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Instantiate => "instantiate",
            Self::Configure => "configure",
            Self::SelfTest => "self-test",
            Self::Connect => "on-connect",
            Self::Refresh => "on-refresh",
            Self::Publish => "on-publish",
            Self::PublishMany => "on-publish-many",
            Self::Subscribe => "on-subscribe",
            Self::Content => "on-message",
            Self::Event => "on-event",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The policy panicked or trapped.
    Trap,
    /// It used up its CPU time.
    Deadline,
    /// It asked for more memory than it may have.
    Memory,
    /// It exhausted its stack.
    Stack,
    /// It handed over more than the host takes.
    ResultTooLarge,
    /// It answered something the interface does not know.
    BadVerdict,
    /// It failed too often and is left alone for a while.
    Resting,
    /// The host itself failed.
    Host,
}

impl FaultKind {
    /// For logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::ResultTooLarge => "result-too-large",
            Self::BadVerdict => "bad-verdict",
            Self::Resting => "resting",
            Self::Host => "host",
        }
    }
}

/// A call that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of failure.
    pub kind: FaultKind,
    /// One line, escaped, at most 512 bytes.
    pub detail: String,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: printable(&detail.into()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)
    }
}

/// Longest text of a policy that is passed on.
const TEXT_BYTES_MAX: usize = 512;

/// Cuts a policy's text and escapes what could forge or garble a log line.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_BYTES_MAX));
    for character in text.chars() {
        if out.len() >= TEXT_BYTES_MAX {
            out.push('…');
            break;
        }
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Why a module was not loaded. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Which policy it was meant for.
    pub policy: String,
    /// What is wrong with it.
    pub kind: PolicyErrorKind,
}

/// What is wrong with a module or with the configuration of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyErrorKind {
    /// The file cannot be read.
    Unreadable(PathBuf, String),
    /// Larger than `module_bytes_max`.
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not a WebAssembly module or component, or not a valid one.
    Invalid(String),
    /// A core module without the interface that wit-bindgen embeds.
    NoInterface(String),
    /// Imports an interface that no policy may have.
    UnknownImport(String),
    /// Imports a capability that this policy was not granted.
    NotGranted(Capability),
    /// Made for another version of `sluice:policy`.
    Version {
        /// The interface.
        interface: String,
        /// What the module wants.
        required: String,
        /// What this broker offers.
        available: String,
    },
    /// Does not export `setup`.
    NoSetup,
    /// Exports no hook.
    NoHook,
    /// An export differs from the interface.
    WrongType(String),
    /// `configure` or `self-test` said no.
    Refused {
        /// Which of them.
        hook: Hook,
        /// Its words.
        text: String,
    },
    /// A call failed while the module was tried.
    Fault(Hook, Fault),
    /// A service or an issuer of tokens cannot be used as it is configured.
    Resource(Resource, String),
    /// A chain names a policy that is not configured.
    UnknownPolicy(String),
    /// Nothing of this name is loaded.
    NoSuchPolicy,
    /// Two policies have the same name.
    Duplicate,
    /// There is no earlier module to go back to.
    NoPrevious,
    /// The host could not do its part.
    Host(String),
}

impl fmt::Display for PolicyErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "the module has {bytes} bytes, at most {bytes_max} are allowed")
            }
            Self::Invalid(error) => write!(f, "not a valid WebAssembly module: {error}"),
            Self::NoInterface(error) => write!(
                f,
                "cannot be made a component; a core module must embed the interface sluice:policy, as the \
                 sluice-policy crate and wit-bindgen do, and import nothing else: {error}"
            ),
            Self::UnknownImport(import) => write!(
                f,
                "imports `{import}`, which no policy may have; it may import sluice:policy/log and, when granted, \
                 the capabilities {}",
                Capability::names()
            ),
            Self::NotGranted(capability) => write!(
                f,
                "imports sluice:policy/{capability}, but the capability `{capability}` is not granted to it; grant \
                 it in the configuration (there are {})",
                Capability::names()
            ),
            Self::Version {
                interface,
                required,
                available,
            } => write!(
                f,
                "needs {interface} in version {required}; this broker offers version {available}"
            ),
            Self::NoSetup => f.write_str("does not export sluice:policy/setup, which every policy must"),
            Self::NoHook => {
                f.write_str("exports none of the hooks connect, publish, subscribe, content and events")
            }
            Self::WrongType(error) => write!(f, "an export differs from the interface: {error}"),
            Self::Refused { hook, text } => write!(f, "its {hook} refuses: {text}"),
            Self::Fault(hook, fault) => write!(f, "its {hook} failed: {fault}"),
            Self::Resource(Resource::Service(name), what) => write!(f, "the service `{name}`: {what}"),
            Self::Resource(Resource::Issuer(name), what) => write!(f, "the jwt `{name}`: {what}"),
            Self::UnknownPolicy(name) => write!(f, "the chain names `{name}`, which is not configured"),
            Self::NoSuchPolicy => f.write_str("there is no such policy; see `sluice policy list`"),
            Self::Duplicate => f.write_str("configured twice"),
            Self::NoPrevious => f.write_str("there is no earlier module to go back to"),
            Self::Host(error) => f.write_str(error),
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.policy.as_str() {
            "" => self.kind.fmt(f),
            policy => write!(f, "policy `{policy}`: {}", self.kind),
        }
    }
}

impl std::error::Error for PolicyError {}
