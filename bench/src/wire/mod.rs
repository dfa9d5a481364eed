//! As much of MQTT as a load needs: packets encoded once, answers found in a stream of bytes.

mod frames;
mod scan;

pub use frames::{Credentials, DISCONNECT, Message, Version, connect, connect_kept, puback, subscribe};
pub use scan::{Malformed, Packet, Scanner};

/// A payload begins with when it was sent (8 bytes) and by whom (4 bytes).
pub const PAYLOAD_BYTES_MIN: usize = 12;
