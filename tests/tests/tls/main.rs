//! Encryption as clients and operators meet it: conversations, handshakes that come to nothing, renewed certificates.

mod conversation;
mod handshake;
mod reload;

use sluice_tests::broker::Broker;
use sluice_tests::packet::{Version, connect};
use sluice_tests::peer::Peer;
use sluice_tests::tls::{Client, Identity};
use sluice_tests::{guests, unique};

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
    let broker = Broker::with_files(
        &config(keys),
        &[
            ("echo.wasm", &guests::wasm("auth-echo")),
            ("chain.pem", identity.certificate_pem.as_bytes()),
            ("key.pem", identity.key_pem.as_bytes()),
        ],
    );
    broker.wait_for_log("the admin socket", |line| line.is("admin_listening"));
    broker
}

/// A connected client with a clean session, over TLS.
pub fn join(broker: &Broker, client: &Client, version: Version) -> Peer {
    let stream = client
        .connect(broker.listener("secure"))
        .expect("the handshake succeeds");
    let mut peer = Peer::over(stream, version);
    peer.send(connect(version, unique("client")));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "the connection is accepted");
    peer
}

/// What the metrics say.
pub fn metric(broker: &Broker, name: &str) -> Option<u64> {
    let output = broker.command(&["metrics"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
