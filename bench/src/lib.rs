//! Measures MQTT brokers side by side. It knows them as processes and sockets only.
//!
//! `wire` makes and finds packets, `load` drives clients, `measure` reads clocks and `/proc`, `broker` starts and
//! stops brokers, `case` says what is measured, `report` shows it, `cli` ties them together.

pub mod broker;
pub mod case;
pub mod cli;
pub mod clock;
pub mod failure;
pub mod load;
pub mod measure;
pub mod report;
pub mod wire;
