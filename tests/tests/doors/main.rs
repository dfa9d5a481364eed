//! The ways into the broker, and who guards them: load balancers in front of it, WebSocket, unix sockets,
//! guards, and what monitoring asks.

mod guards;
mod health;
mod hooks;
mod listeners;
mod proxy;
mod slow;
mod unix;
mod websocket;

use sluice_tests::broker::Broker;
use sluice_tests::guests;

/// A broker with these listeners, whose clients are judged by the policy `auth-echo`: it lets in whoever has no
/// authentication method. It obeys signals and commands.
pub fn broker(listeners: &str) -> Broker {
    broker_with(listeners, &[])
}

/// The same with further files.
pub fn broker_with(listeners: &str, files: &[(&str, &[u8])]) -> Broker {
    let echo = guests::wasm("auth-echo");
    let files = [files, &[("echo.wasm", &echo)]].concat();
    let broker = Broker::with_files(&config(listeners), &files);
    broker.wait_for_log("the admin socket", |line| line.is("admin_listening"));
    broker
}

/// What such a broker is configured with.
pub fn config(listeners: &str) -> String {
    format!("policies = [\"echo\"]\n{listeners}\n[policy.echo]\nfile = \"echo.wasm\"\n")
}

/// What the metrics say; the name includes the labels.
pub fn metric(broker: &Broker, name: &str) -> Option<u64> {
    let output = broker.command(&["metrics"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// How many connections were closed for this reason.
pub fn shed(broker: &Broker, reason: &str) -> u64 {
    let name = format!("sluice_connections_shed_total{{reason=\"{reason}\"}}");
    metric(broker, &name).unwrap_or_else(|| panic!("{name} is not counted"))
}
