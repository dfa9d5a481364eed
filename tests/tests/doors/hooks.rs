//! Every hook of a policy is asked at every door. The policy is `usher`; its documentation says what it does.

use crate::metric;
use crate::proxy::{binary, line};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{Connect, V5, auth, connect, publish, subscribe, will};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{self, AuthData, AuthMethod};
use sluice_tests::tls::{Identity, VERSIONS};
use sluice_tests::transport::{Transport, tcp};
use sluice_tests::websocket::upgrade;
use sluice_tests::{eventually, guests, unique};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a load balancer says before the client's bytes.
#[derive(Clone, Copy, PartialEq)]
enum Header {
    None,
    V1,
    V2,
}

/// A way into the broker.
struct Door {
    name: &'static str,
    listener: &'static str,
    header: Header,
    is_encrypted: bool,
    is_web: bool,
}

const fn door(name: &'static str, listener: &'static str, header: Header) -> Door {
    Door {
        name,
        listener,
        header,
        is_encrypted: false,
        is_web: false,
    }
}

impl Door {
    const fn encrypted(self) -> Self {
        Self {
            is_encrypted: true,
            ..self
        }
    }

    const fn web(self) -> Self {
        Self { is_web: true, ..self }
    }
}

const DOORS: [Door; 9] = [
    door("TCP", "tcp", Header::None),
    door("TLS", "tls", Header::None).encrypted(),
    door("WebSocket", "web", Header::None).web(),
    door("secure WebSocket", "secure-web", Header::None)
        .web()
        .encrypted(),
    door("a unix socket", "local", Header::None),
    door("PROXY v1 and TCP", "balanced", Header::V1),
    door("PROXY v2 and TCP", "balanced", Header::V2),
    door("PROXY v1 and TLS", "balanced-tls", Header::V1).encrypted(),
    door("PROXY v2 and TLS", "balanced-tls", Header::V2).encrypted(),
];

/// A broker with all doors, and who knows its certificate.
struct House {
    broker: Broker,
    identity: Identity,
}

fn config(edition: u32) -> String {
    let tls = "tls = { certificate = \"chain.pem\", key = \"key.pem\" }";
    let proxy = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]";
    let listeners: String = [
        ("tcp", String::new()),
        ("tls", tls.to_owned()),
        ("web", "websocket = {}".to_owned()),
        ("secure-web", format!("websocket = {{}}\n{tls}")),
        ("balanced", proxy.to_owned()),
        ("balanced-tls", format!("{proxy}\n{tls}")),
    ]
    .map(|(name, more)| format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{more}\n"))
    .concat();
    format!(
        "policies = [\"usher\"]\n{listeners}[[listener]]\nname = \"local\"\naddress = \"unix:mqtt.sock\"\n\
         [policy.usher]\nfile = \"usher.wasm\"\ncapabilities = [\"metrics\"]\nsettings = {{ edition = {edition} }}\n"
    )
}

impl House {
    fn open() -> Self {
        let identity = Identity::new();
        let module = guests::wasm("usher");
        let files: &[(&str, &[u8])] = &[
            ("chain.pem", identity.certificate_pem.as_bytes()),
            ("key.pem", identity.key_pem.as_bytes()),
            ("usher.wasm", &module),
        ];
        let broker = Broker::with_files(&config(1), files);
        broker.wait_for_log("the admin socket", |line| line.is("admin_listening"));
        Self { broker, identity }
    }

    fn knock(&self, door: &Door) -> Peer {
        if door.listener == "local" {
            return Peer::over(Transport::local(&self.broker.dir().join("mqtt.sock")), V5);
        }
        let mut socket = tcp(self.broker.listener(door.listener));
        let header = match door.header {
            Header::None => Vec::new(),
            Header::V1 => line("192.0.2.1", 4001),
            Header::V2 => binary("192.0.2.1", 4001, &[]),
        };
        socket.write_all(&header).expect("the header is sent");
        let mut stream = if door.is_encrypted {
            let client = self.identity.client_speaking(&VERSIONS, &[]);
            client.shake_hands(socket).expect("a handshake")
        } else {
            Transport::Plain(socket)
        };
        if door.is_web {
            stream = upgrade(stream, "/mqtt", &[]).expect("an upgrade");
        }
        Peer::over(stream, V5)
    }

