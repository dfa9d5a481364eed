//! Who is too many, and who is kept out for having failed too often.

use super::read::U32;
use super::table::{Parsed, Table, Wrong};
use super::value;
use crate::network::Network;
use crate::policy::budget::Rate;
use std::time::Duration;
use toml::de::DeValue;

/// What holds for the clients of all listeners together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Open connections from one address (of IPv6: from one /64). `None`: any.
    pub connections_per_address_max: Option<u32>,
    /// New connections from one address. `None`: any.
    pub connects_per_address_per_second: Option<Rate>,
    /// So many failures of one address are too many. `None`: any.
    pub failures: Option<Threshold>,
    /// A client that comes in so often is too restless. `None`: any.
    pub flapping: Option<Threshold>,
    /// How long somebody is kept out.
    pub ban_for: Duration,
    /// Addresses to which nothing of all this applies.
    pub exempt: Vec<Network>,
}

/// So many within so long are too many; what lies further back counts less and less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// At least 1.
    pub count: u32,
    /// More than nothing.
    pub window: Duration,
}

/// What holds for the clients of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerGuard {
    /// The only addresses that may connect. `None`: all.
    pub allow: Option<Vec<Network>>,
    /// Addresses that may not, also if they are allowed.
    pub deny: Vec<Network>,
    /// Open connections. `None`: any.
    pub connections_max: Option<u32>,
    /// New connections. `None`: any.
    pub connects_per_second: Option<Rate>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            connections_per_address_max: None,
            connects_per_address_per_second: None,
            failures: None,
            flapping: None,
            ban_for: Duration::from_secs(300),
            exempt: Vec::new(),
        }
    }
}

pub(super) fn read(mut table: Table<'_, '_>, guard: &mut Guard) {
    let t = &mut table;
    t.read(
        "connections_per_address_max",
        &mut guard.connections_per_address_max,
        value::or_word("unlimited", value::integer(1..=U32)),
    );
    t.read(
        "connects_per_address_per_second",
        &mut guard.connects_per_address_per_second,
        value::or_word("unlimited", value::rate(connects)),
    );
    guard.failures = threshold(t, ["failures_max", "failures_window"]);
    guard.flapping = threshold(t, ["flapping_max", "flapping_window"]);
    t.read(
        "ban_for",
        &mut guard.ban_for,
        value::duration(Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3_600)),
    );
    t.read("exempt", &mut guard.exempt, value::networks);
    table.finish();
}

fn threshold(table: &mut Table<'_, '_>, [count, window]: [&'static str; 2]) -> Option<Threshold> {
    let count = table.value(count, value::or_word("unlimited", value::integer(1..=1_000_000)));
    let mut within = Duration::from_secs(60);
    table.read(
        window,
        &mut within,
        value::duration(Duration::from_secs(1)..=Duration::from_secs(24 * 3_600)),
    );
    count.flatten().map(|count| Threshold {
        count,
        window: within,
    })
}

impl ListenerGuard {
    /// Reads the keys of a listener. `is_ip`: whether its clients have addresses.
    pub(super) fn read(table: &mut Table<'_, '_>, is_ip: bool) -> Self {
        let mut guard = Self::default();
        let allow = table.value("allow", value::networks);
        let deny = table.value("deny", value::networks);
        if allow.as_ref().is_some_and(Vec::is_empty) {
            let remedy = "name addresses, or remove the key";
            table.problem("allow", Wrong::new("nobody could connect", remedy));
        }
        for (key, is_said) in [("allow", allow.is_some()), ("deny", deny.is_some())] {
            if is_said && !is_ip {
                let remedy = "who may connect to a unix socket is said by socket_mode and socket_group";
                table.problem(key, Wrong::new("has no meaning here", remedy));
            }
        }
        guard.allow = allow;
        guard.deny = deny.unwrap_or_default();
        table.read(
            "connections_max",
            &mut guard.connections_max,
            value::or_word("unlimited", value::integer(1..=U32)),
        );
        table.read(
            "connects_per_second",
            &mut guard.connects_per_second,
            value::or_word("unlimited", value::rate(connects)),
        );
        guard
    }
}

/// Connections a second, or at once.
fn connects(value: &DeValue<'_>) -> Parsed<u64> {
    value::integer(1..=1_000_000)(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Listener};
    use std::path::Path;

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        let lines =
            |problems: Vec<crate::config::Problem>| problems.iter().map(ToString::to_string).collect();
        Config::parse(Path::new("sluice.toml"), text).map_err(lines)
    }

    fn listener(address: &str, keys: &str) -> Result<Listener, Vec<String>> {
        let text = format!("[[listener]]\nname = \"a\"\naddress = \"{address}\"\n{keys}\n");
        parse(&text).map(|mut config| config.listeners.remove(0))
    }

    #[test]
    fn nothing_is_limited_unless_it_is_said() {
        let guard = parse("").expect("no problems").guard;
        assert_eq!(guard, Guard::default());
        let text = "[guard]\nconnections_per_address_max = 20\nconnects_per_address_per_second = { per_second = 1, burst = 10 }\n\
                    failures_max = 5\nflapping_max = 15\nflapping_window = \"2 min\"\nban_for = \"1 h\"\nexempt = [\"10.0.0.0/8\"]";
        let threshold = |count, seconds| {
            let window = Duration::from_secs(seconds);
            Some(Threshold { count, window })
        };
        let expected = Guard {
            connections_per_address_max: Some(20),
            connects_per_address_per_second: Some(Rate {
                per_second: 1,
                burst: 10,
            }),
            failures: threshold(5, 60),
            flapping: threshold(15, 120),
            ban_for: Duration::from_secs(3_600),
            exempt: vec!["10.0.0.0/8".parse().expect("a network")],
        };
        assert_eq!(parse(text).expect("no problems").guard, expected);
    }

    #[test]
    fn a_listener_says_who_may_connect_and_how_many() {
        let keys =
            "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.6.6.6\"]\nconnections_max = 7\nconnects_per_second = 3";
        let guard = listener("0.0.0.0:1", keys).expect("no problems").guard;
        assert_eq!(guard.allow.map(|allow| allow.len()), Some(1));
        assert_eq!(guard.deny.len(), 1);
        assert_eq!(guard.connections_max, Some(7));
        let rate = Rate {
            per_second: 3,
            burst: 3,
        };
        assert_eq!(guard.connects_per_second, Some(rate));
        for (address, keys, expected) in [
            (
                "0.0.0.0:1",
                "allow = []",
                "listener[0].allow: nobody could connect: name addresses, or remove the key",
            ),
            (
                "unix:a.sock",
                "deny = [\"10.0.0.0/8\"]",
                "listener[0].deny: has no meaning here: who may connect to a unix socket is said by socket_mode and \
                 socket_group",
            ),
        ] {
            let problems = listener(address, keys).expect_err("a problem");
            assert!(
                problems.iter().any(|problem| problem.ends_with(expected)),
                "{problems:?}"
            );
        }
    }
}
