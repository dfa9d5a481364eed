//! What outlives the process: sessions, their queues and what they have in flight, retained messages, and facts.
//!
//! ```text
//!  submit ──► current batch ──► commit thread: ledger ──► rows ──► one transaction, synced ──► tickets are durable
//!                (journal)          (who still needs what)             (engine)                  (wakers)
//! ```
//!
//! The broker submits small changes. Each belongs to a numbered batch, whose number is its [`Ticket`]: all of a batch
//! is durable together, or nothing of it. Asking for a ticket is what makes the commit thread write its batch now;
//! while it does, the next batch gathers what comes meanwhile. So one publisher waits for one sync, and a thousand
//! share one.
//!
//! Each message is stored once, under a number that rises with time, beside a small row that says for whom it is. What
//! a session has sent, skipped and got acknowledged is one row of its own, rewritten in each batch that changes it.
//! When no session needs a message any more its rows are deleted; if that is so before its batch is written, they are
//! never written.
//!
//! After a failed write or sync nothing is acknowledged until the same work has succeeded: [`InDoubt`], [`Health`].

mod batch;
pub mod care;
mod change;
mod commit;
mod data_dir;
mod engine;
mod error;
mod journal;
mod ledger;
mod observer;
mod options;
mod park;
mod recovered;
mod recovery;
mod row;
mod running;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod ticket;
mod wall;

pub use change::{
    Change, MessageRecord, Phase, QueueLimits, Recipient, SessionRecord, StoredMessage, WillRecord,
};
pub use engine::Disk;
pub use error::{OpenError, ReadError};
pub use journal::Health;
pub use observer::{Committed, Observer, Unobserved};
pub use options::{Durability, Options};
pub use recovered::{Awaits, Exchange, Fact, Recovered, RecoveredSession, Stored};
pub use store::{Store, Submission};
pub use ticket::{InDoubt, Ticket, Wait};
