//! Several certificates on one listener.

use crate::{broker_with, join, turned_away};
use sluice_tests::broker::Broker;
use sluice_tests::packet::V5;
use sluice_tests::tls::{Client, Identity, VERSIONS};

const SNI: &str =
    "sni = [{ certificate = \"b.pem\", key = \"b.key\" }, { certificate = \"c.pem\", key = \"c.key\" }]";

fn several(default: &Identity, second: &Identity, third: &Identity) -> Broker {
    let files = [
        ("b.pem", second.certificate_pem.as_str()),
        ("b.key", &second.key_pem),
        ("c.pem", &third.certificate_pem),
        ("c.key", &third.key_pem),
    ];
    broker_with(default, SNI, &files)
}

fn is_trusted(broker: &Broker, client: &Client) -> bool {
    client.connect(broker.listener("secure")).is_ok()
}

#[test]
fn a_client_gets_the_certificate_of_the_host_it_asks_for() {
    let (default, second) = (Identity::new(), Identity::named(&["b.test", "b.example"], false));
    let third = Identity::named(&["*.wild.test"], false);
    let broker = several(&default, &second, &third);
    for version in VERSIONS {
        let client = |of: &Identity, name: &str| of.client_speaking(&[version], &[]).asking_for(name);
        join(&broker, &client(&second, "b.test"), V5).ping();
        join(&broker, &client(&second, "b.example"), V5).ping();
        join(&broker, &client(&third, "x.wild.test"), V5).ping();
        join(&broker, &client(&default, "broker.test"), V5).ping();
        assert!(!is_trusted(&broker, &client(&default, "b.test")));
        // These get the first certificate, which is not for them.
        assert!(!is_trusted(&broker, &client(&third, "x.y.wild.test")));
        assert!(!is_trusted(&broker, &client(&second, "unknown.test")));
    }
}

#[test]
fn of_certificates_for_one_host_a_client_gets_one_that_it_understands() {
    let (modern, old) = (
        Identity::named(&["broker.test"], true),
        Identity::named(&["broker.test"], false),
    );
    let broker = several(&modern, &old, &Identity::named(&["c.test"], false));
    for version in VERSIONS {
        join(&broker, &modern.client_speaking(&[version], &[]), V5).ping();
    }
    join(&broker, &old.client_without_ed25519(), V5).ping();
    assert!(!is_trusted(&broker, &modern.client_without_ed25519()));
}

#[test]
fn a_client_that_understands_no_certificate_has_nothing_in_common_with_the_listener() {
    let identity = Identity::named(&["broker.test"], true);
    let broker = crate::broker(&identity, "");
    turned_away(&broker, &identity.client_without_ed25519(), "incompatible");
}

#[test]
fn each_file_has_its_time_in_the_metrics() {
    let default = Identity::new();
    let broker = several(
        &default,
        &Identity::named(&["b.test"], false),
        &Identity::named(&["c.test"], true),
    );
    for file in ["chain.pem", "b.pem", "c.pem"] {
        let name = format!("sluice_tls_certificate_expires_seconds{{listener=\"secure\",file=\"{file}\"}}");
        assert!(
            crate::metric(&broker, &name).is_some_and(|left| left > 0),
            "{file}"
        );
    }
}
