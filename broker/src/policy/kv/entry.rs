//! One entry, and how it is written down: format, kind, expiry, then what it holds. Numbers are little-endian.

use std::time::{Duration, Instant, SystemTime};

/// Of what is written now.
const FORMAT: u8 = 1;
const BYTES: u8 = 0;
const COUNTER: u8 = 1;
/// Written instead of a time: never.
const NEVER: u64 = 0;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) expiry: Option<Expiry>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Bytes(Box<[u8]>),
    Counter(i64),
}

/// When an entry ends: by the clock that nobody sets, and by the one that goes on when the process does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    at: Instant,
    unix_milliseconds: u64,
}

impl Expiry {
    pub(super) fn after(time: Duration, now: Instant, wall: SystemTime) -> Self {
        Self {
            at: now + time,
            unix_milliseconds: unix_milliseconds(wall).saturating_add(milliseconds(time)),
        }
    }

    fn read(unix_milliseconds: u64, now: Instant, wall: SystemTime) -> Self {
        let left = unix_milliseconds.saturating_sub(self::unix_milliseconds(wall));
        // No ttl is longer; a clock that was set back must not make it so.
        let longest = Duration::from_secs(u32::MAX.into());
        Self {
            at: now + Duration::from_millis(left).min(longest),
            unix_milliseconds,
        }
    }
}

impl Value {
    /// In bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Counter(_) => size_of::<i64>(),
        }
    }
}

impl Entry {
    pub(super) fn is_live(&self, now: Instant) -> bool {
        self.expiry.is_none_or(|expiry| now < expiry.at)
    }

    /// Replaces what is in `into`.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let expires = self.expiry.map_or(NEVER, |expiry| expiry.unix_milliseconds);
        let kind = match self.value {
            Value::Bytes(_) => BYTES,
            Value::Counter(_) => COUNTER,
        };
        into.clear();
        into.extend([FORMAT, kind]);
        into.extend(expires.to_le_bytes());
        match &self.value {
            Value::Bytes(bytes) => into.extend_from_slice(bytes),
            Value::Counter(count) => into.extend(count.to_le_bytes()),
        }
    }

    /// `None`: it is not what [`Entry::write`] wrote.
    pub(super) fn read(written: &[u8], now: Instant, wall: SystemTime) -> Option<Self> {
        let [FORMAT, kind, rest @ ..] = written else {
            return None;
        };
        let (expires, held) = rest.split_first_chunk()?;
        let value = match *kind {
            BYTES => Value::Bytes(held.into()),
            COUNTER => Value::Counter(i64::from_le_bytes(held.try_into().ok()?)),
            _ => return None,
        };
        let expiry = match u64::from_le_bytes(*expires) {
            NEVER => None,
            expires => Some(Expiry::read(expires, now, wall)),
        };
        Some(Self { value, expiry })
    }
}

fn unix_milliseconds(wall: SystemTime) -> u64 {
    wall.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, milliseconds)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
