//! The brokers of the suite: one with its defaults for nearly all tests, others where a limit or a policy matters.

use sluice_tests::broker::Broker;
use sluice_tests::guests;
use std::sync::LazyLock;

static DEFAULT: LazyLock<Broker> = LazyLock::new(Broker::start);
static SMALL: LazyLock<Broker> = LazyLock::new(|| Broker::with_config(SMALL_CONFIG));
static MODEST: LazyLock<Broker> = LazyLock::new(|| Broker::with_config(MODEST_CONFIG));
static GUARDED: LazyLock<Broker> = LazyLock::new(guarded_by_itself);

/// The broker without configuration, shared by all tests of this process.
pub(crate) fn broker() -> &'static Broker {
    &DEFAULT
}

/// A broker with small limits; its second listener, `hasty`, waits one second for a CONNECT.
pub(crate) fn small() -> &'static Broker {
    &SMALL
}

/// A broker without QoS 2, retained messages and topic aliases.
pub(crate) fn modest() -> &'static Broker {
    &MODEST
}

/// A broker whose gate is the policy in `tests/guests/auth-echo`, with a `hasty` listener as well.
pub(crate) fn guarded() -> &'static Broker {
    &GUARDED
}

/// The same, not shared: its configuration may be changed.
pub(crate) fn guarded_by_itself() -> Broker {
    Broker::with_files(
        &guarded_config("[]"),
        &[("echo.wasm", &guests::wasm("auth-echo"))],
    )
}

/// The configuration of a guarded broker that refuses topics with these prefixes, besides `forbidden/`.
pub(crate) fn guarded_config(closed: &str) -> String {
    format!(
        r#"
policies = ["echo"]
[[listener]]
name = "default"
address = "127.0.0.1:0"
[[listener]]
name = "hasty"
address = "127.0.0.1:0"
connect_timeout = "1 s"
[policy.echo]
file = "echo.wasm"
settings = {{ closed = {closed} }}
"#
    )
}

const SMALL_CONFIG: &str = r#"
[[listener]]
name = "default"
address = "127.0.0.1:0"
[[listener]]
name = "hasty"
address = "127.0.0.1:0"
connect_timeout = "1 s"
[limits]
packet_bytes_max = "1000 B"
receive_max = 3
topic_alias_max = 2
session_expiry_max = "1 h"
keep_alive_max = "5 min"
subscriptions_max = 5
"#;

const MODEST_CONFIG: &str = r#"
[[listener]]
name = "default"
address = "127.0.0.1:0"
[limits]
qos_max = 1
retain_available = false
topic_alias_max = 0
"#;
