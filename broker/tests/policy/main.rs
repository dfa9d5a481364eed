//! The policy host, asked as the broker asks it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed helper fails its test; clippy.toml allows these in test functions only"
)]

mod chain;
mod guest;
mod hostile;
mod load;
mod many;
mod quick;
mod recall;
mod stored;
mod support;
mod swap;
mod watch;
