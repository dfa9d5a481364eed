//! `sluice client ban`, `unban` and `bans`.

use crate::{broker, obeyed, told};
use serde_json::{Value, json};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Connect, V5, Version, connect};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property;
use sluice_tests::{eventually, unique};

/// What a banned client gets in answer to CONNECT.
fn banned(version: Version) -> u8 {
    if version == V5 { 0x8A } else { 5 }
}

/// DISCONNECT cannot say Banned [MQTT-3.14.2-1]: it says Not authorized.
fn expect_thrown_out(peer: &mut Peer) {
    peer.expect_disconnected(&[0x87]);
}

fn expect_refused(broker: &Broker, packet: &Connect) -> Vec<Property> {
    let (mut peer, connack) = broker.try_join(packet);
    peer.assert(connack.code == banned(packet.version), "banned");
    peer.expect_closed();
    connack.properties
}

#[test]
fn a_client_that_is_banned_is_thrown_out_and_stays_out_until_the_ban_is_taken_back() {
    let broker = broker("");
    for version in BOTH {
        let id = unique("bad");
        let packet = connect(version, &id);
        let (mut client, _) = broker.join(&packet);
        let (mut other, _) = broker.join(&connect(version, unique("good")));
        let said = obeyed(&broker, &["client", "ban", &id, "--reason", "it floods"]);
        assert_eq!(said, format!("client \"{id}\" is banned; ended 1 connection\n"));
        expect_thrown_out(&mut client);
        let told_why = expect_refused(&broker, &packet);
        let why = Property::ReasonString("banned by the operator: it floods".into());
        assert_eq!(told_why.contains(&why), version == V5);
        let line = broker.wait_for_log("the refusal", |line| {
            line.is("connect_refused") && line.has("client_id", &id)
        });
        assert!(line.has("text", "banned by the operator: it floods") && line.has("reason", "Banned"));
        other.ping();

        obeyed(&broker, &["client", "unban", &id]);
        let (mut client, _) = broker.join(&packet);
        client.ping();
        let why = broker
            .sluice(&["client", "unban", &id])
            .expect_err("it is not banned");
        assert!(why.contains("is not banned"), "{why}");
    }
}

#[test]
fn a_user_that_is_banned_is_kept_out_whatever_its_client_identifiers() {
    let broker = broker("");
    let of = |user: &str| connect(V5, unique("client")).username(user);
    let (mut first, _) = broker.join(&of("mallory"));
    let (mut second, _) = broker.join(&of("mallory"));
    let (mut other, _) = broker.join(&of("ada"));
    let said = obeyed(&broker, &["client", "ban", "--user", "mallory"]);
    assert_eq!(said, "user \"mallory\" is banned; ended 2 connections\n");
    expect_thrown_out(&mut first);
    expect_thrown_out(&mut second);
    expect_refused(&broker, &of("mallory"));
    other.ping();
    let _ = broker.join(&of("ada"));
    obeyed(&broker, &["client", "unban", "--user", "mallory"]);
    let _ = broker.join(&of("mallory"));
}

#[test]
fn a_banned_address_finds_its_socket_closed() {
    let broker = broker("");
    let mut client = broker.client(V5);
    let said = obeyed(&broker, &["client", "ban", "--address", "127.0.0.0/8"]);
    assert_eq!(said, "address 127.0.0.0/8 is banned; ended 1 connection\n");
    expect_thrown_out(&mut client);
    let mut refused = broker.peer(V5);
    refused.send(connect(V5, "again"));
    refused.expect_closed();
    broker.wait_for_log("the closed socket", |line| {
        line.is("connection_shed")
            && line.has("text", "banned by the operator")
            && line.has("peer", "127.0.0.1")
    });
    let metrics = obeyed(&broker, &["metrics"]);
    for line in [
        "sluice_bans 1",
        "sluice_connections_shed_total{reason=\"banned\"} 1",
    ] {
        assert!(
            metrics.lines().any(|other| other == line),
            "no {line} in\n{metrics}"
        );
    }
    obeyed(&broker, &["client", "unban", "--address", "127.0.0.0/8"]);
    let _ = broker.client(V5);
}

#[test]
fn a_ban_ends_by_itself() {
    let broker = broker("");
    let packet = connect(V5, "restless");
    let (mut client, _) = broker.join(&packet);
    let said = obeyed(&broker, &["client", "ban", "restless", "--for", "1s"]);
    assert_eq!(
        said,
        "client \"restless\" is banned for 1 s; ended 1 connection\n"
    );
    expect_thrown_out(&mut client);
    eventually("the ban ends", || broker.try_join(&packet).1.code == 0);
    assert_eq!(obeyed(&broker, &["client", "bans"]), "nobody is banned\n");
    assert!(obeyed(&broker, &["metrics"]).contains("\nsluice_bans 0\n"));
}

#[test]
fn bans_are_listed_with_their_reasons_and_ends() {
    let broker = broker("");
    let bans: [&[&str]; 3] = [
        &["meter-17", "--for", "1h", "--reason", "floods since noon"],
        &["--user", "ada"],
        &["--address", "2001:db8::/64"],
    ];
    for ban in bans {
        obeyed(&broker, &[&["client", "ban"], ban].concat());
    }
    let listed = told(&broker, &["client", "bans"]);
    let row = |index: usize| {
        let ban = &listed["bans"][index];
        (ban["kind"].clone(), ban["name"].clone(), ban["reason"].clone())
    };
    assert_eq!(listed["matching"], 3);
    let expected = |kind: &str, name: &str, reason: &str| (json!(kind), json!(name), json!(reason));
    assert_eq!(row(0), expected("client", "meter-17", "floods since noon"));
    assert_eq!(row(1), expected("user", "ada", ""));
    assert_eq!(row(2), expected("address", "2001:db8::/64", ""));
    assert_eq!(listed["bans"][1]["left_milliseconds"], Value::Null);
    let text = obeyed(&broker, &["client", "bans"]);
    assert!(
        text.contains("min") && text.contains("floods since noon"),
        "{text}"
    );
    for wrong in [
        &["--address", "10.0.0.1/8"][..],
        &["a", "--user", "b"],
        &["a", "--for", "0s"],
    ] {
        let output = broker.command(&[&["client", "ban"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
