//! What clients do with certificates of their own.

use crate::Case;
use crate::agent::{Options, Tls};
use sluice_tests::authority::{Authority, Credentials, wanted};
use sluice_tests::broker::Broker;
use sluice_tests::unique;
use std::path::PathBuf;
use std::sync::OnceLock;

const DAY: u64 = 24 * 3600;

/// A broker that names its clients by their certificates, and the files of both sides. For one host, for so long as
/// browsers would take it.
pub struct Plant {
    pub broker: Broker,
    fleet: Authority,
    revoked: Credentials,
}

impl Plant {
    /// With these further keys of its `[listener.tls]`.
    pub fn with(keys: &str) -> Self {
        let (root, fleet) = (Authority::new("Brokers"), Authority::new("Fleet"));
        let broker = wanted("localhost").dns("localhost").ip("127.0.0.1").for_servers();
        let broker = root.issue(broker.valid_for(90 * DAY));
        let revoked = fleet.issue(wanted("stolen"));
        let toml = format!(
            r#"
            [[listener]]
            name = "secure"
            address = "127.0.0.1:0"
            [listener.tls]
            certificate = "chain.pem"
            key = "key.pem"
            {keys}
            [policy.users.settings]
            by_certificate = "cn"
            rules = [{{ allow = "all", topic = "plant/%u/#" }}]
            "#
        );
        let broker = Broker::with_files(
            &toml,
            &[
                ("root.pem", root.pem().as_bytes()),
                ("chain.pem", broker.chain_pem.as_bytes()),
                ("key.pem", broker.key_pem.as_bytes()),
                ("fleet.pem", fleet.pem().as_bytes()),
                ("fleet.crl", fleet.revocation_list(&[&revoked], 2100).as_bytes()),
            ],
        );
        Self {
            broker,
            fleet,
            revoked,
        }
    }

    pub fn guarded() -> Self {
        Self::with(
            "client_certificates = \"required\"\nclient_ca = \"fleet.pem\"\ncrls = [\"fleet.crl\"]\nidentity = \"cn\"",
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.broker.dir().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the file is written");
        path
    }

    /// Files of a client with this certificate.
    pub fn files(&self, credentials: &Credentials) -> Tls {
        Tls {
            authority: self.path("root.pem"),
            certificate: Some(self.write(&format!("{}.pem", credentials.serial), &credentials.chain_pem)),
            key: Some(self.write(&format!("{}.key", credentials.serial), &credentials.key_pem)),
        }
    }

    pub fn issue(&self, name: &str) -> Tls {
        self.files(&self.fleet.issue(wanted(name)))
    }

    pub fn expired(&self, name: &str) -> Tls {
        self.files(&self.fleet.issue(wanted(name).valid(2000, 2020)))
    }

    pub fn revoked(&self) -> Tls {
        self.files(&self.revoked)
    }

    pub fn none(&self) -> Tls {
        Tls {
            authority: self.path("root.pem"),
            certificate: None,
            key: None,
        }
    }
}

/// One for all these tests.
fn plant() -> &'static Plant {
    static PLANT: OnceLock<Plant> = OnceLock::new();
    PLANT.get_or_init(Plant::guarded)
}

pub fn a_client_is_named_by_its_certificate(case: Case) {
    let (plant, name) = (plant(), unique("pump"));
    let files = plant.issue(&name);
    let topic = format!("plant/{name}/state");
    let address = plant.broker.address();
    // What a client calls itself counts for nothing.
    let named = |options: Options| options.tls(files.clone()).credentials("admin", "x");
    let mut subscriber = case
        .start(&named(case.subscriber(address, &topic)).qos(2))
        .listening(2);
    let mut publisher = case.start(&named(case.publisher(address, &topic))).connected();
    for payload in ["one".to_owned(), "large".repeat(20_000)] {
        publisher.published(&payload);
        subscriber.expect_message(&payload);
    }
    publisher.leave();
    subscriber.leave();
    let elsewhere = case.subscriber(address, "plant/other/state");
    let code = case.start(&named(elsewhere)).connected().subscription();
    assert!(code >= 0x80, "the client was told {code}");
}

pub fn a_client_without_a_certificate_gets_nowhere(case: Case) {
    gets_nowhere(case, &plant().none(), "no_certificate");
}

pub fn a_client_that_was_revoked_gets_nowhere(case: Case) {
    gets_nowhere(case, &plant().revoked(), "certificate_revoked");
}

fn gets_nowhere(case: Case, files: &Tls, cause: &str) {
    let plant = plant();
    let options = case
        .subscriber(plant.broker.address(), "plant/x")
        .tls(files.clone());
    case.start(&options).gets_nowhere();
    plant.broker.wait_for_log(cause, |line| {
        line.is("tls_handshake_failed") && line.has("cause", cause)
    });
}
