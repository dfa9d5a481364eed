//! For tests: a disk that fails as disks do, and runs that compare a store on it with a model of what it promised.
//!
//! A run is a function of its kind and its seed: one that fails is printed and replays.

mod dice;
mod flips;
mod plate;
mod roots;
mod run;
mod world;

use crate::change::{Phase, QueueLimits, SessionRecord};

pub use dice::Dice;
pub use plate::{Braked, Plate, Trouble};
pub use roots::lose_root;
pub use run::{Kind, Tally, run};

/// A session that has no connection and never ends.
#[must_use]
pub fn offline_session(number: u64) -> SessionRecord {
    SessionRecord {
        number,
        mountpoint: String::new(),
        client_id: format!("client-{number}"),
        username: None,
        address: None,
        expiry_seconds: u32::MAX,
        phase: Phase::Offline { expires_at: None },
        will: None,
        limits: QueueLimits::default(),
        gate: Vec::new(),
    }
}

/// Waits for a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    crate::park::block_on(future)
}
