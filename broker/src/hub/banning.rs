//! Bans at work: who is banned is told to go and is not let in again.

use super::Hub;
use super::bans::{self, BadBan, Ban, BanChange, BanError, BannedBy, Bans, Caller, Placed, Subject};
use super::cell::Stop;
use super::live::order_stop;
use parking_lot::RwLock;
use sluice_mqtt::reason::ReasonCode;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// All bans, where every connection looks.
#[derive(Default)]
pub(super) struct Banlist {
    /// Most brokers have none: a connection then takes no lock.
    has_any: AtomicBool,
    bans: RwLock<Bans>,
    journal: OnceLock<BanJournal>,
}

/// Is told of each change in the bans, in order: the key of a fact, and its value, or `None` when it is no more. It is
/// called with the bans locked, so it must not ask about them, and a connection may wait for it.
pub type BanJournal = Box<dyn Fn(Vec<u8>, Option<Vec<u8>>) + Send + Sync>;

/// Why bans cannot be taken over from an earlier process. Without all of them, somebody would be let in who is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreBansError {
    /// One of them cannot be read.
    Unreadable(BadBan),
    /// One of them can be read, and not be had.
    Refused(BanError),
}

impl fmt::Display for RestoreBansError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RestoreBansError {}

impl Hub {
    /// Takes over the bans of an earlier process, as its journal was told of them, and has this one told of every
    /// change from now on: first that those have ended which ended meanwhile. Returns how many are in force. To be
    /// called once, before there are clients.
    ///
    /// # Errors
    /// See [`RestoreBansError`].
    pub fn restore_bans(
        &self,
        facts: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        journal: BanJournal,
    ) -> Result<usize, RestoreBansError> {
        let restored = self.change_bans(|bans, now| {
            for (key, value) in facts {
                let ban = bans::from_fact(&key, &value).map_err(RestoreBansError::Unreadable)?;
                if ban.until.is_some_and(|until| until <= now) {
                    journal(key, None);
                } else {
                    bans.insert(ban, now).map_err(RestoreBansError::Refused)?;
                }
            }
            Ok(bans.len())
        })?;
        // The first one stays: nobody would tell it that it is no longer asked.
        let _ = self.inner.banlist.journal.set(journal);
        Ok(restored)
    }

    /// Why a client may not come in, as [`Ban::text`] says it; `None`: it may, as far as bans go.
    pub fn banned(&self, client_id: &str, caller: &Caller) -> Option<String> {
        let list = &self.inner.banlist;
        if !list.has_any.load(Ordering::Acquire) {
            return None;
        }
        list.bans.read().find(client_id, caller, SystemTime::now())
    }

    /// Bans somebody from now on, and ends the connections it concerns; returns how many those were.
    ///
    /// # Errors
    /// See [`BanError`]; nothing has changed then.
    pub fn ban(&self, ban: Ban) -> Result<usize, BanError> {
        let subject = ban.subject.clone();
        self.change_bans(|bans, now| bans.insert(ban, now))?;
        let concerns = |id: &str, caller: &Caller| subject.concerns(id, caller);
        Ok(self.end_connections("banned by the operator", concerns))
    }

    /// Ends the connections of those who were banned; returns how many those were. Looks at every session.
    pub(super) fn end_connections(
        &self,
        text: &'static str,
        concerns: impl Fn(&str, &Caller) -> bool,
    ) -> usize {
        let reason = ReasonCode::BANNED;
        let stop = Stop { reason, text };
        // Whoever attaches once the walk has begun sees the ban: both take the registry's lock.
        self.walk()
            .filter(|cell| concerns(&cell.key.client_id, &cell.lock().caller))
            .filter(|cell| order_stop(cell, &stop))
            .count()
    }

    /// Bans somebody without the operator having said so. Connections that are open stay: whoever shares an address, or
    /// a name, with the one that failed has done nothing. Costs the same however many sessions there are.
    ///
    /// # Errors
    /// See [`BanError`]; nothing has changed then.
    pub fn keep_out(&self, ban: Ban) -> Result<Placed, BanError> {
        self.change_bans(|bans, now| bans.insert_unasked(ban, now))
    }

