//! What is wrong with a file, or deserves attention.

use std::fmt::Display;
use std::path::Path;
use std::time::SystemTime;
use x509_parser::prelude::ASN1Time;

/// Something about one of the files that a listener names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The key of `[listener.tls]` that names the file, such as `sni[0].key`.
    pub(super) key: String,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (key, what, remedy) = (key.into(), what.into(), remedy.into());
        Self { key, what, remedy }
    }
}

/// A file of a listener with the moment at which the first thing in it that counts expires, for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) file: String,
    /// In seconds of Unix time.
    pub(super) unix_seconds: u64,
}

impl Expiry {
    pub(super) fn of(file: &Path, end: ASN1Time) -> Self {
        Self {
            file: file.display().to_string(),
            unix_seconds: unix_seconds(end),
        }
    }
}

/// Where a moment stands to the validity of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    NotYetValid,
    Valid,
    /// So many whole days are left, fewer than were asked about.
    Ending(i64),
    Expired,
}

/// As of `now`; the last `warning_days` are [`Age::Ending`].
pub(super) fn age(begin: ASN1Time, end: ASN1Time, warning_days: i64, now: SystemTime) -> Age {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let days = (end.timestamp() - now) / DAY_SECONDS;
    if now > end.timestamp() {
        Age::Expired
    } else if now < begin.timestamp() {
        Age::NotYetValid
    } else if days < warning_days {
        Age::Ending(days)
    } else {
        Age::Valid
    }
}

pub(super) fn unix_seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

/// The day, in UTC.
pub(super) fn date(time: ASN1Time) -> impl Display {
    let date = time.to_datetime().date();
    format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

const DAY_SECONDS: i64 = 24 * 3600;
