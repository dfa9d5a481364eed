//! Everything observable that happens in a broker, declared once.
//!
//! [`Events::emit`] hands an [`Event`] to two subscribers: the metrics count it, the log writes it as one line. Lines
//! are limited in rate per kind and peer address, so that no client can fill the log; what was kept back is
//! counted and reported. Text that comes from clients is passed on cut, and escaped by the formats of [`crate::log`].

mod limiter;
mod line;

use crate::metrics::{HandshakeFailure, Metrics, Shed};
use limiter::{Limiter, Subject, Suppressed};
use line::Line;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// IP address as text, empty for a unix socket. The client's own, also behind a trusted proxy.
    pub address: &'a str,
    /// 0 for a unix socket, and where a proxy does not tell.
    pub port: u16,
    /// Name of the listener that accepted it.
    pub listener: &'a str,
    /// Address of the proxy that announced the client, if one did.
    pub proxy: Option<&'a str>,
    /// What the proxy calls the connection.
    pub unique_id: Option<&'a str>,
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client<'a> {
    /// Client identifier, empty when none is known yet.
    pub id: &'a str,
    /// `None` for a session without a connection.
    pub origin: Option<Origin<'a>>,
}

/// A "no", and who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The policy that refused; `None` when a limit of the broker did.
    pub policy: Option<&'a str>,
    /// The generation of policies that decided.
    pub generation: u64,
    /// MQTT 5.0 reason code.
    pub reason: u8,
    /// The explanation.
    pub text: Option<&'a str>,
    /// The policy failed rather than decided.
    pub fault: bool,
}

