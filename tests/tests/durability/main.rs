//! What outlives the broker: after a kill, after a restart, and as compared with a broker that was never stopped.
//! `docs/durability.md` says which sentence each of these tests proves.

mod kill;
mod receiving;
mod restart;

use sluice_tests::broker::Broker;

/// A broker with a store, and what else the configuration says.
fn durable(more: &str) -> Broker {
    Broker::with_config(&config(more))
}

fn config(more: &str) -> String {
    format!("data_dir = \"data\"\n{more}\n[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n")
}
