//! MQTT 3.1, 3.1.1 and 5.0 as brokers need them: the codec, topics, and the state machines of a connection and of
//! a session.
//!
//! Nothing here does I/O or reads a clock: bytes and `now` are arguments, packets, events and deadlines are results,
//! so every behaviour can be replayed. The specification's words are used for the specification's things; section
//! numbers and statement ids (`[MQTT-3.3.1-2]`) refer to MQTT 5.0 unless a comment says 3.1.1.

pub mod conn;
pub mod limits;
pub mod message;
pub mod packet;
pub mod reason;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod topic;
pub mod will;
pub mod wire;
