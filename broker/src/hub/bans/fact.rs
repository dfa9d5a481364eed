//! A ban as a fact of a store, so that it outlives the process.
//!
//! The key is the subject; the value begins with a number for its format and has the rest. Both are postcard. Times are
//! on the wall clock, in milliseconds since 1970.

use super::{Ban, BannedBy, Subject};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime};

/// [`Written`], and who said so ([`BannedBy`]). Any change of either or of [`Subject`] takes a new number.
const FORMAT: u8 = 3;
/// The same, and no ban is a policy's. Still written where that is so: a broker of before can read it then.
const WITHOUT_POLICIES: u8 = 2;
/// Without who said so: every ban is the operator's.
const OPERATORS_ONLY: u8 = 1;

/// A fact that is no ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBan {
    /// Another version of the broker wrote it, in the format of this number.
    Format(u8),
    /// The bytes are not those that were written.
    Damaged,
}

impl fmt::Display for BadBan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => {
                write!(f, "a ban has format {format}; this broker knows format {FORMAT}")
            }
            Self::Damaged => f.write_str("a ban is damaged"),
        }
    }
}

impl std::error::Error for BadBan {}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    reason: &'a str,
    since: u64,
    until: Option<u64>,
}

/// What its subject is called in a store.
#[must_use]
pub(in crate::hub) fn key(subject: &Subject) -> Vec<u8> {
    // Texts and numbers always have a form, and a `Vec` takes whatever it is given.
    postcard::to_allocvec(subject).unwrap_or_default()
}

/// Key and value.
#[must_use]
pub(in crate::hub) fn to_fact(ban: &Ban) -> (Vec<u8>, Vec<u8>) {
    let written = Written {
        reason: &ban.reason,
        since: milliseconds(ban.since),
        until: ban.until.map(milliseconds),
    };
    let format = match ban.by {
        BannedBy::Operator | BannedBy::Broker => WITHOUT_POLICIES,
        BannedBy::Policy(_) => FORMAT,
    };
    let value = postcard::to_extend(&(written, &ban.by), vec![format]).unwrap_or_default();
    (key(&ban.subject), value)
}

/// The ban of a fact.
///
/// # Errors
/// When it is none of those that [`to_fact`] makes.
pub(in crate::hub) fn from_fact(key: &[u8], value: &[u8]) -> Result<Ban, BadBan> {
    let (format, written) = match value {
        [
            format @ (FORMAT | WITHOUT_POLICIES | OPERATORS_ONLY),
            written @ ..,
        ] => (*format, written),
        [format, ..] => return Err(BadBan::Format(*format)),
        [] => return Err(BadBan::Damaged),
    };
    let (Ok((subject, [])), Ok((written, rest))) = (
        postcard::take_from_bytes::<Subject>(key),
        postcard::take_from_bytes::<Written<'_>>(written),
    ) else {
        return Err(BadBan::Damaged);
    };
    let by = match (format, postcard::take_from_bytes::<BannedBy>(rest)) {
        (OPERATORS_ONLY, Err(_)) if rest.is_empty() => BannedBy::Operator,
        (WITHOUT_POLICIES, Ok((by @ (BannedBy::Operator | BannedBy::Broker), []))) => by,
        (FORMAT, Ok((by, []))) => by,
        _ => return Err(BadBan::Damaged),
    };
    let time = |milliseconds| {
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(milliseconds))
            .ok_or(BadBan::Damaged)
    };
    Ok(Ban {
        subject,
        reason: written.reason.to_owned(),
        by,
        since: time(written.since)?,
        until: written.until.map(time).transpose()?,
    })
}

fn milliseconds(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
