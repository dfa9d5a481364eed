//! Bans at work: who is banned is told to go and is not let in again.

use super::Hub;
use super::bans::{AUTOMATIC_BANS_MAX, Ban, BanError, Bans, Caller, Subject};
use super::cell::Stop;
use super::live::order_stop;
use parking_lot::RwLock;
use sluice_mqtt::reason::ReasonCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// All bans, where every connection looks.
#[derive(Default)]
pub(super) struct Banlist {
    /// Most brokers have none: a connection then takes no lock.
    has_any: AtomicBool,
    bans: RwLock<Bans>,
}

impl Hub {
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
        let stop = Stop {
            reason: ReasonCode::BANNED,
            text: "banned by the operator",
        };
        // Whoever attaches later sees the ban: that takes the registry's lock as well.
        let cells = self.inner.registry.lock().all();
        let concerned = cells
            .iter()
            .filter(|cell| subject.concerns(&cell.key.client_id, &cell.lock().caller));
        Ok(concerned.filter(|cell| order_stop(cell, &stop)).count())
    }

    /// Bans somebody without the operator having said so. Connections that are open stay: whoever shares an address, or
    /// a name, with the one that failed has done nothing. Costs the same however many sessions there are.
    ///
    /// # Errors
    /// See [`BanError`]; nothing has changed then.
    pub fn keep_out(&self, ban: Ban) -> Result<(), BanError> {
        self.change_bans(|bans, now| {
            if bans.len() >= AUTOMATIC_BANS_MAX {
                bans.expire(now);
            }
            match bans.len() >= AUTOMATIC_BANS_MAX {
                true => Err(BanError::TooMany),
                false => bans.insert(ban, now),
            }
        })
    }

    /// Takes a ban back; false: there was none of this subject.
    pub fn unban(&self, subject: &Subject) -> bool {
        self.change_bans(|bans, now| bans.remove(subject, now))
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
        result
    }
}
