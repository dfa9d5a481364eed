//! The library behind the `sluice` binary.

pub mod policy;
