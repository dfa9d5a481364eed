//! What monitoring asks over HTTP.

use sluice_tests::broker::{Broker, Signal, new_dir};
use sluice_tests::packet::{V5, connect};
use sluice_tests::peer::Peer;
use sluice_tests::transport::Transport;
use sluice_tests::websocket::upgrade;
use sluice_tests::{PATIENCE, eventually, guests};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const HEALTH: &str = "[health]\naddress = \"127.0.0.1:0\"\n";
const LISTENER: &str = "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\n";

fn health_of(broker: &Broker) -> SocketAddr {
    let line = broker.wait_for_log("the health endpoint", |line| line.is("health_listening"));
    line.text_field("address")
        .expect("an address")
        .parse()
        .expect("an address")
}

/// Status and body.
fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let lines = format!("{request} HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n");
    socket.write_all(lines.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[test]
fn a_broker_is_ready_until_it_drains() {
    let web = "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\nwebsocket = {}\n";
    let mut broker = crate::broker(&format!("{web}{HEALTH}"));
    let health = health_of(&broker);
    let get = |path: &str| ask(health, &format!("GET {path}"));
    assert_eq!(get("/livez"), (200, "alive\n".to_owned()));
    eventually("it is ready", || get("/readyz") == (200, "ready\n".to_owned()));
    assert_eq!(get("/").0, 404);
    assert_eq!(ask(health, "POST /readyz").0, 405);
    assert_eq!(ask(health, "HEAD /readyz"), (200, String::new()));

    // A client that does not answer the broker's Close keeps it draining for a while.
    let socket = upgrade(Transport::plain(broker.address()), "/mqtt", &[]);
    let mut client = Peer::over(socket.expect("an upgrade"), V5);
    client.send(connect(V5, "slow to go"));
    assert_eq!(client.expect_connack().code, 0);
    broker.signal(Signal::TERM);
    let mut seen = None;
    eventually("it is not ready any more, or gone", || {
        let Ok(mut socket) = TcpStream::connect(health) else {
            return true;
        };
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let _ = socket.write_all(b"GET /readyz HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        if answer.contains("503") {
            seen = Some(answer);
        }
        seen.is_some()
    });
    assert!(seen.is_some_and(|answer| answer.ends_with("stopping\n")));
    client.skip_to_end();
    drop(client);
    assert!(broker.wait_for_exit().success());
}

#[test]
fn the_metrics_are_those_of_the_command() {
    let broker = crate::broker(&format!("{LISTENER}{HEALTH}"));
    let health = health_of(&broker);
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').expect("a value").0.to_owned())
            .collect()
    };
    let (status, served) = ask(health, "GET /metrics");
    let told = broker.sluice(&["metrics"]).expect("metrics");
    assert_eq!(status, 200);
    assert_eq!(names(&served), names(&told));
}

#[test]
fn requests_that_never_end_keep_nobody_waiting() {
    let broker = crate::broker(&format!("{LISTENER}{HEALTH}"));
    let health = health_of(&broker);
    let hang = || {
        let mut socket = TcpStream::connect(health).expect("it listens");
        let _ = socket.write_all(b"GET /livez HTTP/1.1\r\nHost: ");
        socket
    };
    let _hanging: Vec<_> = (0..100).map(|_| hang()).collect();
    assert_eq!(ask(health, "GET /livez").0, 200, "they are cut off in time");
    let _ = broker.client(V5);
}

#[test]
fn it_answers_before_the_broker_can_start_and_an_address_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = taken.local_addr().expect("an address");
    let dir = new_dir();
    let config = format!(
        "policies = [\"echo\"]\n{LISTENER}[health]\naddress = \"{address}\"\n[policy.echo]\nfile = \"echo.wasm\"\n"
    );
    std::fs::write(dir.path().join("sluice.toml"), config).expect("the configuration");
    std::fs::write(dir.path().join("echo.wasm"), guests::wasm("auth-echo")).expect("the policy");
    let output = sluice_tests::broker::command(dir.path())
        .args(["run", "--config", "sluice.toml"])
        .output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains(&format!("the health endpoint cannot listen on {address}")),
        "{said}"
    );
    assert!(!said.contains("policy_activated"), "it comes before the policies");
}
