//! Who subscribed with one filter: sessions each for itself, and shared groups.

use super::arena::NONE;
use super::table::Table;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Those who subscribed with one filter that matches.
pub struct Subscribers<'a, K, V> {
    /// Each of them gets the message.
    pub plain: &'a [(K, V)],
    /// One member of each of them gets the message.
    pub shared: &'a [SharedGroup<K, V>],
}

/// The sessions of one shared subscription (section 4.8.2): same share name, same filter. Never without a member.
pub struct SharedGroup<K, V> {
    name: Box<str>,
    members: Indexed<(K, V)>,
    cursor: AtomicUsize,
}

impl<K, V> SharedGroup<K, V> {
    /// The share name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The members, in no particular order.
    pub fn members(&self) -> &[(K, V)] {
        &self.members.items
    }

    /// A number that goes up by one with each call and wraps around: modulo the number of members, whose turn it is.
    pub fn next_cursor(&self) -> usize {
        self.cursor.fetch_add(1, Ordering::Relaxed)
    }
}

/// The subscriptions with one filter. Most filters have one subscriber, who then costs no allocation.
#[derive(Default)]
pub(super) enum Audience<K, V> {
    #[default]
    Nobody,
    One((K, V)),
    Many(Box<Crowd<K, V>>),
}

pub(super) struct Crowd<K, V> {
    plain: Indexed<(K, V)>,
    shared: Indexed<SharedGroup<K, V>>,
}

/// What one insertion or removal did.
pub(super) struct Change<V> {
    /// The value that was replaced or removed.
    pub(super) old: Option<V>,
    /// A group has come into being, or ended.
    pub(super) group: bool,
}

impl<K: Copy + Eq + Hash, V> Audience<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::One(_) => false,
            Self::Many(crowd) => crowd.plain.items.is_empty() && crowd.shared.items.is_empty(),
        }
    }

    pub(super) fn subscribers(&self) -> Subscribers<'_, K, V> {
        match self {
            Self::Nobody => Subscribers {
                plain: &[],
                shared: &[],
            },
            Self::One(one) => Subscribers {
                plain: std::slice::from_ref(one),
                shared: &[],
            },
            Self::Many(crowd) => Subscribers {
                plain: &crowd.plain.items,
                shared: &crowd.shared.items,
            },
        }
    }

    pub(super) fn get(&self, keys: &RandomState, share: Option<&str>, key: K) -> Option<&V> {
        let member = match (self, share) {
            (Self::One(one), None) => (one.0 == key).then_some(one),
            (Self::Nobody | Self::One(_), _) => None,
            (Self::Many(crowd), None) => crowd.plain.get(keys, &key),
            (Self::Many(crowd), Some(name)) => crowd.shared.get(keys, name)?.members.get(keys, &key),
        };
        member.map(|(_, value)| value)
    }

    /// Adds a subscription or replaces the value of the one there is.
    pub(super) fn insert(&mut self, keys: &RandomState, share: Option<&str>, key: K, value: V) -> Change<V> {
        let mut crowd = match (std::mem::take(self), share) {
            (Self::Nobody, None) => {
                *self = Self::One((key, value));
                return Change {
                    old: None,
                    group: false,
                };
            }
            (Self::One((one, old)), None) if one == key => {
                *self = Self::One((key, value));
                return Change {
                    old: Some(old),
                    group: false,
                };
            }
            (Self::Nobody, Some(_)) => Box::default(),
            (Self::One(one), _) => {
                let mut crowd = Box::<Crowd<K, V>>::default();
                crowd.plain.push(keys, one);
                crowd
            }
            (Self::Many(crowd), _) => crowd,
        };
        let change = crowd.insert(keys, share, key, value);
        *self = Self::Many(crowd);
        change
    }

    pub(super) fn remove(&mut self, keys: &RandomState, share: Option<&str>, key: K) -> Change<V> {
        match (std::mem::take(self), share) {
            (Self::One((one, old)), None) if one == key => Change {
                old: Some(old),
                group: false,
            },
            (Self::Many(mut crowd), _) => {
                let change = crowd.remove(keys, share, key);
                *self = if crowd.shared.items.is_empty() && crowd.plain.items.len() <= 1 {
                    crowd.plain.items.pop().map_or(Self::Nobody, Self::One)
                } else {
                    Self::Many(crowd)
                };
                change
            }
            (unchanged, _) => {
                *self = unchanged;
                Change {
                    old: None,
                    group: false,
                }
            }
        }
    }
}

