//! Retained messages: their memory, and reading them back.

use super::Terms;
use super::subscriptions::per;
use crate::broker::Running;
use crate::clock::{Nanos, nanos, now, seconds};
use crate::failure::{Failure, Result};
use crate::load::{ClientId, Fleet, Handler, arrive};
use crate::measure::{Figures, Measure};
use crate::wire::{Message, Packet, puback, subscribe};
use std::time::Duration;

const PUBLISHERS: usize = 10;
/// Messages of all publishers that are not acknowledged.
const OUTSTANDING: usize = 1000;
const PAYLOAD_BYTES: usize = 64;
const TURN: Duration = Duration::from_millis(10);
/// When nothing comes for so long, nothing will.
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Counts {
    acknowledged: usize,
    received: usize,
    refused: bool,
    last_at: Nanos,
    closed: usize,
}

impl Handler for Counts {
    fn packet(&mut self, _: ClientId, packet: Packet, now: Nanos, answer: &mut Vec<u8>) {
        self.last_at = now;
        match packet {
            Packet::Puback { code } => {
                self.acknowledged += 1;
                self.refused |= code >= 0x80;
            }
            Packet::Publish { id, .. } => {
                self.received += 1;
                if id != 0 {
                    answer.extend_from_slice(&puback(id));
                }
            }
            _ => {}
        }
    }

    fn closed(&mut self, _: ClientId) {
        self.closed += 1;
    }
}

impl Counts {
    /// One turn; `false`: nothing came for too long.
    fn turn(&mut self, fleet: &mut Fleet) -> Result<bool> {
        fleet.turn(TURN, self)?;
        if self.closed > 0 {
            return Err(Failure::new("the broker closed a connection"));
        }
        Ok(now().saturating_sub(self.last_at) < nanos(SILENCE))
    }
}

pub(super) fn run(broker: &Running, terms: &Terms, count: usize) -> Result<Figures> {
    let count = terms.scaled(count);
    let mut fleet = broker.fleet()?;
    let publishers = arrive(&mut fleet, "keep", PUBLISHERS, broker.credentials.as_ref())?.clients;
    let before = broker.memory()?;
    publish(&mut fleet, &publishers, count)?;
    let kept = broker.memory()?;

    let reader = arrive(&mut fleet, "reader", 1, broker.credentials.as_ref())?.clients;
    let mut counts = Counts {
        last_at: now(),
        ..Counts::default()
    };
    let packet = subscribe(terms.version, 1, ["kept/#"], 1);
    let since = now();
    for client in reader {
        if let Some(out) = fleet.out(client) {
            out.extend_from_slice(&packet);
        }
        fleet.flush(client);
    }
    while counts.received < count && counts.turn(&mut fleet)? {}
    Ok(Figures::default()
        .with(
            Measure::BytesPerRetained,
            per(kept.resident, before.resident, count),
        )
        .with_count(Measure::RetainedReadBack, counts.received as u64)
        .with(
            Measure::ReadBackSeconds,
            seconds(counts.last_at.saturating_sub(since)),
        )
        .with_memory(before, broker.memory()?))
}

/// Publishes messages to topics of their own at QoS 1, so that it is known when the broker has them.
fn publish(fleet: &mut Fleet, publishers: &[ClientId], count: usize) -> Result<()> {
    let mut counts = Counts {
        last_at: now(),
        ..Counts::default()
    };
    let mut sent = 0;
    while counts.acknowledged < count {
        let until = count.min(counts.acknowledged + OUTSTANDING);
        for number in sent..until {
            let topic = format!("kept/{}/{}", number / 1000, number % 1000);
            let message = Message::new(fleet.version(), &topic, 1, PAYLOAD_BYTES, 0).retained();
            let id = u16::try_from(number / publishers.len() % usize::from(u16::MAX) + 1).unwrap_or(1);
            let publisher = publishers.get(number % publishers.len()).copied();
            if let Some(out) = publisher.and_then(|client| fleet.out(client)) {
                message.append_to(out, id, 0);
            }
        }
        if until > sent {
            publishers.iter().for_each(|client| fleet.flush(*client));
        }
        sent = until;
        let is_going_on = counts.turn(fleet)?;
        if counts.refused || !is_going_on {
            return Err(Failure::new(format!(
                "the broker took {} of {count} retained messages",
                counts.acknowledged
            )));
        }
    }
    Ok(())
}
