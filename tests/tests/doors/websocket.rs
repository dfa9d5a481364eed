//! MQTT over WebSocket, plain and over TLS, direct and through a proxy.

use crate::{broker, broker_with, metric, shed};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Encode, PINGREQ, V5, Version, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::reply::Reply;
use sluice_tests::tls::Identity;
use sluice_tests::transport::{Transport, tcp};
use sluice_tests::websocket::upgrade;
use sluice_tests::{PATIENCE, eventually, unique};
use std::io::{Read, Write};
use tungstenite::Message;

const LISTENER: &str = r#"
[[listener]]
name = "web"
address = "127.0.0.1:0"
connect_timeout = "3 s"
[listener.websocket]
origins = ["https://app.example.org"]
"#;

/// A WebSocket on which nothing was sent yet.
fn open(broker: &Broker, version: Version) -> Peer {
    let socket = upgrade(Transport::plain(broker.address()), "/mqtt", &[]);
    Peer::over(socket.expect("an upgrade"), version)
}

fn join(broker: &Broker, version: Version) -> Peer {
    let mut peer = open(broker, version);
    peer.send(connect(version, unique("client")));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "it is let in");
    peer
}

/// Sends a message from one to the other and back.
fn converse(one: &mut Peer, other: &mut Peer, payload: &[u8]) {
    for (from, to) in [(0, 1), (1, 0)] {
        let peers = [&mut *one, &mut *other];
        let topic = unique("web/");
        peers[to].subscribe(&topic, 1);
        peers[from].publish(publish(&topic, payload).qos(1));
        let message = peers[to].expect_message(&topic, payload);
        peers[to].acknowledge(&message);
    }
}

/// What the broker says when it closes.
fn expect_closed_with(peer: &mut Peer, code: u16) {
    peer.skip_to_end();
    let closed = peer
        .transport()
        .framed()
        .closed_with()
        .map(|frame| u16::from(frame.code));
    assert_eq!(closed, Some(code));
}

#[test]
fn clients_of_every_version_and_transport_talk_to_each_other() {
    let identity = Identity::new();
    let listeners = format!(
        "{LISTENER}[[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:0\"\nwebsocket = {{ path = \"/\" }}\n\
         tls = {{ certificate = \"chain.pem\", key = \"key.pem\" }}\n[[listener]]\nname = \"plain\"\n\
         address = \"127.0.0.1:0\"\n"
    );
    let files: &[(&str, &[u8])] = &[
        ("chain.pem", identity.certificate_pem.as_bytes()),
        ("key.pem", identity.key_pem.as_bytes()),
    ];
    let broker = broker_with(&listeners, files);
    let browser = identity.client_speaking(&sluice_tests::tls::VERSIONS, &["http/1.1"]);
    for version in BOTH {
        let mut web = join(&broker, version);
        let stream = browser.connect(broker.listener("secure")).expect("a handshake");
        assert_eq!(stream.session().alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut secure = Peer::over(upgrade(stream, "/", &[]).expect("an upgrade"), version);
        secure.send(connect(version, unique("client")));
        assert_eq!(secure.expect_connack().code, 0);
        let mut plain = Peer::open(broker.listener("plain"), version);
        plain.send(connect(version, unique("client")));
        assert_eq!(plain.expect_connack().code, 0);
        for bytes in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
            let payload: Vec<u8> = (0..bytes)
                .map(|at: u32| at.to_le_bytes()[at as usize % 3])
                .collect();
            converse(&mut web, &mut plain, &payload);
            converse(&mut secure, &mut web, &payload);
        }
        web.leave();
    }
}

#[test]
fn packets_may_lie_across_frames_and_several_in_one() {
    let broker = broker(LISTENER);
    for bytes in [1, 2, 7, 1_000] {
        let mut peer = open(&broker, V5);
        peer.transport().framed().split_at(bytes);
        peer.send(connect(V5, unique("client")));
        assert_eq!(peer.expect_connack().code, 0);
        let topic = unique("web/");
        peer.subscribe(&topic, 0);
        let message = publish(&topic, [7; 3_000]);
        peer.send_all(&[&PINGREQ, &message, &PINGREQ, &message]);
        let replies: Vec<_> = (0..4).map(|_| peer.receive()).collect();
        let pings = replies.iter().filter(|reply| **reply == Reply::PingResp).count();
        let messages = replies
            .iter()
            .filter(|reply| matches!(reply, Reply::Publish(_)))
            .count();
        assert_eq!((pings, messages), (2, 2));
    }
}

