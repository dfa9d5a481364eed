//! The library behind the `sluice` binary: an MQTT broker whose gate is a chain of WebAssembly policies.
//!
//! [`run`] is the wiring diagram: it builds every part in the order of their dependencies and hands each the parts
//! it may know. See `ARCHITECTURE.md` for the way of a packet, of a decision and of a policy swap.

pub mod admin;
pub mod cli;
pub mod config;
pub mod confinement;
pub mod event;
pub mod hub;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod network;
pub mod policy;
pub mod pulse;
pub mod throttle;

mod content;
mod encryption;
mod exposition;
mod gating;
mod operate;
mod report;
mod service;
mod storing;

pub use operate::{ReadConfig, RunError, run};
