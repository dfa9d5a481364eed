//! The wait for a batch to be durable.

use crate::store::Store;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Names a batch: what was submitted under a ticket is durable together with all else under it, or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// Nothing was submitted; there is nothing to wait for.
    pub const NONE: Self = Self(0);

    /// Whether nothing was submitted.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// Nobody knows whether the batch is on disk: writing it failed, or the store was closed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InDoubt;

impl fmt::Display for InDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store could not write it")
    }
}

impl std::error::Error for InDoubt {}

/// Ready when a batch is durable, see [`Store::wait`].
#[derive(Clone, Debug)]
#[must_use = "it waits only if it is awaited"]
pub struct Wait {
    pub(crate) store: Store,
    pub(crate) ticket: Ticket,
}

impl Future for Wait {
    type Output = Result<(), InDoubt>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.store.poll_durable(self.ticket, context.waker())
    }
}
