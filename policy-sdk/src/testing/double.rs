//! Plays the broker's part of [`crate::host`] in tests.
//!
//! The functions have the names and signatures of the generated bindings, and work on the [`World`] of the current
//! thread: each test has its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::bindings::host::sluice::policy::bans::Target;
use crate::bindings::host::sluice::policy::log::Level;
use crate::bindings::host::sluice::policy::types::Budget;

/// Everything a policy can see or change through [`crate::host`].
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) log: Vec<(Level, String)>,
    pub(crate) now_unix_milliseconds: u64,
    pub(crate) random: u64,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) kv: BTreeMap<String, Entry>,
    pub(crate) actions: Vec<SessionAction>,
    pub(crate) bans: Vec<Ban>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    value: Vec<u8>,
    expires_unix_milliseconds: Option<u64>,
}

/// What a policy did to a session through [`crate::host::sessions`].
#[derive(Clone, Debug, PartialEq)]
pub enum SessionAction {
    /// It ended the connection of a session, with this reason code.
    Disconnect(u64, u8),
    /// It replaced the session's budget.
    SetBudget(u64, Box<Budget>),
}

/// A ban that a policy set through [`crate::host::bans`].
#[derive(Clone, Debug, PartialEq)]
pub struct Ban {
    /// Whom it is about.
    pub target: Target,
    /// Why.
    pub why: String,
    /// When it ends by itself, on the clock of the test.
    pub until_unix_milliseconds: u64,
}

thread_local! {
    static CURRENT: RefCell<Rc<RefCell<World>>> = RefCell::default();
}

/// Makes `world` the one that host functions see while `work` runs.
pub(crate) fn within<T>(world: &Rc<RefCell<World>>, work: impl FnOnce() -> T) -> T {
    struct Restore(Rc<RefCell<World>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(Rc::clone(&self.0));
        }
    }
    let _restore = Restore(CURRENT.replace(Rc::clone(world)));
    work()
}

fn with<T>(work: impl FnOnce(&mut World) -> T) -> T {
    CURRENT.with_borrow(|world| work(&mut world.borrow_mut()))
}

impl World {
    fn entry(&mut self, key: &str) -> Option<&mut Entry> {
        let now = self.now_unix_milliseconds;
        if self
            .kv
            .get(key)
            .is_some_and(|entry| entry.expires_unix_milliseconds.is_some_and(|at| at <= now))
        {
            self.kv.remove(key);
        }
        self.kv.get_mut(key)
    }

    fn expiry(&self, ttl_seconds: u32) -> Option<u64> {
        (ttl_seconds > 0).then(|| self.now_unix_milliseconds + u64::from(ttl_seconds) * 1000)
    }
}

pub(crate) mod log {
    use super::{Level, with};

    pub(crate) fn write(level: Level, message: &str) {
        with(|world| world.log.push((level, message.to_owned())));
    }
}

pub(crate) mod clock {
    pub(crate) fn now_unix_milliseconds() -> u64 {
        super::with(|world| world.now_unix_milliseconds)
    }
}

