//! What the broker tells a policy and what a policy answers, as plain Rust.
//!
//! Mirrors `wit/types.wit`; its comments apply here too. Nothing in this file knows of WebAssembly. No verdict has a
//! default that lets somebody in. What derives `Serialize` is part of what [`super::Gate::remember`] writes.

pub use super::budget::{Budget, OverLimitAction, QueueOverflow, Rate};
pub use super::question::{Answer, Effect};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The MQTT version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// MQTT 3.1 (MQIsdp).
    V3_1,
    /// MQTT 3.1.1.
    V3_1_1,
    /// MQTT 5.0.
    V5_0,
}

/// Where a client comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// IP address as text, empty for a unix socket. The client's own, also behind a trusted proxy.
    pub address: String,
    /// 0 for a unix socket, and where a proxy does not tell.
    pub port: u16,
    /// Name of the listener; it selects the chain of policies.
    pub listener: String,
    /// Address of the proxy that announced the client, if one did; empty for a unix socket.
    pub proxied_by: Option<String>,
    /// What the proxy calls the connection, for the log: policies do not see it.
    pub unique_id: Option<String>,
    /// Present when the connection is encrypted.
    pub tls: Option<Box<TlsPeer>>,
}

/// The encryption of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPeer {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// IANA name of the cipher suite.
    pub cipher: String,
    /// Server name the client asked for.
    pub sni: Option<String>,
    /// The client's certificate, verified against the listener's CA bundle.
    pub certificate: Option<Certificate>,
}

/// A verified X.509 client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Common name of the subject; `None` also when there are several that differ.
    pub subject_cn: Option<String>,
    /// DNS names of the subjectAltName.
    pub san_dns: Vec<String>,
    /// URIs of the subjectAltName.
    pub san_uri: Vec<String>,
    /// E-mail addresses of the subjectAltName.
    pub san_email: Vec<String>,
    /// IP addresses of the subjectAltName, as text.
    pub san_ip: Vec<String>,
    /// Distinguished name of the issuer, RFC 4514 text.
    pub issuer: String,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the DER certificate, lower-case hexadecimal.
    pub fingerprint_sha256: String,
    /// Beginning of its validity.
    pub not_before_unix_seconds: u64,
    /// End of its validity.
    pub not_after_unix_seconds: u64,
}

/// The message the broker sends for a client that vanishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillSummary {
    /// Without the mount point.
    pub topic: String,
    /// Size of its payload.
    pub payload_bytes: u32,
    /// 0 to 2.
    pub qos: u8,
    /// Whether it is to be retained.
    pub retain: bool,
    /// MQTT 5.0 Will Delay Interval.
    pub delay_seconds: u32,
}

/// Why a client is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectPurpose {
    /// A CONNECT packet.
    Connect,
    /// An AUTH packet with reason 0x19 on a live connection (MQTT 5.0 section 4.12.1).
    Reauthenticate,
}

/// Everything known of a client that asks to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Why the policies are asked.
    pub purpose: ConnectPurpose,
    /// Identifies the session in every later call; never reused while the broker runs.
    pub session: u64,
    /// As the client sent it; empty when it leaves the choice to the broker.
    pub client_id: String,
    /// What the broker calls the client when `client_id` is empty: stands for `%c` in grants. Policies do not see it.
    pub assigned_client_id: Option<String>,
    /// User name of the CONNECT.
    pub username: Option<String>,
    /// Password of the CONNECT. Never shown by `Debug`.
    pub password: Option<Bytes>,
    /// Which MQTT it speaks.
    pub protocol: ProtocolVersion,
    /// Clean Start, or Clean Session of 3.1.1.
    pub clean_start: bool,
    /// As the client asked.
    pub keep_alive_seconds: u16,
    /// As the client asked; 3.1.1 clients without clean session: `u32::MAX`.
    pub session_expiry_seconds: u32,
    /// Its will.
    pub will: Option<WillSummary>,
    /// User properties of the CONNECT.
    pub user_properties: Vec<(String, String)>,
    /// Enhanced authentication (MQTT 5.0 section 4.12).
    pub auth_method: Option<String>,
    /// Its first data.
    pub auth_data: Option<Bytes>,
    /// Where it comes from. Shared with the session, which outlives the request.
    pub peer: Arc<Peer>,
    /// Unpredictable, the same in every round of one request.
    pub nonce: [u8; 32],
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("session", &self.session)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// What a grant speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GrantAction {
    /// Publishing to matching topics.
    Publish,
    /// Subscribing to filters inside the rule's.
    Subscribe,
    /// Both.
    PublishAndSubscribe,
}

