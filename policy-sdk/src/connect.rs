//! Judging clients, when they come and again while they stay.

use std::fmt;
use std::net::IpAddr;

use crate::bindings::host::sluice::policy::types as wit;
use crate::reason::Reason;
use wit::{Admission, Certificate, ConnectPurpose, Denial, Peer, ProtocolVersion, Will};

/// Everything known of a client that asks to be let in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConnectRequest {
    /// A CONNECT packet, or a re-authentication on a live connection.
    pub purpose: ConnectPurpose,
    /// Identifies the session in every later call; never reused while the broker runs.
    pub session: u64,
    /// Empty when the client leaves the choice to the broker.
    pub client_id: String,
    /// Not yet verified by anyone.
    pub username: Option<String>,
    /// Is not shown by `{:?}`.
    pub password: Option<Password>,
    /// The version of MQTT the client speaks.
    pub protocol: ProtocolVersion,
    /// The client wants no earlier session.
    pub clean_start: bool,
    /// 0 turns it off.
    pub keep_alive_seconds: u16,
    /// How long the session outlives the connection; `u32::MAX` is for ever.
    pub session_expiry_seconds: u32,
    /// The message to be sent when the client vanishes. Its topic is judged by `on_publish` or grants, too.
    pub will: Option<Will>,
    /// User properties of CONNECT.
    pub user_properties: Vec<(String, String)>,
    /// Method of an enhanced authentication (MQTT 5.0 section 4.12).
    pub auth_method: Option<String>,
    /// Its first data.
    pub auth_data: Option<Vec<u8>>,
    /// Where the client comes from.
    pub peer: Peer,
}

/// A password, or any other secret in its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// The bytes the client sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Password {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(..)")
    }
}

/// The answer to a [`ConnectRequest`]. Its default is a refusal.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Connect {
    /// Turn the client away.
    Deny(Denial),
    /// Let it in on these terms.
    Admit(Box<Admission>),
    /// No opinion: another policy of the chain must let it in.
    Abstain,
}

impl Connect {
    /// Turns the client away: `Connect::deny(Reason::Banned)`, `Connect::deny(Reason::Banned.because("spam"))`.
    pub fn deny(why: impl Into<Denial>) -> Self {
        Self::Deny(why.into())
    }

    /// Lets the client in on these terms.
    pub fn admit(terms: Admission) -> Self {
        Self::Admit(Box::new(terms))
    }

    /// No opinion: another policy of the chain must let the client in.
    pub const fn abstain() -> Self {
        Self::Abstain
    }
}

impl Default for Connect {
    fn default() -> Self {
        Self::Deny(Denial::default())
    }
}

/// A session that was admitted earlier, after a swap of the policy or when its refresh time is over. Credentials are
/// not kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RefreshRequest {
    /// The session, as in [`ConnectRequest::session`].
    pub session: u64,
    /// What the policy chose at connect, 0 when it is new to this client; see [`Admission::tag`].
    pub tag: u64,
    /// Why the session is looked at again.
    pub cause: wit::RefreshCause,
    /// The client's id, the one the broker chose if it did.
    pub client_id: String,
    /// The user name of CONNECT.
    pub username: Option<String>,
    /// Who the client was found to be.
    pub principal: Option<String>,
    /// The attributes of its admission.
    pub attributes: Vec<(String, String)>,
    /// Where the client comes from.
    pub peer: Peer,
}

impl RefreshRequest {
    /// The value of an attribute of the admission.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The answer to a [`RefreshRequest`]. Its default is a refusal.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Refresh {
    /// The client must leave.
    Deny(Denial),
    /// Everything stays as it was admitted.
    Keep,
    /// New terms. The mount point of a live session cannot change; a different one refuses.
    Admit(Box<Admission>),
}

impl Refresh {
    /// Turns the client out.
    pub fn deny(why: impl Into<Denial>) -> Self {
        Self::Deny(why.into())
    }

    /// Leaves everything as it was admitted.
    pub const fn keep() -> Self {
        Self::Keep
    }

    /// Lets the client stay on these terms.
    pub fn admit(terms: Admission) -> Self {
        Self::Admit(Box::new(terms))
    }
}

impl Default for Refresh {
    fn default() -> Self {
        Self::Deny(Denial::from(Reason::NotAuthorized))
    }
}

impl Peer {
    /// The address of the client, `None` for a unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address
            .parse::<IpAddr>()
            .ok()
            .map(|address| address.to_canonical())
    }

    /// The client is on the broker's own machine: a loopback address or a unix socket, not through a proxy.
    pub fn is_local(&self) -> bool {
        self.proxied_by.is_none()
            && (self.address.is_empty() || self.ip().is_some_and(|address| address.is_loopback()))
    }

    /// The verified certificate of the client.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.tls.as_ref()?.certificate.as_ref()
    }
}

impl From<wit::ConnectRequest> for ConnectRequest {
    fn from(request: wit::ConnectRequest) -> Self {
        Self {
            purpose: request.purpose,
            session: request.session,
            client_id: request.client_id,
            username: request.username,
            password: request.password.map(Password),
            protocol: request.protocol,
            clean_start: request.clean_start,
            keep_alive_seconds: request.keep_alive_seconds,
            session_expiry_seconds: request.session_expiry_seconds,
            will: request.will,
            user_properties: request.user_properties,
            auth_method: request.auth_method,
            auth_data: request.auth_data,
            peer: request.peer,
        }
    }
}

impl From<wit::RefreshRequest> for RefreshRequest {
    fn from(request: wit::RefreshRequest) -> Self {
        Self {
            session: request.session,
            tag: request.tag,
            cause: request.cause,
            client_id: request.client_id,
            username: request.username,
            principal: request.principal,
            attributes: request.attributes,
            peer: request.peer,
        }
    }
}

impl From<Refresh> for wit::RefreshOutcome {
    fn from(refresh: Refresh) -> Self {
        match refresh {
            Refresh::Deny(denial) => Self::Deny(denial),
            Refresh::Keep => Self::Keep,
            Refresh::Admit(terms) => Self::Admit(*terms),
        }
    }
}
