//! What the store tells the broker.

use std::time::Duration;

/// Told what happens; called without any lock of the store, mostly by its own thread, which waits meanwhile.
pub trait Observer: Send + Sync {
    /// A write or a sync failed: nothing is durable until [`Observer::recovered`]. Said once.
    fn failing(&self, why: &str);
    /// All that had failed is on disk.
    fn recovered(&self);
    /// The message with this number cannot be read.
    fn unreadable(&self, seq: u64, why: &str);
    /// Opening the store takes long: so much of `what` is done.
    fn progress(&self, what: &str, done: u64, total: u64);
    /// A batch is on disk.
    fn committed(&self, commit: &Committed);
}

/// A batch that is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Messages in it that were written: one whose recipients were all done already is not.
    pub messages: u64,
    /// Bytes of rows that were written.
    pub bytes: u64,
    /// From when the batch was closed until it was durable.
    pub duration: Duration,
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn failing(&self, _why: &str) {}
    fn recovered(&self) {}
    fn unreadable(&self, _seq: u64, _why: &str) {}
    fn progress(&self, _what: &str, _done: u64, _total: u64) {}
    fn committed(&self, _commit: &Committed) {}
}
