//! What the log says of each event: its name, its level and its fields, always in the same order.
//!
//! `peer` comes before every text that a client can choose, so that a log watcher that reads a line from its beginning
//! cannot be led to another address.

use super::limiter::{Subject, Suppressed};
use super::{Client, Event, Origin, PolicyEvent, Refusal, StoreEvent};
use crate::metrics::HandshakeFailure;
use sluice_mqtt::reason::ReasonCode;
use std::borrow::Cow;
use std::path::Path;
use tracing::Level;

/// Longest text that is written of what a client or a policy says.
const TEXT_BYTES_MAX: usize = 256;

/// One line of the log. `None` is not written.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) level: Level,
    pub(super) event: &'static str,
    peer: Option<Cow<'a, str>>,
    port: Option<u16>,
    listener: Option<&'a str>,
    proxy: Option<&'a str>,
    unique_id: Option<Cow<'a, str>>,
    address: Option<&'a str>,
    client_id: Option<Cow<'a, str>>,
    policy: Option<Cow<'a, str>>,
    service: Option<&'a str>,
    generation: Option<u64>,
    reason_code: Option<u8>,
    reason: Option<&'static str>,
    fault: Option<&'a str>,
    hook: Option<&'a str>,
    topic: Option<Cow<'a, str>>,
    filter: Option<Cow<'a, str>>,
    principal: Option<Cow<'a, str>>,
    version: Option<&'a str>,
    resumed: Option<bool>,
    digest: Option<&'a str>,
    cause: Option<&'a str>,
    milliseconds: Option<u64>,
    uid: Option<u32>,
    command: Option<&'a str>,
    count: Option<u64>,
    limit: Option<&'static str>,
    action: Option<&'static str>,
    kind: Option<&'static str>,
    suppressed: Option<u64>,
    file: Option<String>,
    text: Option<Cow<'a, str>>,
}

macro_rules! write_line {
    ($line:expr, $level:expr) => {
        tracing::event!(
            target: "sluice",
            $level,
            event = $line.event,
            peer = $line.peer.as_deref(),
            port = $line.port,
            listener = $line.listener,
            proxy = $line.proxy,
            unique_id = $line.unique_id.as_deref(),
            address = $line.address,
            client_id = $line.client_id.as_deref(),
            policy = $line.policy.as_deref(),
            service = $line.service,
            generation = $line.generation,
            reason_code = $line.reason_code,
            reason = $line.reason,
            fault = $line.fault,
            hook = $line.hook,
            topic = $line.topic.as_deref(),
            filter = $line.filter.as_deref(),
            principal = $line.principal.as_deref(),
            version = $line.version,
            resumed = $line.resumed,
            digest = $line.digest,
            cause = $line.cause,
            milliseconds = $line.milliseconds,
            uid = $line.uid,
            command = $line.command,
            count = $line.count,
            limit = $line.limit,
            action = $line.action,
            kind = $line.kind,
            suppressed = $line.suppressed,
            file = $line.file.as_deref(),
            text = $line.text.as_deref(),
        )
    };
}

impl<'a> Line<'a> {
    pub(super) fn write(&self) {
        match self.level {
            Level::ERROR => write_line!(self, Level::ERROR),
            Level::WARN => write_line!(self, Level::WARN),
            Level::INFO => write_line!(self, Level::INFO),
            Level::DEBUG => write_line!(self, Level::DEBUG),
            Level::TRACE => write_line!(self, Level::TRACE),
        }
    }

    pub(super) fn of_suppressed(suppressed: &Suppressed) -> Self {
        let mut line = Self::new(Level::WARN, "lines_suppressed");
        line.kind = Some(suppressed.kind);
        line.count = Some(suppressed.lines);
        match &suppressed.subject {
            Subject::Address(address) => line.peer = Some(Cow::Owned(address.to_string())),
            Subject::Policy(name) => line.policy = Some(cut(name).into_owned().into()),
            Subject::Everyone if suppressed.subjects > 1 => {
                line.text = Some(Cow::Owned(format!("of {} peers together", suppressed.subjects)));
            }
            Subject::Everyone => {}
        }
        line
    }

    pub(super) fn of(event: &Event<'a>) -> Self {
        let (level, name) = level_and_name(event);
        let line = Self::new(level, name)
            .about(event.client())
            .refused(event.refusal())
            .failed(event.handshake_failure());
        line.filled(event)
    }

