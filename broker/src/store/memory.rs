//! The store of a broker without a `data_dir`: sessions and retained messages live as long as the process.

use super::{Record, Store};

/// Keeps nothing beyond what the hub holds in memory.
#[derive(Debug, Default)]
pub struct Memory;

impl Store for Memory {
    fn append(&self, _record: Record<'_>) {}
}
