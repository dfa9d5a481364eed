//! Mosquitto's command-line clients, whose debug output says what happens.

use crate::agent::{Event, Message, Options, Role};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command};

/// The tool that does what the options say. `stdbuf` makes it tell things when they happen.
pub fn command(options: &Options) -> Command {
    let mut command = Command::new("stdbuf");
    command.args([
        "--output=L",
        if options.role == Role::Subscriber {
            "mosquitto_sub"
        } else {
            "mosquitto_pub"
        },
    ]);
    let version = match options.version {
        "3.1" => "mqttv31",
        "3.1.1" => "mqttv311",
        _ => "mqttv5",
    };
    command.args(["-d", "-V", version]);
    match &options.socket {
        Some(socket) => command.arg("--unix").arg(socket),
        None => command.args(["-h", &options.host, "-p", &options.port.to_string()]),
    };
    command.args([
        "-i",
        &options.client_id,
        "-t",
        &options.topic,
        "-q",
        &options.qos.to_string(),
    ]);
    if let (Some(name), Some(password)) = (&options.username, &options.password) {
        command.args(["-u", name, "-P", password]);
    }
    if let Some(tls) = &options.tls {
        command.arg("--cafile").arg(&tls.authority);
        for (option, path) in [("--cert", &tls.certificate), ("--key", &tls.key)] {
            command.args(path.iter().flat_map(|path| [option.as_ref(), path.as_os_str()]));
        }
    }
    if let Some(will) = &options.will {
        command.args(["--will-topic", &will.topic, "--will-payload", &will.payload]);
        command.args(["--will-qos", &will.qos.to_string()]);
        command.args(will.retain.then_some("--will-retain"));
    }
    match options.role {
        Role::Subscriber => command.args(["-F", "%j"]),
        Role::Publisher => command.arg("-l").args(options.retain.then_some("-r")),
    };
    command
}

/// What a line of output tells. `connects` counts the CONNECTs: the tools connect again when they lose a connection.
pub fn event(line: &str, connects: &mut usize) -> Event {
    if line.starts_with('{') {
        let told: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        return Event::Message(Message {
            topic: told["topic"].as_str().unwrap_or_default().to_owned(),
            payload: told["payload"].as_str().unwrap_or_default().to_owned(),
            qos: told["qos"].as_u64().unwrap_or(u64::MAX),
            retain: told["retain"] == 1,
        });
    }
    if line.contains("sending CONNECT") {
        *connects += 1;
        return if *connects > 1 {
            Event::Disconnected
        } else {
            Event::Note
        };
    }
    if line.contains("received CONNACK") {
        return match number_after(line, "CONNACK (") {
            Some(0) => Event::Connected,
            code => Event::Refused(code.unwrap_or(0x80)),
        };
    }
    if line.starts_with("Subscribed (") {
        return Event::Subscribed(number_after(line, "): ").unwrap_or(0x80));
    }
    if line.contains("sending PUBLISH (d0, q0") {
        return Event::Acknowledged(0);
    }
    if line.contains("received PUBACK") || line.contains("received PUBCOMP") {
        // Of a refusal the next line tells, too.
        let code = number_after(line, "RC:").unwrap_or(0);
        return if code < 0x80 {
            Event::Acknowledged(code)
        } else {
            Event::Note
        };
    }
    // "Warning: Publish 1 failed: Not authorized.": a PUBACK or PUBREC said so; the code is not told for the latter.
    if line.starts_with("Warning: Publish") && line.contains("failed: ") {
        return Event::Acknowledged(0x80);
    }
    if line.contains("received DISCONNECT") {
        return Event::Disconnected;
    }
    Event::Note
}

fn number_after(line: &str, mark: &str) -> Option<u64> {
    let (_, rest) = line.split_once(mark)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// `mosquitto_sub` disconnects when it is interrupted. (`mosquitto_pub` does when its input ends.)
pub fn ask_to_leave(child: &Child) {
    // It may have ended already.
    let _ = kill_process(Pid::from_child(child), Signal::INT);
}