    /// Takes a ban back; false: there was none of this subject.
    pub fn unban(&self, subject: &Subject) -> bool {
        self.change_bans(|bans, now| bans.remove(subject, now))
    }

    /// The same, if nobody but this one set it.
    pub(super) fn unban_own(&self, by: &BannedBy, subject: &Subject) -> bool {
        self.change_bans(|bans, now| bans.set_by(subject, now) == Some(by) && bans.remove(subject, now))
    }

    /// All bans in force, in order of their subjects.
    pub fn bans(&self) -> Vec<Ban> {
        self.change_bans(|bans, now| {
            bans.expire(now);
            bans.list(now)
        })
    }

    /// Forgets the bans that have ended, and brings their gauge up to date.
    pub fn expire_bans(&self) {
        self.change_bans(Bans::expire);
    }

    fn change_bans<T>(&self, change: impl FnOnce(&mut Bans, SystemTime) -> T) -> T {
        let list = &self.inner.banlist;
        let mut bans = list.bans.write();
        let result = change(&mut bans, SystemTime::now());
        list.has_any.store(!bans.is_empty(), Ordering::Release);
        self.inner.metrics.bans_current.set(bans.len() as u64);
        let changes = bans.take_changes();
        if let Some(journal) = list.journal.get() {
            for change in changes {
                match change {
                    BanChange::Begun(ban) => {
                        let (key, value) = bans::to_fact(&ban);
                        journal(key, Some(value));
                    }
                    BanChange::Ended(subject) => journal(bans::key(&subject), None),
                }
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing;
    use parking_lot::Mutex;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    type Disk = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

    /// A hub that takes over what is on the disk, and keeps its bans there.
    fn start(disk: &Disk) -> Result<(Hub, usize), RestoreBansError> {
        let hub = testing::hub();
        let journal = {
            let disk = Arc::clone(disk);
            move |key, value| match value {
                Some(value) => drop(disk.lock().insert(key, value)),
                None => assert!(disk.lock().remove(&key).is_some(), "it was there"),
            }
        };
        let facts = disk.lock().clone();
        let restored = hub.restore_bans(facts, Box::new(journal))?;
        Ok((hub, restored))
    }

    fn ban(id: &str, until: Option<SystemTime>) -> Ban {
        Ban {
            subject: Subject::Client(id.to_owned()),
            reason: "it floods".to_owned(),
            by: BannedBy::Operator,
            since: SystemTime::UNIX_EPOCH,
            until,
        }
    }

    #[test]
    fn who_was_banned_before_a_restart_is_banned_after_it() {
        let disk = Disk::default();
        let (hub, restored) = start(&disk).unwrap();
        assert_eq!((restored, hub.banned("c", &Caller::default())), (0, None));
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33);
        for ban in [ban("c", None), ban("d", Some(later)), ban("e", None)] {
            hub.ban(ban).unwrap();
        }
        assert!(hub.unban(&Subject::Client("e".to_owned())));

        let (again, restored) = start(&disk).unwrap();
        assert_eq!((restored, again.metrics().bans_current.get()), (2, 2));
        assert_eq!(again.bans(), hub.bans());
        let text = again.banned("c", &Caller::default());
        assert_eq!(text.as_deref(), Some("banned by the operator: it floods"));
        assert_eq!(again.banned("e", &Caller::default()), None);
        assert!(again.unban(&Subject::Client("c".to_owned())));
        assert_eq!(start(&disk).unwrap().1, 1);
    }

    #[test]
    fn a_ban_that_ended_while_there_was_no_broker_is_forgotten() {
        let disk = Disk::default();
        let (key, value) = bans::to_fact(&ban("c", Some(SystemTime::UNIX_EPOCH)));
        disk.lock().insert(key, value);
        let (hub, restored) = start(&disk).unwrap();
        assert_eq!((restored, hub.banned("c", &Caller::default())), (0, None));
        assert!(disk.lock().is_empty());
    }

    #[test]
    fn bans_that_cannot_be_read_are_not_passed_over() {
        let disk = Disk::default();
        let (key, _) = bans::to_fact(&ban("c", None));
        disk.lock().insert(key, b"\x01".to_vec());
        let error = start(&disk).err();
        assert_eq!(error, Some(RestoreBansError::Unreadable(BadBan::Damaged)));
    }
}
