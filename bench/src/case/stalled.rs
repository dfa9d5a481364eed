//! A subscriber that stops reading, and what becomes of what was acknowledged meanwhile.

use super::{Exchange, Terms, exchange};
use crate::broker::Running;
use crate::clock::{nanos, now};
use crate::failure::Result;
use crate::load::{Batch, Pace, Shape, Until};
use crate::measure::{Figures, Measure};

const FLOOD: Exchange = Exchange {
    shape: Shape::Fan {
        publishers: 10,
        subscribers: 1,
    },
    qos: 1,
    payload_bytes: 1024,
    pace: Pace::Window {
        until: Until::Acknowledged,
        outstanding: 100,
        batch: Batch::All,
    },
};

pub(super) fn run(broker: &Running, terms: &Terms) -> Result<Figures> {
    let mut fleet = broker.fleet()?;
    let mut traffic = exchange::prepare(broker, &mut fleet, terms, FLOOD)?;
    let before = broker.memory()?;
    // The subscriber is the first client of the fleet.
    let subscriber = 0;
    fleet.set_reading(subscriber, false);
    traffic.start();
    traffic.flow_until(&mut fleet, now() + nanos(terms.measured))?;
    traffic.stop();
    fleet.set_reading(subscriber, true);
    traffic.drain(&mut fleet)?;
    Ok(Figures::default()
        .with_count(Measure::MessagesAcknowledged, traffic.acknowledged())
        .with_count(Measure::MessagesDeliveredLater, traffic.delivered())
        .with_count(Measure::Disconnects, traffic.disconnects())
        .with_memory(before, broker.memory()?))
}
