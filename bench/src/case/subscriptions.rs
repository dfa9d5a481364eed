//! Many wildcard subscriptions: their memory, and what they do to messages they do not match.

use super::{Exchange, Terms, exchange};
use crate::broker::Running;
use crate::failure::Result;
use crate::load::{Batch, Fleet, Pace, Shape, Until, arrive, subscribe_all};
use crate::measure::{Figures, Measure};

/// Subscriptions of one client.
const PER_CLIENT: usize = 1000;

const FAN_IN: Exchange = Exchange {
    shape: Shape::Fan {
        publishers: 50,
        subscribers: 1,
    },
    qos: 0,
    payload_bytes: 64,
    pace: Pace::Window {
        until: Until::Delivered,
        outstanding: 20,
        batch: Batch::All,
    },
};

pub(super) fn run(broker: &Running, terms: &Terms, count: usize, with_load: bool) -> Result<Figures> {
    let count = terms.scaled(count);
    let mut fleet = broker.fleet()?;
    if !with_load {
        return subscribe(broker, &mut fleet, count);
    }
    let probe = || broker.cpu_time();
    let mut traffic = exchange::prepare(broker, &mut fleet, terms, FAN_IN)?;
    let alone = Figures::default().with_outcome(&traffic.run(&mut fleet, &probe)?);
    let subscribed = subscribe(broker, &mut fleet, count)?;
    let among = subscribed.with_outcome(&traffic.run(&mut fleet, &probe)?);
    let cpu = |figures: &Figures| figures.get(Measure::CpuMicrosPerMessage).unwrap_or(f64::NAN);
    let ratio = cpu(&among) / cpu(&alone);
    Ok(among.with(Measure::CpuRatioWithSubscriptions, ratio))
}

fn subscribe(broker: &Running, fleet: &mut Fleet, count: usize) -> Result<Figures> {
    let clients = count.div_ceil(PER_CLIENT);
    let clients = arrive(fleet, "many", clients, broker.credentials.as_ref())?.clients;
    let before = broker.memory()?;
    let wanted = clients.into_iter().enumerate().map(|(index, client)| {
        let first = index * PER_CLIENT;
        let filters = (first..count.min(first + PER_CLIENT)).map(filter);
        (client, filters.collect())
    });
    let took = subscribe_all(fleet, wanted, 0)?;
    let after = broker.memory()?;
    Ok(Figures::default()
        .with(
            Measure::BytesPerSubscription,
            per(after.resident, before.resident, count),
        )
        .with(Measure::SubscribeSeconds, took)
        .with_memory(before, after))
}

/// Next to the topics of the load, so that matching has to look at them, but matching none.
fn filter(number: usize) -> String {
    if number.is_multiple_of(2) {
        format!("bench/+/s{number}/#")
    } else {
        format!("bench/g{number}/+/state")
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is less than 2^53 bytes")]
pub(super) fn per(after: u64, before: u64, count: usize) -> f64 {
    (after as f64 - before as f64) / count as f64
}
