//! How durable, how soon, how much.

use std::path::PathBuf;
use std::time::Duration;

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory it lives in; made if it is not there.
    pub data_dir: PathBuf,
    /// What a durable ticket promises.
    pub durability: Durability,
    /// How long a batch that somebody waits for waits for company.
    pub commit_delay: Duration,
    /// A batch of so many bytes does not wait.
    pub commit_bytes: u64,
    /// How often what nobody waits for is written; with [`Durability::Interval`], what a power loss may cost.
    pub commit_interval: Duration,
    /// Bytes that are not on disk yet above which [`crate::Store::is_congested`].
    pub backlog_bytes_max: u64,
    /// How often it is tried again to write what could not be written.
    pub retry_interval: Duration,
}

/// What a durable ticket promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk.
    Always,
    /// It will be within [`Options::commit_interval`], if the process and the machine live.
    Interval,
}

impl Options {
    /// Always durable, without delay.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            durability: Durability::Always,
            commit_delay: Duration::ZERO,
            commit_bytes: 4 << 20,
            commit_interval: Duration::from_millis(100),
            backlog_bytes_max: 64 << 20,
            retry_interval: Duration::from_secs(1),
        }
    }
}
