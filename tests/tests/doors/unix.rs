//! Clients that connect over a socket in the file system.

use crate::{config, metric};
use sluice_tests::broker::{Broker, Signal, command, new_dir};
use sluice_tests::packet::{BOTH, V5, Version, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::transport::Transport;
use sluice_tests::websocket::upgrade;
use sluice_tests::{guests, unique};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

const LISTENERS: &str = r#"
[[listener]]
name = "plain"
address = "127.0.0.1:0"
[[listener]]
name = "local"
address = "unix:mqtt.sock"
socket_mode = "0600"
"#;

fn over(broker: &Broker, name: &str) -> Transport {
    Transport::local(&broker.dir().join(name))
}

fn join(broker: &Broker, transport: Transport, version: Version) -> (Peer, String) {
    let mut peer = Peer::over(transport, version);
    let id = unique("client");
    peer.send(connect(version, &id).username("whence"));
    assert_eq!(peer.expect_connack().code, 0);
    let line = broker.wait_for_log("the client", |line| {
        line.is("client_connected") && line.has("client_id", &id)
    });
    (
        peer,
        format!(
            "{} {}",
            line.text_field("peer").expect("a peer"),
            line.text_field("principal").expect("a name")
        ),
    )
}

#[test]
fn clients_over_a_unix_socket_talk_to_others_and_are_local() {
    let broker = crate::broker(LISTENERS);
    let path = broker.dir().join("mqtt.sock");
    let file = fs::metadata(&path).expect("the socket");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    for version in BOTH {
        let (mut local, whence) = join(&broker, over(&broker, "mqtt.sock"), version);
        assert_eq!(whence, "local  0 by nobody named nothing, local: true");
        let (mut other, _) = join(&broker, Transport::plain(broker.listener("plain")), version);
        let topic = unique("unix/");
        other.subscribe(&topic, 0);
        local.publish(publish(&topic, [7; 100_000]));
        other.expect_message(&topic, [7; 100_000]);
        local.leave();
    }
}

#[test]
fn a_socket_goes_with_its_broker_and_one_left_behind_is_replaced() {
    let dir = new_dir();
    drop(UnixListener::bind(dir.path().join("mqtt.sock")).expect("a socket"));
    fs::write(dir.path().join("sluice.toml"), config(LISTENERS)).expect("the configuration");
    fs::write(dir.path().join("echo.wasm"), guests::wasm("auth-echo")).expect("the policy");
    let mut broker = Broker::start_in(dir, &["run", "--config", "sluice.toml"]);
    broker.wait_for_log("the admin socket", |line| line.is("admin_listening"));
    let path = broker.dir().join("mqtt.sock");
    let (mut local, _) = join(&broker, over(&broker, "mqtt.sock"), V5);

    let output = command(broker.dir())
        .args(["run", "--config", "sluice.toml"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("another broker listens there"),
        "{said}"
    );
    local.ping();
    assert!(path.exists(), "the socket of the living is left alone");
    broker.signal(Signal::TERM);
    local.skip_to_end();
    assert!(broker.wait_for_exit().success());
    assert!(!path.exists());
}

#[test]
fn what_is_in_the_way_of_a_socket_is_told_and_left_alone() {
    for (address, more, expected) in [
        ("unix:sluice.toml", "", "something that is no socket is there"),
        ("unix:nowhere/mqtt.sock", "", "its directory must exist"),
        (
            "unix:mqtt.sock",
            "socket_group = \"no-such-group\"",
            "there is no group \"no-such-group\"",
        ),
    ] {
        let dir = new_dir();
        let listener = format!("[[listener]]\nname = \"local\"\naddress = \"{address}\"\n{more}\n");
        fs::write(dir.path().join("sluice.toml"), &listener).expect("the configuration");
        let output = command(dir.path())
            .args(["run", "--config", "sluice.toml"])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{said}");
        assert_eq!(
            fs::read_to_string(dir.path().join("sluice.toml")).expect("it is there"),
            listener
        );
    }
}

#[test]
fn a_socket_can_belong_to_a_group() {
    let group = rustix::process::getgid().as_raw();
    let listeners = LISTENERS.replace("\"0600\"", &format!("\"0660\"\nsocket_group = \"{group}\""));
    let broker = crate::broker(&listeners);
    let file = fs::metadata(broker.dir().join("mqtt.sock")).expect("the socket");
    assert_eq!((file.gid(), file.permissions().mode() & 0o777), (group, 0o660));
}

#[test]
fn proxies_over_a_unix_socket_must_tell_for_whom_they_speak() {
    let listeners = format!(
        "{LISTENERS}[[listener]]\nname = \"balanced\"\naddress = \"unix:proxy.sock\"\nproxy_protocol = true\n\
         [[listener]]\nname = \"web\"\naddress = \"unix:web.sock\"\nwebsocket = {{}}\n"
    );
    let broker = crate::broker(&listeners);
    let mut balanced = over(&broker, "proxy.sock");
    std::io::Write::write_all(&mut balanced, b"PROXY TCP4 192.0.2.1 192.0.2.2 7 8\r\n").expect("it is sent");
    let (_, whence) = join(&broker, balanced, V5);
    assert_eq!(whence, "192.0.2.1 192.0.2.1 7 by  named nothing, local: false");
    let mut bare = Peer::over(over(&broker, "proxy.sock"), V5);
    bare.send(connect(V5, "bare"));
    bare.expect_closed();

    let forwarded = upgrade(
        over(&broker, "web.sock"),
        "/mqtt",
        &[("X-Forwarded-For", "192.0.2.3")],
    );
    let (mut web, whence) = join(&broker, forwarded.expect("an upgrade"), V5);
    assert_eq!(whence, "192.0.2.3 192.0.2.3 0 by  named nothing, local: false");
    web.ping();
    let refused = upgrade(over(&broker, "web.sock"), "/mqtt", &[]);
    assert_eq!(refused.err(), Some(400));
    assert_eq!(
        metric(&broker, "sluice_connections_shed_total{reason=\"websocket\"}"),
        Some(1)
    );
}
