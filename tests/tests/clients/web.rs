//! The clients that speak WebSocket, in the clear and encrypted, and those that know sockets in the file system.

use crate::Case;
use crate::agent::{Kind, Options, Tls};
use sluice_tests::broker::Broker;
use sluice_tests::tls::Identity;
use sluice_tests::unique;

/// Paho names the address it connects to as its origin.
const CONFIG: &str = r#"
[[listener]]
name = "plain"
address = "127.0.0.1:0"
[[listener]]
name = "web"
address = "127.0.0.1:0"
websocket = { path = "/mqtt", origins = ["*"] }
[[listener]]
name = "secure-web"
address = "127.0.0.1:0"
websocket = { path = "/mqtt", origins = ["*"] }
tls = { certificate = "chain.pem", key = "key.pem" }
[[listener]]
name = "local"
address = "unix:mqtt.sock"
"#;

fn broker() -> Broker {
    let identity = Identity::of_name("127.0.0.1", 4096);
    let broker = Broker::with_files(
        CONFIG,
        &[
            ("chain.pem", identity.certificate_pem.as_bytes()),
            ("key.pem", identity.key_pem.as_bytes()),
        ],
    );
    broker.wait_for_log("the last of the listeners", |line| {
        line.is("listening") && line.has("listener", "local")
    });
    broker
}

/// Both ways: a subscriber that comes through `door` hears a publisher that does, and one over plain TCP.
fn messages_arrive(broker: &Broker, case: Case, door: impl Fn(Options) -> Options) {
    let plain = broker.listener("plain");
    let large = "x".repeat(200_000);
    for qos in 0..=2u8 {
        let topic = unique("door/");
        let subscriber = door(case.subscriber(plain, &topic)).qos(qos);
        let mut subscriber = case.start(&subscriber).listening(qos);
        for options in [door(case.publisher(plain, &topic)), case.publisher(plain, &topic)] {
            let mut publisher = case.start(&options.qos(qos)).connected();
            for payload in ["small", &large] {
                publisher.published(payload);
                subscriber.expect_message(payload);
            }
            publisher.leave();
        }
        subscriber.leave();
    }
}

fn messages_arrive_over_websocket(kind: Kind) {
    let broker = broker();
    for version in ["3.1.1", "5.0"] {
        let web = |options: Options| Options {
            port: broker.listener("web").port(),
            ..options.over_websocket("/mqtt")
        };
        messages_arrive(&broker, Case { kind, version }, web);
        let tls = Tls {
            authority: broker.dir().join("chain.pem"),
            certificate: None,
            key: None,
        };
        let secure = |options: Options| Options {
            port: broker.listener("secure-web").port(),
            ..options.over_websocket("/mqtt").tls(tls.clone())
        };
        messages_arrive(&broker, Case { kind, version }, secure);
    }
}

#[test]
fn paho_speaks_websocket_in_the_clear_and_encrypted() {
    messages_arrive_over_websocket(Kind::Paho);
}

#[test]
fn mqttjs_speaks_websocket_in_the_clear_and_encrypted() {
    messages_arrive_over_websocket(Kind::MqttJs);
}

#[test]
fn mosquittos_tools_find_a_socket_in_the_file_system() {
    let broker = broker();
    let kind = Kind::Mosquitto;
    for version in ["3.1.1", "5.0"] {
        let local = |options: Options| options.at_socket(broker.dir().join("mqtt.sock"));
        messages_arrive(&broker, Case { kind, version }, local);
    }
}
