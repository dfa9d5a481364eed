//! Messages that flow.

use super::{Exchange, Terms};
use crate::broker::Running;
use crate::failure::Result;
use crate::load::{Fleet, Flow, Traffic};
use crate::measure::Figures;

pub(super) fn run(broker: &Running, terms: &Terms, exchange: Exchange) -> Result<Figures> {
    let mut fleet = broker.fleet()?;
    let mut traffic = prepare(broker, &mut fleet, terms, exchange)?;
    let before = broker.memory()?;
    let outcome = traffic.run(&mut fleet, &|| broker.cpu_time())?;
    Ok(Figures::default()
        .with_outcome(&outcome)
        .with_memory(before, broker.memory()?))
}

pub(super) fn prepare(
    broker: &Running,
    fleet: &mut Fleet,
    terms: &Terms,
    exchange: Exchange,
) -> Result<Traffic> {
    let flow = Flow {
        shape: exchange.shape,
        qos: exchange.qos,
        payload_bytes: exchange.payload_bytes,
        pace: terms.pace(exchange.pace),
        warm_up: terms.warm_up,
        measured: terms.measured,
    };
    Traffic::prepare(fleet, flow, broker.credentials.as_ref())
}
