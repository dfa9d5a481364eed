use super::*;
use crate::config::{Address, AdminSocket, Listener, PolicyConfig, PolicySource, UnixSocket};
use crate::policy::spec::ServiceSpec;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

/// A configuration whose files are all in one directory, with a listener on a port of the system's choice.
fn config(dir: &Path) -> Config {
    fs::create_dir(dir.join("etc")).expect("a directory");
    fs::create_dir(dir.join("data")).expect("a directory");
    fs::write(dir.join("etc/gate.wasm"), "module").expect("a file");
    fs::write(dir.join("elsewhere.wasm"), "module").expect("a file");
    let gate = PolicyConfig {
        name: "gate".to_owned(),
        source: PolicySource::File(dir.join("etc/gate.wasm")),
        ..PolicyConfig::builtin()
    };
    let mut config = Config {
        data_dir: Some(dir.join("data")),
        policies: vec![gate],
        listeners: vec![Listener::new("door", SocketAddr::from(([127, 0, 0, 1], 0)))],
        ..Config::default()
    };
    config.admin.socket = AdminSocket::Off;
    config
}

/// What `check` sees in a thread that is confined by this version of Landlock; `None`: the kernel has no Landlock.
fn confined<T: Send + 'static>(config: &Config, check: impl FnOnce(i32) -> T + Send + 'static) -> Option<T> {
    let config = config.clone();
    let thread = thread::spawn(move || {
        let status = restrict(&config, &Places::of(&config)).expect("the kernel takes the rules");
        match by(&status) {
            By::Landlock(abi) => Some(check(abi)),
            By::Nothing | By::SwitchedOff => None,
        }
    });
    let seen = thread.join().expect("no panic");
    if seen.is_none() {
        eprintln!("not tested: this kernel has no Landlock");
    }
    seen
}

fn refused<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[test]
fn only_files_beside_those_that_are_named_can_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().to_owned();
    let seen = confined(&config(dir.path()), move |_| {
        let named = File::open(root.join("etc/gate.wasm")).is_ok();
        let outside = refused(File::open(root.join("elsewhere.wasm")));
        let system = refused(File::open("/etc/passwd"));
        let written = refused(fs::write(root.join("etc/gate.wasm"), "other"));
        (named, outside, system, written)
    });
    assert!(
        seen.is_none_or(|seen| seen == (true, true, true, true)),
        "{seen:?}"
    );
}

#[test]
fn a_file_that_is_renewed_can_still_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().to_owned();
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    let (done, is_done) = std::sync::mpsc::channel();
    let config = config(dir.path());
    let reader = thread::spawn(move || {
        confined(&config, move |_| {
            done.send(()).expect("the test waits");
            begun.recv().expect("the test goes on");
            fs::read_to_string(root.join("etc/gate.wasm")).ok()
        })
    });
    if is_done.recv().is_ok() {
        fs::write(dir.path().join("etc/new"), "renewed").expect("a file");
        fs::rename(dir.path().join("etc/new"), dir.path().join("etc/gate.wasm")).expect("it is replaced");
        begin.send(()).expect("the reader waits");
    }
    let read = reader.join().expect("no panic");
    assert!(read.is_none_or(|text| text.as_deref() == Some("renewed")));
}

#[test]
fn the_data_directory_can_be_written_to_and_nothing_in_it_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let config = config(dir.path());
    fs::copy("/bin/true", data.join("program")).expect("a program");
    let seen = confined(&config, move |_| {
        fs::create_dir(data.join("new")).expect("a directory");
        fs::write(data.join("new/a"), "a").expect("a file");
        fs::rename(data.join("new/a"), data.join("b")).expect("to another directory");
        fs::remove_file(data.join("b")).expect("it is gone");
        let run = refused(Command::new(data.join("program")).status());
        let shell = refused(Command::new("/bin/sh").arg("-c").arg(":").status());
        (run, shell)
    });
    assert!(seen.is_none_or(|seen| seen == (true, true)), "{seen:?}");
}

