//! Renewed certificates, and those that are not taken.

use crate::{broker, config, join, metric};
use sluice_tests::authority::{Authority, wanted};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::eventually;
use sluice_tests::packet::V5;
use sluice_tests::tls::{HandshakeKind, Identity};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

pub fn install(broker: &Broker, identity: &Identity) {
    write(broker, "chain.pem", &identity.certificate_pem);
    write(broker, "key.pem", &identity.key_pem);
}

pub fn write(broker: &Broker, name: &str, text: &str) {
    std::fs::write(broker.dir().join(name), text).expect("the file is written");
}

/// Sends SIGHUP and waits for what becomes of it; the text of the refusal, if it is one.
fn reload(broker: &Broker) -> Result<(), String> {
    let answers = || {
        let lines = broker.log_lines().into_iter();
        let answers: Vec<_> = lines
            .filter(|line| line.is("config_reloaded") || line.is("config_rejected"))
            .collect();
        answers
    };
    let before = answers().len();
    broker.signal(Signal::HUP);
    eventually("SIGHUP is answered", || answers().len() > before);
    let answer = answers().pop().expect("an answer");
    if answer.is("config_reloaded") {
        Ok(())
    } else {
        Err(answer.text_field("text").unwrap_or_default())
    }
}

#[test]
fn new_connections_see_the_new_certificate_and_open_ones_stay() {
    let (old, new) = (Identity::new(), Identity::new());
    let broker = broker(&old, "");
    let mut early = join(&broker, &old.client(), V5);
    install(&broker, &new);
    reload(&broker).expect("the new certificate is taken");
    early.ping();
    join(&broker, &new.client(), V5).ping();
    assert!(old.client().connect(broker.listener("secure")).is_err());
    early.ping();
}

#[test]
fn a_bad_file_keeps_the_old_certificate_and_the_log_says_why() {
    let (old, new, expired) = (Identity::new(), Identity::new(), Identity::until(2020));
    let broker = broker(&old, "");
    install(&broker, &new);
    write(&broker, "key.pem", &old.key_pem);
    let why = reload(&broker).expect_err("the key is another's");
    assert!(
        why.contains("listener[0].tls.key: key.pem does not belong to the certificate in chain.pem"),
        "{why}"
    );
    join(&broker, &old.client(), V5).ping();
    install(&broker, &expired);
    let why = reload(&broker).expect_err("it has expired");
    assert!(why.contains("expired on 2020-01-01: renew it"), "{why}");
    join(&broker, &old.client(), V5).ping();
}

#[test]
fn a_reload_that_does_not_touch_the_certificate_lets_clients_resume() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let client = identity.client();
    join(&broker, &client, V5).leave();
    write(&broker, "sluice.toml", &config("handshake_timeout = \"3 s\""));
    reload(&broker).expect("the configuration is taken");
    let again = client.connect(broker.listener("secure"));
    let again = again.expect("the handshake succeeds");
    assert_eq!(again.session().handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_listener_that_is_removed_from_the_configuration_encrypts_until_the_restart() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let without = config("").replace("name = \"secure\"", "name = \"other\"");
    let without = without.replace("certificate = \"chain.pem\"", "certificate = \"other.pem\"");
    write(&broker, "sluice.toml", &without);
    std::fs::rename(broker.dir().join("chain.pem"), broker.dir().join("other.pem")).expect("it is renamed");
    reload(&broker).expect("the configuration is taken");
    join(&broker, &identity.client(), V5).ping();
}

#[test]
fn encryption_can_be_switched_on_for_new_connections() {
    let identity = Identity::new();
    let plain = config("")
        .replace("[listener.tls]", "")
        .replace("certificate = \"chain.pem\"\nkey = \"key.pem\"", "");
    let broker = broker(&identity, "");
    write(&broker, "sluice.toml", &plain);
    reload(&broker).expect("the configuration is taken");
    let mut early = broker.client(V5);
    write(&broker, "sluice.toml", &config(""));
    reload(&broker).expect("the configuration is taken");
    early.ping();
    join(&broker, &identity.client(), V5).ping();
}

#[test]
fn the_metrics_tell_when_the_certificate_expires() {
    let broker = broker(&Identity::new(), "");
    let left = || {
        let name = "sluice_tls_certificate_expires_seconds{listener=\"secure\",file=\"chain.pem\"}";
        metric(&broker, name).expect("a number")
    };
    let before = left();
    assert!(before > 2_000 * 365 * 24 * 3600, "{before}");
    install(&broker, &Identity::until(3000));
    reload(&broker).expect("the new certificate is taken");
    assert!(left() < before);
}

#[test]
fn check_finds_what_a_start_would_find() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let check = || broker.command(&["check", "--config", "sluice.toml"]);
    assert!(check().status.success());
    std::fs::remove_file(broker.dir().join("key.pem")).expect("the file was there");
    let output = check();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("listener[0].tls.key: key.pem cannot be read"),
        "{told}"
    );
    let start = broker.command(&["run", "--config", "sluice.toml"]);
    assert!(!start.status.success());
    let told = String::from_utf8_lossy(&start.stderr).into_owned();
    assert!(
        told.contains("listener[0].tls.key: key.pem cannot be read"),
        "{told}"
    );
}

#[test]
fn the_command_reload_does_what_sighup_does_and_says_what_is_wrong() {
    let (old, new) = (Identity::new(), Identity::new());
    let broker = broker(&old, "");
    install(&broker, &new);
    let said = broker.sluice(&["reload"]).expect("the new certificate is taken");
    assert!(said.starts_with("the configuration is in force"), "{said}");
    join(&broker, &new.client(), V5).ping();
    write(&broker, "key.pem", &old.key_pem);
    let why = broker.sluice(&["reload"]).expect_err("the key is another's");
    assert!(
        why.contains("listener[0].tls.key: key.pem does not belong to the certificate in chain.pem"),
        "{why}"
    );
    join(&broker, &new.client(), V5).ping();
}

#[test]
fn check_warns_of_what_will_expire_and_of_a_key_that_others_can_read() {
    let identity = Identity::new();
    let broker = broker(&identity, "");
    let check = || {
        let output = broker.command(&["check", "--config", "sluice.toml"]);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let set_mode = |mode| {
        let key = broker.dir().join("key.pem");
        std::fs::set_permissions(key, Permissions::from_mode(mode)).expect("the mode is set");
    };
    set_mode(0o644);
    let told = check();
    assert!(
        told.contains("listener[0].tls.key: key.pem is open to every user of this machine"),
        "{told}"
    );
    set_mode(0o600);
    assert_eq!(check(), "");
    let short = Authority::new("short");
    let short = short.issue(wanted("soon").valid_for(10 * 24 * 3600));
    write(&broker, "chain.pem", &short.chain_pem);
    write(&broker, "key.pem", &short.key_pem);
    let told = check();
    assert!(
        told.contains("the certificate in chain.pem expires in 9 d"),
        "{told}"
    );
}
