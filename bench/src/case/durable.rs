//! Messages of QoS 1 for sessions that outlive their clients: how fast a broker acknowledges them, beside how fast the
//! disk takes a log of them.

use super::Terms;
use crate::broker::Running;
use crate::clock::{Nanos, nanos, now, seconds};
use crate::failure::{Failure, Result};
use crate::load::{ClientId, Fleet, Handler, arrive, arrive_as, subscribe_all};
use crate::measure::{CpuTime, Figures, Latencies, Measure, bytes_written, flushes, log_rate};
use crate::wire::{DISCONNECT, Message, Packet, Version, connect_kept, puback};
use std::time::Duration;

/// Who publishes, for whom.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Clients that publish, each with one message on its way.
    pub(super) publishers: usize,
    /// Sessions that outlive their clients, each to get every message.
    pub(super) subscribers: usize,
    /// Where the subscribers are meanwhile.
    pub(super) presence: Presence,
}

/// Whether subscribers are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// They receive and acknowledge.
    Online,
    /// They come back when everything is over.
    Offline,
}

const PAYLOAD_BYTES: usize = 256;
/// What a log has to hold of a message: payload, topic, length, checksum.
const RECORD_BYTES: usize = 322;
const QOS: u8 = 1;
const FILTER: &str = "bench/+/t";
const TURN: Duration = Duration::from_millis(10);
/// When nothing comes for so long, nothing will.
const SILENCE: Duration = Duration::from_secs(5);
/// For each of the two logs.
const LOG_MEASURED_MAX: Duration = Duration::from_secs(1);

pub(super) fn run(broker: &Running, terms: &Terms, load: Load) -> Result<Figures> {
    let mut fleet = broker.fleet()?;
    let credentials = broker.credentials.as_ref();
    let hello = |number| connect_kept(terms.version, &format!("kept{number}"), credentials);
    let subscribers = arrive_as(&mut fleet, load.subscribers, hello)?.clients;
    let wanted = subscribers
        .iter()
        .map(|client| (*client, vec![FILTER.to_owned()]));
    subscribe_all(&mut fleet, wanted, QOS)?;
    if load.presence == Presence::Offline {
        leave(&mut fleet, &subscribers);
    }
    let publishers = arrive(&mut fleet, "pub", load.publishers, credentials)?.clients;
    let memory = broker.memory()?;
    let mut exchange = Exchange::between(&publishers, terms.version);
    exchange.start(&mut fleet);
    exchange.turn_until(&mut fleet, now() + nanos(terms.warm_up))?;
    exchange.latencies = Latencies::default();
    let before = Spent::now(broker, &exchange)?;
    exchange.turn_until(&mut fleet, before.at + nanos(terms.measured))?;
    let spent = Spent::now(broker, &exchange)?;
    exchange.stop(&mut fleet)?;
    let figures = exchange.figures(&before, &spent)?;
    let memory = (memory, broker.memory()?);
    if load.presence == Presence::Offline {
        for (number, client) in subscribers.iter().enumerate() {
            fleet.reopen(*client, &hello(number))?;
        }
    }
    let owed = exchange.acknowledged * subscribers.len() as u64;
    let lost = exchange.collect(&mut fleet, owed)?;
    let figures = figures
        .with_count(Measure::MessagesLost, lost)
        .with_memory(memory.0, memory.1);
    beside_log(figures, broker, terms, load)
}

/// Sends clients away, each with a DISCONNECT: their sessions stay.
fn leave(fleet: &mut Fleet, clients: &[ClientId]) {
    for client in clients {
        if let Some(out) = fleet.out(*client) {
            out.extend_from_slice(&DISCONNECT);
        }
        fleet.flush(*client);
        fleet.close(*client);
    }
}

/// Adds what the disk does at best with batches as they can occur at most, and as they did.
fn beside_log(figures: Figures, broker: &Running, terms: &Terms, load: Load) -> Result<Figures> {
    let measured = terms.measured.min(LOG_MEASURED_MAX);
    let rate = |batch| log_rate(&broker.directory, batch, RECORD_BYTES, measured);
    let best = rate(load.publishers as u64)?;
    let acknowledged = figures.get(Measure::AcknowledgedPerSecond).unwrap_or(f64::NAN);
    let per_flush = figures.get(Measure::AcknowledgedPerFlush);
    let figures = figures
        .with(Measure::LogPerSecond, best)
        .with(Measure::LogRatio, best / acknowledged);
    match per_flush.map(whole) {
        Some(batch) => Ok(figures.with(Measure::LogAtFlushesPerSecond, rate(batch)?)),
        None => Ok(figures),
    }
}

