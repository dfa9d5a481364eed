//! Encryption as clients and operators meet it: conversations, handshakes that come to nothing, certificates of clients,
//! renewed files.

mod certificates;
mod conversation;
mod flood;
mod handshake;
mod identity;
mod names;
mod reload;
mod watch;

use sluice_tests::broker::Broker;
use sluice_tests::log::LogLine;
use sluice_tests::packet::{V5, Version, connect};
use sluice_tests::peer::Peer;
use sluice_tests::tls::{Client, Identity};
use sluice_tests::{eventually, guests, unique};

/// A listener that encrypts, with further keys of its `[listener.tls]`, and one that does not.
pub fn config(keys: &str) -> String {
    format!(
        r#"
policies = ["echo"]
[[listener]]
name = "secure"
address = "127.0.0.1:0"
[listener.tls]
certificate = "chain.pem"
key = "key.pem"
{keys}
[[listener]]
name = "plain"
address = "127.0.0.1:0"
[limits]
packet_bytes_max = "2 MiB"
[policy.echo]
file = "echo.wasm"
"#
    )
}

/// A broker with that configuration that proves itself with this identity. It obeys signals and commands.
pub fn broker(identity: &Identity, keys: &str) -> Broker {
    broker_with(identity, keys, &[])
}

/// The same, with further files that the keys name.
pub fn broker_with(identity: &Identity, keys: &str, files: &[(&str, &str)]) -> Broker {
    let echo = guests::wasm("auth-echo");
    let mut all: Vec<(&str, &[u8])> = vec![
        ("echo.wasm", &echo),
        ("chain.pem", identity.certificate_pem.as_bytes()),
        ("key.pem", identity.key_pem.as_bytes()),
    ];
    all.extend(files.iter().map(|(name, text)| (*name, text.as_bytes())));
    let broker = Broker::with_files(&config(keys), &all);
    broker.wait_for_log("the admin socket", |line| line.is("admin_listening"));
    broker
}

/// A connected client with a clean session, over TLS.
pub fn join(broker: &Broker, client: &Client, version: Version) -> Peer {
    let mut peer = open(broker, client, version);
    peer.send(connect(version, unique("client")));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "the connection is accepted");
    peer
}

/// An encrypted connection on which nothing was sent yet.
pub fn open(broker: &Broker, client: &Client, version: Version) -> Peer {
    let stream = client
        .connect(broker.listener("secure"))
        .expect("the handshake succeeds");
    Peer::over(stream, version)
}

/// A client must not get in, for this reason; the line of the log that says so. With TLS 1.3 a client believes that it
/// is in until it reads.
pub fn turned_away(broker: &Broker, client: &Client, reason: &str) -> LogLine {
    let lines = || {
        let lines = broker.log_lines().into_iter();
        let ours = lines.filter(|line| line.is("tls_handshake_failed") && line.has("cause", reason));
        ours.collect::<Vec<_>>()
    };
    let (counted, told) = (failures(broker, reason), lines().len());
    if let Ok(stream) = client.connect(broker.listener("secure")) {
        let mut peer = Peer::over(stream, V5);
        peer.send(connect(V5, unique("client")));
        peer.expect_closed();
    }
    eventually("it is told", || lines().len() == told + 1);
    assert_eq!(failures(broker, reason), counted + 1, "it is counted");
    lines().pop().expect("a line")
}

/// How many handshakes came to nothing for this reason.
pub fn failures(broker: &Broker, reason: &str) -> u64 {
    let name = format!("sluice_tls_handshakes_failed_total{{reason=\"{reason}\"}}");
    metric(broker, &name).expect("a number")
}

/// What the metrics say.
pub fn metric(broker: &Broker, name: &str) -> Option<u64> {
    let text = metrics(broker);
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// All metrics of one name, added up.
pub fn sum(broker: &Broker, name: &str) -> u64 {
    let text = metrics(broker);
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then(|| value.parse::<u64>().ok())?
    });
    values.sum()
}

fn metrics(broker: &Broker) -> String {
    let output = broker.command(&["metrics"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
