//! Who may not come in, because the operator says so. The time is an argument: bans are for the wall clock, so that
//! they can outlive the process.

mod fact;
#[cfg(test)]
mod tests;

pub use fact::BadBan;
pub(super) use fact::{from_fact, key, to_fact};

use super::Network;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Most bans at the same time: about 200 bytes each, and what they name.
pub const BANS_MAX: usize = 100_000;
/// Most of them that may be there before the broker makes none by itself any more: the rest is the operator's.
pub(super) const AUTOMATIC_BANS_MAX: usize = BANS_MAX / 2;
/// Longest reason of a ban, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

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
    /// Whether nobody but the broker itself says so.
    #[serde(default)]
    pub is_automatic: bool,
    /// When it began.
    pub since: SystemTime,
    /// When it ends by itself; `None`: never.
    pub until: Option<SystemTime>,
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
    /// [`BANS_MAX`] is reached.
    TooMany,
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
    fn names(&self) -> impl Iterator<Item = &str> {
        [self.username.as_deref(), self.principal.as_deref()]
            .into_iter()
            .flatten()
    }
}

impl Ban {
    /// Why, for the client and the log.
    #[must_use]
    pub fn text(&self) -> String {
        text(&self.reason, self.is_automatic)
    }
}

/// All bans, at most [`BANS_MAX`].
#[derive(Debug, Default)]
pub struct Bans {
    clients: Map<String>,
    users: Map<String>,
    networks: Map<Network>,
    /// How many networks there are of each length, IPv4 apart: an address is looked up once for each.
    lengths: BTreeMap<(bool, u8), usize>,
    /// Since they were taken last.
    changes: Vec<BanChange>,
}

/// Something that has changed in the bans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BanChange {
    /// There is this ban now, in the place of an earlier one of the same subject.
    Begun(Ban),
    /// There is no ban of this subject any more: it was taken back, or has ended by itself and was forgotten.
    Ended(Subject),
}

type Map<K> = HashMap<K, Terms, foldhash::fast::RandomState>;

/// A ban without its subject, which is the key.
#[derive(Debug)]
struct Terms {
    reason: Box<str>,
    is_automatic: bool,
    since: SystemTime,
    until: Option<SystemTime>,
}

