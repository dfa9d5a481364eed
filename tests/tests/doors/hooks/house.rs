//! A broker with every door there is, and clients of each version who come in by them.

use crate::metric;
use crate::proxy::{binary, line};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Connect, V5, V311, Version, connect};
use sluice_tests::peer::Peer;
use sluice_tests::tls::{Identity, VERSIONS};
use sluice_tests::transport::{Transport, tcp};
use sluice_tests::websocket::upgrade;
use sluice_tests::{guests, unique};
use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a load balancer says for whom it speaks.
#[derive(Clone, Copy, PartialEq)]
enum Announced {
    No,
    V1,
    V2,
    /// X-Forwarded-For, in the request for a WebSocket.
    Forwarded,
}

/// A way into the broker.
pub struct Door {
    name: &'static str,
    listener: &'static str,
    announced: Announced,
    is_encrypted: bool,
    is_web: bool,
}

const fn door(name: &'static str, listener: &'static str) -> Door {
    Door {
        name,
        listener,
        announced: Announced::No,
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

    const fn announced(self, announced: Announced) -> Self {
        Self { announced, ..self }
    }

    /// What the policy should see of a client that comes this way.
    pub fn seen(&self) -> String {
        let (address, proxy) = match self.announced {
            Announced::No if self.listener == "local" => ("", "nobody"),
            Announced::No => ("127.0.0.1", "nobody"),
            Announced::V1 | Announced::V2 | Announced::Forwarded => (BEHIND_A_PROXY, "127.0.0.1"),
        };
        let encryption = if self.is_encrypted { "TLSv1.3" } else { "plain" };
        format!("{} {address} {encryption} by {proxy}", self.listener)
    }
}

const BEHIND_A_PROXY: &str = "192.0.2.1";

pub const DOORS: [Door; 13] = [
    door("TCP", "tcp"),
    door("TLS", "tls").encrypted(),
    door("WebSocket", "web").web(),
    door("secure WebSocket", "secure-web").web().encrypted(),
    door("a unix socket", "local"),
    door("PROXY v1 and TCP", "balanced").announced(Announced::V1),
    door("PROXY v2 and TCP", "balanced").announced(Announced::V2),
    door("PROXY v1 and TLS", "balanced-tls")
        .encrypted()
        .announced(Announced::V1),
    door("PROXY v2 and TLS", "balanced-tls")
        .encrypted()
        .announced(Announced::V2),
    door("PROXY v2 and WebSocket", "balanced-web")
        .web()
        .announced(Announced::V2),
    door("PROXY v2 and secure WebSocket", "balanced-secure-web")
        .web()
        .encrypted()
        .announced(Announced::V2),
    door("WebSocket with X-Forwarded-For", "forwarded")
        .web()
        .announced(Announced::Forwarded),
    door("secure WebSocket with X-Forwarded-For", "forwarded-secure")
        .web()
        .encrypted()
        .announced(Announced::Forwarded),
];

/// A broker with all doors, and who knows its certificate.
pub struct House {
    broker: Broker,
    identity: Identity,
}

fn config(edition: u32) -> String {
    let tls = "tls = { certificate = \"chain.pem\", key = \"key.pem\" }";
    let trusting = "trusted_proxies = [\"127.0.0.1\"]";
    let proxy = format!("proxy_protocol = true\n{trusting}");
    let web = "websocket = {}";
    let listeners: String = [
        ("tcp", String::new()),
        ("tls", tls.to_owned()),
        ("web", web.to_owned()),
        ("secure-web", format!("{web}\n{tls}")),
        ("balanced", proxy.clone()),
        ("balanced-tls", format!("{proxy}\n{tls}")),
        ("balanced-web", format!("{proxy}\n{web}")),
        ("balanced-secure-web", format!("{proxy}\n{web}\n{tls}")),
        ("forwarded", format!("{trusting}\n{web}")),
        ("forwarded-secure", format!("{trusting}\n{web}\n{tls}")),
    ]
    .map(|(name, more)| format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{more}\n"))
    .concat();
    format!(
        "policies = [\"usher\"]\n{listeners}[[listener]]\nname = \"local\"\naddress = \"unix:mqtt.sock\"\n\
         [policy.usher]\nfile = \"usher.wasm\"\ncapabilities = [\"metrics\"]\nsettings = {{ edition = {edition} }}\n"
    )
}

impl House {
    /// With the first edition of the policy.
    pub fn open() -> Self {
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

    /// Replaces the policy by its second edition.
    pub fn replace_policy(&self) {
        std::fs::write(self.broker.dir().join("sluice.toml"), config(2)).expect("it is written");
        self.broker.sluice(&["reload"]).expect("the policy is replaced");
    }

    /// One of each version for each door.
    pub fn visitors(&self) -> Vec<Visitor<'_>> {
        let of = |version| {
            DOORS.iter().map(move |door| Visitor {
                house: self,
                door,
                version,
            })
        };
        BOTH.into_iter().flat_map(of).collect()
    }

    /// One that sees what others send.
    pub fn watcher(&self) -> Peer {
        let visitor = Visitor {
            house: self,
            door: &DOORS[0],
            version: V5,
        };
        visitor.enter()
    }

    /// How often the policy has counted this of a client.
    pub fn counted(&self, what: &str, client: &Connect) -> u64 {
        let id = String::from_utf8_lossy(&client.client_id);
        let name = format!("sluice_policy_counter_total{{policy=\"usher\",name=\"{what}_{id}\"}}");
        metric(&self.broker, &name).unwrap_or(0)
    }

    /// Messages refused so far, wills included.
    pub fn refused(&self) -> u64 {
        metric(&self.broker, "sluice_publishes_refused_total").expect("it is counted")
    }
}

/// One more, and all of them are in doubt.
const FAILURES_SHOWN: usize = 3;

/// A client to be, and the door it comes in by.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    pub house: &'a House,
    pub door: &'static Door,
    pub version: Version,
}

impl fmt::Display for Visitor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.door.name, self.version)
    }
}