#[test]
fn a_ping_is_answered_and_a_close_is_returned() {
    let broker = broker(LISTENER);
    let mut peer = join(&broker, V5);
    let framed = peer.transport().framed();
    framed
        .send(Message::Ping("are you there".into()))
        .expect("it is sent");
    let pong = framed.receive().expect("an answer");
    assert_eq!(pong, Message::Pong("are you there".into()));
    peer.ping();
    let framed = peer.transport().framed();
    framed.send(Message::Close(None)).expect("it is sent");
    assert_eq!(framed.receive().expect("an answer"), Message::Close(None));
    peer.expect_closed();
    broker.wait_for_log("the end", |line| {
        line.is("client_disconnected") && line.has("text", "the connection was closed")
    });

    let mut leaving = join(&broker, V5);
    leaving.send(sluice_tests::packet::disconnect(0));
    expect_closed_with(&mut leaving, 1000);
}

#[test]
fn pings_are_answered_in_the_middle_of_messages() {
    let broker = broker(LISTENER);
    let (mut peer, mut other) = (join(&broker, V5), join(&broker, V5));
    let topic = unique("web/");
    other.subscribe(&topic, 0);
    let bytes = publish(&topic, "in two parts").bytes(V5);
    let (first, second) = bytes.split_at(9);
    let framed = peer.transport().framed();
    for (part, ping) in [(first, "1"), (second, "2")] {
        framed
            .send(Message::Binary(part.to_vec().into()))
            .expect("it is sent");
        framed.send(Message::Ping(ping.into())).expect("it is sent");
        assert_eq!(framed.receive().expect("an answer"), Message::Pong(ping.into()));
    }
    other.expect_message(&topic, "in two parts");
}

#[test]
fn text_frames_and_broken_rules_end_the_connection_with_a_code() {
    let broker = broker(LISTENER);
    for (bytes, code) in [
        (&[0x81, 0x80, 1, 2, 3, 4][..], 1003),
        (&[0x82, 0x01, 7], 1002),
        (&[0xC2, 0x80, 1, 2, 3, 4], 1002),
        (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0x10, 0, 1, 1, 2, 3, 4], 1009),
    ] {
        let mut peer = join(&broker, V5);
        let mut socket = peer.transport().socket();
        socket.write_all(bytes).expect("it is sent");
        expect_closed_with(&mut peer, code);
    }
    let mut early = open(&broker, V5);
    early
        .transport()
        .framed()
        .send(Message::Text("MQTT".into()))
        .expect("it is sent");
    expect_closed_with(&mut early, 1003);
    broker.wait_for_log("the text frame", |line| {
        line.is("protocol_error") && line.has("text", "WebSocket: text frame, but MQTT is in binary frames")
    });
    eventually("the early one is counted", || {
        metric(&broker, "sluice_protocol_errors_total") == Some(1)
    });
    join(&broker, V5).ping();
}

#[test]
fn a_flood_of_pings_ends_the_connection() {
    let broker = broker(LISTENER);
    let mut peer = join(&broker, V5);
    let mut socket = peer.transport().socket();
    let pings = [0x89, 0x80, 1, 2, 3, 4].repeat(1_000);
    socket.write_all(&pings).expect("it is sent");
    expect_closed_with(&mut peer, 1008);
    join(&broker, V5).ping();
}

#[test]
fn messages_above_the_limits_are_refused_below_they_pass() {
    let listener = format!("{LISTENER}frame_bytes_max = \"1 KiB\"\nmessage_bytes_max = \"2 KiB\"\n");
    let broker = broker(&listener);
    let mut peer = join(&broker, V5);
    peer.transport().framed().split_at(1_024);
    assert_eq!(
        peer.try_publish(publish("a", [7; 2_000]).qos(1)),
        0x10,
        "no subscriber"
    );
    let mut large = join(&broker, V5);
    large.send(publish("a", [7; 1_100]));
    expect_closed_with(&mut large, 1009);
    peer.send(publish("a", [7; 2_100]));
    expect_closed_with(&mut peer, 1009);
}