/// What the broker had used, and done, at a moment.
struct Spent {
    at: Nanos,
    cpu: CpuTime,
    flushes: Option<u64>,
    bytes_written: u64,
    acknowledged: u64,
}

impl Spent {
    fn now(broker: &Running, exchange: &Exchange) -> Result<Self> {
        Ok(Self {
            at: now(),
            cpu: broker.cpu_time()?,
            flushes: flushes(&broker.directory),
            bytes_written: bytes_written(broker.pid())?,
            acknowledged: exchange.acknowledged,
        })
    }
}

/// Publishers that each send the next message when the last is acknowledged.
struct Exchange {
    publishers: Vec<Publisher>,
    /// The first of their connections; they are consecutive.
    first: ClientId,
    sending: bool,
    acknowledged: u64,
    unacknowledged: u64,
    received: u64,
    refused: Option<u8>,
    is_broken: bool,
    last_at: Nanos,
    latencies: Latencies,
}

struct Publisher {
    client: ClientId,
    message: Message,
    sent: u64,
    sent_at: Nanos,
}

impl Exchange {
    fn between(publishers: &[ClientId], version: Version) -> Self {
        let publisher = |(number, client): (usize, &ClientId)| Publisher {
            client: *client,
            message: Message::new(version, &format!("bench/{number}/t"), QOS, PAYLOAD_BYTES, 0),
            sent: 0,
            sent_at: 0,
        };
        Self {
            publishers: publishers.iter().enumerate().map(publisher).collect(),
            first: publishers.first().copied().unwrap_or_default(),
            sending: false,
            acknowledged: 0,
            unacknowledged: 0,
            received: 0,
            refused: None,
            is_broken: false,
            last_at: now(),
            latencies: Latencies::default(),
        }
    }

    fn start(&mut self, fleet: &mut Fleet) {
        self.sending = true;
        for publisher in &mut self.publishers {
            if let Some(out) = fleet.out(publisher.client) {
                publisher.append(out, now());
                self.unacknowledged += 1;
            }
            fleet.flush(publisher.client);
        }
    }

    /// Sends no more, and waits for what is on its way.
    fn stop(&mut self, fleet: &mut Fleet) -> Result<()> {
        self.sending = false;
        self.last_at = now();
        while self.unacknowledged > 0 {
            if !self.turn(fleet)? {
                return Err(Failure::new(format!(
                    "{} messages were not acknowledged",
                    self.unacknowledged
                )));
            }
        }
        Ok(())
    }

    fn turn_until(&mut self, fleet: &mut Fleet, end: Nanos) -> Result<()> {
        while now() < end {
            self.turn(fleet)?;
        }
        Ok(())
    }

    /// Receives until everything that was acknowledged was delivered; returns how much is missing in the end.
    fn collect(&mut self, fleet: &mut Fleet, owed: u64) -> Result<u64> {
        self.last_at = now();
        while self.received < owed && self.turn(fleet)? {}
        Ok(owed.saturating_sub(self.received))
    }

    /// One turn; `false`: nothing came for too long.
    fn turn(&mut self, fleet: &mut Fleet) -> Result<bool> {
        fleet.turn(TURN, self)?;
        match self.refused {
            Some(code) => Err(Failure::new(format!("the broker answered with {code:#04x}"))),
            None if self.is_broken => Err(Failure::new("the broker closed a connection")),
            None => Ok(now().saturating_sub(self.last_at) < nanos(SILENCE)),
        }
    }

