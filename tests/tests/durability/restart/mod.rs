//! A broker is ended and started again: with SIGTERM, and with SIGKILL as soon as what the test relies on is promised
//! to be on disk.

mod exchanges;
mod operator;
mod queues;
mod retained;
mod routing;
mod time;
mod wills;

use sluice_tests::broker::{Broker, Signal};
use sluice_tests::packet::{Connect, V5, connect};
use sluice_tests::peer::Peer;
use sluice_tests::unique;

/// Runs a check with both ends that a broker may come to, at the same time.
fn both_ends(check: impl Fn(Signal) + Sync) {
    std::thread::scope(|scope| {
        for signal in [Signal::TERM, Signal::KILL] {
            let check = &check;
            scope.spawn(move || check(signal));
        }
    });
}

/// A client whose session was there.
fn resume(broker: &Broker, packet: &Connect) -> Peer {
    let (client, connack) = broker.join(&packet.clone().resuming());
    client.assert(connack.session_present, "the session is there");
    client
}

/// Makes sure that all is on disk that the broker has stored so far, also what nobody waits for: a session that is to
/// last is written, and what came before it with it.
fn store_everything(broker: &Broker) {
    let (client, _) = broker.join(&connect(V5, unique("later")).lasting());
    client.leave();
}
