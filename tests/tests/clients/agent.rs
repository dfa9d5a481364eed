//! A real MQTT client in a process of its own, told what to do and telling what happens.
//!
//! Three kinds run a small program around the client's library (`tests/clients/`, `tests/src/bin/rumqttc-agent.rs`)
//! that speaks JSON lines; Mosquitto's own tools are spoken to as they are (`mosquitto.rs`).

use crate::mosquitto;
use serde::Serialize;
use sluice_tests::PATIENCE;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Mosquitto,
    Paho,
    MqttJs,
    Rumqttc,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Subscribes to `topic`, which is a filter, as soon as it is connected.
    Subscriber,
    /// Publishes to `topic` what it is told.
    Publisher,
}

/// What a client is to be.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    pub role: Role,
    pub host: String,
    pub port: u16,
    pub version: &'static str,
    /// Of the URL, if the client is to speak WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'static str>,
    /// In the file system, instead of host and port; only Mosquitto's tools know it here.
    #[serde(skip)]
    pub socket: Option<PathBuf>,
    pub client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub will: Option<Will>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Files for an encrypted connection.
#[derive(Clone, Debug, Serialize)]
pub struct Tls {
    /// What the broker's certificate must come from.
    pub authority: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Will {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
}

impl Options {
    pub fn new(role: Role, address: SocketAddr, version: &'static str, topic: &str) -> Self {
        Self {
            role,
            host: address.ip().to_string(),
            port: address.port(),
            version,
            path: None,
            socket: None,
            client_id: sluice_tests::unique("real"),
            username: None,
            password: None,
            topic: topic.to_owned(),
            qos: 1,
            retain: false,
            will: None,
            tls: None,
        }
    }

    pub fn tls(self, tls: Tls) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
    }

    pub fn over_websocket(self, path: &'static str) -> Self {
        let path = Some(path);
        Self { path, ..self }
    }

    pub fn at_socket(self, socket: PathBuf) -> Self {
        let socket = Some(socket);
        Self { socket, ..self }
    }

    pub fn qos(self, qos: u8) -> Self {
        Self { qos, ..self }
    }

    pub fn retain(self) -> Self {
        Self { retain: true, ..self }
    }

    pub fn will(self, topic: &str, payload: &str) -> Self {
        let will = Will {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            qos: 1,
            retain: false,
        };
        Self {
            will: Some(will),
            ..self
        }
    }

    pub fn credentials(self, name: &str, password: &str) -> Self {
        Self {
            username: Some(name.to_owned()),
            password: Some(password.to_owned()),
            ..self
        }
    }
}

/// Something that happened to a client. Codes of at least 0x80 are refusals.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Connected,
    /// CONNACK refused the connection, or the client gave up for another reason.
    Refused(u64),
    Subscribed(u64),
    Message(Message),
    /// The exchange of a published message is over.
    Acknowledged(u64),
    Disconnected,
    /// A line that tells nothing of these.
    Note,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub topic: String,
    pub payload: String,
    pub qos: u64,
    pub retain: bool,
}

/// A running client; killed when dropped.
pub struct Agent {
    kind: Kind,
    role: Role,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    transcript: Vec<String>,
    /// Messages that the client reported before the answer to its subscription, which came first.
    early: VecDeque<Message>,
    connects: usize,
}

