//! Conversations over a connection with its session behind it: the client must get what it is owed.
//!
//! Any input is a script of what both ends do; see [`sluice_mqtt::testing::script`].

/// Plays one script.
pub fn run(data: &[u8]) {
    sluice_mqtt::testing::script::play(data);
}
