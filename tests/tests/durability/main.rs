//! What outlives the broker: after a kill, after a restart, and as compared with a broker that was never stopped.
//! `docs/durability.md` says which sentence each of these tests proves.

mod kill;
mod restart;
mod twins;
