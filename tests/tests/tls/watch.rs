//! Renewed files that nobody tells the broker of.

use crate::reload::{install, write};
use crate::{broker, broker_with, config, join, metric, turned_away};
use sluice_tests::authority::{Authority, wanted};
use sluice_tests::broker::Broker;
use sluice_tests::eventually;
use sluice_tests::packet::V5;
use sluice_tests::tls::Identity;
use std::os::unix::fs::symlink;

fn wait_for(broker: &Broker, event: &str, text: &str) {
    broker.wait_for_log(event, |line| {
        line.is(event) && line.text_field("text").unwrap_or_default().contains(text)
    });
}

#[test]
fn a_renewed_certificate_is_taken_and_open_connections_stay() {
    let (old, new) = (Identity::new(), Identity::new());
    let broker = broker(&old, "");
    let mut early = join(&broker, &old.client(), V5);
    install(&broker, &new);
    wait_for(&broker, "tls_reloaded", "secure");
    join(&broker, &new.client(), V5).ping();
    assert!(old.client().connect(broker.listener("secure")).is_err());
    early.ping();
}

#[test]
fn a_bad_file_is_not_taken_until_it_is_right_and_the_log_says_why() {
    let (old, new) = (Identity::new(), Identity::new());
    let broker = broker(&old, "");
    write(&broker, "chain.pem", &new.certificate_pem);
    wait_for(
        &broker,
        "tls_rejected",
        "listener[0].tls.key: key.pem does not belong to the certificate in chain.pem",
    );
    join(&broker, &old.client(), V5).ping();
    write(&broker, "key.pem", &new.key_pem);
    wait_for(&broker, "tls_reloaded", "secure");
    join(&broker, &new.client(), V5).ping();
}

#[test]
fn a_listener_whose_files_are_bad_does_not_keep_another_from_renewing_its_own() {
    let (one, other, new) = (Identity::new(), Identity::new(), Identity::new());
    let second = "\n[[listener]]\nname = \"second\"\naddress = \"127.0.0.1:0\"\n\
                  tls = { certificate = \"b.pem\", key = \"b.key\" }\n[limits]\n";
    let toml = config("").replace("\n[limits]\n", second);
    let broker = Broker::with_files(
        &toml,
        &[
            ("echo.wasm", &sluice_tests::guests::wasm("auth-echo")),
            ("chain.pem", one.certificate_pem.as_bytes()),
            ("key.pem", one.key_pem.as_bytes()),
            ("b.pem", other.certificate_pem.as_bytes()),
            ("b.key", other.key_pem.as_bytes()),
        ],
    );
    write(&broker, "key.pem", "rubbish");
    wait_for(
        &broker,
        "tls_rejected",
        "listener[0].tls.key: key.pem has no private key in it",
    );
    write(&broker, "b.pem", &new.certificate_pem);
    write(&broker, "b.key", &new.key_pem);
    wait_for(&broker, "tls_reloaded", "second");
    join(&broker, &one.client(), V5).ping();
    assert!(new.client().connect(broker.listener("second")).is_ok());
}

#[test]
fn directories_of_links_are_followed_as_they_are_switched() {
    let (old, new) = (Identity::new(), Identity::new());
    // As Kubernetes mounts secrets: the files are links through a link to a directory, which is replaced as a whole.
    let toml = config("").replace("\"chain.pem\"", "\"mount/tls.crt\"");
    let toml = toml.replace("\"key.pem\"", "\"mount/tls.key\"");
    let dir = sluice_tests::broker::new_dir();
    let mount = dir.path().join("mount");
    let lay = |version: &str, identity: &Identity| {
        std::fs::create_dir_all(mount.join(version)).expect("a directory");
        std::fs::write(mount.join(version).join("tls.crt"), &identity.certificate_pem).expect("a file");
        std::fs::write(mount.join(version).join("tls.key"), &identity.key_pem).expect("a file");
        symlink(version, mount.join("..data_new")).expect("a link");
        std::fs::rename(mount.join("..data_new"), mount.join("..data")).expect("it is renamed");
    };
    lay("..1", &old);
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), mount.join(name)).expect("a link");
    }
    std::fs::write(
        dir.path().join("echo.wasm"),
        sluice_tests::guests::wasm("auth-echo"),
    )
    .expect("a file");
    std::fs::write(dir.path().join("sluice.toml"), toml).expect("a file");
    let broker = Broker::start_in(dir, &["run", "--config", "sluice.toml"]);
    join(&broker, &old.client(), V5).ping();
    lay("..2", &new);
    wait_for(&broker, "tls_reloaded", "secure");
    join(&broker, &new.client(), V5).ping();
}

#[test]
fn a_new_revocation_list_keeps_the_client_out_also_with_an_old_ticket() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
    let (stolen, good) = (authority.issue(wanted("stolen")), authority.issue(wanted("good")));
    let keys = "client_certificates = \"required\"\nclient_ca = \"ca.pem\"\ncrls = [\"ca.crl\"]";
    let empty = authority.revocation_list(&[], 2100);
    let broker = broker_with(
        &identity,
        keys,
        &[("ca.pem", &authority.pem()), ("ca.crl", &empty)],
    );
    let (thief, honest) = (identity.client_with(&stolen), identity.client_with(&good));
    let mut connected = join(&broker, &thief, V5);
    join(&broker, &thief, V5).leave();
    write(&broker, "ca.crl", &authority.revocation_list(&[&stolen], 2100));
    wait_for(&broker, "tls_reloaded", "secure");
    turned_away(&broker, &thief, "certificate_revoked");
    join(&broker, &honest, V5).ping();
    // Who is in stays in: `sluice client kick` is for that.
    connected.ping();
    let name = "sluice_tls_crl_expires_seconds{listener=\"secure\",file=\"ca.crl\"}";
    assert!(metric(&broker, name).is_some_and(|left| left > 0));

    write(&broker, "ca.crl", &authority.revocation_list(&[], 2020));
    wait_for(
        &broker,
        "tls_rejected",
        "listener[0].tls.crls: the revocation list of CN=Fleet in ca.crl expired on 2020-01-01",
    );
    turned_away(&broker, &thief, "certificate_revoked");
    join(&broker, &honest, V5).ping();
}

#[test]
fn other_authorities_hold_for_clients_to_come() {
    let (identity, old, new) = (Identity::new(), Authority::new("Old"), Authority::new("New"));
    let keys = "client_certificates = \"required\"\nclient_ca = \"ca.pem\"";
    let broker = broker_with(&identity, keys, &[("ca.pem", &old.pem())]);
    let before = identity.client_with(&old.issue(wanted("before")));
    let after = identity.client_with(&new.issue(wanted("after")));
    join(&broker, &before, V5).leave();
    turned_away(&broker, &after, "certificate_unknown_issuer");
    write(&broker, "ca.pem", &(old.pem() + &new.pem()));
    wait_for(&broker, "tls_reloaded", "secure");
    join(&broker, &after, V5).ping();
    join(&broker, &before, V5).leave();
    write(&broker, "ca.pem", &new.pem());
    eventually("that is in force, too", || {
        broker
            .log_lines()
            .iter()
            .filter(|line| line.is("tls_reloaded"))
            .count()
            == 2
    });
    turned_away(&broker, &before, "certificate_unknown_issuer");
    join(&broker, &after, V5).ping();
}