    /// With what is particular to this kind of event.
    fn filled(self, event: &Event<'a>) -> Self {
        let line = self;
        match *event {
            Event::AdminListening { socket: file } | Event::ConfigReloaded { file } => line.with_file(file),
            Event::AdminCommand {
                command,
                uid,
                about,
                error,
            } => line.commanded((command, uid), about, error),
            Event::AcceptFailed { error: text }
            | Event::AdminUnavailable { error: text }
            | Event::ClientThrottled { text, .. }
            | Event::Confined { text }
            | Event::NotConfined { text }
            | Event::ServiceManagerUnreachable { error: text }
            | Event::SessionNotRecovered { error: text, .. }
            | Event::StoredMessageLost { error: text, .. }
            | Event::WorkerHangs { text } => line.with_text(text),
            Event::MemoryPressure { pressure, used } => line.with_kind(pressure).with_count(used),
            Event::OverLimit { limit, action, .. } => line.with_limit(limit, action),
            Event::ClientConnected {
                principal,
                version,
                resumed,
                ..
            } => line.connected(principal, version, resumed),
            Event::ClientDisconnected { reason, text, .. } | Event::ProtocolError { reason, text, .. } => {
                line.because(reason).with_text(text)
            }
            Event::ConfigRejected { error: text }
            | Event::ConfigWarning { text }
            | Event::LimitsReplaced { text }
            | Event::TlsRejected { error: text }
            | Event::TlsReloaded { listeners: text } => line.with_whole_text(Some(text)),
            Event::ConnectionShed { origin, reason, text } => Self {
                reason: Some(reason.name()),
                ..line.caused_by(origin).with_text(text)
            },
            Event::AutomaticBan { origin, text, .. } | Event::TlsHandshakeFailed { origin, text, .. } => {
                line.caused_by(origin).with_text(text)
            }
            Event::HealthListening { address } => line.at(None, address),
            Event::Listening { listener, address } => line.at(Some(listener), address),
            Event::Policy(event) => line.with_policy(event),
            Event::PublishRefused { topic, .. }
            | Event::RetainedFull { topic }
            | Event::WillRefused { topic, .. } => Self {
                topic: Some(cut(topic)),
                ..line
            },
            Event::QueueOverflow { messages: count, .. } | Event::ShuttingDown { connections: count } => {
                line.with_count(count)
            }
            Event::SubscribeRefused { filter, .. } | Event::SubscriptionRemoved { filter, .. } => Self {
                filter: Some(cut(filter)),
                ..line
            },
            Event::ConnectRefused { .. }
            | Event::SessionExpired { .. }
            | Event::SessionRefused { .. }
            | Event::Stopped => line,
            Event::Store(event) => line.with_text_of(event),
        }
    }

    fn connected(self, principal: Option<&'a str>, version: &'a str, resumed: bool) -> Self {
        Self {
            principal: principal.map(cut),
            version: Some(version),
            resumed: Some(resumed),
            ..self
        }
    }

    fn with_text_of(self, event: StoreEvent<'a>) -> Self {
        match event {
            StoreEvent::Damaged(text)
            | StoreEvent::Failing(text)
            | StoreEvent::Opened(text)
            | StoreEvent::Progress(text) => self.with_text(text),
            StoreEvent::Recovered => self,
        }
    }

    fn failed(self, failure: Option<HandshakeFailure>) -> Self {
        Self {
            cause: failure.map(HandshakeFailure::name),
            ..self
        }
    }

    fn at(self, listener: Option<&'a str>, address: &'a str) -> Self {
        let address = Some(address);
        Self {
            listener,
            address,
            ..self
        }
    }

    fn with_kind(self, kind: &'static str) -> Self {
        let kind = Some(kind);
        Self { kind, ..self }
    }

    fn with_count(self, count: u64) -> Self {
        let count = Some(count);
        Self { count, ..self }
    }

    fn with_limit(self, limit: &'static str, action: &'static str) -> Self {
        let (limit, action) = (Some(limit), Some(action));
        Self {
            limit,
            action,
            ..self
        }
    }