impl Visitor<'_> {
    /// A connection on which nothing of MQTT was said.
    pub fn knock(&self) -> Peer {
        let Self { house, door, version } = *self;
        if door.listener == "local" {
            return Peer::over(Transport::local(&house.broker.dir().join("mqtt.sock")), version);
        }
        let mut socket = tcp(house.broker.listener(door.listener));
        let header = match door.announced {
            Announced::No | Announced::Forwarded => Vec::new(),
            Announced::V1 => line(BEHIND_A_PROXY, 4001),
            Announced::V2 => binary(BEHIND_A_PROXY, 4001, &[]),
        };
        socket.write_all(&header).expect("the header is sent");
        let mut stream = if door.is_encrypted {
            let client = house.identity.client_speaking(&VERSIONS, &[]);
            client.shake_hands(socket).expect("a handshake")
        } else {
            Transport::Plain(socket)
        };
        if door.is_web {
            let lines: &[_] = match door.announced {
                Announced::Forwarded => &[("X-Forwarded-For", BEHIND_A_PROXY)],
                _ => &[],
            };
            stream = upgrade(stream, "/mqtt", lines).expect("an upgrade");
        }
        Peer::over(stream, version)
    }

    /// A CONNECT that tells the truth, with an identifier that begins so.
    pub fn hello(&self, name: &str) -> Connect {
        connect(self.version, unique(name)).username(self.door.seen())
    }

    /// Sends this CONNECT and is let in.
    pub fn join(&self, packet: &Connect) -> Peer {
        let mut peer = self.knock();
        peer.send(packet);
        let connack = peer.expect_connack();
        peer.assert(connack.code == 0, "it is let in");
        peer
    }

    /// Somebody ordinary is let in.
    pub fn enter(&self) -> Peer {
        self.join(&self.hello("client"))
    }

    /// Sends this CONNECT and is turned away for this reason.
    pub fn is_turned_away(&self, packet: &Connect, reason: u8) {
        let mut peer = self.knock();
        peer.send(packet);
        let code = match (self.version, reason) {
            (V5, _) => reason,
            (_, 0x87) => 5,
            _ => 3,
        };
        let connack = peer.expect_connack();
        peer.assert(connack.code == code, "it is told why");
        peer.expect_closed();
    }

    /// How this reason not to take a message reads in an acknowledgement: before 5.0 there are none.
    pub fn acknowledged(&self, reason: u8) -> u8 {
        if self.version == V311 { 0 } else { reason }
    }
}

/// Checks all of them, also after a few have failed, and names those that have.
pub fn each<'a, T>(
    hook: &str,
    subjects: impl IntoIterator<Item = (Visitor<'a>, T)>,
    check: impl Fn(&Visitor<'a>, T),
) {
    let mut failed = Vec::new();
    for (visitor, subject) in subjects {
        if catch_unwind(AssertUnwindSafe(|| check(&visitor, subject))).is_err() {
            failed.push(visitor.to_string());
        }
        // Each of the others may have to be waited for in vain as well.
        if failed.len() > FAILURES_SHOWN {
            break;
        }
    }
    assert!(failed.is_empty(), "{hook} does not hold over {failed:?}");
}

/// Tries a hook with all visitors of a house.
pub fn at_every_door(hook: &str, check: impl Fn(&Visitor<'_>)) {
    let house = House::open();
    let visitors = house.visitors().into_iter().map(|visitor| (visitor, ()));
    each(hook, visitors, |visitor, ()| check(visitor));
}