impl Terms {
    fn holds(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Bans {
    /// Why a client may not come in; `None`: it may, as far as bans go.
    #[must_use]
    pub fn find(&self, client_id: &str, caller: &Caller, now: SystemTime) -> Option<String> {
        let by_name = caller.names().filter_map(|name| self.users.get(name));
        let by_address = caller
            .address
            .into_iter()
            .flat_map(|address| self.around(address.to_canonical()));
        let client = self.clients.get(client_id).into_iter();
        let mut all = client.chain(by_name).chain(by_address);
        all.find(|terms| terms.holds(now))
            .map(|terms| text(&terms.reason, terms.is_automatic))
    }

    fn around(&self, address: IpAddr) -> impl Iterator<Item = &Terms> {
        let is_v4 = address.is_ipv4();
        let lengths = self.lengths.range((is_v4, 0)..=(is_v4, u8::MAX)).rev();
        lengths.filter_map(move |((_, prefix), _)| self.networks.get(&Network::around(address, *prefix)))
    }

    /// Adds a ban, in the place of an earlier one of the same subject.
    ///
    /// # Errors
    /// See [`BanError`]; nothing has changed then.
    pub fn insert(&mut self, ban: Ban, now: SystemTime) -> Result<(), BanError> {
        if ban.reason.len() > REASON_BYTES_MAX {
            return Err(BanError::ReasonTooLong);
        }
        let names_nobody = match &ban.subject {
            Subject::Client(text) | Subject::User(text) => text.is_empty(),
            Subject::Address(_) => false,
        };
        if names_nobody || ban.until.is_some_and(|until| until <= now) {
            return Err(BanError::Empty);
        }
        if self.len() >= BANS_MAX {
            self.expire(now);
        }
        if self.len() >= BANS_MAX && !self.knows(&ban.subject) {
            return Err(BanError::TooMany);
        }
        self.changes.push(BanChange::Begun(ban.clone()));
        let terms = Terms {
            reason: ban.reason.into(),
            is_automatic: ban.is_automatic,
            since: ban.since,
            until: ban.until,
        };
        match ban.subject {
            Subject::Client(id) => drop(self.clients.insert(id, terms)),
            Subject::User(name) => drop(self.users.insert(name, terms)),
            Subject::Address(network) => {
                if self.networks.insert(network, terms).is_none() {
                    *self
                        .lengths
                        .entry((network.is_v4(), network.prefix()))
                        .or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes a ban back; false: there is none of this subject in force.
    pub fn remove(&mut self, subject: &Subject, now: SystemTime) -> bool {
        let removed = match subject {
            Subject::Client(id) => self.clients.remove(id),
            Subject::User(name) => self.users.remove(name),
            Subject::Address(network) => self.networks.remove(network).inspect(|_| {
                forget_length(&mut self.lengths, *network);
            }),
        };
        if removed.is_some() {
            self.changes.push(BanChange::Ended(subject.clone()));
        }
        removed.is_some_and(|terms| terms.holds(now))
    }

    /// Forgets the bans that have ended by themselves.
    pub fn expire(&mut self, now: SystemTime) {
        let changes = &mut self.changes;
        let mut holds = |terms: &Terms, subject: &dyn Fn() -> Subject| {
            let holds = terms.holds(now);
            if !holds {
                changes.push(BanChange::Ended(subject()));
            }
            holds
        };
        self.clients
            .retain(|id, terms| holds(terms, &|| Subject::Client(id.clone())));
        self.users
            .retain(|name, terms| holds(terms, &|| Subject::User(name.clone())));
        let lengths = &mut self.lengths;
        self.networks.retain(|network, terms| {
            let holds = holds(terms, &|| Subject::Address(*network));
            if !holds {
                forget_length(lengths, *network);
            }
            holds
        });
    }

    /// What has changed since this was asked last, in order. Whoever changes bans asks each time: nothing else bounds
    /// how much it is.
    pub fn take_changes(&mut self) -> Vec<BanChange> {
        std::mem::take(&mut self.changes)
    }

    /// All bans that hold, in order of their subjects.
    #[must_use]
    pub fn list(&self, now: SystemTime) -> Vec<Ban> {
        fn all<K: Clone + Eq + Hash>(
            map: &Map<K>,
            subject: fn(K) -> Subject,
        ) -> impl Iterator<Item = (Subject, &Terms)> {
            map.iter().map(move |(key, terms)| (subject(key.clone()), terms))
        }
        let clients = all(&self.clients, Subject::Client);
        let users = all(&self.users, Subject::User);
        let networks = all(&self.networks, Subject::Address);
        let holding = clients.chain(users).chain(networks);
        let mut bans: Vec<_> = holding
            .filter(|(_, terms)| terms.holds(now))
            .map(|(subject, terms)| Ban {
                subject,
                reason: terms.reason.to_string(),
                is_automatic: terms.is_automatic,
                since: terms.since,
                until: terms.until,
            })
            .collect();
        bans.sort_by(|a, b| a.subject.cmp(&b.subject));
        bans
    }

    /// How many there are, those included that have ended and were not forgotten yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len() + self.users.len() + self.networks.len()
    }

    /// Whether nobody is banned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn knows(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Client(id) => self.clients.contains_key(id),
            Subject::User(name) => self.users.contains_key(name),
            Subject::Address(network) => self.networks.contains_key(network),
        }
    }
}

fn forget_length(lengths: &mut BTreeMap<(bool, u8), usize>, network: Network) {
    let length = (network.is_v4(), network.prefix());
    if let Some(count) = lengths.get_mut(&length) {
        *count -= 1;
        if *count == 0 {
            lengths.remove(&length);
        }
    }
}

fn text(reason: &str, is_automatic: bool) -> String {
    match reason {
        reason if is_automatic => format!("banned for a while: {reason}"),
        "" => "banned by the operator".to_owned(),
        reason => format!("banned by the operator: {reason}"),
    }
}
