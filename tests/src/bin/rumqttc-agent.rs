//! One rumqttc client, told what to do by its argument and its standard input; see `tests/tests/clients/agent.rs`.

use rumqttc::v5::mqttbytes::v5;
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone, Deserialize)]
struct Options {
    role: String,
    host: String,
    port: u16,
    version: String,
    client_id: String,
    username: Option<String>,
    password: Option<String>,
    topic: String,
    qos: u8,
    retain: bool,
    will: Option<Will>,
}

#[derive(Clone, Deserialize)]
struct Will {
    topic: String,
    payload: String,
    qos: u8,
    retain: bool,
}

fn tell(event: Value) {
    use std::io::Write;
    // Whoever started this has gone if nobody reads it.
    let _ = writeln!(std::io::stdout(), "{event}");
}

/// Whether the broker has accepted the connection.
#[derive(Default)]
struct Connected {
    yes: Mutex<bool>,
    changed: Condvar,
}

impl Connected {
    fn set(&self) {
        *self.yes.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let yes = self.yes.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(yes, |yes| !*yes));
    }
}

/// The two APIs of rumqttc have the same shape and different types.
macro_rules! run {
    ($options:expr, $api:path, $will:expr, $qos:path, $event:ident) => {{
        use $api as api;
        let options: Options = $options;
        let qos = |level: u8| $qos(level).expect("0, 1 or 2");
        let mut settings = api::MqttOptions::new(&options.client_id, &options.host, options.port);
        settings.set_keep_alive(Duration::from_secs(60));
        if let (Some(name), Some(password)) = (&options.username, &options.password) {
            settings.set_credentials(name, password);
        }
        if let Some(will) = &options.will {
            settings.set_last_will($will(will, qos(will.qos)));
        }
        let (client, mut connection) = api::Client::new(settings, 10);
        let connected = Arc::new(Connected::default());
        let (subscriber, told, topic) = (client.clone(), Arc::clone(&connected), options.topic.clone());
        let (is_subscriber, level) = (options.role == "subscriber", options.qos);
        let events = std::thread::spawn(move || {
            for event in connection.iter() {
                let (Ok(event) | Err(event)) = event.map($event).map_err(|error| fault(&error));
                let Some(event) = event else { continue };
                let name = event["event"].as_str().unwrap_or_default().to_owned();
                tell(event);
                match name.as_str() {
                    "connected" if is_subscriber => subscriber.subscribe(&topic, qos(level)).expect("room"),
                    "connected" => told.set(),
                    "refused" | "disconnected" => std::process::exit(0),
                    _ => {}
                }
            }
        });
        for line in std::io::stdin().lines().map_while(Result::ok) {
            connected.wait();
            client
                .publish(&options.topic, qos(options.qos), options.retain, line)
                .expect("room");
        }
        client.disconnect().expect("room");
        events.join().expect("the connection's thread ends");
    }};
}

/// An error of either API; both name the code in their text.
fn fault(error: &dyn std::fmt::Debug) -> Option<Value> {
    let text = format!("{error:?}");
    let code = reason(&text);
    let refused = text.contains("ConnectionRefused") || text.contains("ConnFail");
    Some(json!({"event": if refused { "refused" } else { "disconnected" }, "code": code, "text": text}))
}

/// The code of a reason that rumqttc gives by name.
fn reason(name: &str) -> u8 {
    const CODES: &[(&str, u8)] = &[
        ("Success", 0),
        ("NoMatchingSubscribers", 0),
        ("BadUserNamePassword", 0x86),
        ("NotAuthorized", 0x87),
        ("PacketTooLarge", 0x95),
        ("QuotaExceeded", 0x97),
        ("AdministrativeAction", 0x98),
    ];
    CODES
        .iter()
        .find(|(known, _)| name.contains(known))
        .map_or(0x80, |(_, code)| *code)
}

fn acknowledged(reason_name: &dyn std::fmt::Debug) -> Option<Value> {
    Some(json!({"event": "acknowledged", "code": reason(&format!("{reason_name:?}"))}))
}

fn v4_event(event: rumqttc::Event) -> Option<Value> {
    use rumqttc::{Event, Outgoing, Packet};
    match event {
        Event::Incoming(Packet::ConnAck(_)) => Some(json!({"event": "connected"})),
        Event::Incoming(Packet::SubAck(suback)) => {
            let code = match suback.return_codes.first() {
                Some(rumqttc::SubscribeReasonCode::Success(qos)) => *qos as u8,
                _ => 0x80,
            };
            Some(json!({"event": "subscribed", "code": code}))
        }
        Event::Incoming(Packet::Publish(message)) => Some(json!({
            "event": "message", "topic": message.topic, "payload": String::from_utf8_lossy(&message.payload),
            "qos": message.qos as u8, "retain": message.retain,
        })),
        Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) | Event::Outgoing(Outgoing::Publish(0)) => {
            acknowledged(&"Success")
        }
        _ => None,
    }
}

fn v5_event(event: rumqttc::v5::Event) -> Option<Value> {
    use rumqttc::v5::Event;
    use v5::Packet;
    match event {
        Event::Incoming(Packet::ConnAck(_)) => Some(json!({"event": "connected"})),
        Event::Incoming(Packet::SubAck(suback)) => {
            let code = match suback.return_codes.first() {
                Some(v5::SubscribeReasonCode::Success(qos)) => *qos as u8,
                other => reason(&format!("{other:?}")),
            };
            Some(json!({"event": "subscribed", "code": code}))
        }
        Event::Incoming(Packet::Publish(message)) => Some(json!({
            "event": "message", "topic": String::from_utf8_lossy(&message.topic),
            "payload": String::from_utf8_lossy(&message.payload), "qos": message.qos as u8, "retain": message.retain,
        })),
        Event::Incoming(Packet::PubAck(ack)) => acknowledged(&ack.reason),
        Event::Incoming(Packet::PubComp(_)) | Event::Outgoing(rumqttc::Outgoing::Publish(0)) => {
            acknowledged(&"Success")
        }
        Event::Incoming(Packet::PubRec(ack)) => {
            acknowledged(&ack.reason).filter(|event| event["code"] != json!(0))
        }
        _ => None,
    }
}

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let options: Options = match serde_json::from_str(&argument) {
        Ok(options) => options,
        Err(error) => {
            tell(json!({"event": "failed", "text": error.to_string()}));
            return ExitCode::FAILURE;
        }
    };
    let v4_will =
        |will: &Will, qos| rumqttc::LastWill::new(&will.topic, will.payload.as_bytes(), qos, will.retain);
    let v5_will =
        |will: &Will, qos| v5::LastWill::new(&will.topic, will.payload.as_bytes(), qos, will.retain, None);
    match options.version.as_str() {
        "3.1.1" => run!(options, rumqttc, v4_will, rumqttc::qos, v4_event),
        "5.0" => run!(
            options,
            rumqttc::v5,
            v5_will,
            rumqttc::v5::mqttbytes::qos,
            v5_event
        ),
        other => tell(json!({"event": "failed", "text": format!("rumqttc does not speak {other}")})),
    }
    ExitCode::SUCCESS
}
