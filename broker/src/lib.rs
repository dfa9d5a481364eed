//! The library behind the `sluice` binary.

pub mod config;
pub mod event;
pub mod metrics;
pub mod policy;
