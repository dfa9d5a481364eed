//! What the broker may rely on, seen from outside.

// A test that cannot go on fails by panicking, also in what it uses.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod caring;
mod failing;
mod lost;
mod obstacles;
mod scene;
mod starting;
mod waiting;