    fn commanded(self, (command, uid): (&'a str, u32), about: &'a str, error: Option<&'a str>) -> Self {
        let line = match error {
            Some(error) => self.with_whole_text(Some(error)),
            None => self.with_text(about),
        };
        Self {
            command: Some(command),
            uid: Some(uid),
            ..line
        }
    }

    fn with_policy(self, event: PolicyEvent<'a>) -> Self {
        match event {
            PolicyEvent::Activated {
                policy,
                generation,
                digest,
                cause,
                took,
            } => Self {
                generation: Some(generation),
                digest: Some(digest),
                cause: Some(cause),
                milliseconds: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
                ..self.by(policy)
            },
            PolicyEvent::Fault {
                policy,
                generation,
                hook,
                fault,
                text,
            } => Self {
                generation: Some(generation),
                hook: Some(hook),
                fault: Some(fault),
                ..self.by(policy).with_text(text)
            },
            PolicyEvent::Ban { policy, text, .. } | PolicyEvent::Unban { policy, text } => {
                self.by(policy).with_text(text)
            }
            PolicyEvent::Forgotten { client } => Self {
                client_id: Some(cut(client)),
                ..self
            },
            PolicyEvent::Host { text } => self.with_text(text),
            PolicyEvent::Log {
                policy,
                text,
                suppressed,
                ..
            } => {
                let suppressed = (suppressed > 0).then_some(suppressed);
                Self {
                    suppressed,
                    ..self.by(policy).with_whole_text(Some(text))
                }
            }
            PolicyEvent::Quarantined { policy, digest } => Self {
                digest: Some(digest),
                ..self.by(policy)
            },
            PolicyEvent::Rejected {
                policy,
                digest,
                error,
            } => Self {
                digest,
                ..self.by(policy).with_whole_text(Some(error))
            },
            PolicyEvent::ServiceFailed { service, text } => {
                self.of_service(service).with_whole_text(Some(text))
            }
            PolicyEvent::ServiceLeftAlone { service, time } => Self {
                milliseconds: Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
                ..self.of_service(service)
            },
            PolicyEvent::ServiceBack { service } => self.of_service(service),
        }
    }

    fn of_service(self, service: &'a str) -> Self {
        let service = Some(service);
        Self { service, ..self }
    }

    fn refused(self, refusal: Option<Refusal<'a>>) -> Self {
        let Some(refusal) = refusal else { return self };
        Self {
            policy: Some(refusal.policy.map_or(Cow::Borrowed("-"), cut)),
            generation: Some(refusal.generation),
            fault: refusal.fault.then_some("policy"),
            ..self
                .because(refusal.reason)
                .with_text(refusal.text.unwrap_or_default())
        }
    }

    fn about(self, client: Option<Client<'a>>) -> Self {
        let Some(client) = client else { return self };
        let line = Self {
            client_id: Some(cut(client.id)),
            ..self
        };
        match client.origin {
            Some(origin) => line.caused_by(origin),
            None => line,
        }
    }

    fn by(self, policy: &'a str) -> Self {
        Self {
            policy: Some(cut(policy)),
            ..self
        }
    }

    fn caused_by(self, origin: Origin<'a>) -> Self {
        let address = if origin.address.is_empty() {
            "local"
        } else {
            origin.address
        };
        let port = (origin.port != 0).then_some(origin.port);
        Self {
            peer: Some(cut(address)),
            port,
            listener: Some(origin.listener),
            proxy: origin.proxy,
            unique_id: origin.unique_id.map(cut),
            ..self
        }
    }

    fn because(self, reason: u8) -> Self {
        let name = ReasonCode::new(reason).map(ReasonCode::name);
        Self {
            reason_code: Some(reason),
            reason: name,
            ..self
        }
    }

    fn with_file(self, path: &Path) -> Self {
        Self {
            file: Some(path.display().to_string()),
            ..self
        }
    }

    fn with_text(self, text: &'a str) -> Self {
        Self {
            text: (!text.is_empty()).then(|| cut(text)),
            ..self
        }
    }

    /// For texts that the broker or the operator wrote, or that are bounded already.
    fn with_whole_text(self, text: Option<&'a str>) -> Self {
        Self {
            text: text.map(Cow::Borrowed),
            ..self
        }
    }

    fn new(level: Level, event: &'static str) -> Self {
        Self {
            level,
            event,
            peer: None,
            port: None,
            listener: None,
            proxy: None,
            unique_id: None,
            address: None,
            client_id: None,
            policy: None,
            service: None,
            generation: None,
            reason_code: None,
            reason: None,
            fault: None,
            hook: None,
            topic: None,
            filter: None,
            principal: None,
            version: None,
            resumed: None,
            digest: None,
            cause: None,
            milliseconds: None,
            uid: None,
            command: None,
            count: None,
            limit: None,
            action: None,
            kind: None,
            suppressed: None,
            file: None,
            text: None,
        }
    }
}

/// Errors are for the operator to act on; what a client does wrong is a warning at most.
fn level_and_name(event: &Event<'_>) -> (Level, &'static str) {
    match event {
        Event::AcceptFailed { .. } => (Level::ERROR, "accept_failed"),
        Event::AdminCommand { error: None, .. } => (Level::INFO, "admin_command"),
        Event::AdminCommand { error: Some(_), .. } => (Level::WARN, "admin_command"),
        Event::AdminListening { .. } => (Level::INFO, "admin_listening"),
        Event::AdminUnavailable { .. } => (Level::WARN, "admin_unavailable"),
        Event::AutomaticBan { .. } => (Level::WARN, "automatic_ban"),
        Event::ClientConnected { .. } => (Level::INFO, "client_connected"),
        Event::ClientDisconnected { .. } => (Level::INFO, "client_disconnected"),
        Event::ClientThrottled { .. } => (Level::INFO, "client_throttled"),
        Event::ConfigRejected { .. } => (Level::ERROR, "config_rejected"),
        Event::ConfigReloaded { .. } => (Level::INFO, "config_reloaded"),
        Event::ConfigWarning { .. } => (Level::WARN, "config_warning"),
        Event::Confined { .. } => (Level::INFO, "confined"),
        Event::ConnectRefused { .. } => (Level::WARN, "connect_refused"),
        Event::ConnectionShed { .. } => (Level::WARN, "connection_shed"),
        Event::HealthListening { .. } => (Level::INFO, "health_listening"),
        Event::LimitsReplaced { .. } => (Level::INFO, "limits_replaced"),
        Event::Listening { .. } => (Level::INFO, "listening"),
        Event::MemoryPressure { .. } => (Level::WARN, "memory_pressure"),
        Event::NotConfined { .. } => (Level::WARN, "not_confined"),
        Event::OverLimit { .. } => (Level::WARN, "over_limit"),
        Event::Policy(PolicyEvent::Activated { .. }) => (Level::INFO, "policy_activated"),
        Event::Policy(PolicyEvent::Ban { .. }) => (Level::WARN, "policy_ban"),
        Event::Policy(PolicyEvent::Unban { .. }) => (Level::INFO, "policy_unban"),
        Event::Policy(PolicyEvent::Fault { .. }) => (Level::ERROR, "policy_fault"),
        Event::Policy(PolicyEvent::Forgotten { .. }) => (Level::WARN, "policy_session_forgotten"),
        Event::Policy(PolicyEvent::Host { .. }) => (Level::WARN, "policy_host"),
        Event::Policy(PolicyEvent::Log { level, .. }) => (*level, "policy_log"),
        Event::Policy(PolicyEvent::Quarantined { .. }) => (Level::ERROR, "policy_quarantined"),
        Event::Policy(PolicyEvent::Rejected { .. }) => (Level::ERROR, "policy_rejected"),
        Event::Policy(PolicyEvent::ServiceBack { .. }) => (Level::INFO, "service_back"),
        Event::Policy(PolicyEvent::ServiceFailed { .. }) => (Level::WARN, "service_failed"),
        Event::Policy(PolicyEvent::ServiceLeftAlone { .. }) => (Level::ERROR, "service_left_alone"),
        Event::ProtocolError { .. } => (Level::WARN, "protocol_error"),
        Event::PublishRefused { .. } => (Level::WARN, "publish_refused"),
        Event::QueueOverflow { .. } => (Level::WARN, "queue_overflow"),
        Event::RetainedFull { .. } => (Level::WARN, "retained_full"),
        Event::ServiceManagerUnreachable { .. } => (Level::WARN, "service_manager_unreachable"),
        Event::SessionExpired { .. } => (Level::INFO, "session_expired"),
        Event::SessionNotRecovered { .. } => (Level::ERROR, "session_not_recovered"),
        Event::SessionRefused { .. } => (Level::WARN, "session_refused"),
        Event::ShuttingDown { .. } => (Level::INFO, "shutting_down"),
        Event::Stopped => (Level::INFO, "stopped"),
        Event::StoredMessageLost { .. } => (Level::ERROR, "stored_message_lost"),
        Event::Store(StoreEvent::Damaged(_)) => (Level::ERROR, "store_damaged"),
        Event::Store(StoreEvent::Failing(_)) => (Level::ERROR, "store_failing"),
        Event::Store(StoreEvent::Opened(_)) => (Level::INFO, "store_opened"),
        Event::Store(StoreEvent::Progress(_)) => (Level::INFO, "store_progress"),
        Event::Store(StoreEvent::Recovered) => (Level::INFO, "store_recovered"),
        Event::SubscribeRefused { .. } => (Level::WARN, "subscribe_refused"),
        Event::SubscriptionRemoved { .. } => (Level::WARN, "subscription_removed"),
        Event::TlsHandshakeFailed { .. } => (Level::WARN, "tls_handshake_failed"),
        Event::TlsRejected { .. } => (Level::ERROR, "tls_rejected"),
        Event::TlsReloaded { .. } => (Level::INFO, "tls_reloaded"),
        Event::WillRefused { .. } => (Level::WARN, "will_refused"),
        Event::WorkerHangs { .. } => (Level::ERROR, "worker_hangs"),
    }
}

/// The beginning of a text, marked when something is missing.
fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let kept = text
        .get(..text.floor_char_boundary(TEXT_BYTES_MAX))
        .unwrap_or_default();
    Cow::Owned(format!("{kept}…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "ü".repeat(1_000);
        let kept = cut(&long);
        assert_eq!(kept.chars().count(), TEXT_BYTES_MAX / 2 + 1);
        assert!(kept.ends_with('…'));
        assert_eq!(cut("short"), "short");
    }
}
