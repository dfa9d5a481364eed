//! The library behind the `sluice` binary.

pub mod config;
pub mod event;
pub mod log;
pub mod metrics;
pub mod policy;
