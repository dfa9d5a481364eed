//! Clients that are named by their certificates.

use crate::{broker_with, open};
use sluice_tests::authority::{Authority, Credentials, wanted};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, V5, V311, Version, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property;
use sluice_tests::reply::ConnAck;
use sluice_tests::tls::Identity;
use sluice_tests::unique;

/// A broker that names the clients of an authority.
struct Named {
    identity: Identity,
    authority: Authority,
    broker: Broker,
}

impl Named {
    fn by(keys: &str) -> Self {
        let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
        let keys = format!("client_certificates = \"required\"\nclient_ca = \"ca.pem\"\n{keys}");
        let broker = broker_with(&identity, &keys, &[("ca.pem", &authority.pem())]);
        Self {
            identity,
            authority,
            broker,
        }
    }

    fn try_join(&self, credentials: &Credentials, version: Version, client_id: &str) -> (Peer, ConnAck) {
        let mut peer = open(&self.broker, &self.identity.client_with(credentials), version);
        peer.send(connect(version, client_id).username("whoever-i-like"));
        let connack = peer.expect_connack();
        (peer, connack)
    }

    /// What the policy knows a client by.
    fn name_of(&self, credentials: &Credentials, version: Version) -> String {
        let id = unique("named");
        let (peer, connack) = self.try_join(credentials, version, &id);
        peer.assert(connack.code == 0, "the connection is accepted");
        let line = self.broker.wait_for_log("the client", |line| {
            line.is("client_connected") && line.has("client_id", &id)
        });
        line.text_field("principal").expect("a principal")
    }

    fn assert_refused(&self, credentials: &Credentials, client_id: &str, code: u8, why: &str) {
        for version in BOTH {
            let (mut peer, connack) = self.try_join(credentials, version, client_id);
            let expected = match (version, code) {
                (V5, code) => code,
                (_, 0x85) => 2,
                _ => 5,
            };
            peer.assert(connack.code == expected, "refused for this reason");
            if version == V5 {
                let told = Property::ReasonString(why.into());
                peer.assert(connack.properties.contains(&told), "the client is told why");
            }
            peer.expect_closed();
            self.broker.wait_for_log("the refusal", |line| {
                line.is("connect_refused") && line.has("client_id", client_id) && line.has("text", why)
            });
        }
    }
}

#[test]
fn the_certificate_says_who_a_client_is_whatever_the_client_says() {
    let all = || {
        wanted("by-cn")
            .dns("by-dns.test")
            .uri("spiffe://by/uri")
            .email("by@email.test")
    };
    for (field, expected) in [
        ("cn", "by-cn"),
        ("san-dns", "by-dns.test"),
        ("san-uri", "spiffe://by/uri"),
        ("san-email", "by@email.test"),
    ] {
        let named = Named::by(&format!("identity = \"{field}\""));
        let credentials = named.authority.issue(all());
        for version in BOTH {
            assert_eq!(named.name_of(&credentials, version), expected);
        }
    }
    let named = Named::by("identity = \"fingerprint\"");
    let [one, other] = [all(), all()].map(|wanted| named.name_of(&named.authority.issue(wanted), V5));
    assert_eq!(one.len(), 64);
    assert_ne!(one, other);
}

#[test]
fn a_certificate_with_no_name_or_several_lets_nobody_in() {
    let named = Named::by("identity = \"san-dns\"");
    let none = named.authority.issue(wanted("pump-1"));
    let why = "the certificate has no name to go by (san-dns), or several";
    named.assert_refused(&none, &unique("none"), 0x87, why);
    let several = named
        .authority
        .issue(wanted("pump-1").dns("a.test").dns("b.test"));
    let why = "the certificate has several names to go by (san-dns)";
    named.assert_refused(&several, &unique("several"), 0x87, why);
    let twice = named
        .authority
        .issue(wanted("pump-1").dns("a.test").dns("a.test"));
    assert_eq!(named.name_of(&twice, V5), "a.test");
}

#[test]
fn the_name_in_the_certificate_is_what_a_ban_of_a_user_is_about() {
    let named = Named::by("identity = \"cn\"");
    let (bad, good) = (
        named.authority.issue(wanted("bad")),
        named.authority.issue(wanted("good")),
    );
    let id = unique("client");
    let (mut peer, connack) = named.try_join(&bad, V5, &id);
    peer.assert(connack.code == 0, "the connection is accepted");
    named
        .broker
        .sluice(&["client", "ban", "--user", "bad"])
        .expect("it is obeyed");
    peer.expect_disconnected(&[0x87]);
    let (_, connack) = named.try_join(&bad, V5, &id);
    assert_eq!(connack.code, 0x8A);
    assert_eq!(named.name_of(&good, V5), "good");
}

#[test]
fn the_client_identifier_can_be_bound_to_the_certificate() {
    let named = Named::by("identity = \"cn\"\nclient_id = \"identity\"");
    let pump = named.authority.issue(wanted("pump-1"));
    for version in BOTH {
        let (mut peer, connack) = named.try_join(&pump, version, "pump-1");
        peer.assert(connack.code == 0, "its own");
        peer.ping();
        peer.leave();
    }
    let why = "the client identifier must be the name in the certificate";
    named.assert_refused(&pump, "pump-2", 0x85, why);

    // A client that leaves the choice to the broker is given it.
    let (_, connack) = named.try_join(&pump, V5, "");
    let assigned = Property::AssignedClientId("pump-1".into());
    assert!(connack.properties.contains(&assigned), "{connack:?}");
    let (peer, connack) = named.try_join(&pump, V311, "");
    peer.assert(connack.code == 0, "the connection is accepted");
    let listed = named.broker.sluice(&["client", "list"]).expect("it is obeyed");
    assert!(
        listed.contains("pump-1") && !listed.contains("sluice-"),
        "{listed}"
    );
}

#[test]
fn a_fleet_needs_no_policy_of_its_own_and_no_passwords() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
    let toml = r#"
        [[listener]]
        name = "secure"
        address = "127.0.0.1:0"
        [listener.tls]
        certificate = "chain.pem"
        key = "key.pem"
        client_certificates = "required"
        client_ca = "ca.pem"
        identity = "cn"
        [policy.users.settings]
        by_certificate = "cn"
        rules = [{ allow = "publish", topic = "sensors/%u/#" }]
    "#;
    let broker = Broker::with_files(
        toml,
        &[
            ("chain.pem", identity.certificate_pem.as_bytes()),
            ("key.pem", identity.key_pem.as_bytes()),
            ("ca.pem", authority.pem().as_bytes()),
        ],
    );
    let client = identity.client_with(&authority.issue(wanted("pump-1")));
    let mut peer = open(&broker, &client, V5);
    peer.send(connect(V5, unique("pump")));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "the connection is accepted");
    for (topic, is_allowed) in [("sensors/pump-1/t", true), ("sensors/pump-2/t", false)] {
        let reason = peer.try_publish(publish(topic, "21").qos(1));
        peer.assert((reason < 0x80) == is_allowed, topic);
    }
}
