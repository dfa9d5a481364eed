//! What a service manager such as systemd is told.

use crate::config;
use sluice_tests::PATIENCE;
use sluice_tests::broker::{Broker, Signal, new_dir};
use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;

/// A broker, and the socket on which it reports.
fn managed(environment: &[(&str, &OsStr)]) -> (Broker, UnixDatagram) {
    let dir = new_dir();
    std::fs::write(dir.path().join("sluice.toml"), config("")).expect("a file");
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut all = vec![("NOTIFY_SOCKET", path.as_os_str())];
    all.extend(environment);
    let broker = Broker::start_with(dir, &["run", "--config", "sluice.toml"], &all);
    (broker, manager)
}

/// The next message.
fn hear(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 1_024];
    let length = manager.recv(&mut buffer).expect("the broker says something");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Waits for a message that begins so; how many signs of life came before.
fn hear_until(manager: &UnixDatagram, beginning: &str) -> (String, usize) {
    let mut alive = 0;
    loop {
        let said = hear(manager);
        if said.starts_with(beginning) {
            return (said, alive);
        }
        assert_eq!(said, "WATCHDOG=1\n", "while waiting for {beginning}");
        alive += 1;
    }
}

#[test]
fn the_service_manager_hears_of_start_reload_and_end() {
    let (mut broker, manager) = managed(&[]);
    assert_eq!(hear(&manager), "READY=1\n");
    broker.signal(Signal::HUP);
    let reloading = hear(&manager);
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "systemd wants to know since when: {reloading}"
    );
    assert_eq!(hear(&manager), "READY=1\n");
    broker.signal(Signal::TERM);
    assert_eq!(hear(&manager), "STOPPING=1\n");
    assert!(broker.wait_for_exit().success());
}

#[test]
fn a_watchdog_is_told_again_and_again_that_the_broker_lives() {
    let (broker, manager) = managed(&[("WATCHDOG_USEC", "400000".as_ref())]);
    hear_until(&manager, "READY=1\n");
    for _ in 0..3 {
        assert_eq!(hear(&manager), "WATCHDOG=1\n");
    }
    broker.signal(Signal::HUP);
    hear_until(&manager, "RELOADING=1\n");
    hear_until(&manager, "READY=1\n");
    assert_eq!(hear(&manager), "WATCHDOG=1\n", "it goes on after a reload");
}

#[test]
fn a_watchdog_for_another_process_is_none_of_ours() {
    let other = std::process::id().to_string();
    let environment = [
        ("WATCHDOG_USEC", "1000".as_ref()),
        ("WATCHDOG_PID", other.as_ref()),
    ];
    let (broker, manager) = managed(&environment);
    assert_eq!(hear(&manager), "READY=1\n");
    broker.signal(Signal::TERM);
    assert_eq!(hear(&manager), "STOPPING=1\n");
}
