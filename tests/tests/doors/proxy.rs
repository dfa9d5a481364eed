//! Clients that a load balancer announces with the PROXY protocol.

use crate::{broker, broker_with, metric, shed};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Encode, V5, Version, connect};
use sluice_tests::peer::Peer;
use sluice_tests::tls::Identity;
use sluice_tests::transport::{Transport, tcp};
use sluice_tests::{eventually, unique};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

const LISTENER: &str = r#"
[[listener]]
name = "balanced"
address = "127.0.0.1:0"
proxy_protocol = true
trusted_proxies = ["127.0.0.1", "::1"]
connect_timeout = "3 s"
"#;

/// Version 1.
pub fn line(client: &str, port: u16) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.1 {port} 1883\r\n").into_bytes()
}

fn vector(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a short value").to_be_bytes();
    [&[kind], &length[..], value].concat()
}

/// Version 2, with extensions.
pub fn binary(client: &str, port: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
    let client: Ipv4Addr = client.parse().expect("an address");
    let addresses = [
        &client.octets()[..],
        &[198, 51, 100, 1],
        &port.to_be_bytes(),
        &[7, 91],
    ]
    .concat();
    header(0x21, 0x11, &[addresses, extensions.concat()].concat())
}

fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

/// A connection that begins with these bytes.
fn announced(address: SocketAddr, header: &[u8], version: Version) -> Peer {
    let mut socket = tcp(address);
    socket.write_all(header).expect("the header is sent");
    Peer::over(Transport::Plain(socket), version)
}

/// Lets a client in and returns whom the broker took it for.
fn join(broker: &Broker, peer: &mut Peer) -> String {
    let id = unique("client");
    peer.send(connect(peer.version(), &id).username("whence"));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "it is let in");
    principal(broker, &id)
}

fn principal(broker: &Broker, id: &str) -> String {
    let line = broker.wait_for_log("the client", |line| {
        line.is("client_connected") && line.has("client_id", id)
    });
    line.text_field("principal").expect("a principal")
}

#[test]
fn policies_logs_and_bans_see_the_client_and_not_the_proxy() {
    let broker = broker(LISTENER);
    let mut clients = Vec::new();
    for version in BOTH {
        let mut old = announced(broker.address(), &line("192.0.2.1", 40_001), version);
        let whence = join(&broker, &mut old);
        assert_eq!(whence, "192.0.2.1 40001 by 127.0.0.1 named nothing, local: false");
        let extensions = [vector(0x05, b"c0ffee-7")];
        let mut new = announced(
            broker.address(),
            &binary("192.0.2.2", 40_002, &extensions),
            version,
        );
        let whence = join(&broker, &mut new);
        assert_eq!(whence, "192.0.2.2 40002 by 127.0.0.1 named nothing, local: false");
        clients.extend([old, new]);
    }
    clients.iter_mut().for_each(Peer::ping);
    broker.wait_for_log("where it comes from", |line| {
        line.is("client_connected")
            && line.has("peer", "192.0.2.2")
            && line.has("port", "40002")
            && line.has("proxy", "127.0.0.1")
            && line.has("unique_id", "c0ffee-7")
    });

    let banned = broker.sluice(&["client", "ban", "--address", "192.0.2.1"]);
    assert_eq!(
        banned.as_deref(),
        Ok("address 192.0.2.1 is banned; ended 2 connections\n")
    );
    let mut banned = announced(broker.address(), &line("192.0.2.1", 40_003), V5);
    banned.expect_closed();
    let line = broker.wait_for_log("the ban", |line| line.is("connection_shed"));
    assert!(line.has("peer", "192.0.2.1") && line.has("port", "40003") && line.has("reason", "banned"));
    join(
        &broker,
        &mut announced(broker.address(), &binary("192.0.2.2", 1, &[]), V5),
    );
    clients[3].ping();
    assert_eq!(shed(&broker, "banned"), 1);
}

#[test]
fn a_header_may_arrive_byte_by_byte_and_with_what_follows_it() {
    let broker = broker(LISTENER);
    for header in [
        line("192.0.2.7", 7),
        binary("192.0.2.7", 7, &[vector(0x02, b"x")]),
    ] {
        let mut slow = Peer::open(broker.address(), V5);
        for byte in &header {
            slow.send([*byte]);
        }
        assert!(join(&broker, &mut slow).starts_with("192.0.2.7 7 "));
        let id = unique("client");
        let connect = connect(V5, &id).username("whence").bytes(V5);
        let mut eager = announced(broker.address(), &[header, connect].concat(), V5);
        assert_eq!(eager.expect_connack().code, 0);
        assert!(principal(&broker, &id).starts_with("192.0.2.7 7 "));
    }
}