    fn join(&self, door: &Door, packet: &Connect) -> Peer {
        let mut peer = self.knock(door);
        peer.send(packet);
        let connack = peer.expect_connack();
        peer.assert(connack.code == 0, "it is let in");
        peer
    }

    fn enter(&self, door: &Door) -> Peer {
        self.join(door, &hello(door, "client"))
    }

    fn counted(&self, what: &str, client_id: &str) -> u64 {
        let name = format!("sluice_policy_counter_total{{policy=\"usher\",name=\"{what}_{client_id}\"}}");
        metric(&self.broker, &name).unwrap_or(0)
    }
}

/// What the policy should see of a client that comes this way.
fn seen(door: &Door) -> String {
    let (address, proxy) = match door.header {
        Header::None if door.listener == "local" => ("", "nobody"),
        Header::None => ("127.0.0.1", "nobody"),
        Header::V1 | Header::V2 => ("192.0.2.1", "127.0.0.1"),
    };
    let encryption = if door.is_encrypted { "TLSv1.3" } else { "plain" };
    format!("{} {address} {encryption} by {proxy}", door.listener)
}

fn hello(door: &Door, name: &str) -> Connect {
    connect(V5, unique(name)).username(seen(door))
}

fn id(packet: &Connect) -> String {
    String::from_utf8(packet.client_id.clone()).expect("it is text")
}

/// Tries a hook at all doors, also after one has failed, and names those that have.
fn at_every_door(hook: &str, check: impl Fn(&House, &Door)) {
    let house = House::open();
    let mut failed = Vec::new();
    for door in &DOORS {
        if catch_unwind(AssertUnwindSafe(|| check(&house, door))).is_err() {
            failed.push(door.name);
        }
    }
    assert!(failed.is_empty(), "{hook} does not hold over {failed:?}");
}

fn challenge(peer: &mut Peer) -> Vec<u8> {
    let challenge = peer.expect_auth();
    peer.assert(challenge.reason == 0x18, "Continue authentication");
    let data = challenge
        .properties
        .into_iter()
        .find_map(|property| match property {
            AuthData(data) => Some(data),
            _ => None,
        });
    data.expect("a challenge has words")
}

fn answer(peer: &mut Peer, mut words: Vec<u8>) {
    words.reverse();
    peer.send(auth(0x18, "echo").property(Property::AuthData(words)));
}

#[test]
fn connects_are_judged_by_what_is_seen_of_the_peer_at_every_door() {
    at_every_door("on-connect", |house, door| {
        house.enter(door).ping();
        for lie in DOORS.iter().map(seen).filter(|lie| *lie != seen(door)) {
            let mut liar = house.knock(door);
            liar.send(connect(V5, unique("liar")).username(lie));
            liar.expect_not_admitted(&[0x87]);
        }
    });
}

#[test]
fn publishes_are_judged_at_every_door() {
    at_every_door("on-publish", |house, door| {
        let mut client = house.enter(door);
        for qos in [1, 2] {
            let allowed = client.try_publish(publish("open/a", "x").qos(qos));
            client.assert(allowed < 0x80, "an allowed topic is taken");
            let refused = client.try_publish(publish("refused/a", "x").qos(qos));
            client.assert(refused == 0x87, "a refused topic is not authorized");
        }
    });
}

#[test]
fn subscriptions_are_judged_at_every_door() {
    at_every_door("on-subscribe", |house, door| {
        let mut client = house.enter(door);
        let packet = subscribe(1)
            .filter("open/a", 1)
            .filter("refused/a", 1)
            .filter("lowered/a", 2);
        let codes = client.request_subscription(packet);
        client.assert(codes == [1, 0x87, 0], "granted, refused and lowered");
    });
}

#[test]
fn messages_are_looked_into_at_every_door() {
    at_every_door("on-message", |house, door| {
        let mut client = house.enter(door);
        let topic = unique("open/");
        client.subscribe(&topic, 0);
        let refused = client.try_publish(publish(&topic, "poison").qos(1));
        client.assert(refused == 0x99, "the payload is refused");
        for (payload, expected) in [("water", "wine"), ("bread", "bread")] {
            client.send(publish(&topic, payload));
            client.expect_message(&topic, expected);
        }
    });
}