#[test]
fn no_port_but_a_listeners_can_be_bound_and_none_connected_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address");
    let mut config = config(dir.path());
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ours = free.local_addr().expect("an address");
    drop(free);
    config.listeners = vec![Listener::new("door", ours)];
    let seen = confined(&config, move |abi| {
        let outward = refused(TcpStream::connect(address));
        let chosen = refused(TcpListener::bind("127.0.0.1:0"));
        // It may be taken by now, but it is not forbidden.
        let door = refused(TcpListener::bind(ours));
        (abi, outward, chosen, door)
    });
    if let Some((abi, outward, chosen, door)) = seen {
        // Earlier kernels confine files only.
        let ports = abi >= 4;
        assert_eq!((outward, chosen, door), (ports, ports, false));
    }
}

#[test]
fn a_listeners_socket_can_be_made_moved_and_removed_and_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = dir.path().join("run");
    fs::create_dir(&run).expect("a directory");
    let mut config = config(dir.path());
    let socket = UnixSocket {
        path: run.join("mqtt.sock"),
        mode: 0o660,
        group: None,
    };
    config.listeners = vec![Listener::new("door", Address::Unix(socket))];
    let elsewhere = dir.path().join("other.sock");
    let seen = confined(&config, move |_| {
        let _socket = UnixListener::bind(run.join("new")).expect("it is made");
        fs::rename(run.join("new"), run.join("mqtt.sock")).expect("it is moved");
        UnixStream::connect(run.join("mqtt.sock")).expect("it listens");
        fs::remove_file(run.join("mqtt.sock")).expect("it is removed");
        let file = refused(fs::write(run.join("file"), "text"));
        (file, refused(UnixListener::bind(elsewhere)))
    });
    assert!(seen.is_none_or(|seen| seen == (true, true)), "{seen:?}");
}

#[test]
fn the_health_endpoint_can_be_bound() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ours = free.local_addr().expect("an address");
    drop(free);
    let config = Config {
        health: Some(ours),
        ..config(dir.path())
    };
    let seen = confined(&config, move |_| refused(TcpListener::bind(ours)));
    assert!(seen.is_none_or(|refused| !refused));
}

#[test]
fn what_is_named_elsewhere_later_needs_a_restart_and_is_said_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = config(dir.path());
    let places = Places::of(&config);
    let confinement = Confinement {
        by: By::Landlock(7),
        readable: places.read.into_keys().collect(),
        reachable: BTreeSet::new(),
    };
    assert_eq!(confinement.outside(&config), []);
    let elsewhere = dir.path().join("elsewhere.wasm");
    config.policies[0].source = PolicySource::File(elsewhere.clone());
    let problems = confinement.outside(&config);
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].to_string(),
        format!(
            "policy.gate.file: {} is in no directory that was named when the broker started, and it is confined to \
             those: restart the broker, or put the file beside one that it reads already",
            elsewhere.display()
        )
    );
    config.policies[0].source = PolicySource::File(dir.path().join("none.wasm"));
    assert_eq!(
        confinement.outside(&config),
        [],
        "its reader says that it is missing"
    );
}

#[test]
fn a_link_that_leads_elsewhere_is_outside() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = config(dir.path());
    let confinement = Confinement {
        by: By::Landlock(7),
        readable: Places::of(&config).read.into_keys().collect(),
        reachable: BTreeSet::new(),
    };
    let link = dir.path().join("etc/link.wasm");
    std::os::unix::fs::symlink(dir.path().join("elsewhere.wasm"), &link).expect("a link");
    config.policies[0].source = PolicySource::File(link);
    assert_eq!(confinement.outside(&config).len(), 1);
    let unconfined = Confinement {
        by: By::Nothing,
        readable: Vec::new(),
        reachable: BTreeSet::new(),
    };
    assert_eq!(unconfined.outside(&config), []);
}

#[test]
fn a_service_on_another_port_needs_a_restart_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = config(dir.path());
    let service = |port: u16| {
        ServiceSpec::new(
            "accounts",
            format!("http://127.0.0.1:{port}").parse().expect("a URL"),
        )
    };
    config.services = vec![service(8080)];
    let confinement = Confinement {
        by: By::Landlock(7),
        readable: Places::of(&config).read.into_keys().collect(),
        reachable: service_ports(&config),
    };
    assert_eq!(confinement.outside(&config), []);
    config.services = vec![service(9090)];
    let problems = confinement.outside(&config);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].to_string().contains("no port 9090"),
        "{}",
        problems[0]
    );
}
