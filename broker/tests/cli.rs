//! The binary as operators call it: what it prints where, and how it ends.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed helper fails its test; clippy.toml allows these in test functions only"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// The binary, in a directory of its own.
struct Shell {
    dir: TempDir,
}

impl Shell {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path().join(file), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .env("SLUICE_ALLOW_ROOT", "1");
        command
            .env_remove("SLUICE_LOG")
            .env_remove("SLUICE_SOCKET")
            .env_remove("NOTIFY_SOCKET");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::from(child.wait_with_output().unwrap())
    }
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// A broker that runs until it is dropped.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(shell: &Shell, arguments: &[&str]) -> Self {
        let mut child = shell.command(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The next line of its log that is this event.
    fn wait_for(&mut self, event: &str) -> serde_json::Value {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.log.read_line(&mut line).unwrap(),
                0,
                "no {event} in:\n{seen}"
            );
            let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if json["event"] == event {
                return json;
            }
            seen.push_str(&line);
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_teaches_and_a_wrong_command_line_ends_with_2() {
    let shell = Shell::new();
    let help = shell.run(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(
        help.out.contains("sluice policy load gate") && help.out.contains("Exit codes:"),
        "{}",
        help.out
    );
    for wrong in [
        &["explode"][..],
        &["check"],
        &["run", "--colour"],
        &["policy", "load", "x"],
        &["status", "--socket", "a", "--config", "b"],
    ] {
        let ended = shell.run(wrong);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (2, ""),
            "{wrong:?}: {}",
            ended.err
        );
        assert!(ended.err.contains("Usage"), "{}", ended.err);
    }
}

#[test]
fn check_accepts_a_good_configuration() {
    let shell = Shell::new();
    shell.write("sluice.toml", include_str!("../../sluice.toml"));
    let ended = shell.run(&["check", "--config", "sluice.toml"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(ended.out, "sluice.toml: no problems; 1 listener, 1 policy\n");
    let ended = shell.run(&["check", "--config", "sluice.toml", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, &json["ok"]), (0, &serde_json::Value::Bool(true)));
}

#[test]
fn check_reports_every_problem_with_line_and_remedy() {
    let shell = Shell::new();
    shell.write(
        "bad.toml",
        "workers = \"many\"\n[limits]\nrecieve_max = 3\nqueue_bytes_max = 100\n",
    );
    let ended = shell.run(&["check", "--config", "bad.toml"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    let lines: Vec<_> = ended.err.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.err);
    assert!(
        lines[0].starts_with("error: bad.toml:1: workers: "),
        "{}",
        lines[0]
    );
    assert!(
        lines[1]
            .starts_with("error: bad.toml:3: limits.recieve_max: unknown key: did you mean `receive_max`?")
    );
    assert!(
        lines[2]
            .contains("limits.queue_bytes_max: 100 has no unit: write it with a unit in quotes, for example")
    );
    let json = shell.run(&["check", "--config", "bad.toml", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json.code, 1);
    assert_eq!(report["problems"].as_array().unwrap().len(), 3);
    assert_eq!(report["problems"][1]["line"], 3);
}

#[test]
fn check_tries_the_policies() {
    let shell = Shell::new();
    shell.write("gate.wasm", "this is no WebAssembly");
    shell.write(
        "sluice.toml",
        "policies = [\"users\", \"gate\", \"gone\"]\n[policy.gate]\nfile = \"gate.wasm\"\n[policy.gone]\n\
         file = \"gone.wasm\"\n[policy.users.settings]\nusers = [{ name = 7 }]\n",
    );
    let ended = shell.run(&["check", "--config", "sluice.toml"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    for expected in [
        "error: sluice.toml:2: policy.gate: not a valid WebAssembly module",
        "error: sluice.toml:4: policy.gone: cannot read ",
        "error: sluice.toml:6: policy.users: its configure refuses",
    ] {
        assert!(ended.err.contains(expected), "{expected} in:\n{}", ended.err);
    }
    assert!(
        !shell.path().join("compiled-policies").exists(),
        "nothing is written"
    );
}

#[test]
fn check_says_what_is_in_the_way_of_the_data() {
    let shell = Shell::new();
    shell.write("file", "");
    for (dir, is_good) in [
        ("new/data", true),
        (".", true),
        ("file", false),
        ("file/data", false),
    ] {
        shell.write("sluice.toml", &format!("# the data\ndata_dir = {dir:?}\n"));
        let ended = shell.run(&["check", "--config", "sluice.toml"]);
        assert_eq!(ended.code == 0, is_good, "{dir}: {}", ended.err);
        if !is_good {
            let says = |part| assert!(ended.err.contains(part), "{part}: {}", ended.err);
            says("sluice.toml:2: data_dir: ");
            says("file is not a directory: ");
        }
        assert!(!shell.path().join("new").exists(), "nothing is made");
    }
}

#[test]
fn a_missing_file_is_named() {
    let ended = Shell::new().run(&["run", "--config", "none.toml"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.starts_with("error: none.toml: cannot be read: "),
        "{}",
        ended.err
    );
}

#[test]
fn the_configuration_says_where_the_broker_is_and_goes_before_the_environment() {
    let shell = Shell::new();
    shell.write("sluice.toml", "[admin]\nsocket = \"configured.sock\"\n");
    let asked = |arguments: &[&str]| {
        let mut command = shell.command(arguments);
        Ended::from(command.env("SLUICE_SOCKET", "environment.sock").output().unwrap()).err
    };
    for (arguments, socket) in [
        (&["status"][..], "environment.sock"),
        (&["status", "--config", "sluice.toml"], "configured.sock"),
        (&["status", "--socket", "named.sock"], "named.sock"),
    ] {
        let said = asked(arguments);
        assert!(
            said.starts_with("error: no broker answers at ") && said.contains(socket),
            "{said}"
        );
    }
}

#[test]
fn an_answer_that_is_lost_is_a_failure() {
    let shell = Shell::new();
    shell.write("sluice.toml", "");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = shell.command(&["check", "--config", "sluice.toml"]);
    let ended = Ended::from(command.stdout(full).output().unwrap());
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.starts_with("error: the answer cannot be written: "),
        "{}",
        ended.err
    );
}

#[test]
fn restore_names_its_arguments_in_their_order() {
    let ended = Shell::new().run(&["restore"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .err
            .contains("Usage: sluice restore <FILE> <PATH|--config <FILE>>"),
        "{}",
        ended.err
    );
}

#[test]
fn passwd_takes_one_line_and_makes_an_entry_that_check_accepts() {
    let shell = Shell::new();
    let ended = shell.run_with_input(&["passwd"], "s3cret\nignored\n");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(
        ended.out.starts_with("$argon2id$v=19$") && ended.out.ends_with('\n'),
        "{}",
        ended.out
    );
    let entry = shell.run_with_input(&["passwd", "--user", "ada"], "s3cret\n");
    shell.write("sluice.toml", &entry.out);
    let checked = shell.run(&["check", "--config", "sluice.toml"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    let empty = shell.run_with_input(&["passwd"], "\n");
    assert_eq!((empty.code, empty.out.as_str()), (1, ""));
    assert!(empty.err.contains("empty"), "{}", empty.err);
}

#[test]
fn inspect_says_why_a_file_is_no_policy() {
    let shell = Shell::new();
    shell.write("x.wasm", "no");
    let ended = shell.run(&["policy", "inspect", "x.wasm"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(
        ended
            .err
            .starts_with("error: x.wasm: not a valid WebAssembly module"),
        "{}",
        ended.err
    );
    let missing = shell.run(&["policy", "inspect", "y.wasm"]);
    assert!(
        missing.err.starts_with("error: y.wasm: No such file"),
        "{}",
        missing.err
    );
}

#[test]
fn commands_without_a_broker_say_how_to_reach_one() {
    let shell = Shell::new();
    for arguments in [
        &["status"][..],
        &["metrics"],
        &["policy", "list"],
        &["client", "list"],
    ] {
        let ended = shell.run(arguments);
        assert_eq!(ended.code, 1);
        let socket = shell.path().join("sluice.sock");
        assert!(
            ended
                .err
                .starts_with(&format!("error: no broker answers at {}", socket.display())),
            "{}",
            ended.err
        );
    }
}

#[test]
fn a_running_broker_is_commanded_reloaded_and_ended() {
    let shell = Shell::new();
    let config = |receive_max: u32| {
        format!(
            "[[listener]]\nname = \"door\"\naddress = \"127.0.0.1:0\"\n[limits]\nreceive_max = {receive_max}\n\
             [admin]\nsocket = \"admin.sock\"\n"
        )
    };
    shell.write("sluice.toml", &config(7));
    let mut broker = Running::start(&shell, &["run", "--config", "sluice.toml"]);
    let listening = broker.wait_for("listening");
    assert_eq!(listening["listener"], "door");
    TcpStream::connect(listening["address"].as_str().unwrap()).unwrap();

    let status = shell.run(&["status", "--json", "--config", "sluice.toml"]);
    let json: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(json["policy_generation"], 1, "{status:?}");
    let policies = shell.run(&["policy", "list", "--socket", "admin.sock"]);
    assert!(
        policies.out.lines().nth(1).unwrap().starts_with("users "),
        "{policies:?}"
    );
    let metrics = shell.run(&["metrics", "--socket", "admin.sock"]);
    assert!(
        metrics.out.contains("\nsluice_connections_total 1\n"),
        "{metrics:?}"
    );
    shell.write("gate.wasm", "no");
    let load = shell.run(&["policy", "load", "users", "gate.wasm", "--socket", "admin.sock"]);
    assert_eq!(load.code, 1);
    assert!(
        load.err
            .starts_with("error: policy `users`: not a valid WebAssembly module"),
        "{load:?}"
    );
    assert_eq!(broker.wait_for("admin_command")["command"], "policy-load");
    let unknown = shell.run(&["policy", "rollback", "gone", "--socket", "admin.sock"]);
    assert_eq!(
        unknown.err,
        "error: policy `gone`: there is no such policy; see `sluice policy list`\n"
    );
    let second = shell.run(&["run", "--config", "sluice.toml"]);
    assert!(
        second.code == 1 && second.err.contains("another broker uses the admin socket"),
        "{second:?}"
    );

    shell.write("sluice.toml", "[limits]\nreceive_max = 0\n");
    broker.signal(rustix::process::Signal::HUP);
    let rejected = broker.wait_for("config_rejected");
    assert!(
        rejected["text"]
            .as_str()
            .unwrap()
            .contains("limits.receive_max: 0 is out of range"),
        "{rejected}"
    );
    shell.write("sluice.toml", &config(8).replace(":0\"", ":1\""));
    broker.signal(rustix::process::Signal::HUP);
    let warning = broker.wait_for("config_warning");
    assert!(
        warning["text"]
            .as_str()
            .unwrap()
            .contains("listener \"door\" address: changed, but needs a restart")
    );
    broker.wait_for("config_reloaded");

    broker.signal(rustix::process::Signal::TERM);
    broker.wait_for("stopped");
    assert!(broker.child.wait().unwrap().success());
    assert!(!shell.path().join("admin.sock").exists());
}
