//! Services that let in nobody without a certificate of their authority: the broker has one, or nobody gets in.

use crate::asking::{asked_about, asking_all, is_denied};
use sluice_tests::authority::{Authority, Credentials, wanted};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::http::{Service, ok};
use sluice_tests::tls::Identity;

/// A service, what the broker knows it by, and the authority that its clients' certificates must be of.
struct Demanding {
    service: Service,
    identity: Identity,
    authority: Authority,
}

impl Demanding {
    fn start() -> Self {
        let identity = Identity::of_name("127.0.0.1", 4096);
        let authority = Authority::new("Accounts CA");
        let own = (&*identity.certificate_pem, &*identity.key_pem);
        let service = Service::over_mutual_tls(own, &authority.pem(), |_| ok("yes"));
        Self {
            service,
            identity,
            authority,
        }
    }

    fn url(&self) -> String {
        format!("https://{}", self.service.address())
    }

    fn requests(&self) -> usize {
        self.service.requests().len()
    }
}

const WITH_CERTIFICATE: &str = "ca = \"ca.pem\"\ncertificate = \"broker.pem\"\nkey = \"broker.key\"";

fn put(broker: &Broker, certificate: &Credentials, key: &Credentials) {
    let write = |name, text: &str| std::fs::write(broker.dir().join(name), text).expect("it is written");
    write("broker.pem", &certificate.chain_pem);
    write("broker.key", &key.key_pem);
}

#[test]
fn a_service_that_demands_a_certificate_gets_the_configured_one_and_no_other_will_do() {
    let demanding = Demanding::start();
    let broker_of = |name: &str| demanding.authority.issue(wanted(name));
    let own = broker_of("broker");
    let expired = demanding.authority.issue(wanted("broker").valid(1999, 2001));
    let strange = Authority::new("Accounts CA").issue(wanted("broker"));
    let with = |name: &str| format!("ca = \"ca.pem\"\ncertificate = \"{name}.pem\"\nkey = \"{name}.key\"");
    let (with_own, with_expired, with_strange) = (with("own"), with("expired"), with("strange"));
    let services = [
        ("own", demanding.url(), &*with_own),
        ("expired", demanding.url(), &*with_expired),
        ("strange", demanding.url(), &*with_strange),
        ("none", demanding.url(), "ca = \"ca.pem\""),
    ];
    let files: &[(&str, &[u8])] = &[
        ("ca.pem", demanding.identity.certificate_pem.as_bytes()),
        ("own.pem", own.chain_pem.as_bytes()),
        ("own.key", own.key_pem.as_bytes()),
        ("expired.pem", expired.chain_pem.as_bytes()),
        ("expired.key", expired.key_pem.as_bytes()),
        ("strange.pem", strange.chain_pem.as_bytes()),
        ("strange.key", strange.key_pem.as_bytes()),
    ];
    let broker = asking_all(&services, files);
    is_denied(&broker, "none", "received fatal alert: CertificateRequired");
    is_denied(&broker, "expired", "received fatal alert: CertificateExpired");
    is_denied(&broker, "strange", "received fatal alert: ");
    assert_eq!(demanding.requests(), 0, "nothing was said to it");
    assert_eq!(asked_about(&broker, "own").code, 0);
    assert_eq!(demanding.requests(), 1);
}

#[test]
fn the_certificate_for_a_service_is_read_again_with_sighup_and_a_bad_one_is_not_taken() {
    let demanding = Demanding::start();
    let strange = Authority::new("Accounts CA").issue(wanted("broker"));
    let files: &[(&str, &[u8])] = &[
        ("ca.pem", demanding.identity.certificate_pem.as_bytes()),
        ("broker.pem", strange.chain_pem.as_bytes()),
        ("broker.key", strange.key_pem.as_bytes()),
    ];
    let broker = asking_all(&[("accounts", demanding.url(), WITH_CERTIFICATE)], files);
    is_denied(&broker, "accounts", "received fatal alert: ");
    let own = demanding.authority.issue(wanted("broker"));
    put(&broker, &own, &own);
    broker.signal(Signal::HUP);
    broker.wait_for_log("the reload", |line| line.is("config_reloaded"));
    assert_eq!(asked_about(&broker, "accounts").code, 0);
    put(&broker, &own, &strange);
    broker.signal(Signal::HUP);
    let rejected = broker.wait_for_log("the refusal", |line| line.is("config_rejected"));
    let why = "service `accounts`: certificate and key: ";
    assert!(rejected.text.contains(why), "{}", rejected.text);
    assert_eq!(
        asked_about(&broker, "accounts").code,
        0,
        "what was in force goes on"
    );
    assert_eq!(demanding.requests(), 2);
}