impl Agent {
    /// Starts the client; what becomes of its connection is told by its events.
    pub fn start(kind: Kind, options: &Options) -> Self {
        let mut command = match kind {
            Kind::Mosquitto => mosquitto::command(options),
            Kind::Paho => script(
                &tests_dir().join(".venv/bin/python"),
                "clients/paho/agent.py",
                options,
            ),
            Kind::MqttJs => {
                require(&tests_dir().join("clients/mqttjs/node_modules/mqtt"));
                script(Path::new("node"), "clients/mqttjs/agent.js", options)
            }
            Kind::Rumqttc => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_rumqttc-agent"));
                command.arg(json(options));
                command
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not run ({error}); {REMEDY}"));
        let (sender, lines) = channel();
        forward(child.stdout.take(), sender.clone());
        forward(child.stderr.take(), sender);
        let input = child.stdin.take();
        let transcript = vec![format!("{kind:?} {options:?}")];
        Self {
            kind,
            role: options.role,
            child,
            input,
            lines,
            transcript,
            early: VecDeque::new(),
            connects: 0,
        }
    }

    /// The next event; `None`: the client's process has ended.
    fn next(&mut self) -> Option<Event> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.fail("nothing happened"),
            };
            // Interrupted while it prints, mosquitto_sub prints that line twice, its time stamp included.
            if self.kind == Kind::Mosquitto && self.transcript.last() == Some(&line) {
                continue;
            }
            self.transcript.push(line.clone());
            let event = if self.kind == Kind::Mosquitto {
                mosquitto::event(&line, &mut self.connects)
            } else {
                script_event(&line)
            };
            if event != Event::Note {
                return Some(event);
            }
        }
    }

    fn expect(&mut self, what: &str) -> Event {
        match self.next() {
            Some(event) => event,
            None => self.fail(&format!("the client ended instead of: {what}")),
        }
    }

    /// Ends the test with all that the client said.
    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}; the client's story:\n{}", self.transcript.join("\n"))
    }

    /// The connection must be accepted.
    pub fn connected(mut self) -> Self {
        match self.expect("connected") {
            Event::Connected => self,
            other => self.fail(&format!("{other:?} instead of a connection")),
        }
    }

    /// The connection must be refused; the code.
    pub fn refused(mut self) -> u64 {
        match self.expect("refused") {
            Event::Refused(code) => code,
            other => self.fail(&format!("{other:?} instead of a refusal")),
        }
    }

    /// Nothing must come of the connection, however the client puts it.
    pub fn gets_nowhere(mut self) {
        match self.next() {
            None | Some(Event::Refused(_) | Event::Disconnected) => {}
            Some(other) => self.fail(&format!("{other:?} instead of a failure")),
        }
    }

    /// The code of the SUBACK.
    pub fn subscription(&mut self) -> u64 {
        loop {
            match self.expect("subscribed") {
                Event::Subscribed(code) => return code,
                Event::Message(message) => self.early.push_back(message),
                other => self.fail(&format!("{other:?} instead of a SUBACK")),
            }
        }
    }

    /// Connected, and subscribed with the quality it asked for.
    pub fn listening(self, qos: u8) -> Self {
        let mut agent = self.connected();
        let code = agent.subscription();
        if code != u64::from(qos) {
            agent.fail(&format!("the subscription was answered 0x{code:02X}"));
        }
        agent
    }

    /// A message must come next.
    pub fn message(&mut self) -> Message {
        if let Some(message) = self.early.pop_front() {
            return message;
        }
        match self.expect("a message") {
            Event::Message(message) => message,
            other => self.fail(&format!("{other:?} instead of a message")),
        }
    }

    /// A message with this payload must come next.
    pub fn expect_message(&mut self, payload: &str) -> Message {
        let message = self.message();
        if message.payload != payload {
            self.fail(&format!("{message:?} instead of {payload:?}"));
        }
        message
    }

    /// Publishes and waits until the exchange is over; its code, or `None`: the client is no longer connected.
    pub fn publish(&mut self, payload: &str) -> Option<u64> {
        self.send(payload);
        match self.next() {
            Some(Event::Acknowledged(code)) => Some(code),
            Some(Event::Disconnected | Event::Refused(_)) | None => None,
            Some(other) => self.fail(&format!("{other:?} instead of an acknowledgement")),
        }
    }

    /// Publishes, and the message must be accepted.
    pub fn published(&mut self, payload: &str) {
        match self.publish(payload) {
            Some(code) if code < 0x80 => {}
            other => self.fail(&format!("{payload:?} was not accepted: {other:?}")),
        }
    }

    /// Publishes and waits for nothing.
    pub fn send(&mut self, payload: &str) {
        let input = self
            .input
            .as_mut()
            .expect("the client has not been told to leave");
        // A client that has ended says so by its events.
        let _ = writeln!(input, "{payload}");
    }

    /// The network connection goes away without a DISCONNECT, and the client with it.
    pub fn vanish(mut self) {
        self.child.kill().expect("the client can be killed");
    }

    /// Disconnects in order. No message may have come that was not looked at.
    pub fn leave(mut self) {
        drop(self.input.take());
        if self.kind == Kind::Mosquitto && self.role == Role::Subscriber {
            mosquitto::ask_to_leave(&self.child);
        }
        let mut messages = Vec::from(std::mem::take(&mut self.early));
        while let Some(event) = self.next() {
            if let Event::Message(message) = event {
                messages.push(message);
            }
        }
        if !messages.is_empty() {
            self.fail(&format!("{messages:?} came, too"));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub const REMEDY: &str = "`.ci/clients` installs the clients these tests need";

/// The client tests need software that cargo does not bring.
pub fn require(path: &Path) {
    assert!(path.exists(), "{} is missing; {REMEDY}", path.display());
}

pub fn tests_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn json(options: &Options) -> String {
    serde_json::to_string(options).expect("options are plain data")
}

fn script(interpreter: &Path, script: &str, options: &Options) -> Command {
    if interpreter.is_absolute() {
        require(interpreter);
    }
    let mut command = Command::new(interpreter);
    command.arg(tests_dir().join(script)).arg(json(options));
    command
}

fn script_event(line: &str) -> Event {
    let told: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let code = told["code"].as_u64().unwrap_or(0x80);
    match told["event"].as_str().unwrap_or_default() {
        "connected" => Event::Connected,
        "refused" => Event::Refused(code),
        "subscribed" => Event::Subscribed(code),
        "acknowledged" => Event::Acknowledged(code),
        "disconnected" => Event::Disconnected,
        "message" => Event::Message(Message {
            topic: told["topic"].as_str().unwrap_or_default().to_owned(),
            payload: told["payload"].as_str().unwrap_or_default().to_owned(),
            qos: told["qos"].as_u64().unwrap_or(u64::MAX),
            retain: told["retain"].as_bool().unwrap_or_default(),
        }),
        _ => Event::Note,
    }
}

/// Passes on each line of an output until its process has ended.
fn forward(output: Option<impl std::io::Read + Send + 'static>, to: Sender<String>) {
    let output = output.expect("the output is piped");
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}
