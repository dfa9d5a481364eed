//! The cases: what is measured of a broker that runs.

mod catalogue;
mod connections;
mod durable;
mod exchange;
mod retained;
mod stalled;
mod subscriptions;
mod swap;

pub use catalogue::catalogue;

use crate::broker::{Gate, Kind, Queues, Running, Setup, Storage, Transport};
use crate::failure::Result;
use crate::load::{Batch, Pace, Shape, Until};
use crate::measure::Figures;
use crate::wire::Version;
use std::time::Duration;

/// One thing to measure.
pub struct Case {
    /// Its name in tables and on the command line.
    pub name: String,
    /// One sentence.
    pub about: &'static str,
    /// Who decides what clients may do.
    pub gate: Gate,
    /// How much may wait for a client.
    pub queues: Queues,
    /// What clients connect over.
    pub transport: Transport,
    /// What outlives the broker.
    pub storage: Storage,
    /// Whether it runs without being asked for by name.
    pub by_default: bool,
    /// Only Sluice can do it.
    pub sluice_only: bool,
    what: What,
}

/// The kinds of cases.
enum What {
    /// Messages flow.
    Exchange(Exchange),
    /// Clients connect and do nothing.
    Idle { clients: usize },
    /// Clients connect and leave, over and over.
    Connects,
    /// Clients subscribe; optionally messages flow among the subscriptions.
    Subscriptions { count: usize, with_load: bool },
    /// Messages are kept and read back.
    Retained { count: usize },
    /// A subscriber stops reading.
    Stalled,
    /// Messages for sessions that outlive their clients are acknowledged.
    Durable(durable::Load),
    /// A policy is replaced under load.
    Swap { clients: usize },
}

/// Messages that flow, but for how long.
#[derive(Clone, Copy)]
struct Exchange {
    shape: Shape,
    qos: u8,
    payload_bytes: usize,
    pace: Pace,
}

/// What holds for all cases of a run.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The version that clients speak.
    pub version: Version,
    /// Flows before anything is measured.
    pub warm_up: Duration,
    /// Is measured.
    pub measured: Duration,
    /// In the place of every case's own window.
    pub window: Option<u64>,
    /// Most messages in one write, in the place of every case's own batches.
    pub burst: Option<u64>,
    /// Numbers of clients, subscriptions and messages are divided by this.
    pub divisor: usize,
}

impl Terms {
    fn scaled(&self, count: usize) -> usize {
        (count / self.divisor.max(1)).max(1)
    }

    fn pace(&self, pace: Pace) -> Pace {
        match pace {
            Pace::Window {
                until: until @ Until::Delivered,
                outstanding,
                batch,
            } => Pace::Window {
                until,
                outstanding: self.window.unwrap_or(outstanding),
                batch: self.burst.map_or(batch, Batch::AtMost),
            },
            other => other,
        }
    }
}

impl Case {
    /// Measures it.
    ///
    /// # Errors
    /// When the broker does not do what the case needs.
    pub fn run(&self, broker: &Running, terms: &Terms) -> Result<Figures> {
        match self.what {
            What::Exchange(exchange) => exchange::run(broker, terms, exchange),
            What::Idle { clients } => connections::idle(broker, terms, clients),
            What::Connects => connections::connects(broker, terms),
            What::Subscriptions { count, with_load } => subscriptions::run(broker, terms, count, with_load),
            What::Retained { count } => retained::run(broker, terms, count),
            What::Stalled => stalled::run(broker, terms),
            What::Durable(load) => durable::run(broker, terms, load),
            What::Swap { clients } => swap::run(broker, terms, clients),
        }
    }

    /// How its broker is to be set up.
    pub fn setup(&self, terms: &Terms) -> Setup {
        Setup {
            gate: self.gate,
            queues: self.queues,
            transport: self.transport,
            storage: self.storage,
            version: terms.version,
        }
    }

    /// Whether it can be measured of this broker.
    pub fn suits(&self, terms: &Terms, kind: Kind) -> bool {
        self.setup(terms).is_known_to(kind) && (!self.sluice_only || kind == Kind::Sluice)
    }

    /// What cases that are compared with each other have in common: the name up to a `:`, or all of it.
    #[must_use]
    pub fn family(&self) -> &str {
        self.name.split_once(':').map_or(&self.name, |(family, _)| family)
    }

    /// Whether a pattern of the command line means it: its name, or the beginning of it up to a `-` or `:`.
    pub fn is_meant_by(&self, pattern: &str) -> bool {
        self.name
            .strip_prefix(pattern)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':']))
    }
}