impl<K: Copy + Eq + Hash, V> Crowd<K, V> {
    fn insert(&mut self, keys: &RandomState, share: Option<&str>, key: K, value: V) -> Change<V> {
        let members = match share {
            None => &mut self.plain,
            Some(name) => match self.shared.get_mut(keys, name) {
                Some(group) => &mut group.members,
                None => {
                    let mut members = Indexed::default();
                    members.push(keys, (key, value));
                    let group = SharedGroup {
                        name: name.into(),
                        members,
                        cursor: AtomicUsize::new(0),
                    };
                    self.shared.push(keys, group);
                    return Change {
                        old: None,
                        group: true,
                    };
                }
            },
        };
        let old = match members.get_mut(keys, &key) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                members.push(keys, (key, value));
                None
            }
        };
        Change { old, group: false }
    }

    fn remove(&mut self, keys: &RandomState, share: Option<&str>, key: K) -> Change<V> {
        let Some(name) = share else {
            let old = self.plain.remove(keys, &key).map(|(_, value)| value);
            return Change { old, group: false };
        };
        let members = self.shared.get_mut(keys, name).map(|group| &mut group.members);
        let Some((old, left)) = members.and_then(|members| {
            let (_, old) = members.remove(keys, &key)?;
            Some((old, members.items.len()))
        }) else {
            return Change {
                old: None,
                group: false,
            };
        };
        if left == 0 {
            self.shared.remove(keys, name);
        }
        Change {
            old: Some(old),
            group: left == 0,
        }
    }
}

impl<K, V> Default for Crowd<K, V> {
    fn default() -> Self {
        Self {
            plain: Indexed::default(),
            shared: Indexed::default(),
        }
    }
}

/// A list found by key: searched while it is short, through a hash index when it is long.
///
/// A million sessions may subscribe to the same filter, and each must be able to leave at once.
struct Indexed<T> {
    items: Vec<T>,
    positions: Option<Box<Table>>,
}

trait Keyed {
    type Key: Hash + Eq + ?Sized;
    fn key(&self) -> &Self::Key;
}

impl<K: Hash + Eq, V> Keyed for (K, V) {
    type Key = K;
    fn key(&self) -> &K {
        &self.0
    }
}

impl<K, V> Keyed for SharedGroup<K, V> {
    type Key = str;
    fn key(&self) -> &str {
        &self.name
    }
}

impl<T: Keyed> Indexed<T> {
    fn position(&self, keys: &RandomState, key: &T::Key) -> Option<usize> {
        let is = |item: &T| item.key() == key;
        match &self.positions {
            None => self.items.iter().position(is),
            Some(positions) => {
                let at = positions.find(hash(keys, key), |at| {
                    self.items.get(at as usize).is_some_and(is).then_some(at)
                })?;
                Some(at as usize)
            }
        }
    }

    fn get(&self, keys: &RandomState, key: &T::Key) -> Option<&T> {
        self.items.get(self.position(keys, key)?)
    }

    fn get_mut(&mut self, keys: &RandomState, key: &T::Key) -> Option<&mut T> {
        let at = self.position(keys, key)?;
        self.items.get_mut(at)
    }

    /// Adds an item whose key is not there yet.
    fn push(&mut self, keys: &RandomState, item: T) {
        if let Some(positions) = &mut self.positions {
            positions.insert(hash(keys, item.key()), as_id(self.items.len()));
        }
        self.items.push(item);
        if self.positions.is_none() && self.items.len() > SEARCHED_MAX {
            let mut positions = Box::<Table>::default();
            for (at, item) in self.items.iter().enumerate() {
                positions.insert(hash(keys, item.key()), as_id(at));
            }
            self.positions = Some(positions);
        }
    }

    fn remove(&mut self, keys: &RandomState, key: &T::Key) -> Option<T> {
        let at = self.position(keys, key)?;
        let item = self.items.swap_remove(at);
        if let Some(positions) = &mut self.positions {
            positions.remove(hash(keys, key), as_id(at));
            if let Some(moved) = self.items.get(at) {
                positions.replace(hash(keys, moved.key()), as_id(self.items.len()), as_id(at));
            }
        }
        if self.items.len() * 4 < self.items.capacity() {
            self.items.shrink_to(self.items.len() * 2);
        }
        // Well below the length that makes one, so that it is not made and dropped in turns.
        if self.items.len() < SEARCHED_MAX / 2 {
            self.positions = None;
        }
        Some(item)
    }
}

impl<T> Default for Indexed<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            positions: None,
        }
    }
}

fn hash(keys: &RandomState, key: &(impl Hash + ?Sized)) -> u32 {
    // The shift keeps the upper half.
    (keys.hash_one(key) >> 32) as u32
}

fn as_id(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}

/// The longest list that is searched from one end to the other.
const SEARCHED_MAX: usize = 16;