#[test]
fn what_the_proxy_knows_of_its_tls_reaches_the_policy() {
    let broker = broker(LISTENER);
    let tls = [
        &[0x03, 0, 0, 0, 0][..],
        &vector(0x21, b"TLSv1.3"),
        &vector(0x22, b"meter-7"),
    ]
    .concat();
    let header = binary("192.0.2.1", 1, &[vector(0x02, b"mqtt.test"), vector(0x20, &tls)]);
    let mut named = announced(broker.address(), &header, V5);
    assert!(join(&broker, &mut named).contains(" named meter-7,"));
    let mut seen = announced(broker.address(), &header, V5);
    let id = unique("client");
    seen.send(connect(V5, &id).username("seen"));
    assert_eq!(seen.expect_connack().code, 0);
    assert_eq!(principal(&broker, &id), "TLSv1.3  Some(\"mqtt.test\")");
}

#[test]
fn a_header_comes_before_the_brokers_own_tls() {
    let identity = Identity::new();
    let listener = format!("{LISTENER}tls = {{ certificate = \"chain.pem\", key = \"key.pem\" }}\n");
    let files: &[(&str, &[u8])] = &[
        ("chain.pem", identity.certificate_pem.as_bytes()),
        ("key.pem", identity.key_pem.as_bytes()),
    ];
    let broker = broker_with(&listener, files);
    for header in [line("192.0.2.7", 7), binary("192.0.2.7", 7, &[])] {
        let mut socket = tcp(broker.address());
        socket.write_all(&header).expect("the header is sent");
        let stream = identity.client().shake_hands(socket).expect("a handshake");
        let mut client = Peer::over(stream, V5);
        assert!(join(&broker, &mut client).starts_with("192.0.2.7 7 by 127.0.0.1 "));
        client.ping();
    }
    assert!(
        identity.client().connect(broker.address()).is_err(),
        "not without a header"
    );
}

#[test]
fn nobody_but_a_trusted_proxy_may_connect() {
    let listener = LISTENER.replace("\"127.0.0.1\", \"::1\"", "\"192.0.2.0/24\", \"::1\"");
    let broker = broker(&listener);
    let mut forger = announced(broker.address(), &line("192.0.2.1", 1), V5);
    forger.expect_closed();
    let line = broker.wait_for_log("the refusal", |line| line.is("connection_shed"));
    assert!(
        line.has("peer", "127.0.0.1") && line.has("reason", "proxy_untrusted"),
        "{}",
        line.text
    );
    assert_eq!(shed(&broker, "proxy_untrusted"), 1);
}

#[test]
fn a_connection_without_a_proper_header_is_closed_and_counted() {
    let broker = broker(LISTENER);
    let mqtt = connect(V5, "bare").bytes(V5);
    for bytes in [
        mqtt,
        b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
        header(0x21, 0x00, &[]),
        header(0x21, 0x11, &[0; 11]),
        binary("192.0.2.1", 1, &[vec![2, 0, 9]]),
    ] {
        announced(broker.address(), &bytes, V5).expect_closed();
    }
    let text = "no PROXY header; is proxy_protocol to be off, or send-proxy missing at the proxy?";
    broker.wait_for_log("the first of them", |line| {
        line.is("connection_shed") && line.has("reason", "proxy_header") && line.has("text", text)
    });
    let mut broken = announced(broker.address(), b"PROXY TCP4 ", V5);
    broken.shut_down_sending();
    broken.expect_closed();
    eventually("each is counted", || shed(&broker, "proxy_header") == 6);
    join(
        &broker,
        &mut announced(broker.address(), &line("192.0.2.1", 1), V5),
    );
}

#[test]
fn health_checks_end_without_a_word() {
    let broker = broker(LISTENER);
    for check in [header(0x20, 0, &[]), b"PROXY UNKNOWN\r\n".to_vec()] {
        announced(broker.address(), &check, V5).expect_closed();
    }
    announced(broker.address(), b"", V5).vanish();
    eventually("both are counted", || {
        metric(&broker, "sluice_proxy_checks_total") == Some(2)
    });
    join(
        &broker,
        &mut announced(broker.address(), &line("192.0.2.1", 1), V5),
    );
    let talk = broker
        .log_lines()
        .into_iter()
        .filter(|line| line.is("connection_shed"));
    assert_eq!(talk.count(), 0);
}

#[test]
fn a_header_that_does_not_come_is_waited_for_no_longer_than_a_connect() {
    let broker = broker(&LISTENER.replace("3 s", "500 ms"));
    let mut silent = announced(broker.address(), b"", V5);
    let mut half = announced(broker.address(), b"PROXY TCP4 192.0.2.1 ", V5);
    let mut mute = announced(broker.address(), &line("192.0.2.9", 9), V5);
    silent.expect_closed();
    half.expect_closed();
    mute.expect_closed();
    broker.wait_for_log("the end of patience", |line| {
        line.is("connection_shed") && line.has("text", "no PROXY header within 500 ms")
    });
    broker.wait_for_log("no CONNECT", |line| {
        line.is("protocol_error") && line.has("peer", "192.0.2.9")
    });
    assert_eq!(shed(&broker, "proxy_header"), 2);
}