    fn figures(&self, before: &Spent, after: &Spent) -> Result<Figures> {
        let acknowledged = after.acknowledged - before.acknowledged;
        if acknowledged == 0 {
            return Err(Failure::new("nothing was acknowledged"));
        }
        let count = float(acknowledged);
        let bytes_written = after.bytes_written - before.bytes_written;
        let micros = after.cpu.since(before.cpu).seconds() * 1e6;
        let latencies = &self.latencies;
        let figures = Figures::default()
            .with(
                Measure::AcknowledgedPerSecond,
                count / seconds(after.at - before.at),
            )
            .with(Measure::CpuMicrosPerAcknowledged, micros / count)
            .with(Measure::AcknowledgedP50Micros, latencies.quantile_micros(0.5))
            .with(Measure::AcknowledgedP99Micros, latencies.quantile_micros(0.99))
            .with(Measure::DiskBytesPerAcknowledged, float(bytes_written) / count);
        let flushes = after.flushes.zip(before.flushes);
        let flushes = flushes.map_or(0, |(after, before)| after - before);
        // Of a broker that wrote nothing, they were somebody else's.
        if flushes == 0 || bytes_written == 0 {
            return Ok(figures);
        }
        Ok(figures.with(Measure::AcknowledgedPerFlush, count / float(flushes)))
    }
}

impl Publisher {
    fn append(&mut self, out: &mut Vec<u8>, now: Nanos) {
        let id = u16::try_from(self.sent % u64::from(u16::MAX) + 1).unwrap_or(1);
        self.message.append_to(out, id, now);
        self.sent += 1;
        self.sent_at = now;
    }
}

impl Handler for Exchange {
    fn packet(&mut self, client: ClientId, packet: Packet, now: Nanos, answer: &mut Vec<u8>) {
        self.last_at = now;
        match packet {
            Packet::Publish { id, .. } => {
                self.received += 1;
                answer.extend_from_slice(&puback(id));
            }
            Packet::Puback { code } if code < 0x80 => {
                self.acknowledged += 1;
                self.unacknowledged -= 1;
                let number = client.wrapping_sub(self.first);
                let Some(publisher) = self.publishers.get_mut(number) else {
                    return;
                };
                self.latencies.record(now.saturating_sub(publisher.sent_at));
                if self.sending {
                    publisher.append(answer, now);
                    self.unacknowledged += 1;
                }
            }
            Packet::Connack { code } if code != 0 => self.refused = Some(code),
            Packet::Puback { code } | Packet::Disconnect { code } => self.refused = Some(code),
            _ => {}
        }
    }

    fn closed(&mut self, _: ClientId) {
        self.is_broken = true;
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// At least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a batch has at most as many messages as there are publishers"
)]
fn whole(batch: f64) -> u64 {
    batch.round().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACKNOWLEDGED: Packet = Packet::Puback { code: 0 };

    /// What a client answers to a packet, in bytes.
    fn answer(exchange: &mut Exchange, client: ClientId, packet: Packet) -> Vec<u8> {
        let mut answer = Vec::new();
        exchange.packet(client, packet, 1_000, &mut answer);
        answer
    }

    /// Publishers 7 and 8, each with a message on its way.
    fn exchange() -> Exchange {
        let mut exchange = Exchange::between(&[7, 8], Version::V311);
        exchange.sending = true;
        for publisher in &mut exchange.publishers {
            publisher.append(&mut Vec::new(), 0);
            exchange.unacknowledged += 1;
        }
        exchange
    }

    #[test]
    fn the_next_message_follows_the_acknowledgement() {
        let mut exchange = exchange();
        let next = answer(&mut exchange, 8, ACKNOWLEDGED);
        assert!(
            next.windows(10).any(|topic| topic == b"\x00\x09bench/1/"),
            "{next:?}"
        );
        assert_eq!((exchange.acknowledged, exchange.unacknowledged), (1, 2));
        exchange.sending = false;
        assert!(answer(&mut exchange, 7, ACKNOWLEDGED).is_empty());
        assert_eq!((exchange.acknowledged, exchange.unacknowledged), (2, 1));
        assert_eq!(exchange.latencies.count(), 2);
    }

    #[test]
    fn a_delivery_is_acknowledged() {
        let mut exchange = exchange();
        let delivery = Packet::Publish {
            id: 5,
            sent_at: 0,
            source: 0,
        };
        assert_eq!(answer(&mut exchange, 0, delivery), puback(5));
        assert_eq!((exchange.received, exchange.acknowledged), (1, 0));
    }

    #[test]
    fn a_refusal_is_no_acknowledgement() {
        let mut exchange = exchange();
        assert!(answer(&mut exchange, 7, Packet::Puback { code: 0x97 }).is_empty());
        assert_eq!((exchange.acknowledged, exchange.refused), (0, Some(0x97)));
    }
}
