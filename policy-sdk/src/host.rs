//! What the broker does for a policy.
//!
//! [`log`] is always there. Each of the others is a capability: a policy that uses it is loaded only if the operator
//! grants it (`capabilities = ["kv"]`). In `cargo test` the broker's side is played by [`crate::testing`].

#[cfg(target_arch = "wasm32")]
use crate::bindings::host::sluice::policy as broker;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::double as broker;

/// Lines in the broker's log; see the macros in [`crate::log`].
pub mod log {
    use super::broker;
    pub use crate::bindings::host::sluice::policy::log::Level;

    /// Writes one line.
    pub fn write(level: Level, message: &str) {
        broker::log::write(level, message);
    }

    /// Hands over the text of a panic.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn panic(message: &str) {
        broker::log::panic(message);
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn panic(message: &str) {
        broker::log::write(Level::Error, message);
    }
}

/// Capability `clock`.
pub mod clock {
    use super::broker;

    /// Milliseconds since the beginning of 1970.
    pub fn now_unix_milliseconds() -> u64 {
        broker::clock::now_unix_milliseconds()
    }
}

/// Capability `random`.
pub mod random {
    use super::broker;

    /// From the operating system's generator.
    pub fn next_u64() -> u64 {
        broker::random::next_u64()
    }
}

/// Capability `metrics`.
pub mod metrics {
    use super::broker;

    /// Adds to a counter of the policy's own, which the broker exposes. Names are `[a-z_][a-z0-9_]*`, at most 64 bytes
    /// long and 64 per policy; others are ignored and logged.
    pub fn increment(name: &str, delta: u64) {
        broker::metrics::increment(name, delta);
    }
}

/// Capability `kv`: a small store, shared by all instances and generations of the policy and bounded in bytes. Keys
/// have at most 256 bytes, values at most 4 KiB. Without a time to live a value stays until the broker stops.
pub mod kv {
    use std::time::Duration;

    use super::broker;

    /// The value under a key.
    pub fn get(key: &str) -> Option<Vec<u8>> {
        broker::kv::get(key)
    }

    /// Stores a value. False when the store is full, or the key or the value too long.
    #[must_use]
    pub fn put(key: &str, value: &[u8], ttl: Option<Duration>) -> bool {
        broker::kv::put(key, value, seconds(ttl))
    }

    /// Forgets a value.
    pub fn delete(key: &str) {
        broker::kv::delete(key);
    }

    /// Adds to a counter kept under the key and returns its new value; the time to live is set when it is created.
    /// `None` when the store is full or the value is no counter.
    pub fn increment(key: &str, delta: i64, ttl: Option<Duration>) -> Option<i64> {
        broker::kv::increment(key, delta, seconds(ttl))
    }

    /// 0 is for ever.
    fn seconds(ttl: Option<Duration>) -> u32 {
        ttl.map_or(0, super::whole_seconds)
    }
}

/// Capability `bans`: keeps clients out for a while, at every listener and also those this policy does not judge. A ban
/// outlives the policy and, where the broker keeps sessions on disk, the broker.
pub mod bans {
    use std::time::Duration;

    use super::broker;
    pub use crate::bindings::host::sluice::policy::bans::Target;

    /// Bans somebody, for a second at least and a day at most. It holds at once; connections it concerns are ended after
    /// the current call has returned. The client and the log are told why; of that the first 256 bytes count. A ban that
    /// lasts longer stays, and so does the operator's; that is true, too.
    ///
    /// False, and nobody is banned: when the target is not valid (a name of 1 to 1024 bytes; an address, or a network of
    /// at least 16 bits of an IPv4 address or 32 of an IPv6 one), when this policy has 10,000 bans, or when the broker
    /// has no room.
    #[must_use]
    pub fn ban(target: &Target, length: Duration, why: &str) -> bool {
        broker::bans::ban(target, super::whole_seconds(length), why)
    }

    /// Takes back a ban that this policy has set. False when there is none, or it is someone else's.
    pub fn unban(target: &Target) -> bool {
        broker::bans::unban(target)
    }
}

/// Rounded up, and at least one.
fn whole_seconds(time: std::time::Duration) -> u32 {
    let seconds = time.as_nanos().div_ceil(1_000_000_000).max(1);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Capability `sessions`: acts on live sessions, after the current call has returned.
pub mod sessions {
    use super::broker;
    use crate::bindings::host::sluice::policy::types::Budget;
    use crate::reason::Reason;

    /// Ends a session's connection. Unknown sessions are ignored.
    pub fn disconnect(session: u64, reason: Reason) {
        broker::sessions::disconnect(session, reason.code());
    }

    /// Replaces the budget this policy set for the session, as a whole: what the new one does not limit, this policy
    /// limits no longer. It holds on the live connection within moments, and until the next admission or refresh says
    /// otherwise. Sessions that are unknown, without a connection, or not judged by this policy are ignored.
    pub fn set_budget(session: u64, budget: Budget) {
        broker::sessions::set_budget(session, budget);
    }
}
