//! The admin socket: how `sluice policy load`, `sluice status` and the like talk to a running broker.
//!
//! A unix socket that only the broker's own user and root can use. One line of JSON asks ([`Request`], at most
//! [`REQUEST_BYTES_MAX`] long), one line of JSON answers: `{"ok": ...}` or `{"error": "..."}`. A request that brings a
//! module says how long it is; the bytes follow its line.

mod bans;
mod client;
mod clients;
mod commands;
mod kept;
mod orders;
mod server;
pub mod socket;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError};
pub use commands::Commands;
pub use orders::{Order, Orders, orders, replaced_text};
pub use server::Server;
pub use socket::BindError;

use crate::config::quantity;
use crate::hub::Subject;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A command for a running broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Figures of the broker.
    Status,
    /// All metrics, as Prometheus text.
    Metrics,
    /// Reads the configuration and the files it names again, as SIGHUP does.
    Reload,
    /// Sessions, at most [`CLIENTS_LISTED_MAX`] of them.
    ClientList {
        /// Only client identifiers that begin so.
        prefix: String,
    },
    /// Everything about one client.
    ClientShow {
        /// Its client identifier.
        client_id: String,
    },
    /// Limits of one client that go before everybody else's.
    ClientLimits {
        /// Its client identifier.
        client_id: String,
        /// `KEY=VALUE` each.
        assignments: Vec<String>,
    },
    /// Takes all of these back.
    ClientLimitsReset {
        /// Its client identifier.
        client_id: String,
    },
    /// Keeps somebody out.
    ClientBan {
        /// Whom.
        subject: Subject,
        /// Why; may be empty.
        reason: String,
        /// For how long; `None`: until it is taken back.
        milliseconds: Option<u64>,
    },
    /// Takes a ban back.
    ClientUnban {
        /// Of whom.
        subject: Subject,
    },
    /// Bans in force, at most [`CLIENTS_LISTED_MAX`] of them.
    ClientBans,
    /// Ends the connections of a client.
    ClientKick {
        /// Its client identifier.
        client_id: String,
    },
    /// Sessions, at most [`CLIENTS_LISTED_MAX`] of them, with what is kept for each.
    SessionList {
        /// Only client identifiers that begin so.
        prefix: String,
    },
    /// The session of one client, with its subscriptions.
    SessionShow {
        /// Its client identifier.
        client_id: String,
    },
    /// Ends the session of a client.
    SessionDrop {
        /// Its client identifier.
        client_id: String,
    },
    /// Retained messages, at most [`CLIENTS_LISTED_MAX`] of them.
    RetainedList {
        /// Which topics.
        filter: String,
    },
    /// A retained message with its payload.
    RetainedGet {
        /// Its topic.
        topic: String,
    },
    /// Removes retained messages.
    RetainedClear {
        /// Which topics.
        filter: String,
    },
    /// Copies the store, to a file beside it.
    Backup,
    /// Every limit in force.
    LimitsShow,
    /// Sets limits until the configuration is read again.
    LimitsSet {
        /// `KEY=VALUE` each.
        assignments: Vec<String>,
    },
    /// How every policy fares.
    PolicyList,
    /// Replaces a policy's module by the one that follows, or adds a policy.
    PolicyLoad {
        /// Which policy.
        name: String,
        /// Length of the module, at most [`MODULE_BYTES_MAX`].
        module_bytes: usize,
    },
    /// Goes back to the module before.
    PolicyRollback {
        /// Which policy.
        name: String,
    },
}

impl Request {
    /// Its name, for the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Metrics => "metrics",
            Self::Reload => "reload",
            Self::ClientList { .. } => "client-list",
            Self::ClientShow { .. } => "client-show",
            Self::ClientLimits { .. } => "client-limits",
            Self::ClientLimitsReset { .. } => "client-limits-reset",
            Self::ClientBan { .. } => "client-ban",
            Self::ClientUnban { .. } => "client-unban",
            Self::ClientBans => "client-bans",
            Self::ClientKick { .. } => "client-kick",
            Self::SessionList { .. } => "session-list",
            Self::SessionShow { .. } => "session-show",
            Self::SessionDrop { .. } => "session-drop",
            Self::RetainedList { .. } => "retained-list",
            Self::RetainedGet { .. } => "retained-get",
            Self::RetainedClear { .. } => "retained-clear",
            Self::Backup => "backup",
            Self::LimitsShow => "limits-show",
            Self::LimitsSet { .. } => "limits-set",
            Self::PolicyList => "policy-list",
            Self::PolicyLoad { .. } => "policy-load",
            Self::PolicyRollback { .. } => "policy-rollback",
        }
    }

    /// Whether it changes something, so that the log must tell of it.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::Status
            | Self::Metrics
            | Self::ClientList { .. }
            | Self::ClientShow { .. }
            | Self::ClientBans
            | Self::SessionList { .. }
            | Self::SessionShow { .. }
            | Self::RetainedList { .. }
            | Self::RetainedGet { .. }
            | Self::LimitsShow
            | Self::PolicyList => false,
            Self::Backup => true,
            Self::Reload
            | Self::ClientKick { .. }
            | Self::ClientLimits { .. }
            | Self::ClientLimitsReset { .. }
            | Self::ClientBan { .. }
            | Self::ClientUnban { .. }
            | Self::SessionDrop { .. }
            | Self::RetainedClear { .. }
            | Self::LimitsSet { .. }
            | Self::PolicyLoad { .. }
            | Self::PolicyRollback { .. } => true,
        }
    }

    /// What a change is about, for the log.
    #[must_use]
    pub fn about(&self) -> String {
        match self {
            Self::RetainedClear { filter } => format!("topics {filter:?}"),
            Self::ClientKick { client_id }
            | Self::ClientLimitsReset { client_id }
            | Self::SessionDrop { client_id } => {
                format!("client \"{client_id}\"")
            }
            Self::ClientLimits {
                client_id,
                assignments,
            } => format!("{} of client \"{client_id}\"", assignments.join(", ")),
            Self::ClientBan {
                subject,
                reason,
                milliseconds,
            } => {
                let length = milliseconds.map(|ms| quantity::duration_text(Duration::from_millis(ms)));
                let length = length.map_or(String::new(), |text| format!(" for {text}"));
                let reason = if reason.is_empty() { "" } else { ": " }.to_owned() + reason;
                format!("{subject}{length}{reason}")
            }
            Self::ClientUnban { subject } => subject.to_string(),
            Self::LimitsSet { assignments } => assignments.join(", "),
            Self::PolicyLoad { name, .. } | Self::PolicyRollback { name } => format!("policy \"{name}\""),
            _ => String::new(),
        }
    }

    /// How many bytes follow its line.
    #[must_use]
    pub fn module_bytes(&self) -> usize {
        match self {
            Self::PolicyLoad { module_bytes, .. } => *module_bytes,
            _ => 0,
        }
    }
}

/// What the broker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Done; what it contains depends on the command.
    Ok(serde_json::Value),
    /// Not done, and why.
    Error(String),
}

/// Longest line of a request.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Most sessions that one answer lists.
pub const CLIENTS_LISTED_MAX: usize = 10_000;
/// Largest module.
pub const MODULE_BYTES_MAX: usize = 16 * 1024 * 1024;
