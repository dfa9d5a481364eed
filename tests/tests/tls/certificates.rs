//! Who gets in by certificate, who does not, and what policies and operators are told.

use crate::{broker, broker_with, failures, join, open, turned_away};
use sluice_tests::authority::{Authority, Credentials, wanted};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{V5, connect};
use sluice_tests::peer::Peer;
use sluice_tests::tls::{Client, HandshakeKind, Identity, TLS12, TLS13, VERSIONS};
use sluice_tests::{eventually, unique};

const REQUIRED: &str = "client_certificates = \"required\"\nclient_ca = \"ca.pem\"\n";
const WITH_LIST: &str = "client_certificates = \"required\"\nclient_ca = \"ca.pem\"\ncrls = [\"ca.crl\"]\n";

/// What the policy calls a client of this user name.
fn principal(broker: &Broker, client: &Client, username: &str) -> String {
    let mut peer = open(broker, client, V5);
    let id = unique("named");
    peer.send(connect(V5, &id).username(username));
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "the connection is accepted");
    let line = broker.wait_for_log("the client", |line| {
        line.is("client_connected") && line.has("client_id", &id)
    });
    line.text_field("principal").expect("a principal")
}

#[test]
fn policies_are_told_everything_of_a_certificate() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet, \"North\""));
    let broker = broker_with(&identity, REQUIRED, &[("ca.pem", &authority.pem())]);
    let wanted = wanted("pump-1").dns("pump-1.test").uri("spiffe://plant/pump/1");
    let wanted = wanted.email("pump@plant.test").ip("192.0.2.1").ip("2001:db8::1");
    let credentials = authority.issue(wanted.valid(2000, 2100));
    for version in VERSIONS {
        let client = identity.client_with_speaking(&credentials, version);
        let told = principal(&broker, &client, "certified");
        let expected = format!(
            "Some(\"pump-1\") [\"pump-1.test\"] [\"spiffe://plant/pump/1\"] [\"pump@plant.test\"] \
             [\"192.0.2.1\", \"2001:db8::1\"] CN=Fleet\\, \\\"North\\\" {} ",
            credentials.serial
        );
        let rest = told.strip_prefix(&expected).unwrap_or_else(|| panic!("{told}"));
        let (fingerprint, end) = rest.split_once(' ').expect("two more");
        let is_hex = fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(fingerprint.len() == 64 && is_hex, "{fingerprint}");
        assert_eq!(end, "946684800 4102444800");
        // Again, from what the first connection has left with the client.
        assert_eq!(principal(&broker, &client, "certified"), told);
    }
}

/// A broker that asks for certificates of this authority and knows which of them was revoked.
fn guarded(identity: &Identity, authority: &Authority, revoked: &Credentials) -> Broker {
    let list = authority.revocation_list(&[revoked], 2100);
    let files = [("ca.pem", authority.pem()), ("ca.crl", list)];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    broker_with(identity, WITH_LIST, &files)
}

#[test]
fn whoever_has_no_good_certificate_is_refused_and_the_log_says_why() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
    let stranger = Authority::new("Elsewhere");
    let revoked = authority.issue(wanted("stolen"));
    let expired = authority.issue(wanted("old").valid(2000, 2020));
    let early = authority.issue(wanted("early").valid(2100, 2101));
    let server = authority.issue(wanted("server").for_servers());
    let foreign = stranger.issue(wanted("pump-1"));
    let own = wanted("pump-1").self_signed();
    for version in VERSIONS {
        // A broker for each: the log has room for ten lines a second of one kind from one address.
        let broker = guarded(&identity, &authority, &revoked);
        let good = identity.client_with_speaking(&authority.issue(wanted("good")), version);
        let mut early_bird = join(&broker, &good, V5);
        for (credentials, reason, expected) in [
            (
                &revoked,
                "certificate_revoked",
                "the client's certificate was revoked (subject \"CN=stolen\", serial ",
            ),
            (
                &expired,
                "certificate_expired",
                "the client's certificate expired on 2020-01-01 (subject \"CN=old\"",
            ),
            (
                &early,
                "certificate_not_yet_valid",
                "the client's certificate is not valid before 2100-01-01 (subject \"CN=early\"",
            ),
            (
                &foreign,
                "certificate_unknown_issuer",
                "the client's certificate comes from no authority in client_ca (subject \"CN=pump-1\"",
            ),
            (
                &own,
                "certificate_self_signed",
                "the client's certificate is signed by itself and is not in client_ca (subject \"CN=pump-1\"",
            ),
            (
                &server,
                "certificate_invalid",
                "the client's certificate is not for clients (extended key usage) (subject \"CN=server\"",
            ),
        ] {
            let client = identity.client_with_speaking(credentials, version);
            let line = turned_away(&broker, &client, reason);
            let text = line.text_field("text").expect("a text");
            assert!(text.starts_with(expected), "{text}");
            assert!(text.contains(&credentials.serial), "{text}");
            assert!(line.has("peer", "127.0.0.1") && line.has("listener", "secure"));
        }
        let nobody = identity.client_speaking(&[version], &[]);
        let line = turned_away(&broker, &nobody, "no_certificate");
        assert!(
            line.has("text", "the client has no certificate, and one is required"),
            "{}",
            line.text
        );
        early_bird.ping();
        join(&broker, &good, V5).ping();
    }
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
    let optional = REQUIRED.replace("required", "optional");
    let broker = broker_with(&identity, &optional, &[("ca.pem", &authority.pem())]);
    assert_eq!(
        principal(&broker, &identity.client(), "certified"),
        "no certificate"
    );
    let good = identity.client_with(&authority.issue(wanted("good")));
    assert!(principal(&broker, &good, "certified").starts_with("Some(\"good\")"));
    let wrong = identity.client_with(&wanted("good").self_signed());
    turned_away(&broker, &wrong, "certificate_self_signed");
}