pub(crate) mod random {
    /// The same numbers in each test (splitmix64).
    pub(crate) fn next_u64() -> u64 {
        super::with(|world| {
            world.random = world.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (world.random ^ (world.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        })
    }
}

pub(crate) mod metrics {
    pub(crate) fn increment(name: &str, delta: u64) {
        super::with(|world| {
            let counter = world.counters.entry(name.to_owned()).or_default();
            *counter = counter.saturating_add(delta);
        });
    }
}

pub(crate) mod kv {
    use super::{Entry, with};

    const KEY_BYTES_MAX: usize = 256;
    const VALUE_BYTES_MAX: usize = 4096;

    pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
        with(|world| world.entry(key).map(|entry| entry.value.clone()))
    }

    pub(crate) fn put(key: &str, value: &[u8], ttl_seconds: u32) -> bool {
        let fits = key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX;
        if fits {
            with(|world| {
                let expires_unix_milliseconds = world.expiry(ttl_seconds);
                let entry = Entry {
                    value: value.to_vec(),
                    expires_unix_milliseconds,
                };
                world.kv.insert(key.to_owned(), entry);
            });
        }
        fits
    }

    pub(crate) fn delete(key: &str) {
        with(|world| world.kv.remove(key));
    }

    pub(crate) fn increment(key: &str, delta: i64, ttl_seconds: u32) -> Option<i64> {
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        with(|world| {
            if let Some(entry) = world.entry(key) {
                let count: i64 =
                    i64::from_le_bytes(entry.value.as_slice().try_into().ok()?).saturating_add(delta);
                entry.value = count.to_le_bytes().to_vec();
                return Some(count);
            }
            let expires_unix_milliseconds = world.expiry(ttl_seconds);
            let entry = Entry {
                value: delta.to_le_bytes().to_vec(),
                expires_unix_milliseconds,
            };
            world.kv.insert(key.to_owned(), entry);
            Some(delta)
        })
    }
}

pub(crate) mod sessions {
    use super::{Budget, SessionAction, with};

    pub(crate) fn disconnect(session: u64, reason: u8) {
        with(|world| world.actions.push(SessionAction::Disconnect(session, reason)));
    }

    pub(crate) fn set_budget(session: u64, budget: Budget) {
        with(|world| {
            world
                .actions
                .push(SessionAction::SetBudget(session, Box::new(budget)))
        });
    }
}

pub(crate) mod bans {
    use std::net::IpAddr;

    use super::{Ban, Target, with};

    const SECONDS_MAX: u32 = 24 * 60 * 60;
    const NAME_BYTES_MAX: usize = 1024;
    const WHY_BYTES_MAX: usize = 256;
    const BANS_MAX: usize = 10_000;

    pub(crate) fn ban(target: &Target, seconds: u32, why: &str) -> bool {
        with(|world| {
            let now = world.now_unix_milliseconds;
            world.bans.retain(|ban| ban.until_unix_milliseconds > now);
            let seconds = seconds.clamp(1, SECONDS_MAX);
            let new = Ban {
                target: target.clone(),
                why: why[..why.floor_char_boundary(WHY_BYTES_MAX)].to_owned(),
                until_unix_milliseconds: now + u64::from(seconds) * 1000,
            };
            let is_full = world.bans.len() >= BANS_MAX;
            let earlier = world.bans.iter_mut().find(|ban| ban.target == *target);
            match earlier {
                Some(earlier) if new.until_unix_milliseconds > earlier.until_unix_milliseconds => {
                    *earlier = new;
                }
                Some(_) => {}
                None if !is_valid(target) || is_full => return false,
                None => world.bans.push(new),
            }
            true
        })
    }

    pub(crate) fn unban(target: &Target) -> bool {
        with(|world| {
            let now = world.now_unix_milliseconds;
            world.bans.retain(|ban| ban.until_unix_milliseconds > now);
            let before = world.bans.len();
            world.bans.retain(|ban| ban.target != *target);
            world.bans.len() < before
        })
    }

    fn is_valid(target: &Target) -> bool {
        match target {
            Target::ClientId(name) | Target::UserName(name) => (1..=NAME_BYTES_MAX).contains(&name.len()),
            Target::Address(text) => is_network(text),
        }
    }

    /// As the broker says it; but for IPv4 addresses in IPv6, which it knows as the former.
    fn is_network(text: &str) -> bool {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let (bits, fewest, most) = match address.parse() {
            Ok(IpAddr::V4(address)) => (u128::from(address.to_bits()) << 96, 16, 32),
            Ok(IpAddr::V6(address)) => (address.to_bits(), 32, 128),
            Err(_) => return false,
        };
        let length = length.map_or(Some(most), |length| length.parse().ok());
        length.is_some_and(|length: u32| {
            (fewest..=most).contains(&length) && bits.checked_shl(length).unwrap_or(0) == 0
        })
    }
}