/// What a matching grant decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GrantVerdict {
    /// No.
    Deny,
    /// Yes.
    Allow,
    /// The policy's hook decides.
    Consult,
}

/// One rule the broker applies without calling the policy. See [`crate::policy::grant`] for how rules match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// A topic filter with the placeholders `%c`, `%u` and `%a{name}`.
    pub filter: String,
    /// What it speaks about.
    pub action: GrantAction,
    /// A publish above it is denied, a subscription above it is granted this one.
    pub qos_max: u8,
    /// Whether retained messages may be published.
    pub retain: bool,
    /// What it decides.
    pub verdict: GrantVerdict,
}

/// What CONNACK tells beyond the broker's own values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnackOverrides {
    /// MQTT 5.0 Server Keep Alive.
    pub server_keep_alive_seconds: Option<u16>,
    /// MQTT 5.0 Response Information.
    pub response_information: Option<String>,
    /// MQTT 5.0 Reason String.
    pub reason_string: Option<String>,
    /// MQTT 5.0 User Properties.
    pub user_properties: Vec<(String, String)>,
    /// Final authentication data (MQTT 5.0 section 3.2.2.3.18).
    pub auth_data: Option<Bytes>,
}

/// The terms on which a client is let in: of one policy, or combined over a chain (then without tag and grants).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Who the client is.
    pub principal: Option<String>,
    /// Prefix of every topic of this client, ends in `/`.
    pub mountpoint: Option<String>,
    /// Free-form facts, available to grants as `%a{name}`.
    pub attributes: Vec<(String, String)>,
    /// Handed back to the policy in every later call.
    pub tag: u64,
    /// Rules in order; `None`: the policy states none.
    pub grants: Option<Vec<Grant>>,
    /// What the broker enforces.
    pub budget: Budget,
    /// Ask again after so many seconds.
    pub refresh_seconds: Option<u32>,
    /// Parts of the CONNACK.
    pub connack: ConnackOverrides,
}

/// How a policy turns a client away, before the reason code is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// Codes that the packet cannot carry count as 0x87 Not authorized.
    pub reason: u8,
    /// For the client.
    pub reason_string: Option<String>,
    /// Another server to use.
    pub server_reference: Option<String>,
}

/// What one policy says to a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// No.
    Deny(Denial),
    /// Yes, on these terms.
    Admit(Box<Admission>),
    /// No opinion.
    Abstain,
    /// Carry these out, then ask again.
    Wait(Vec<Effect>),
}

/// Why a live session is judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshCause {
    /// The policies in force are not those that judged last: one was replaced, or the broker was started anew.
    Swap,
    /// The `refresh_seconds` of an admission are over.
    Interval,
}

/// What one policy says to a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The client must leave.
    Deny(Denial),
    /// Nothing changes.
    Keep,
    /// New terms.
    Admit(Box<Admission>),
}

/// A message as a content policy sees and may replace it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentMessage {
    /// Without the mount point.
    pub topic: String,
    /// The payload.
    pub payload: Bytes,
    /// 0 to 2.
    pub qos: u8,
    /// As published.
    pub retain: bool,
    /// MQTT 5.0 Content Type.
    pub content_type: Option<String>,
    /// MQTT 5.0 Response Topic.
    pub response_topic: Option<String>,
    /// MQTT 5.0 Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// MQTT 5.0 User Properties.
    pub user_properties: Vec<(String, String)>,
}