#[test]
fn a_certificate_that_nobody_asks_for_is_not_given() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
    let broker = broker(&identity, "client_certificates = \"none\"");
    let client = identity.client_with(&authority.issue(wanted("good")));
    assert_eq!(principal(&broker, &client, "certified"), "no certificate");
}

#[test]
fn every_authority_of_a_chain_needs_a_list_unless_only_clients_are_looked_up() {
    let (identity, root) = (Identity::new(), Authority::new("Root"));
    let plant = root.intermediate("Plant 7");
    let pump = plant.issue(wanted("pump-1"));
    let client = identity.client_with(&pump);
    let both = plant.revocation_list(&[], 2100) + &root.revocation_list(&[], 2100);
    let plant_only = plant.revocation_list(&[], 2100);
    let root_only = root.revocation_list(&[], 2100);
    let guarded = |keys: &str, lists: &str| {
        let files = [("ca.pem", root.pem()), ("ca.crl", lists.to_owned())];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        broker_with(&identity, &format!("{WITH_LIST}{keys}"), &files)
    };
    join(&guarded("", &both), &client, V5).ping();
    join(&guarded("crl_check = \"leaf\"", &plant_only), &client, V5).ping();
    for (keys, lists) in [
        ("", &plant_only),
        ("", &root_only),
        ("crl_check = \"leaf\"", &root_only),
    ] {
        let line = turned_away(&guarded(keys, lists), &client, "crl_missing");
        let text = line.text_field("text").expect("a text");
        assert!(text.starts_with("crls has no revocation list for"), "{text}");
    }
}

#[test]
fn a_list_that_has_expired_lets_nobody_in() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
    let list = authority.revocation_list(&[], 2020);
    let files = [("ca.pem", authority.pem()), ("ca.crl", list)];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let broker = broker_with(&identity, WITH_LIST, &files);
    broker.wait_for_log("the warning", |line| {
        let text = line.text_field("text").unwrap_or_default();
        line.is("config_warning")
            && text.contains("the revocation list of CN=Fleet in ca.crl expired on 2020-01-01")
    });
    let client = identity.client_with(&authority.issue(wanted("good")));
    let line = turned_away(&broker, &client, "crl_expired");
    let text = line.text_field("text").expect("a text");
    assert!(
        text.starts_with("the revocation list for the client's certificate expired on 2020-01-01"),
        "{text}"
    );
}

#[test]
fn a_session_is_resumed_no_longer_than_its_certificate_is_good() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
    let broker = broker_with(&identity, REQUIRED, &[("ca.pem", &authority.pem())]);
    for version in [&TLS12, &TLS13] {
        let credentials = authority.issue(wanted("brief").valid_for(3));
        let client = identity.client_with_speaking(&credentials, version);
        let before = failures(&broker, "certificate_expired");
        join(&broker, &client, V5).leave();
        // Each time the broker lets the client resume, until it does not: there is a ticket left for the last time.
        let mut last = None;
        eventually("the certificate expires", || {
            let Ok(stream) = client.connect(broker.listener("secure")) else {
                return true;
            };
            last = stream.session().handshake_kind();
            let mut peer = Peer::over(stream, V5);
            peer.send(connect(V5, unique("client")));
            !peer.is_admitted()
        });
        assert_eq!(last, Some(HandshakeKind::Resumed));
        eventually("it is counted", || {
            failures(&broker, "certificate_expired") > before
        });
    }
}
