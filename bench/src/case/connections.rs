//! Clients that connect: what they cost while they are idle, and how fast they come and go.

use super::Terms;
use super::subscriptions::per;
use crate::broker::Running;
use crate::clock::{Nanos, nanos, now, seconds};
use crate::failure::{Failure, Result};
use crate::load::{ClientId, Fleet, Handler, arrive};
use crate::measure::{Figures, Measure};
use crate::wire::{DISCONNECT, Packet, connect};
use std::time::Duration;

/// Connections that come and go at the same time.
const CONCURRENT: usize = 32;
/// A broker that has not closed a connection so long after DISCONNECT leaves it to the client.
const CLOSES_WITHIN: Duration = Duration::from_millis(500);
const TURN: Duration = Duration::from_millis(10);
/// What a broker does after a client has come is done by then.
const SETTLED: Duration = Duration::from_secs(1);

pub(super) fn idle(broker: &Running, terms: &Terms, clients: usize) -> Result<Figures> {
    let clients = terms.scaled(clients);
    let mut fleet = broker.fleet()?;
    let (before, cpu_before) = (broker.memory()?, broker.cpu_time()?);
    let arrival = arrive(&mut fleet, "idle", clients, broker.credentials.as_ref())?;
    let cpu = broker.cpu_time()?.since(cpu_before);
    let mut quiet = Cycles::default();
    let settled = now() + nanos(SETTLED);
    while now() < settled {
        fleet.turn(TURN, &mut quiet)?;
    }
    let after = broker.memory()?;
    if fleet.open_count() < clients {
        return Err(Failure::new("the broker closed idle connections"));
    }
    let grown = per(after.resident, before.resident, clients);
    let clients = float(clients);
    Ok(Figures::default()
        .with(Measure::BytesPerConnection, grown)
        .with(Measure::ConnectsPerSecond, clients / arrival.seconds)
        .with(Measure::CpuMicrosPerConnect, cpu.seconds() * 1e6 / clients)
        .with_memory(before, after))
}

pub(super) fn connects(broker: &Running, terms: &Terms) -> Result<Figures> {
    let mut fleet = broker.fleet()?;
    let mut cycles = Cycles::default();
    for slot in 0..CONCURRENT {
        let hello = connect(
            terms.version,
            &format!("cycle{slot}"),
            broker.credentials.as_ref(),
        );
        fleet.open(&hello)?;
        cycles.hellos.push(hello);
        cycles.leaving_since.push(None);
    }
    cycles.turn_until(&mut fleet, now() + nanos(terms.warm_up))?;
    let (done_before, cpu_before, begun) = (cycles.done, broker.cpu_time()?, now());
    cycles.turn_until(&mut fleet, begun + nanos(terms.measured))?;
    let cpu = broker.cpu_time()?.since(cpu_before);
    let done = float(cycles.done - done_before);
    if done == 0.0 {
        return Err(Failure::new("no client was let in"));
    }
    Ok(Figures::default()
        .with(Measure::ConnectsPerSecond, done / seconds(now() - begun))
        .with(Measure::CpuMicrosPerConnect, cpu.seconds() * 1e6 / done))
}

/// Clients that leave as soon as they are in, and come again.
#[derive(Default)]
struct Cycles {
    hellos: Vec<Vec<u8>>,
    /// When each client sent DISCONNECT.
    leaving_since: Vec<Option<Nanos>>,
    done: usize,
    closed: Vec<ClientId>,
    refused: Option<u8>,
}

impl Cycles {
    fn turn_until(&mut self, fleet: &mut Fleet, end: Nanos) -> Result<()> {
        while now() < end {
            fleet.turn(TURN, self)?;
            if let Some(code) = self.refused {
                return Err(Failure::new(format!("CONNECT was refused with {code:#04x}")));
            }
            if self.closed.is_empty() {
                self.close_overdue(fleet);
            }
            while let Some(client) = self.closed.pop() {
                if let Some(hello) = self.hellos.get(client) {
                    fleet.reopen(client, hello)?;
                }
            }
        }
        Ok(())
    }

    fn close_overdue(&mut self, fleet: &mut Fleet) {
        let now = now();
        for client in 0..self.leaving_since.len() {
            let since = self.leaving_since.get(client).copied().flatten();
            if since.is_some_and(|since| now.saturating_sub(since) > nanos(CLOSES_WITHIN)) {
                fleet.close(client);
                self.closed(client);
            }
        }
    }
}

impl Handler for Cycles {
    fn packet(&mut self, client: ClientId, packet: Packet, now: Nanos, answer: &mut Vec<u8>) {
        match packet {
            Packet::Connack { code: 0 } => {
                answer.extend_from_slice(&DISCONNECT);
                if let Some(since) = self.leaving_since.get_mut(client) {
                    *since = Some(now);
                }
            }
            Packet::Connack { code } => self.refused = Some(code),
            _ => {}
        }
    }

    fn closed(&mut self, client: ClientId) {
        if let Some(since) = self.leaving_since.get_mut(client)
            && since.take().is_some()
        {
            self.done += 1;
        }
        self.closed.push(client);
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of clients are small")]
fn float(count: usize) -> f64 {
    count as f64
}
