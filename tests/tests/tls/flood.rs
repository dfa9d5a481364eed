//! Many handshakes that come to nothing at the same time, and those who want in meanwhile.

use crate::{broker_with, failures, join, metric};
use sluice_tests::authority::{Authority, wanted};
use sluice_tests::packet::{V5, connect};
use sluice_tests::peer::Peer;
use sluice_tests::tls::{Identity, VERSIONS};
use sluice_tests::{eventually, unique};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const ATTACKERS: usize = 200;

#[test]
fn a_flood_of_bad_certificates_keeps_nobody_out() {
    let (identity, authority) = (Identity::new(), Authority::new("Fleet"));
    let keys = "client_certificates = \"required\"\nclient_ca = \"ca.pem\"";
    let broker = broker_with(&identity, keys, &[("ca.pem", &authority.pem())]);
    let honest = identity.client_with(&authority.issue(wanted("honest")));
    let mut early = join(&broker, &honest, V5);
    let foreign = Authority::new("Elsewhere").issue(wanted("honest"));
    let expired = authority.issue(wanted("honest").valid(2000, 2020));
    let bad = [&foreign, &expired].map(|credentials| {
        let client = |version| identity.client_with_speaking(credentials, version);
        VERSIONS.map(client)
    });
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for attacker in 0..ATTACKERS {
            let (is_over, client) = (&is_over, &bad[attacker % 2][attacker / 2 % 2]);
            let address = broker.listener("secure");
            let attack = move || {
                while !is_over.load(Ordering::Relaxed) {
                    let Ok(stream) = client.connect(address) else {
                        continue;
                    };
                    let mut peer = Peer::over(stream, V5);
                    peer.send(connect(V5, unique("bad")));
                    assert!(!peer.is_admitted());
                }
            };
            let small = thread::Builder::new().stack_size(256 * 1024);
            small.spawn_scoped(scope, attack).expect("a thread");
        }
        // The attackers must end, whatever becomes of the rest.
        let _over = Over(&is_over);
        let refused =
            || failures(&broker, "certificate_unknown_issuer") + failures(&broker, "certificate_expired");
        eventually("the attack is on", || refused() > ATTACKERS as u64);
        let before = refused();
        for _ in 0..10 {
            join(&broker, &honest, V5).ping();
            early.ping();
        }
        eventually("it was on all the time", || refused() > before);
    });
    eventually("nothing is left of it", || {
        metric(&broker, "sluice_tls_handshakes_under_way") == Some(0)
            && metric(&broker, "sluice_connections") == Some(1)
    });
    early.ping();
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
