//! Many listeners of each kind in one broker: each has its own name, policies, limits and versions of MQTT.

use crate::broker_with;
use sluice_tests::broker::Broker;
use sluice_tests::packet::{V5, V311, Version, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::tls::Identity;
use sluice_tests::transport::{Transport, tcp};
use sluice_tests::websocket::upgrade;
use sluice_tests::{guests, unique};

const TLS: &str = "tls = { certificate = \"chain.pem\", key = \"key.pem\" }";

/// A name, what makes a listener of this kind, and what it is over.
const KINDS: [(&str, [bool; 2]); 5] = [
    ("plain", [false, false]),
    ("encrypted", [true, false]),
    ("web", [false, true]),
    ("encrypted-web", [true, true]),
    ("local", [false, false]),
];

/// What each kind has a listener for.
const PURPOSES: [(&str, &str); 3] = [
    (
        "new",
        "versions = [\"5.0\"]\nlimits = { packet_bytes_max = \"1 KiB\" }",
    ),
    ("old", "versions = [\"3.1\", \"3.1.1\"]"),
    ("closed", "policies = [\"nobody\"]"),
];

fn listener(kind: &str, [is_encrypted, is_web]: [bool; 2], purpose: &str, more: &str) -> String {
    let address = match kind {
        "local" => format!("unix:{purpose}.sock"),
        _ => "127.0.0.1:0".to_owned(),
    };
    let tls = if is_encrypted { TLS } else { "" };
    let web = if is_web { "websocket = {}" } else { "" };
    format!("[[listener]]\nname = \"{kind}-{purpose}\"\naddress = \"{address}\"\n{more}\n{tls}\n{web}\n")
}

fn open(
    broker: &Broker,
    identity: &Identity,
    (kind, [is_encrypted, is_web]): (&str, [bool; 2]),
    (purpose, version): (&str, Version),
) -> Peer {
    if kind == "local" {
        let path = broker.dir().join(format!("{purpose}.sock"));
        return Peer::over(Transport::local(&path), version);
    }
    let socket = tcp(broker.listener(&format!("{kind}-{purpose}")));
    let mut stream = match is_encrypted {
        true => identity.client().shake_hands(socket).expect("a handshake"),
        false => Transport::Plain(socket),
    };
    if is_web {
        stream = upgrade(stream, "/mqtt", &[]).expect("an upgrade");
    }
    Peer::over(stream, version)
}

#[test]
fn listeners_of_every_kind_have_their_own_versions_limits_and_policies() {
    let identity = Identity::new();
    let listeners: String = KINDS
        .iter()
        .flat_map(|(kind, over)| PURPOSES.map(|(purpose, more)| listener(kind, *over, purpose, more)))
        .collect();
    let listeners = format!("{listeners}[policy.nobody]\nfile = \"nobody.wasm\"\n");
    let nobody = guests::wasm("deny-all");
    let files: &[(&str, &[u8])] = &[
        ("chain.pem", identity.certificate_pem.as_bytes()),
        ("key.pem", identity.key_pem.as_bytes()),
        ("nobody.wasm", &nobody),
    ];
    let broker = broker_with(&listeners, files);
    for kind in KINDS {
        let come = |purpose, version| {
            let mut peer = open(&broker, &identity, kind, (purpose, version));
            peer.send(connect(version, unique("client")));
            peer
        };
        let name = kind.0;
        let mut new = come("new", V5);
        assert_eq!(new.expect_connack().code, 0, "{name}");
        let mut old = come("old", V311);
        assert_eq!(old.expect_connack().code, 0, "{name}");
        assert!(!come("new", V311).is_admitted(), "{name}");
        assert!(!come("old", V5).is_admitted(), "{name}");
        for version in [V311, V5] {
            assert!(!come("closed", version).is_admitted(), "{name}");
        }
        old.publish(publish("a", [7; 2_000]).qos(1));
        new.send(publish("a", [7; 2_000]));
        new.expect_disconnected(&[0x95]);
    }
}
