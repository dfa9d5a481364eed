//! Bans that a policy sets, capability `bans`, as clients and the operator meet them.

use crate::{gated_config, may_publish, sluice};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Connect, V5, Version, connect};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property;
use sluice_tests::{eventually, guests, unique};

/// A broker whose listener `gate` is judged by `bouncer`, which bans whom a topic names.
fn bouncing() -> Broker {
    let config = gated_config("{}").replace("[policy.gate]", "[policy.gate]\ncapabilities = [\"bans\"]");
    Broker::with_files(&config, &[("gate.wasm", &guests::wasm("bouncer"))])
}

fn try_join(broker: &Broker, listener: &str, packet: &Connect) -> (Peer, u8, Vec<Property>) {
    let (peer, connack) = crate::try_join(broker, listener, packet);
    (peer, connack.code, connack.properties)
}

fn join(broker: &Broker, listener: &str, packet: &Connect) -> Peer {
    let (peer, code, _) = try_join(broker, listener, packet);
    peer.assert(code == 0, "the connection is accepted");
    peer
}

/// What a banned client gets in answer to CONNECT.
fn banned(version: Version) -> u8 {
    if version == V5 { 0x8A } else { 5 }
}

fn bans(broker: &Broker) -> String {
    sluice(broker, &["client", "bans"]).expect("the list")
}

#[test]
fn a_policy_sends_a_client_away_and_keeps_it_out() {
    let broker = bouncing();
    let mut officer = join(&broker, "gate", &connect(V5, "officer"));
    for version in BOTH {
        let id = unique("bad");
        let packet = connect(version, &id);
        let mut client = join(&broker, "gate", &packet);
        let mut other = join(&broker, "gate", &connect(version, unique("good")));
        assert!(may_publish(&mut officer, &format!("ban/client/600/{id}")));
        // DISCONNECT cannot say Banned [MQTT-3.14.2-1].
        client.expect_disconnected(&[0x87]);
        for listener in ["gate", "calm"] {
            let (mut client, code, properties) = try_join(&broker, listener, &packet);
            client.assert(code == banned(version), "banned");
            client.expect_closed();
            let why = Property::ReasonString("banned for a while: a message says so".into());
            assert_eq!(properties.contains(&why), version == V5);
        }
        other.ping();
        let _ = join(&broker, "gate", &connect(version, unique("another")));
        let line = broker.wait_for_log("the ban", |line| {
            let text = line.text_field("text").unwrap_or_default();
            line.is("policy_ban") && text.contains(&format!("\"{id}\" is banned for 10 min"))
        });
        assert!(line.has("policy", "gate"));
        broker.wait_for_log("the end of the connection", |line| {
            line.is("client_disconnected") && line.has("client_id", &id)
        });
    }
    let metrics = sluice(&broker, &["metrics"]).expect("metrics");
    for line in ["sluice_policy_bans_total 2", "sluice_policy_bans_refused_total 0"] {
        assert!(
            metrics.lines().any(|other| other == line),
            "no {line} in\n{metrics}"
        );
    }
}

#[test]
fn a_user_and_an_address_are_kept_out_like_a_client() {
    let broker = bouncing();
    let mut officer = join(&broker, "gate", &connect(V5, "officer"));
    let of = |user: &str| connect(V5, unique("client")).username(user);
    let mut first = join(&broker, "gate", &of("mallory"));
    let mut second = join(&broker, "calm", &of("mallory"));
    assert!(may_publish(&mut officer, "ban/user/600/mallory"));
    first.expect_disconnected(&[0x87]);
    second.expect_disconnected(&[0x87]);
    let (_, code, _) = try_join(&broker, "gate", &of("mallory"));
    assert_eq!(code, 0x8A);
    let mut ada = join(&broker, "gate", &of("ada"));

    for wrong in ["127.0.0.0/8", "0.0.0.0/0", "::/0", "localhost"] {
        assert!(
            !may_publish(&mut officer, &format!("ban/address/600/{wrong}")),
            "{wrong}"
        );
    }
    officer.ping();
    assert!(may_publish(&mut officer, "ban/address/600/127.0.0.0/16"));
    officer.expect_disconnected(&[0x87]);
    ada.expect_disconnected(&[0x87]);
    let mut refused = Peer::open(broker.listener("gate"), V5);
    refused.send(connect(V5, "again"));
    refused.expect_closed();
    sluice(&broker, &["client", "unban", "--address", "127.0.0.0/16"]).expect("the operator's word counts");
    let _ = join(&broker, "gate", &of("ada"));
}

#[test]
fn its_bans_end_by_themselves() {
    let broker = bouncing();
    let mut officer = join(&broker, "gate", &connect(V5, "officer"));
    let packet = connect(V5, "restless");
    let mut client = join(&broker, "gate", &packet);
    assert!(may_publish(&mut officer, "ban/client/1/restless"));
    client.expect_disconnected(&[0x87]);
    eventually("the ban ends", || try_join(&broker, "gate", &packet).1 == 0);
    assert_eq!(bans(&broker), "nobody is banned\n");
}

#[test]
fn its_bans_are_listed_with_its_name_and_end_when_it_or_the_operator_says_so() {
    let broker = bouncing();
    let mut officer = join(&broker, "gate", &connect(V5, "officer"));
    for id in ["forgiven", "pardoned"] {
        assert!(may_publish(&mut officer, &format!("ban/client/600/{id}")));
    }
    let listed = bans(&broker);
    assert_eq!(listed.matches("policy gate").count(), 2, "{listed}");
    assert!(listed.contains("a message says so"), "{listed}");
    sluice(&broker, &["client", "unban", "forgiven"]).expect("the operator takes it back");
    let _ = join(&broker, "gate", &connect(V5, "forgiven"));
    assert!(may_publish(&mut officer, "unban/client/pardoned"));
    let _ = join(&broker, "gate", &connect(V5, "pardoned"));
    assert!(
        !may_publish(&mut officer, "unban/client/pardoned"),
        "there is no ban any more"
    );
}

#[test]
fn what_the_operator_said_is_out_of_its_reach() {
    let broker = bouncing();
    let mut officer = join(&broker, "gate", &connect(V5, "officer"));
    sluice(&broker, &["client", "ban", "bad", "--reason", "for good"]).expect("a ban");
    assert!(may_publish(&mut officer, "ban/client/1/bad"), "it is banned");
    assert!(!may_publish(&mut officer, "unban/client/bad"));
    let listed = bans(&broker);
    assert!(
        listed.contains("operator") && listed.contains("for good"),
        "{listed}"
    );
    assert!(!listed.contains("policy"), "{listed}");
    assert_eq!(try_join(&broker, "gate", &connect(V5, "bad")).1, 0x8A);
}

#[test]
fn a_module_that_bans_is_refused_unless_that_is_granted() {
    let broker = crate::gated("marker", "{}");
    let path = guests::path("bouncer");
    let path = path.to_str().expect("UTF-8");
    let why = sluice(&broker, &["policy", "load", "gate", path]).expect_err("it is not granted");
    assert!(why.contains("`bans` is not granted"), "{why}");
    let shown = sluice(&broker, &["policy", "inspect", path]).expect("it is valid");
    let capabilities = shown.lines().find(|line| line.starts_with("capabilities"));
    assert!(
        capabilities.is_some_and(|line| line.ends_with(" bans")),
        "{shown}"
    );
}
