//! A socket that accepts clients: where it is, who stands in front of it, and what is asked of those who come.

use super::table::{Parsed, Table, Wrong};
use super::{Address, ListenerGuard, Tls, WebSocket, address, budget, tls, value, websocket};
use crate::network::Network;
use crate::policy::budget::Budget;
use sluice_mqtt::packet::Version;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// A socket that accepts clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// For policies, logs and metrics: `[a-z0-9_-]`, at most 64 bytes.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// Its own chain of policies; `None`: the default chain.
    pub policies: Option<Vec<String>>,
    /// How it encrypts; `None`: not at all.
    pub tls: Option<Tls>,
    /// How it speaks WebSocket; `None`: MQTT follows without.
    pub websocket: Option<WebSocket>,
    /// Who may speak for clients.
    pub proxies: Proxies,
    /// Who may connect, and how many.
    pub guard: ListenerGuard,
    /// From the accept, or the end of the TLS handshake, to a complete CONNECT. What a proxy says of the client comes
    /// within the same time.
    pub connect_timeout: Duration,
    /// Versions it speaks, in ascending order, never empty.
    pub versions: Vec<Version>,
    /// What each of its clients may use, if less than the others.
    pub limits: Budget,
    /// What all of its clients together may use: only its rates count.
    pub total: Budget,
}

/// The proxies in front of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Every connection begins with a header of the PROXY protocol.
    pub protocol: bool,
    /// Addresses of those who are believed: on a unix socket all who may connect, and then this is empty. Nobody else may connect where [`Self::protocol`] is on. Where it is off,
    /// they say in X-Forwarded-For whom a WebSocket is for.
    pub trusted: Vec<Network>,
}

impl Listener {
    /// From the accept to a complete CONNECT, unless it is configured.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

    /// A listener with the default chain, for every version.
    #[must_use]
    pub fn new(name: impl Into<String>, address: impl Into<Address>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            policies: None,
            tls: None,
            websocket: None,
            proxies: Proxies::default(),
            guard: ListenerGuard::default(),
            connect_timeout: Self::CONNECT_TIMEOUT,
            versions: vec![Version::V31, Version::V311, Version::V5],
            limits: Budget::default(),
            total: Budget::default(),
        }
    }
}

/// `None`: a problem was noted.
pub(super) fn read(mut table: Table<'_, '_>, base: &Path) -> Option<Listener> {
    let name = table.required("name", value::name);
    let address = address::read(&mut table, base);
    let is_unix = matches!(address, Some(Address::Unix(_)));
    let policies = table.value("policies", value::texts);
    let mut connect_timeout = Listener::CONNECT_TIMEOUT;
    table.read(
        "connect_timeout",
        &mut connect_timeout,
        value::duration(Duration::from_millis(100)..=Duration::from_secs(3_600)),
    );
    let mut accepted = vec![Version::V31, Version::V311, Version::V5];
    table.read("versions", &mut accepted, versions);
    let tls = table.table("tls").and_then(|table| tls::read(table, base));
    if is_unix && tls.is_some() {
        let remedy = "nobody listens in on a unix socket: remove the key";
        table.problem("tls", Wrong::new("has no meaning here", remedy));
    }
    let websocket = table.table("websocket").map(websocket::read);
    let proxies = proxies(&mut table, websocket.is_some(), is_unix);
    let guard = ListenerGuard::read(&mut table, !is_unix);
    let placeholder = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut listener = Listener {
        policies,
        tls,
        websocket,
        proxies,
        guard,
        connect_timeout,
        versions: accepted,
        ..Listener::new("", placeholder)
    };
    limits(&mut table, &mut listener);
    table.finish();
    Some(Listener {
        name: name?,
        address: address?,
        ..listener
    })
}

fn proxies(table: &mut Table<'_, '_>, is_websocket: bool, is_unix: bool) -> Proxies {
    let mut proxies = Proxies::default();
    table.read("proxy_protocol", &mut proxies.protocol, value::boolean);
    let trusted = table.value("trusted_proxies", value::networks);
    let is_empty = trusted.as_ref().is_some_and(Vec::is_empty);
    match (&trusted, proxies.protocol) {
        (Some(_), _) if is_unix => table.problem(
            "trusted_proxies",
            Wrong::new(
                "has no meaning here",
                "whoever may connect to a unix socket is trusted: remove the key",
            ),
        ),
        (None, true) if is_unix => {}
        (Some(_), true) if is_empty => table.problem(
            "trusted_proxies",
            Wrong::new("nobody could connect", "name the addresses of the proxies"),
        ),
        (None, true) if !table.has_problem("trusted_proxies") => table.problem(
            "trusted_proxies",
            Wrong::new(
                "is missing",
                "with proxy_protocol it must name the proxies that are believed, such as [\"10.0.0.0/8\"]",
            ),
        ),
        (Some(_), false) if !is_websocket && !table.has_problem("proxy_protocol") => table.problem(
            "trusted_proxies",
            Wrong::new(
                "has no meaning here",
                "add proxy_protocol = true or a websocket, or remove the key",
            ),
        ),
        _ => {}
    }
    proxies.trusted = trusted.unwrap_or_default();
    proxies
}

