//! The clients that speak WebSocket.

use crate::Case;
use crate::agent::Kind;
use sluice_tests::broker::Broker;
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
"#;

fn messages_arrive_over_websocket(kind: Kind, version: &'static str) {
    let broker = Broker::with_config(CONFIG);
    let (web, plain) = (broker.listener("web"), broker.address());
    let case = Case { kind, version };
    let large = "x".repeat(200_000);
    for qos in 0..=2u8 {
        let topic = unique("web/");
        let subscriber = case.subscriber(web, &topic).over_websocket("/mqtt").qos(qos);
        let mut subscriber = case.start(&subscriber).listening(qos);
        for options in [
            case.publisher(web, &topic).over_websocket("/mqtt"),
            case.publisher(plain, &topic),
        ] {
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

#[test]
fn paho_speaks_websocket() {
    messages_arrive_over_websocket(Kind::Paho, "3.1.1");
    messages_arrive_over_websocket(Kind::Paho, "5.0");
}

#[test]
fn mqttjs_speaks_websocket() {
    messages_arrive_over_websocket(Kind::MqttJs, "3.1.1");
    messages_arrive_over_websocket(Kind::MqttJs, "5.0");
}
