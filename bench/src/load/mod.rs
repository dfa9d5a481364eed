//! The load: MQTT clients in one thread, which cost less per message than any broker.

mod arrival;
mod backlog;
mod connection;
mod encryption;
mod fleet;
mod flow;
mod pacer;
mod traffic;

pub use arrival::{Arrival, arrive, arrive_as, subscribe_all};
pub use connection::Door;
pub use encryption::Encryption;
pub use fleet::{ClientId, Fleet, Handler};
pub use flow::{Batch, Flow, Pace, Shape, Until};
pub use traffic::{Outcome, Probe, Traffic};

#[cfg(test)]
mod tests;