/// What its clients may use: each of them, and all together.
pub(super) fn limits(table: &mut Table<'_, '_>, listener: &mut Listener) {
    if let Some(mut table) = table.table("limits") {
        budget::client(&mut table, &mut listener.limits);
        table.finish();
    }
    if let Some(mut table) = table.table("total") {
        budget::rates(&mut table, &mut listener.total);
        table.finish();
    }
}

fn versions(list: &toml::de::DeValue<'_>) -> Parsed<Vec<Version>> {
    let known = [
        ("3.1", Version::V31),
        ("3.1.1", Version::V311),
        ("5.0", Version::V5),
    ];
    let remedy = "use a list of \"3.1\", \"3.1.1\" and \"5.0\"";
    let mut accepted = BTreeSet::new();
    for text in value::texts(list)? {
        let version = known.iter().find(|(name, _)| *name == text);
        let (_, version) =
            version.ok_or_else(|| Wrong::new(format!("\"{text}\" is not a version of MQTT"), remedy))?;
        accepted.insert(*version);
    }
    if accepted.is_empty() {
        return Err(Wrong::new("no client could connect", remedy));
    }
    Ok(accepted.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, UnixSocket};

    fn parse(keys: &str) -> Result<Listener, Vec<String>> {
        let text = format!("[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n{keys}\n");
        match Config::parse(Path::new("/etc/sluice.toml"), &text) {
            Ok(mut config) => Ok(config.listeners.remove(0)),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_unix_socket_has_permissions_and_trusts_whoever_may_connect() {
        let unix = |keys: &str| {
            let text = format!("[[listener]]\nname = \"a\"\naddress = \"unix:run/mqtt.sock\"\n{keys}\n");
            match Config::parse(Path::new("/etc/sluice.toml"), &text) {
                Ok(mut config) => Ok(config.listeners.remove(0)),
                Err(problems) => Err(problems[0].to_string()),
            }
        };
        let listener = unix("socket_mode = \"0600\"\nsocket_group = \"mqtt\"\nproxy_protocol = true");
        let listener = listener.expect("no problems");
        let expected = UnixSocket {
            path: "/etc/run/mqtt.sock".into(),
            mode: 0o600,
            group: Some("mqtt".to_owned()),
        };
        assert_eq!(listener.address, Address::Unix(expected));
        assert!(listener.proxies.protocol);
        assert_eq!(listener.address.to_string(), "unix:/etc/run/mqtt.sock");
        for (keys, expected) in [
            (
                "socket_mode = 660",
                "listener[0].socket_mode: is no mode of a socket that the broker itself may use: write octal digits in \
                 quotes, such as \"0660\"",
            ),
            (
                "tls = { certificate = \"a\", key = \"b\" }",
                "listener[0].tls: has no meaning here: nobody listens in on a unix socket: remove the key",
            ),
            (
                "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.1\"]",
                "listener[0].trusted_proxies: has no meaning here: whoever may connect to a unix socket is trusted: \
                 remove the key",
            ),
        ] {
            let problem = unix(keys).expect_err(keys);
            assert!(problem.ends_with(expected), "{problem}");
        }
        assert_eq!(
            problem("socket_group = \"mqtt\""),
            "listener[0].socket_group: has no meaning here: it is about sockets with an address such as \
             \"unix:/run/sluice/mqtt.sock\""
        );
    }

    /// The only problem of these keys, without its place.
    fn problem(keys: &str) -> String {
        let problems = parse(keys).expect_err("a problem");
        let [problem] = &problems[..] else {
            panic!("{problems:#?}")
        };
        let (_, problem) = problem.split_once(": ").expect("a place");
        problem.to_owned()
    }

    #[test]
    fn whoever_demands_the_proxy_protocol_says_whom_it_trusts() {
        let listener = parse("proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]");
        let proxies = listener.expect("no problems").proxies;
        assert!(proxies.protocol);
        assert_eq!(
            proxies.trusted,
            ["10.0.0.0/8", "::1"].map(|text| text.parse().expect("a network"))
        );
        assert_eq!(parse("").expect("no problems").proxies, Proxies::default());
        for (keys, expected) in [
            (
                "proxy_protocol = true",
                "listener[0].trusted_proxies: is missing: with proxy_protocol it must name the proxies that are \
                 believed, such as [\"10.0.0.0/8\"]",
            ),
            (
                "proxy_protocol = true\ntrusted_proxies = []",
                "listener[0].trusted_proxies: nobody could connect: name the addresses of the proxies",
            ),
            (
                "trusted_proxies = [\"10.0.0.1\"]",
                "listener[0].trusted_proxies: has no meaning here: add proxy_protocol = true or a websocket, or \
                 remove the key",
            ),
            (
                "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.1/8\"]",
                "listener[0].trusted_proxies: 10.0.0.1/8 has bits behind its prefix; is it to be 10.0.0.0/8?",
            ),
            (
                "proxy_protocol = 1\ntrusted_proxies = [\"10.0.0.1\"]",
                "listener[0].proxy_protocol: is of the wrong type (integer): write true or false, without quotes",
            ),
            (
                "proxy_protocol = true\ntrusted_proxies = \"10.0.0.1\"",
                "listener[0].trusted_proxies: is of the wrong type (string): write a list of addresses, such as \
                 [\"10.0.0.0/8\", \"2001:db8::1\"]",
            ),
        ] {
            assert_eq!(problem(keys), expected, "{keys}");
        }
    }
}