/// What happens in the policy host.
#[allow(missing_docs)] // Of the fields: they have the names and meanings of the log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyEvent<'a> {
    /// A set of policies is in force, because of this one.
    Activated {
        policy: &'a str,
        generation: u64,
        digest: &'a str,
        cause: &'a str,
        took: Duration,
    },
    /// A policy has somebody kept out for a while; or would, and it cannot be.
    Ban {
        policy: &'a str,
        is_set: bool,
        text: &'a str,
    },
    /// A policy has taken back a ban of its own.
    Unban { policy: &'a str, text: &'a str },
    /// A call failed; the decision was a refusal.
    Fault {
        policy: &'a str,
        generation: u64,
        hook: &'a str,
        fault: &'a str,
        text: &'a str,
    },
    /// What policies know of a session is too much to be remembered beyond the process.
    Forgotten { client: &'a str },
    /// Something about the host itself, such as a cache directory it cannot use.
    Host { text: &'a str },
    /// A line that a policy wrote; the host has limited their rate.
    Log {
        policy: &'a str,
        level: tracing::Level,
        text: &'a str,
        suppressed: u64,
    },
    /// A module fails too often and there is no earlier one.
    Quarantined { policy: &'a str, digest: &'a str },
    /// A module was not taken: the one before stays.
    Rejected {
        policy: &'a str,
        digest: Option<&'a str>,
        error: &'a str,
    },
    /// A service that policies ask gave no answer that could be used.
    ServiceFailed { service: &'a str, text: &'a str },
    /// A service failed too often and is left alone for so long.
    ServiceLeftAlone { service: &'a str, time: Duration },
    /// A service answers again.
    ServiceBack { service: &'a str },
}

/// One observable fact.
#[allow(missing_docs)] // Of the fields: they have the names and meanings of the log's.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The admin socket takes commands.
    AdminListening { socket: &'a Path },
    /// There will be no admin socket: the default place is taken or not writable.
    AdminUnavailable { error: &'a str },
    /// A command that changes something came over the admin socket.
    AdminCommand {
        command: &'a str,
        uid: u32,
        about: &'a str,
        error: Option<&'a str>,
    },
    /// Somebody failed, or came in, too often and is kept out for a while; or would be, but there are too many bans.
    AutomaticBan {
        origin: Origin<'a>,
        is_kept: bool,
        text: &'a str,
    },
    /// A CONNECT was accepted.
    ClientConnected {
        client: Client<'a>,
        principal: Option<&'a str>,
        version: &'a str,
        resumed: bool,
    },
    /// A connection that had been accepted is over.
    ClientDisconnected {
        client: Client<'a>,
        reason: u8,
        text: &'a str,
    },
    /// SIGHUP was obeyed.
    ConfigReloaded { file: &'a Path },
    /// SIGHUP was not obeyed: everything is as it was.
    ConfigRejected { error: &'a str },
    /// Limits that an operator had set hold no longer: the configuration was read again.
    LimitsReplaced { text: &'a str },
    /// Something in the configuration deserves attention.
    ConfigWarning { text: &'a str },
    /// The process has given up what it does not need.
    Confined { text: &'a str },
    /// The process can do whatever its user can.
    NotConfined { text: &'a str },
    /// A connection was closed before a byte of MQTT was looked at.
    ConnectionShed {
        origin: Origin<'a>,
        reason: Shed,
        text: &'a str,
    },
    /// A CONNECT was refused.
    ConnectRefused {
        client: Client<'a>,
        refusal: Refusal<'a>,
    },
    /// The health endpoint answers.
    HealthListening { address: &'a str },
    /// A socket accepts clients.
    Listening { listener: &'a str, address: &'a str },
    /// Accepting failed for now; it is tried again.
    AcceptFailed { error: &'a str },
    /// A connection was made to wait for the first time: a limit, a policy or the state of the broker.
    ClientThrottled { client: Client<'a>, text: &'a str },
    /// A client sent faster than it may, and something other than waiting was done about it.
    OverLimit {
        client: Client<'a>,
        limit: &'static str,
        action: &'static str,
    },
    /// The memory limit came nearer, or went away again.
    MemoryPressure { pressure: &'static str, used: u64 },
    /// Something happened in the policy host.
    Policy(PolicyEvent<'a>),
    /// A client sent what the protocol forbids, or vanished where it must not; its connection is closed.
    ProtocolError {
        client: Client<'a>,
        reason: u8,
        text: &'a str,
    },
    /// A PUBLISH was refused.
    PublishRefused {
        client: Client<'a>,
        topic: &'a str,
        refusal: Refusal<'a>,
    },
    /// A session's queue was full.
    QueueOverflow { client: Client<'a>, messages: u64 },
    /// A retained message was delivered but not kept: the limits are reached.
    RetainedFull { topic: &'a str },
    /// The service manager that started us does not take what we tell it.
    ServiceManagerUnreachable { error: &'a str },
    /// A thread that serves clients no longer takes its turns; the service manager is not told that we live.
    WorkerHangs { text: &'a str },
    /// A session without a connection ended.
    SessionExpired { client: Client<'a> },
    /// A policy ended a session that it had admitted before.
    SessionRefused {
        client: Client<'a>,
        refusal: Refusal<'a>,
    },
    /// A session that was stored could not be taken over from the process before; it is gone.
    SessionNotRecovered { client: Client<'a>, error: &'a str },
    /// A message that was stored for a session cannot be read; the session goes on without it.
    StoredMessageLost { client: Client<'a>, error: &'a str },
    /// Something about the store.
    Store(StoreEvent<'a>),
    /// The broker stops.
    ShuttingDown { connections: u64 },
    /// The broker has stopped.
    Stopped,
    /// A connection was closed because no encryption came about.
    TlsHandshakeFailed {
        origin: Origin<'a>,
        failure: HandshakeFailure,
        text: &'a str,
    },
    /// Files that listeners name for encryption have changed and were not taken: everything is as it was.
    TlsRejected { error: &'a str },
    /// Files that listeners name for encryption have changed and are in force.
    TlsReloaded { listeners: &'a str },
    /// A filter of a SUBSCRIBE was refused.
    SubscribeRefused {
        client: Client<'a>,
        filter: &'a str,
        refusal: Refusal<'a>,
    },
    /// A subscription was removed because a policy no longer allows it.
    SubscriptionRemoved {
        client: Client<'a>,
        filter: &'a str,
        refusal: Refusal<'a>,
    },
    /// A will was not sent.
    WillRefused {
        client: Client<'a>,
        topic: &'a str,
        refusal: Refusal<'a>,
    },
}

/// Something about the store, with what to say of it.
#[derive(Clone, Copy, Debug)]
pub enum StoreEvent<'a> {
    /// Something in it cannot be read any more.
    Damaged(&'a str),
    /// It cannot write: nothing that has to be stored is acknowledged until it can.
    Failing(&'a str),
    /// What it had is in place.
    Opened(&'a str),
    /// Taking over what it has takes long.
    Progress(&'a str),
    /// It can write again, and has written all that waited.
    Recovered,
}

/// A handle on the subscribers of events; clones share them.
#[derive(Clone, Debug)]
pub struct Events {
    metrics: Arc<Metrics>,
    limiter: Arc<Mutex<Limiter>>,
}

impl Events {
    /// Events that these metrics count.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            limiter: Arc::new(Mutex::new(Limiter::new(Instant::now()))),
        }
    }

    /// Tells that something happened: quick, never blocks, from any thread.
    #[allow(clippy::needless_pass_by_value)] // An event is made to be given away.
    pub fn emit(&self, event: Event<'_>) {
        self.count(&event);
        let line = Line::of(&event);
        if !tracing_enabled(line.level) {
            return;
        }
        if let Some(lines_per_second) = event.lines_per_second_max() {
            let now = Instant::now();
            let mut limiter = self.limiter.lock();
            let due = limiter.sweep_if_due(now);
            let may_write = limiter.admit(event.kind(line.event), event.subject(), lines_per_second, now);
            drop(limiter);
            self.report(&due);
            if !may_write {
                self.metrics.log_lines_suppressed.inc();
                return;
            }
        }
        line.write();
    }

    /// Reports log lines that were kept back since the last time. To be called every second or so, and at the end.
    pub fn flush(&self) {
        let due = self.limiter.lock().sweep(Instant::now());
        self.report(&due);
    }

    /// The metrics that count what is emitted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn report(&self, due: &[Suppressed]) {
        for suppressed in due {
            Line::of_suppressed(suppressed).write();
        }
    }

    fn count(&self, event: &Event<'_>) {
        match event {
            Event::ConnectRefused { .. } => self.metrics.connects_refused.inc(),
            Event::ConnectionShed { reason, .. } => self.metrics.connections_shed.inc(*reason),
            Event::AutomaticBan { is_kept, .. } => self.metrics.automatic_bans.add(u64::from(*is_kept)),
            Event::ClientThrottled { .. } => self.metrics.clients_throttled.inc(),
            Event::OverLimit { action, .. } => match *action {
                "drop" => self.metrics.over_limit_dropped.inc(),
                "disconnect" => self.metrics.over_limit_disconnected.inc(),
                _ => self.metrics.over_limit_refused.inc(),
            },
            Event::Policy(PolicyEvent::Activated { generation, .. }) => {
                self.metrics.policy_generation.set(*generation);
            }
            Event::Policy(PolicyEvent::Ban { is_set: true, .. }) => self.metrics.policy_bans.set.inc(),
            Event::Policy(PolicyEvent::Ban { is_set: false, .. }) => self.metrics.policy_bans.refused.inc(),
            Event::Policy(PolicyEvent::Fault { .. }) => self.metrics.policy_faults.inc(),
            Event::Policy(PolicyEvent::Forgotten { .. }) => self.metrics.policy_sessions_forgotten.inc(),
            Event::Policy(PolicyEvent::Rejected { .. }) => self.metrics.policy_rejections.inc(),
            Event::ProtocolError { .. } => self.metrics.protocol_errors.inc(),
            Event::PublishRefused { .. } | Event::WillRefused { .. } => self.metrics.publishes_refused.inc(),
            Event::SubscribeRefused { .. } | Event::SubscriptionRemoved { .. } => {
                self.metrics.subscribes_refused.inc();
            }
            Event::TlsHandshakeFailed { failure, .. } => self.metrics.tls.failed(*failure),
            Event::StoredMessageLost { .. } => self.metrics.store.unreadable.inc(),
            Event::Store(StoreEvent::Failing(_)) => {
                self.metrics.store.failures.inc();
                self.metrics.store.failing.set(1);
            }
            Event::Store(StoreEvent::Recovered) => self.metrics.store.failing.set(0),
            _ => {}
        }
    }
}

impl Event<'_> {
    /// `None`: whoever can cause it is trusted, every line is written.
    fn lines_per_second_max(&self) -> Option<u32> {
        match self {
            Self::ClientConnected { .. } | Self::ClientDisconnected { .. } => Some(100),
            // However many somebody opens, and for each reason.
            Self::ConnectionShed { .. } => Some(1),
            Self::AutomaticBan { .. }
            | Self::ConnectRefused { .. }
            | Self::AcceptFailed { .. }
            | Self::ClientThrottled { .. }
            | Self::MemoryPressure { .. }
            | Self::OverLimit { .. }
            | Self::Policy(
                PolicyEvent::Ban { .. }
                | PolicyEvent::Unban { .. }
                | PolicyEvent::Fault { .. }
                | PolicyEvent::Forgotten { .. }
                | PolicyEvent::ServiceFailed { .. },
            )
            | Self::ProtocolError { .. }
            | Self::PublishRefused { .. }
            | Self::QueueOverflow { .. }
            | Self::RetainedFull { .. }
            | Self::SessionExpired { .. }
            | Self::SessionNotRecovered { .. }
            | Self::SessionRefused { .. }
            | Self::StoredMessageLost { .. }
            | Self::SubscribeRefused { .. }
            | Self::SubscriptionRemoved { .. }
            | Self::TlsHandshakeFailed { .. }
            | Self::WillRefused { .. } => Some(10),
            Self::AdminListening { .. }
            | Self::AdminUnavailable { .. }
            | Self::AdminCommand { .. }
            | Self::ConfigReloaded { .. }
            | Self::ConfigRejected { .. }
            | Self::ConfigWarning { .. }
            | Self::Confined { .. }
            | Self::NotConfined { .. }
            | Self::HealthListening { .. }
            | Self::LimitsReplaced { .. }
            | Self::Listening { .. }
            | Self::Policy(_)
            | Self::ServiceManagerUnreachable { .. }
            | Self::WorkerHangs { .. }
            | Self::ShuttingDown { .. }
            | Self::Stopped
            | Self::Store(_)
            | Self::TlsRejected { .. }
            | Self::TlsReloaded { .. } => None,
        }
    }

    /// What shares one rate: `name`, or a part of it.
    fn kind(&self, name: &'static str) -> &'static str {
        match self {
            Self::ConnectionShed { reason, .. } => reason.name(),
            _ => name,
        }
    }

    /// Who may use up the rate of this event's kind for itself, and only for itself.
    fn subject(&self) -> Subject {
        if let Self::Policy(
            PolicyEvent::Ban { policy: name, .. }
            | PolicyEvent::Unban { policy: name, .. }
            | PolicyEvent::Fault { policy: name, .. }
            | PolicyEvent::ServiceFailed { service: name, .. },
        ) = self
        {
            return Subject::Policy(Arc::from(*name));
        }
        let address = self
            .origin()
            .and_then(|origin| origin.address.parse::<IpAddr>().ok());
        address.map_or(Subject::Everyone, Subject::of_address)
    }

    fn origin(&self) -> Option<Origin<'_>> {
        if let Self::AutomaticBan { origin, .. }
        | Self::ConnectionShed { origin, .. }
        | Self::TlsHandshakeFailed { origin, .. } = self
        {
            return Some(*origin);
        }
        self.client()?.origin
    }
}

impl<'a> Event<'a> {
    fn client(&self) -> Option<Client<'a>> {
        match self {
            Self::ClientConnected { client, .. }
            | Self::ClientDisconnected { client, .. }
            | Self::ClientThrottled { client, .. }
            | Self::ConnectRefused { client, .. }
            | Self::OverLimit { client, .. }
            | Self::ProtocolError { client, .. }
            | Self::PublishRefused { client, .. }
            | Self::QueueOverflow { client, .. }
            | Self::SessionExpired { client }
            | Self::SessionNotRecovered { client, .. }
            | Self::StoredMessageLost { client, .. }
            | Self::SessionRefused { client, .. }
            | Self::SubscribeRefused { client, .. }
            | Self::SubscriptionRemoved { client, .. }
            | Self::WillRefused { client, .. } => Some(*client),
            _ => None,
        }
    }

    fn handshake_failure(&self) -> Option<HandshakeFailure> {
        match self {
            Self::TlsHandshakeFailed { failure, .. } => Some(*failure),
            _ => None,
        }
    }

    fn refusal(&self) -> Option<Refusal<'a>> {
        match self {
            Self::ConnectRefused { refusal, .. }
            | Self::PublishRefused { refusal, .. }
            | Self::SessionRefused { refusal, .. }
            | Self::SubscribeRefused { refusal, .. }
            | Self::SubscriptionRemoved { refusal, .. }
            | Self::WillRefused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}

fn tracing_enabled(level: tracing::Level) -> bool {
    level <= tracing::level_filters::LevelFilter::current()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(id: &str) -> Event<'_> {
        let origin = Origin {
            address: "192.0.2.1",
            port: 7,
            listener: "default",
            ..Origin::default()
        };
        let refusal = Refusal {
            policy: Some("users"),
            generation: 1,
            reason: 0x87,
            text: None,
            fault: false,
        };
        Event::ConnectRefused {
            client: Client {
                id,
                origin: Some(origin),
            },
            refusal,
        }
    }

    #[test]
    fn a_refusal_is_counted_even_when_nobody_logs() {
        let events = Events::new(Arc::default());
        for _ in 0..100 {
            events.emit(refused("a"));
        }
        assert_eq!(events.metrics().connects_refused.get(), 100);
    }
}
