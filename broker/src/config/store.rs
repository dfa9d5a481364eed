//! The `[store]` table: how durable what is acknowledged is, and how soon.

use super::table::Table;
use super::value;
use sluice_store::Durability;
use std::time::Duration;

/// How the store in `data_dir` works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// How long a batch that somebody waits for waits for company.
    pub commit_delay: Duration,
    /// A batch of so many bytes does not wait.
    pub commit_bytes: u64,
    /// How often what nobody waits for is written.
    pub commit_interval: Duration,
    /// Bytes that wait to be written above which publishers are read more slowly.
    pub backlog_bytes_max: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            durability: Durability::Always,
            commit_delay: Duration::ZERO,
            commit_bytes: 4 << 20,
            commit_interval: Duration::from_millis(100),
            backlog_bytes_max: 64 << 20,
        }
    }
}

const DURABILITIES: [(&str, Durability); 2] =
    [("always", Durability::Always), ("interval", Durability::Interval)];

pub(super) fn read(mut table: Table<'_, '_>) -> StoreConfig {
    let mut store = StoreConfig::default();
    table.read("durability", &mut store.durability, value::choice(&DURABILITIES));
    table.read(
        "commit_delay",
        &mut store.commit_delay,
        value::duration(Duration::ZERO..=Duration::from_secs(1)),
    );
    table.read(
        "commit_bytes",
        &mut store.commit_bytes,
        value::size(64 << 10..=1 << 30),
    );
    table.read(
        "commit_interval",
        &mut store.commit_interval,
        value::duration(Duration::from_millis(10)..=Duration::from_secs(3600)),
    );
    table.read(
        "backlog_max",
        &mut store.backlog_bytes_max,
        value::size(1 << 20..=1 << 36),
    );
    table.finish();
    store
}
