//! The admin socket from both ends.

use super::*;
use crate::config::{AdminSocket, Config, InForce};
use crate::event::Events;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::policy::{Policies, PolicyNotice, PolicyObserver};
use serde_json::json;
use sluice_store::Store;
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
    hub: Hub,
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
        let hub = Hub::new(limits, Store::memory(), Arc::clone(&metrics), events.clone());
        let (orders, mut waiting) = orders();
        let owner = hub.clone();
        // Ends with the fixture, which drops the commands and their end of the channel.
        std::thread::spawn(move || {
            let mut in_force = InForce::new(Config::default());
            while let Some(order) = waiting.blocking_recv() {
                order.obey(&mut in_force, |config| owner.set_limits(config.limits.clone()));
            }
        });
        let commands = Arc::new(Commands {
            hub: hub.clone(),
            orders,
            policies,
            metrics: Arc::clone(&metrics),
            data_dir: None,
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
            hub,
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

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn limits_are_set_all_or_none_and_shown_with_what_they_replace() {
    let broker = Fixture::start();
    let set = |assignments: &[&str]| {
        let assignments = words(assignments);
        broker.call(&Request::LimitsSet { assignments }, &[])
    };
    let error = set(&["limits.qos_max=1", "limits.recieve_max=5", "nonsense"]).expect_err("one is none");
    assert_eq!(error, "nonsense: has no value: write nonsense=VALUE");
    let error = set(&["limits.qos_max=1", "limits.recieve_max=5"]).expect_err("one is unknown");
    assert!(error.contains("did you mean `receive_max`?"), "{error}");
    assert_eq!(broker.hub.limits().receive_max, 1_024);
    let error = set(&["receive_max=5"]).expect_err("its table is missing");
    assert_eq!(
        error,
        "receive_max: unknown key: did you mean `limits.receive_max`?"
    );
    let changed = set(&["limits.receive_max=5", "limits.payload_bytes_max=64KiB"]).expect("both are right");
    assert_eq!(
        changed,
        json!({ "changed": [
            { "key": "limits.payload_bytes_max", "value": "64 KiB", "before": "1 MiB" },
            { "key": "limits.receive_max", "value": 5, "before": 1024 },
        ] })
    );
    assert_eq!(broker.hub.limits().receive_max, 5);
    let shown = broker.call(&Request::LimitsShow, &[]).expect("limits");
    let limits = shown["limits"].as_array().expect("a list");
    let limit = |key: &str| limits.iter().find(|limit| limit["key"] == key).expect("a limit");
    assert_eq!(
        limit("limits.receive_max"),
        &json!({ "key": "limits.receive_max", "value": 5, "configured": 1024, "from": "set" })
    );
    assert_eq!(limit("limits.sessions_max")["from"], "default");
}

#[test]
fn limits_of_a_client_add_up_until_they_are_taken_back() {
    let broker = Fixture::start();
    let client_id = "c".to_owned();
    let set = |assignment: &str| {
        let request = Request::ClientLimits {
            client_id: client_id.clone(),
            assignments: words(&[assignment]),
        };
        broker.call(&request, &[])
    };
    let reset = Request::ClientLimitsReset {
        client_id: client_id.clone(),
    };
    let show = Request::ClientShow {
        client_id: client_id.clone(),
    };
    assert!(
        broker
            .call(&show, &[])
            .expect_err("nobody")
            .contains("no client \"c\"")
    );
    assert!(broker.call(&reset, &[]).is_err(), "there is nothing to take back");
    assert!(
        set("connections_max=5")
            .expect_err("not a client's")
            .contains("unknown key")
    );
    set("inflight_max=5").expect("it is right");
    let both = set("bytes_in_per_second=unlimited").expect("it is right");
    let said = json!({ "inflight_max": 5, "bytes_in_per_second": "unlimited" });
    assert_eq!(both, json!({ "connections": 0, "operator": said }));
    let shown = broker.call(&show, &[]).expect("it has limits");
    assert_eq!(
        shown,
        json!({ "client_id": "c", "sessions": [], "operator": said })
    );
    broker.call(&reset, &[]).expect("there is something");
    assert!(broker.call(&show, &[]).is_err());
}

#[test]
fn bans_are_listed_counted_and_taken_back() {
    let broker = Fixture::start();
    let subject = Subject::Address("10.0.0.0/8".parse().expect("a network"));
    let ban = |subject: &Subject, milliseconds| {
        let request = Request::ClientBan {
            subject: subject.clone(),
            reason: "floods".to_owned(),
            milliseconds,
        };
        broker.call(&request, &[])
    };
    assert_eq!(ban(&subject, Some(3_600_000)), Ok(json!({ "ended": 0 })));
    assert_eq!(
        ban(&Subject::User("u".to_owned()), None),
        Ok(json!({ "ended": 0 }))
    );
    let nobody = Subject::Client(String::new());
    assert!(ban(&nobody, None).is_err());
    let listed = broker.call(&Request::ClientBans, &[]).expect("a list");
    assert_eq!(listed["matching"], 2);
    let [user, address] = listed["bans"].as_array().expect("a list").as_slice() else {
        panic!("{listed}");
    };
    assert_eq!(
        (&user["kind"], &user["left_milliseconds"]),
        (&json!("user"), &json!(null))
    );
    assert_eq!(
        (&address["name"], &address["reason"]),
        (&json!("10.0.0.0/8"), &json!("floods"))
    );
    let left = address["left_milliseconds"].as_u64().expect("it ends");
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    let metrics = broker.call(&Request::Metrics, &[]).expect("the metrics");
    assert!(metrics.as_str().expect("text").contains("\nsluice_bans 2\n"));
    let unban = Request::ClientUnban { subject };
    assert_eq!(broker.call(&unban, &[]), Ok(json!({})));
    let error = broker.call(&unban, &[]).expect_err("once is enough");
    assert_eq!(
        error,
        "address 10.0.0.0/8 is not banned; see `sluice client bans`"
    );
}

#[test]
fn the_log_says_whom_and_what_a_command_was_about() {
    let ban = Request::ClientBan {
        subject: Subject::User("ada".to_owned()),
        reason: "floods".to_owned(),
        milliseconds: Some(5_400_000),
    };
    assert_eq!(ban.about(), "user \"ada\" for 90 min: floods");
    let limits = Request::ClientLimits {
        client_id: "c".to_owned(),
        assignments: words(&["qos_max=1", "inflight_max=2"]),
    };
    assert_eq!(limits.about(), "qos_max=1, inflight_max=2 of client \"c\"");
}
