//! Who is kept out before a byte of MQTT is trusted.

use crate::{broker, metric, shed};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::{BOTH, Encode, V5, V311, Version, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::transport::{Transport, tcp};
use sluice_tests::{eventually, unique};
use std::io::Write;
use std::net::SocketAddr;

/// A listener behind a proxy, so that a test can have any address, and a plain one.
fn guarded(balanced: &str, guard: &str) -> String {
    format!(
        "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\n[[listener]]\nname = \"balanced\"\n\
         address = \"127.0.0.1:0\"\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n{balanced}\n\
         {guard}\n"
    )
}

fn from(broker: &Broker, client: &str, version: Version) -> Peer {
    from_at(broker.listener("balanced"), client, version)
}

fn from_at(listener: SocketAddr, client: &str, version: Version) -> Peer {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let to = if client.contains(':') { "::1" } else { "127.0.0.1" };
    let mut socket = tcp(listener);
    let header = format!("PROXY {family} {client} {to} 4000 1883\r\n");
    socket.write_all(header.as_bytes()).expect("the header is sent");
    Peer::over(Transport::Plain(socket), version)
}

/// Whether a client from there is let in, and if so the client.
fn try_join(broker: &Broker, client: &str) -> Option<Peer> {
    let mut peer = from(broker, client, V5);
    peer.send(connect(V5, unique("client")));
    peer.is_admitted().then_some(peer)
}

/// Fails to log in.
fn fail(broker: &Broker, client: &str) {
    let mut peer = from(broker, client, V5);
    peer.send(
        connect(V5, unique("client")).property(sluice_tests::property::Property::AuthMethod("none".into())),
    );
    assert!(!peer.is_admitted());
}

#[test]
fn a_listener_lets_in_whom_it_allows_and_not_whom_it_denies() {
    let lists = "allow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\ndeny = [\"192.0.2.66\"]";
    let broker = broker(&guarded(lists, ""));
    for (client, is_let_in) in [
        ("192.0.2.1", true),
        ("192.0.2.66", false),
        ("198.51.100.1", false),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
        ("::ffff:192.0.2.66", false),
    ] {
        assert_eq!(try_join(&broker, client).is_some(), is_let_in, "{client}");
    }
    let line = broker.wait_for_log("the refusal", |line| line.has("peer", "192.0.2.66"));
    assert!(line.is("connection_shed") && line.has("reason", "denied") && line.has("port", "4000"));
    assert_eq!(shed(&broker, "denied"), 4);
}

#[test]
fn lists_and_limits_change_while_clients_stay() {
    let broker = broker(&guarded("", ""));
    let mut early = try_join(&broker, "192.0.2.1").expect("all are allowed");
    let changed = guarded(
        "deny = [\"192.0.2.0/24\"]",
        "[guard]\nconnections_per_address_max = 1",
    );
    std::fs::write(broker.dir().join("sluice.toml"), crate::config(&changed)).expect("it is written");
    broker.signal(Signal::HUP);
    broker.wait_for_log("the reload", |line| line.is("config_reloaded"));
    assert!(try_join(&broker, "192.0.2.1").is_none());
    let _first = try_join(&broker, "198.51.100.1").expect("it is not denied");
    assert!(try_join(&broker, "198.51.100.1").is_none());
    assert_eq!(shed(&broker, "address_connections_max"), 1);
    early.ping();
}

#[test]
fn connections_are_limited_by_address_by_listener_and_in_all() {
    let broker = broker(&guarded(
        "connections_max = 4",
        "[limits]\nconnections_max = 6\n[guard]\nconnections_per_address_max = 2\nexempt = [\"10.0.0.0/8\"]",
    ));
    let mut clients: Vec<_> = ["2001:db8:0:1::1", "2001:db8:0:1::2", "10.0.0.1"]
        .map(|client| try_join(&broker, client).expect("there is room"))
        .into();
    assert!(
        try_join(&broker, "2001:db8:0:1:2:3:4:5").is_none(),
        "the same /64"
    );
    assert_eq!(shed(&broker, "address_connections_max"), 1);
    clients.push(try_join(&broker, "10.0.0.1").expect("another address"));
    let mut fifth = Peer::open(broker.listener("balanced"), V5);
    fifth.expect_closed();
    assert_eq!(shed(&broker, "listener_connections_max"), 1);
    for _ in 0..2 {
        let mut plain = Peer::open(broker.listener("plain"), V5);
        plain.send(connect(V5, unique("client")));
        assert_eq!(plain.expect_connack().code, 0);
        clients.push(plain);
    }
    Peer::open(broker.listener("plain"), V5).expect_closed();
    assert_eq!(shed(&broker, "connections_max"), 1);
    clients.iter_mut().for_each(Peer::ping);
    clients.remove(0).leave();
    eventually("there is room again", || {
        try_join(&broker, "2001:db8:0:1::3").is_some()
    });
}

#[test]
fn connections_that_come_too_fast_are_closed_and_those_of_others_are_not() {
    let broker = broker(&guarded(
        "connects_per_second = { per_second = 1, burst = 20 }",
        "[guard]\nconnects_per_address_per_second = { per_second = 1, burst = 3 }",
    ));
    let many = |client: &str| (0..6).filter(|_| try_join(&broker, client).is_some()).count();
    // A slow machine may have seconds pass meanwhile.
    assert!((3..6).contains(&many("192.0.2.1")));
    assert!(try_join(&broker, "192.0.2.2").is_some());
    assert!(shed(&broker, "address_rate") >= 1);
    for _ in 0..40 {
        drop(Peer::open(broker.listener("balanced"), V5));
    }
    eventually("the listener is too fast as well", || {
        shed(&broker, "listener_rate") >= 1
    });
    let mut plain = Peer::open(broker.listener("plain"), V5);
    plain.send(connect(V5, unique("client")));
    assert_eq!(plain.expect_connack().code, 0, "another listener");
    let refusals = broker
        .log_lines()
        .into_iter()
        .filter(|line| line.has("reason", "listener_rate"));
    assert!(refusals.count() < 20, "one line a second for each address");
}

#[test]
fn who_fails_too_often_is_kept_out_for_a_while() {
    let broker = broker(&guarded(
        "",
        "[guard]\nfailures_max = 3\nfailures_window = \"1 h\"\nban_for = \"2 s\"",
    ));
    let mut neighbour = try_join(&broker, "192.0.2.1").expect("it is let in");
    fail(&broker, "192.0.2.1");
    let mut garbage = from(&broker, "192.0.2.1", V5);
    garbage.send(*b"\x00\x00garbage");
    garbage.expect_closed();
    assert!(try_join(&broker, "192.0.2.1").is_some(), "twice is not too often");
    fail(&broker, "192.0.2.1");
    let line = broker.wait_for_log("the ban", |line| line.is("automatic_ban"));
    let expected =
        "address 192.0.2.1 is banned for 2 s: 3 failures within 1 h, the last: a CONNECT that was refused";
    assert!(
        line.has("text", expected) && line.has("peer", "192.0.2.1"),
        "{}",
        line.text
    );
    assert!(try_join(&broker, "192.0.2.2").is_some(), "another address");
    neighbour.ping();
    assert_eq!(metric(&broker, "sluice_automatic_bans_total"), Some(1));
    eventually("the ban has ended", || try_join(&broker, "192.0.2.1").is_some());
}

#[test]
fn an_automatic_ban_is_listed_and_can_be_taken_back() {
    let broker = broker(&guarded("", "[guard]\nfailures_max = 1\nban_for = \"1 h\""));
    fail(&broker, "2001:db8::1");
    broker.wait_for_log("the ban", |line| line.is("automatic_ban"));
    assert!(try_join(&broker, "2001:db8::2").is_none(), "the same /64");
    let line = broker.wait_for_log("the refusal", |line| line.is("connection_shed"));
    let expected = "banned for a while: 1 failures within 1 min, the last: a CONNECT that was refused";
    assert!(
        line.has("text", expected) && line.has("reason", "banned"),
        "{}",
        line.text
    );
    let bans = broker.sluice(&["client", "bans"]).expect("a list");
    assert!(bans.contains("2001:db8::/64"), "{bans}");
    broker
        .sluice(&["client", "unban", "--address", "2001:db8::/64"])
        .expect("it is taken back");
    assert!(try_join(&broker, "2001:db8::2").is_some());
}

#[test]
fn a_client_that_comes_and_goes_is_kept_out_by_its_name() {
    let broker = broker(&guarded(
        "",
        "[guard]\nflapping_max = 5\nflapping_window = \"1 h\"\nban_for = \"1 h\"",
    ));
    let attempt = |client: &str, id: &str| {
        let mut peer = from(&broker, client, V5);
        peer.send(connect(V5, id));
        peer.is_admitted()
    };
    let let_in = (0..8)
        .filter(|at| attempt(&format!("192.0.2.{at}"), "restless"))
        .count();
    assert_eq!(let_in, 5);
    assert!(attempt("192.0.2.1", "calm"), "another client of that address");
    let line = broker.wait_for_log("the ban", |line| line.is("automatic_ban"));
    assert!(
        line.has(
            "text",
            "client \"restless\" is banned for 1 h: it came in 5 times within 1 h"
        ),
        "{}",
        line.text
    );
}

#[test]
fn the_longest_keep_alive_holds_for_every_version() {
    let broker = broker(&guarded("", "[limits]\nkeep_alive_max = \"1 s\""));
    for version in BOTH {
        for asked in [0, 600] {
            let mut peer = Peer::open(broker.listener("plain"), version);
            peer.send(connect(version, unique("client")).keep_alive(asked));
            assert_eq!(peer.expect_connack().code, 0);
            peer.expect_disconnected(&[0x8D]);
        }
    }
    assert_eq!(BOTH, [V311, V5]);
}

#[test]
fn a_connect_above_its_cap_is_not_waited_for_and_packets_of_those_who_are_in_may_be_larger() {
    // Longer than the test waits: whoever is closed is not closed for being late.
    let listener = "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\nconnect_timeout = \"60 s\"";
    let broker = broker(&format!("{listener}\n[limits]\nconnect_bytes_max = \"512 B\""));
    for version in BOTH {
        let packet = |bytes: usize| connect(version, unique("client")).username("x".repeat(bytes));
        let mut small = Peer::open(broker.listener("plain"), version);
        small.send(packet(400));
        assert_eq!(small.expect_connack().code, 0);
        small.publish(publish("a", [7; 2_000]).qos(1));
        let mut large = Peer::open(broker.listener("plain"), version);
        large.send(&packet(600).bytes(version)[..20]);
        large.expect_not_admitted(&[0x95]);
    }
}
