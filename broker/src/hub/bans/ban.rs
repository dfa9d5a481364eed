//! One ban: whom it is about, and who says so.

use super::{BANS_MAX, POLICY_BANS_MAX, REASON_BYTES_MAX};
use crate::network::Network;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Whom a ban is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A client identifier, in every mount point.
    Client(String),
    /// A user name, as CONNECT says it or the policies found it out.
    User(String),
    /// Addresses.
    Address(Network),
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Whom it is about.
    pub subject: Subject,
    /// Why, at most [`REASON_BYTES_MAX`] long; may be empty.
    pub reason: String,
    /// Who says so.
    #[serde(default)]
    pub by: BannedBy,
    /// When it began.
    pub since: SystemTime,
    /// When it ends by itself; `None`: never.
    pub until: Option<SystemTime>,
}

/// Who says that somebody is banned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BannedBy {
    /// The operator, with a command.
    #[default]
    Operator,
    /// The broker itself: somebody failed, or came in, too often.
    Broker,
    /// The policy of this name, with the capability `bans`.
    Policy(Box<str>),
}

/// What became of a ban that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is in force, in the place of an earlier one if there was one.
    Begun,
    /// There is one of the same subject that the operator has set, or that lasts as long: that one stays.
    Kept,
}

/// What is known of a client beside its identifier.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// As CONNECT says it.
    pub username: Option<Arc<str>>,
    /// Who the policies say it is.
    pub principal: Option<Arc<str>>,
    /// Where it comes from; `None`: not over IP.
    pub address: Option<IpAddr>,
}

/// Why a ban cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanError {
    /// [`BANS_MAX`] is reached, or what of it is there for others than the operator.
    TooMany,
    /// The policy has 10,000 of them.
    TooManyOfPolicy,
    /// The reason is longer than [`REASON_BYTES_MAX`].
    ReasonTooLong,
    /// It names nobody, or ends before it begins.
    Empty,
}

impl fmt::Display for BanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(
                f,
                "{BANS_MAX} bans are in force, and more are not kept; take some back with `sluice client unban`, or \
                 ban a network instead of its addresses"
            ),
            Self::TooManyOfPolicy => write!(f, "a policy may have at most {POLICY_BANS_MAX} bans"),
            Self::ReasonTooLong => write!(f, "a reason may have at most {REASON_BYTES_MAX} bytes"),
            Self::Empty => f.write_str("the ban would concern nobody"),
        }
    }
}

impl std::error::Error for BanError {}

impl Subject {
    /// Whether a client is one of those it is about.
    #[must_use]
    pub fn concerns(&self, client_id: &str, caller: &Caller) -> bool {
        match self {
            Self::Client(banned) => banned == client_id,
            Self::User(banned) => caller.names().any(|name| name == banned),
            Self::Address(network) => caller.address.is_some_and(|address| network.contains(address)),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "client \"{id}\""),
            Self::User(name) => write!(f, "user \"{name}\""),
            Self::Address(network) => write!(f, "address {network}"),
        }
    }
}

impl Caller {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        [self.username.as_deref(), self.principal.as_deref()]
            .into_iter()
            .flatten()
    }
}

impl Ban {
    /// Why, for the client and the log.
    #[must_use]
    pub fn text(&self) -> String {
        text(&self.reason, &self.by)
    }

    /// Whether it takes the place of an earlier one of the same subject: nobody but the operator can take back or shorten
    /// what the operator said, and nobody but the operator can shorten anything.
    pub(super) fn replaces(&self, by: &BannedBy, until: Option<SystemTime>) -> bool {
        match (&self.by, by) {
            (BannedBy::Operator, _) => true,
            (_, BannedBy::Operator) => false,
            _ => until.is_some_and(|earlier| self.until.is_none_or(|until| until > earlier)),
        }
    }
}

pub(super) fn text(reason: &str, by: &BannedBy) -> String {
    let who = match by {
        BannedBy::Operator => "banned by the operator",
        // Which of its policies keeps a client out is none of the client's business.
        BannedBy::Broker | BannedBy::Policy(_) => "banned for a while",
    };
    match reason {
        "" => who.to_owned(),
        reason => format!("{who}: {reason}"),
    }
}
