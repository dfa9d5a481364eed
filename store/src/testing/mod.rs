//! For tests: a disk that fails as disks do, and runs that compare a store on it with a model of what it promised.
//!
//! A run is a function of its kind and its seed: one that fails is printed and replays.

mod dice;
mod flips;
mod plate;
mod run;
mod world;

pub use dice::Dice;
pub use plate::{Braked, Plate, Trouble};
pub use run::{Kind, Tally, run};

/// Waits for a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    crate::park::block_on(future)
}
