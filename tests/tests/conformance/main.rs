//! The specification as conversations: raw packets against the binary, in MQTT 3.1, 3.1.1 and 5.0.
//!
//! Above each test stands what it proves: `v311[..]` and `v5[..]` name normative statements, `traps[..]` the list in
//! `spec/traps.toml`. `spec.rs` holds the suite to that.

mod aliases;
mod auth;
mod auth_enhanced;
mod brokers;
mod client_limits;
mod company;
mod connect;
mod connect_malformed;
mod delivery;
mod expiry;
mod flow;
mod keep_alive;
mod limits;
mod malformed;
mod malformed_text;
mod properties;
mod publish;
mod retain;
mod session;
mod session_expiry;
mod shared;
mod spec;
mod subscribe;
mod takeover;
mod topics;
mod unsubscribe;
mod will;
mod will_delay;