#[test]
fn a_request_that_may_not_become_a_websocket_gets_its_status() {
    let broker = broker(LISTENER);
    let ask = |path: &str, lines: &[(&str, &str)]| {
        let asked = upgrade(Transport::plain(broker.address()), path, lines);
        asked.err().unwrap_or(101)
    };
    assert_eq!(
        ask("/mqtt?client=7", &[("Origin", "https://app.example.org")]),
        101
    );
    assert_eq!(ask("/mqtt", &[("Origin", "https://evil.example")]), 403);
    let line = broker.wait_for_log("the page", |line| {
        line.has(
            "text",
            "the origin \"https://evil.example\" is not in websocket.origins",
        )
    });
    assert!(line.is("connection_shed") && line.has("reason", "websocket") && line.has("peer", "127.0.0.1"));

    assert_eq!(ask("/", &[]), 404);
    let answer_to = |bytes: &[u8]| {
        let mut socket = tcp(broker.address());
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(bytes).expect("it is sent");
        let mut answer = String::new();
        // What was not read resets the connection; the answer has come before.
        let _ = socket.read_to_string(&mut answer);
        answer.lines().next().unwrap_or_default().to_owned()
    };
    let bare = b"GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(answer_to(bare), "HTTP/1.1 400 Bad Request", "no subprotocol");
    assert_eq!(
        answer_to(&connect(V5, "bare").bytes(V5).repeat(1_000)),
        "HTTP/1.1 431 Request Header Fields Too Large"
    );
    assert_eq!(
        answer_to(b"GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n"),
        "HTTP/1.1 400 Bad Request"
    );
    eventually("each is counted", || shed(&broker, "websocket") == 5);
}

#[test]
fn a_request_that_does_not_come_is_waited_for_no_longer_than_a_connect() {
    let broker = broker(&LISTENER.replace("3 s", "500 ms"));
    let mut silent = Peer::open(broker.address(), V5);
    let mut half = Peer::open(broker.address(), V5);
    half.send(*b"GET /mqtt HTTP/1.1\r\nX: ");
    let mut mute = open(&broker, V5);
    silent.expect_closed();
    half.expect_closed();
    expect_closed_with(&mut mute, 1000);
    broker.wait_for_log("the end of patience", |line| {
        line.is("connection_shed") && line.has("text", "no WebSocket within 500 ms")
    });
    assert_eq!(shed(&broker, "websocket"), 2);
}

#[test]
fn who_comes_through_a_trusted_proxy_is_known_by_its_own_address() {
    let trusting = LISTENER.replace(
        "[listener.websocket]",
        "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n[listener.websocket]",
    );
    let forwarded = |broker: &Broker, chain: &str| {
        upgrade(
            Transport::plain(broker.address()),
            "/mqtt",
            &[("X-Forwarded-For", chain)],
        )
    };
    let broker_of = |listener: &str| broker(listener);
    let broker = broker_of(&trusting);
    let mut peer = Peer::over(
        forwarded(&broker, "203.0.113.9, 192.0.2.1, 10.0.0.7").expect("an upgrade"),
        V5,
    );
    let id = unique("client");
    peer.send(connect(V5, &id).username("whence"));
    assert_eq!(peer.expect_connack().code, 0);
    let line = broker.wait_for_log("the client", |line| {
        line.is("client_connected") && line.has("client_id", &id)
    });
    assert!(
        line.has("peer", "192.0.2.1") && line.has("proxy", "127.0.0.1"),
        "{}",
        line.text
    );
    assert!(line.has(
        "principal",
        "192.0.2.1 0 by 127.0.0.1 named nothing, local: false"
    ));
    let refused = upgrade(Transport::plain(broker.address()), "/mqtt", &[]);
    assert_eq!(refused.err(), Some(400), "it must tell");
    broker
        .sluice(&["client", "ban", "--address", "192.0.2.1"])
        .expect("it is banned");
    peer.skip_to_end();
    let mut banned = Peer::over(forwarded(&broker, "192.0.2.1").expect("an upgrade"), V5);
    banned.expect_closed();
    assert_eq!(shed(&broker, "banned"), 1);

    let broker = broker_of(LISTENER);
    let mut peer = Peer::over(forwarded(&broker, "192.0.2.1").expect("an upgrade"), V5);
    peer.send(connect(V5, "forger").username("whence"));
    assert_eq!(peer.expect_connack().code, 0);
    let line = broker.wait_for_log("the client", |line| line.is("client_connected"));
    assert!(line.has("peer", "127.0.0.1"), "nobody trusts it: {}", line.text);
}