#[test]
fn wills_are_judged_at_every_door() {
    at_every_door("on-publish or on-message for wills", |house, door| {
        let mut watcher = house.enter(&DOORS[0]);
        let topic = unique("open/");
        watcher.subscribe(&topic, 0);
        for (payload, expected) in [("gone", "gone"), ("water", "wine")] {
            let packet = hello(door, "client").will(will(&topic, payload));
            house.join(door, &packet).vanish();
            watcher.expect_message(&topic, expected);
        }
        for (topic, payload, code) in [("refused/will", "x", 0x87), (&*topic, "poison", 0x99)] {
            let mut refused = house.knock(door);
            refused.send(hello(door, "client").will(will(topic, payload)));
            refused.expect_not_admitted(&[code]);
        }
    });
}

#[test]
fn clients_authenticate_in_rounds_and_again_at_every_door() {
    at_every_door("enhanced authentication", |house, door| {
        let packet = || hello(door, "client").property(AuthMethod("echo".to_owned()));
        let mut client = house.knock(door);
        client.send(packet());
        let words = challenge(&mut client);
        answer(&mut client, words);
        assert_eq!(client.expect_connack().code, 0);
        client.send(auth(0x19, "echo"));
        let words = challenge(&mut client);
        answer(&mut client, words);
        assert_eq!(client.expect_auth().reason, 0);
        client.ping();
        client.send(auth(0x19, "echo"));
        challenge(&mut client);
        answer(&mut client, b"wrong".to_vec());
        client.expect_disconnected(&[0x87]);

        let mut stranger = house.knock(door);
        stranger.send(packet());
        challenge(&mut stranger);
        answer(&mut stranger, b"wrong".to_vec());
        stranger.expect_not_admitted(&[0x87]);
    });
}

#[test]
fn events_are_told_at_every_door() {
    at_every_door("on-event", |house, door| {
        let packet = hello(door, "client");
        let client = house.join(door, &packet);
        eventually("it is told who came", || {
            house.counted("connected", &id(&packet)) == 1
        });
        assert_eq!(house.counted("disconnected", &id(&packet)), 0);
        client.vanish();
        eventually("and who left", || {
            house.counted("disconnected", &id(&packet)) == 1
        });
    });
}

#[test]
fn budgets_are_enforced_at_every_door() {
    at_every_door("a budget", |house, door| {
        let mut small = house.join(door, &hello(door, "small"));
        small.publish(publish("open/a", [7; 400]).qos(1));
        small.send(publish("open/a", [7; 600]));
        small.expect_disconnected(&[0x95]);
        let mut hasty = house.join(door, &hello(door, "hasty"));
        // In one piece: what came after the broker has closed would be answered by a reset.
        let message = publish("open/a", "x");
        hasty.send_all(&[&message, &message, &message]);
        hasty.expect_disconnected(&[0x96]);
        let mut other = house.enter(door);
        other.publish(publish("open/a", [7; 600]).qos(1));
    });
}

#[test]
fn sessions_are_judged_again_after_a_swap_at_every_door() {
    let house = House::open();
    let join = |door, name| {
        let packet = hello(door, name);
        (house.join(door, &packet), id(&packet))
    };
    let mut clients: Vec<_> = DOORS
        .iter()
        .map(|door| (door.name, join(door, "stayer"), join(door, "leaver")))
        .collect();
    std::fs::write(house.broker.dir().join("sluice.toml"), config(2)).expect("the configuration is written");
    house.broker.sluice(&["reload"]).expect("the policy is replaced");
    let mut failed = Vec::new();
    for (door, (stayer, staying), (leaver, leaving)) in &mut clients {
        let check = AssertUnwindSafe(|| {
            for client in [&*staying, &*leaving] {
                eventually("it is judged", || house.counted("refreshed", client) == 1);
            }
            leaver.expect_disconnected(&[0x87]);
            stayer.ping();
        });
        if catch_unwind(check).is_err() {
            failed.push(*door);
        }
    }
    assert!(failed.is_empty(), "on-refresh does not hold over {failed:?}");
}
