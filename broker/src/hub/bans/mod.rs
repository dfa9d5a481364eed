//! Who may not come in, because the operator says so, or a policy, or the broker itself. The time is an argument: bans are
//! for the wall clock, so that they can outlive the process.

mod ban;
mod fact;
#[cfg(test)]
mod tests;

pub use ban::{Ban, BanError, BannedBy, Caller, Placed, Subject};
pub use fact::BadBan;
pub(super) use fact::{from_fact, key, to_fact};

use super::Network;
use ban::text;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::SystemTime;

/// Most bans at the same time: about 200 bytes each, and what they name.
pub const BANS_MAX: usize = 100_000;
/// Most of them that may be there before the broker and policies make no more: the rest is the operator's.
pub(super) const AUTOMATIC_BANS_MAX: usize = BANS_MAX / 2;
/// Most bans of one policy at the same time.
pub(super) const POLICY_BANS_MAX: usize = 10_000;
/// Longest reason of a ban, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// All bans, at most [`BANS_MAX`].
#[derive(Debug, Default)]
pub struct Bans {
    clients: Map<String>,
    users: Map<String>,
    networks: Map<Network>,
    /// How many networks there are of each length, IPv4 apart: an address is looked up once for each.
    lengths: BTreeMap<(bool, u8), usize>,
    /// How many each policy has set, those included that have ended and were not forgotten yet.
    of_policies: HashMap<Box<str>, usize, foldhash::fast::RandomState>,
    /// None ends before this; `None`: none ends at all. So that whoever asks for room at the limit again and again does not
    /// have all of them looked at each time.
    next_end: Option<SystemTime>,
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
    by: BannedBy,
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
            .map(|terms| text(&terms.reason, &terms.by))
    }

    fn around(&self, address: IpAddr) -> impl Iterator<Item = &Terms> {
        let is_v4 = address.is_ipv4();
        let lengths = self.lengths.range((is_v4, 0)..=(is_v4, u8::MAX)).rev();
        lengths.filter_map(move |((_, prefix), _)| self.networks.get(&Network::around(address, *prefix)))
    }

    /// [`Bans::insert`] for a ban that the operator has not asked for: there are 50,000 of these at most, of which a policy
    /// has 10,000.
    ///
    /// # Errors
    /// See [`BanError`]; nothing has changed then.
    pub fn insert_unasked(&mut self, ban: Ban, now: SystemTime) -> Result<Placed, BanError> {
        if self.room_for(&ban).is_err() {
            self.expire(now);
        }
        self.room_for(&ban)?;
        self.insert(ban, now)
    }

    fn room_for(&self, ban: &Ban) -> Result<(), BanError> {
        let earlier = self.terms(&ban.subject);
        if earlier.is_some_and(|earlier| earlier.by == ban.by) {
            return Ok(());
        }
        if earlier.is_none() && self.len() >= AUTOMATIC_BANS_MAX {
            return Err(BanError::TooMany);
        }
        match &ban.by {
            BannedBy::Policy(name) if self.of_policies.get(name).is_some_and(|n| *n >= POLICY_BANS_MAX) => {
                Err(BanError::TooManyOfPolicy)
            }
            _ => Ok(()),
        }
    }

    /// Adds a ban, in the place of an earlier one of the same subject if that may be replaced.
    ///
    /// # Errors
    /// See [`BanError`]; nothing has changed then.
    pub fn insert(&mut self, ban: Ban, now: SystemTime) -> Result<Placed, BanError> {
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
        match self.terms(&ban.subject) {
            Some(earlier) if earlier.holds(now) && !ban.replaces(&earlier.by, earlier.until) => {
                return Ok(Placed::Kept);
            }
            None if self.len() >= BANS_MAX => return Err(BanError::TooMany),
            _ => {}
        }
        if let Some(until) = ban.until {
            self.next_end = Some(self.next_end.map_or(until, |next| next.min(until)));
        }
        if let BannedBy::Policy(name) = &ban.by {
            *self.of_policies.entry(name.clone()).or_default() += 1;
        }
        self.changes.push(BanChange::Begun(ban.clone()));
        let terms = Terms {
            reason: ban.reason.into(),
            by: ban.by,
            since: ban.since,
            until: ban.until,
        };
        let replaced = match ban.subject {
            Subject::Client(id) => self.clients.insert(id, terms),
            Subject::User(name) => self.users.insert(name, terms),
            Subject::Address(network) => {
                let replaced = self.networks.insert(network, terms);
                if replaced.is_none() {
                    let length = (network.is_v4(), network.prefix());
                    *self.lengths.entry(length).or_default() += 1;
                }
                replaced
            }
        };
        if let Some(replaced) = replaced {
            forget_policys(&mut self.of_policies, &replaced.by);
        }
        Ok(Placed::Begun)
    }

    /// Who set the ban of this subject that is in force; `None`: there is none.
    #[must_use]
    pub fn set_by(&self, subject: &Subject, now: SystemTime) -> Option<&BannedBy> {
        let terms = self.terms(subject).filter(|terms| terms.holds(now))?;
        Some(&terms.by)
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
        if let Some(terms) = &removed {
            forget_policys(&mut self.of_policies, &terms.by);
            self.changes.push(BanChange::Ended(subject.clone()));
        }
        removed.is_some_and(|terms| terms.holds(now))
    }

    /// Forgets the bans that have ended by themselves.
    pub fn expire(&mut self, now: SystemTime) {
        if self.next_end.is_none_or(|next| now < next) {
            return;
        }
        self.next_end = None;
        let (changes, next_end) = (&mut self.changes, &mut self.next_end);
        let of_policies = &mut self.of_policies;
        let mut holds = |terms: &Terms, subject: &dyn Fn() -> Subject| {
            let holds = terms.holds(now);
            if !holds {
                forget_policys(of_policies, &terms.by);
                changes.push(BanChange::Ended(subject()));
            } else if let Some(until) = terms.until {
                *next_end = Some(next_end.map_or(until, |next| next.min(until)));
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
                by: terms.by.clone(),
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

    fn terms(&self, subject: &Subject) -> Option<&Terms> {
        match subject {
            Subject::Client(id) => self.clients.get(id),
            Subject::User(name) => self.users.get(name),
            Subject::Address(network) => self.networks.get(network),
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

fn forget_policys(of_policies: &mut HashMap<Box<str>, usize, foldhash::fast::RandomState>, by: &BannedBy) {
    if let BannedBy::Policy(name) = by
        && let Some(count) = of_policies.get_mut(name)
    {
        *count -= 1;
        if *count == 0 {
            of_policies.remove(name);
        }
    }
}
