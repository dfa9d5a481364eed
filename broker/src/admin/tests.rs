//! The admin socket from both ends.

use super::*;
use crate::config::{AdminSocket, Config};
use crate::event::Events;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::policy::{Policies, PolicyNotice, PolicyObserver};
use crate::store::Memory;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

struct Silent;

impl PolicyObserver for Silent {
    fn observe(&self, _: &PolicyNotice) {}
}

/// A broker's admin socket, with the policies of a broker without configuration behind it.
struct Fixture {
    path: PathBuf,
    metrics: Arc<Metrics>,
    // Dropped in this order.
    runtime: Option<Runtime>,
    _dir: TempDir,
}

impl Fixture {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("admin.sock");
        let metrics = Arc::new(Metrics::default());
        let policies = Policies::start(Config::default().policies_config(), Arc::new(Silent))
            .expect("the built-in policy");
        let events = Events::new(Arc::clone(&metrics));
        let limits = Config::default().limits;
        let hub = Hub::new(limits, Arc::new(Memory), Arc::clone(&metrics), events.clone());
        let commands = Arc::new(Commands {
            hub,
            policies,
            metrics: Arc::clone(&metrics),
        });
        let server = Server::bind(&AdminSocket::Path(path.clone()), events)
            .expect("a socket")
            .expect("wanted");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.spawn(server.serve(commands));
        Self {
            path,
            metrics,
            runtime: Some(runtime),
            _dir: dir,
        }
    }

    fn call(&self, request: &Request, module: &[u8]) -> Result<serde_json::Value, String> {
        let mut client = Client::connect(&self.path).expect("a broker");
        client.call(request, module).map_err(|error| error.to_string())
    }

    /// Sends bytes as they are; the lines that come back until the broker closes.
    fn raw(&self, bytes: &[u8]) -> Vec<String> {
        let mut stream = UnixStream::connect(&self.path).expect("a broker");
        stream.write_all(bytes).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("sent");
        BufReader::new(stream).lines().map_while(Result::ok).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[test]
fn a_running_broker_tells_how_it_fares() {
    let broker = Fixture::start();
    broker.metrics.connections_current.set(3);
    let status = broker.call(&Request::Status, &[]).expect("a status");
    assert_eq!(status["connections"], 3);
    assert_eq!(status["policy_generation"], 1);
    let policies = broker.call(&Request::PolicyList, &[]).expect("a list");
    assert_eq!(policies[0]["name"], "users");
    assert_eq!(policies[0]["quarantined"], false);
    let metrics = broker.call(&Request::Metrics, &[]).expect("the metrics");
    let metrics = metrics.as_str().expect("text");
    assert!(metrics.contains("\nsluice_connections 3\n"), "{metrics}");
    assert!(
        metrics.contains("\nsluice_policy_calls_total{policy=\"users\"} "),
        "{metrics}"
    );
    for tier in ["grant", "cache", "call"] {
        let line = format!("\nsluice_policy_decisions_total{{tier=\"{tier}\"}} 0\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn a_module_is_sent_along_and_refused_with_the_cause() {
    let broker = Fixture::start();
    let module = b"this is no WebAssembly";
    let load = Request::PolicyLoad {
        name: "users".to_owned(),
        module_bytes: module.len(),
    };
    let error = broker.call(&load, module).expect_err("no module");
    assert!(
        error.contains("policy `users`: not a valid WebAssembly module"),
        "{error}"
    );
    let status = broker.call(&Request::Status, &[]).expect("a status");
    assert_eq!(status["policy_generation"], 1, "nothing has changed");
    let name = "a\nb".to_owned();
    let error = broker
        .call(
            &Request::PolicyLoad {
                name,
                module_bytes: 0,
            },
            &[],
        )
        .expect_err("no name");
    assert!(error.starts_with("\"a\\nb\" is not a name"), "{error}");
    let rollback = Request::PolicyRollback {
        name: "users".to_owned(),
    };
    let error = broker.call(&rollback, &[]).expect_err("nothing before");
    assert!(error.contains("no earlier module"), "{error}");
}

#[test]
fn clients_are_listed_and_those_that_are_not_there_cannot_be_kicked() {
    let broker = Fixture::start();
    let prefix = String::new();
    let clients = broker.call(&Request::ClientList { prefix }, &[]).expect("a list");
    assert_eq!(clients, json!({ "matching": 0, "clients": [] }));
    let client_id = "nobody".to_owned();
    assert_eq!(
        broker.call(&Request::ClientKick { client_id }, &[]),
        Ok(json!({ "ended": 0 }))
    );
}

#[test]
fn one_connection_takes_several_commands() {
    let broker = Fixture::start();
    let lines = broker.raw(b"{\"command\":\"status\"}\n{\"command\":\"policy-list\"}\n");
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.starts_with("{\"ok\":")), "{lines:?}");
}

#[test]
fn what_is_no_request_gets_an_error_and_the_broker_goes_on() {
    let broker = Fixture::start();
    let error = |bytes: &[u8]| {
        let lines = broker.raw(bytes);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let answer: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
        answer["error"].as_str().expect("an error").to_owned()
    };
    assert!(error(b"hello\n").starts_with("the request is not understood"));
    assert!(error(b"{\"command\":\"explode\"}\n").contains("unknown variant `explode`"));
    assert!(error(b"{\"command\":\"policy-rollback\",\"name\":\"a\",\"force\":1}\n").contains("force"));
    assert_eq!(error(b"{\"command\":"), "the request is not complete");
    assert_eq!(
        error(&vec![b' '; REQUEST_BYTES_MAX + 1]),
        "the request is too long"
    );
    let too_large = json!({ "command": "policy-load", "name": "a", "module_bytes": MODULE_BYTES_MAX + 1 });
    assert_eq!(
        error(format!("{too_large}\n").as_bytes()),
        "a module may have at most 16777216 bytes"
    );
    // A module that breaks off gets no answer, because nobody waits for one.
    let broken = json!({ "command": "policy-load", "name": "a", "module_bytes": 100 });
    assert_eq!(
        broker.raw(format!("{broken}\nabc").as_bytes()),
        Vec::<String>::new()
    );
    assert!(broker.call(&Request::Status, &[]).is_ok());
}

#[test]
fn a_socket_that_is_not_there_is_told_how_to_find_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = Client::connect(&dir.path().join("none.sock"))
        .expect_err("nobody")
        .to_string();
    assert!(
        error.starts_with("no broker answers at ") && error.contains("--socket PATH"),
        "{error}"
    );
}

#[test]
fn only_the_usual_place_may_be_done_without() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    let events = || Events::new(Arc::default());
    let first = Server::bind(&AdminSocket::Path(path.clone()), events())
        .expect("a socket")
        .expect("wanted");
    assert!(matches!(
        Server::bind(&AdminSocket::Path(path.clone()), events()),
        Err(BindError::Alive(_))
    ));
    assert!(Server::bind(&AdminSocket::Off, events()).expect("none").is_none());
    drop(first);
    assert!(!path.exists());
}
