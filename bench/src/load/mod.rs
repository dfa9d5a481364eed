//! The load: MQTT clients in one thread, which cost less per message than any broker.

mod arrival;
mod fleet;
mod flow;
mod pacer;
mod traffic;

pub use arrival::{Arrival, arrive, subscribe_all};
pub use fleet::{ClientId, Fleet, Handler};
pub use flow::{Flow, Pace, Shape, Until};
pub use traffic::{Outcome, Probe, Traffic};

#[cfg(test)]
mod tests;