/// What one policy says to a message's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentOutcome {
    /// Refuse with this reason code.
    Deny(u8),
    /// As it is.
    Keep,
    /// Publish this instead.
    Replace(Box<ContentMessage>),
    /// Acknowledge and forget.
    Drop,
}

/// Something that happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent<'a> {
    /// It is online.
    Connected {
        /// As the broker calls it.
        client_id: &'a str,
        /// Who it is.
        principal: Option<&'a str>,
        /// Whether an earlier session was resumed.
        resumed: bool,
    },
    /// It is offline.
    Disconnected {
        /// As the broker calls it.
        client_id: &'a str,
        /// MQTT 5.0 reason code, 0x00 for a normal end.
        reason: u8,
        /// Whether its will was published.
        will_published: bool,
    },
    /// So many messages left its queue unsent since the last event.
    QueueOverflow(u64),
    /// The client came up against a limit of its rates, so often since the last event.
    LimitHit(Limit, u64),
}

/// What the rates of a client limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// What it sends: messages or bytes.
    Inward,
    /// What it is sent.
    Outward,
    /// Its subscriptions.
    Subscribes,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Inward, Self::Outward, Self::Subscribes];
}

/// Why something was refused, for the client and for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The policy that refused; `(no policy)` when the chain is empty or all abstained.
    pub policy: Arc<str>,
    /// The generation that decided.
    pub generation: u64,
    /// An MQTT 5.0 reason code of at least 0x80 that the answering packet may carry.
    pub reason: u8,
    /// From the policy, for the client; from the host when `fault` (then for the log only).
    pub text: Option<String>,
    /// Another server (reasons 0x9C, 0x9D).
    pub server_reference: Option<String>,
    /// The policy failed rather than decided.
    pub fault: bool,
}

/// The decision on a CONNECT.
#[derive(Debug)]
pub enum Decision {
    /// The client may enter.
    Admit {
        /// Judges the session from now on.
        gate: Box<super::Gate>,
        /// Combined over the chain; tag and grants stay in the gate.
        admission: Box<Admission>,
    },
    /// The client may not enter.
    Deny(Refusal),
}

/// What the publish hooks are told of a message, besides session and tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishFacts<'a> {
    /// Without the mount point and aliases.
    pub topic: &'a str,
    /// 0, 1 or 2.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Length of the payload.
    pub payload_bytes: u32,
}

/// The decision on a publish. Small, for it is handed on for every message; refusals are rare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishVerdict {
    /// Route it.
    Allow {
        /// Stop reading the client for so long after it; usually 0.
        throttle_ms: u16,
    },
    /// Refuse it.
    Deny(Box<Refusal>),
    /// Acknowledge and forget it.
    Drop(Box<Refusal>),
    /// Refuse it and end the connection.
    Disconnect(Box<Refusal>),
}

/// The decision on a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeVerdict {
    /// Granted.
    Allow {
        /// Highest QoS of deliveries; at most the requested one.
        qos: u8,
    },
    /// Refused.
    Deny(Refusal),
    /// Refused, and the connection ends.
    Disconnect(Refusal),
}

/// The decision of the content policies on a message that was allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentVerdict {
    /// Unchanged.
    Keep,
    /// Publish this instead; judge it again when its topic changed.
    Replace(Box<ContentMessage>),
    /// Acknowledge and forget it.
    Drop(Refusal),
    /// Refuse it.
    Deny(Refusal),
}

/// The outcome of judging a live session again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshVerdict {
    /// Nothing changed.
    Keep,
    /// Enforce these terms from now on.
    Changed(Box<Admission>),
    /// Disconnect the client.
    Deny(Refusal),
}
