//! A flow that runs: publishers send as their pace allows, subscribers count, and what was seen is measured.

use super::arrival::{arrive, subscribe_all};
use super::fleet::{ClientId, Fleet, Handler};
use super::flow::{Batch, Flow, Pace, Until};
use super::pacer::Pacer;
use crate::clock::{Nanos, nanos, now, seconds};
use crate::failure::{Failure, Result};
use crate::measure::{CpuTime, Latencies, cpu_time};
use crate::wire::{Credentials, Message, Packet, puback};
use std::time::Duration;

/// When nothing comes for so long, what is missing is lost.
const DRAIN: Duration = Duration::from_secs(2);
/// Windows that nothing moves for so long are opened again: what was in them is lost.
const STUCK: Duration = Duration::from_secs(2);
/// The longest wait for something to do.
const TURN: Duration = Duration::from_millis(10);
/// No more is put behind what the kernel does not take.
const BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// How to ask for the processor time the broker has used.
pub type Probe<'a> = &'a dyn Fn() -> Result<CpuTime>;

/// What was seen of a flow.
#[derive(Debug)]
pub struct Outcome {
    /// Messages delivered in the measured time.
    pub delivered: u64,
    /// The measured time.
    pub seconds: f64,
    /// Processor time of the broker in the measured time.
    pub cpu: CpuTime,
    /// Processor time of this process in the measured time.
    pub load_cpu: CpuTime,
    /// From sending (in an open loop: from when it was due) to delivery.
    pub latencies: Latencies,
    /// Deliveries that never came.
    pub lost: u64,
    /// Connections that were closed by the broker.
    pub disconnects: u64,
}

/// The clients of a flow, connected and subscribed.
pub struct Traffic {
    flow: Flow,
    publishers: Vec<Publisher>,
    /// The first of the publishers' connections; they are consecutive.
    first: ClientId,
    /// Publishers whose window may have opened.
    ready: Vec<usize>,
    pacer: Option<Pacer>,
    sending: bool,
    measuring: bool,
    delivered: u64,
    last_delivery: Nanos,
    disconnects: u64,
    latencies: Latencies,
}

#[derive(Debug)]
struct Publisher {
    client: ClientId,
    message: Message,
    sent: u64,
    acknowledged: u64,
    delivered: u64,
    /// Deliveries that were waited for too long, and acknowledgements: they do not hold the window any more.
    forgiven: u64,
    forgiven_acknowledgements: u64,
    is_ready: bool,
}

impl Traffic {
    /// Connects and subscribes all clients of a flow.
    ///
    /// # Errors
    /// When the broker does not let them.
    pub fn prepare(fleet: &mut Fleet, flow: Flow, credentials: Option<&Credentials>) -> Result<Self> {
        let shape = flow.shape;
        let subscribers = arrive(fleet, "sub", shape.subscribers(), credentials)?;
        let wanted = subscribers.clients.iter().enumerate();
        subscribe_all(
            fleet,
            wanted.map(|(number, client)| (*client, vec![shape.filter(number)])),
            flow.qos,
        )?;
        let publishers = arrive(fleet, "pub", shape.publishers(), credentials)?.clients;
        let first = publishers.first().copied().unwrap_or_default();
        let publishers: Vec<Publisher> = publishers
            .into_iter()
            .enumerate()
            .map(|(number, client)| Publisher {
                client,
                message: Message::new(
                    fleet.version(),
                    &shape.topic(number),
                    flow.qos,
                    flow.payload_bytes,
                    u32::try_from(number).unwrap_or(u32::MAX),
                ),
                sent: 0,
                acknowledged: 0,
                delivered: 0,
                forgiven: 0,
                forgiven_acknowledgements: 0,
                is_ready: false,
            })
            .collect();
        Ok(Self {
            first,
            ready: Vec::with_capacity(publishers.len()),
            publishers,
            pacer: None,
            sending: false,
            measuring: false,
            delivered: 0,
            last_delivery: 0,
            disconnects: 0,
            latencies: Latencies::default(),
            flow,
        })
    }

    /// Lets the flow run: warm-up, measured time, and until everything is delivered.
    ///
    /// # Errors
    /// When the broker closes a connection or its processor time cannot be read.
    pub fn run(&mut self, fleet: &mut Fleet, probe: Probe<'_>) -> Result<Outcome> {
        self.start();
        self.flow_until(fleet, now() + nanos(self.flow.warm_up))?;
        let own = std::process::id();
        let (cpu_before, load_before) = (probe()?, cpu_time(own)?);
        let (delivered_before, begun) = (self.delivered, now());
        self.take_latencies();
        self.flow_until(fleet, begun + nanos(self.flow.measured))?;
        let (delivered, ended) = (self.delivered - delivered_before, now());
        let (cpu, load_cpu) = (probe()?.since(cpu_before), cpu_time(own)?.since(load_before));
        let latencies = self.take_latencies();
        self.measuring = false;
        self.stop();
        self.drain(fleet)?;
        if delivered == 0 {
            return Err(Failure::new("nothing was delivered"));
        }
        Ok(Outcome {
            delivered,
            seconds: seconds(ended - begun),
            cpu,
            load_cpu,
            lost: self.missing(),
            disconnects: self.disconnects,
            latencies,
        })
    }

    /// Begins to send.
    pub fn start(&mut self) {
        self.sending = true;
        self.last_delivery = now();
        match self.flow.pace {
            Pace::PerSecond(rate) => self.pacer = Some(Pacer::new(now(), rate)),
            Pace::Window { .. } => {
                for number in 0..self.publishers.len() {
                    self.make_ready(number);
                }
            }
        }
    }

    /// Sends no more.
    pub fn stop(&mut self) {
        self.sending = false;
    }

    /// The latencies since this was last asked; from now on others count.
    pub fn take_latencies(&mut self) -> Latencies {
        self.measuring = true;
        std::mem::take(&mut self.latencies)
    }

    /// Deliveries so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Messages that the broker acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.publishers
            .iter()
            .map(|publisher| publisher.acknowledged)
            .sum()
    }

    /// Connections that were closed by the broker.
    pub fn disconnects(&self) -> u64 {
        self.disconnects
    }

    /// Sends and receives until then.
    ///
    /// # Errors
    /// When waiting itself fails.
    pub fn flow_until(&mut self, fleet: &mut Fleet, end: Nanos) -> Result<()> {
        loop {
            let now = now();
            if now >= end {
                return Ok(());
            }
            let timeout = self.send(fleet, now).min(Duration::from_nanos(end - now));
            // Whole milliseconds; below that it looks again at once.
            let millis = u64::try_from(timeout.as_millis()).unwrap_or_default();
            fleet.turn(Duration::from_millis(millis), self)?;
        }
    }

    /// Receives what is still on its way, until nothing comes any more.
    ///
    /// # Errors
    /// When waiting itself fails.
    pub fn drain(&mut self, fleet: &mut Fleet) -> Result<()> {
        self.last_delivery = now();
        while self.missing() > 0 && now().saturating_sub(self.last_delivery) < nanos(DRAIN) {
            fleet.turn(TURN, self)?;
        }
        Ok(())
    }

    /// Deliveries that have not come.
    pub fn missing(&self) -> u64 {
        let each = self.flow.shape.deliveries_per_message();
        let sent: u64 = self
            .publishers
            .iter()
            .map(|publisher| publisher.sent * each)
            .sum();
        sent.saturating_sub(self.delivered)
    }

    /// Sends what may be sent now; returns until when there is nothing else to send.
    fn send(&mut self, fleet: &mut Fleet, now: Nanos) -> Duration {
        match self.flow.pace {
            _ if !self.sending => TURN,
            Pace::Window {
                until,
                outstanding,
                batch,
            } => {
                if until == Until::Delivered && now.saturating_sub(self.last_delivery) > nanos(STUCK) {
                    self.forgive(now);
                }
                self.send_windows(fleet, until, outstanding, batch);
                TURN
            }
            Pace::PerSecond(_) => self.send_due(fleet, now),
        }
    }

    fn send_windows(&mut self, fleet: &mut Fleet, until: Until, outstanding: u64, batch: Batch) {
        let each = self.flow.shape.deliveries_per_message();
        let acknowledged = self.flow.qos > 0;
        let now = now();
        // Rounds: a publisher whose batch is smaller than its window writes again after all others.
        let mut ready = std::mem::take(&mut self.ready);
        while !ready.is_empty() {
            ready.retain(|number| {
                let Some(publisher) = self.publishers.get_mut(*number) else {
                    return false;
                };
                let undelivered = match until {
                    Until::Delivered => publisher.undelivered(each),
                    Until::Acknowledged => 0,
                };
                let unacknowledged = if acknowledged {
                    publisher.unacknowledged()
                } else {
                    0
                };
                let may_send = outstanding.saturating_sub(undelivered.max(unacknowledged));
                let count = batch.of(may_send, outstanding);
                let has_room = fleet.backlog(publisher.client) < BACKLOG_BYTES_MAX;
                if count > 0 && has_room && fleet.is_open(publisher.client) {
                    for _ in 0..count {
                        publisher.append(fleet, now);
                        if batch.ends_records() {
                            fleet.end_record(publisher.client);
                        }
                    }
                    fleet.flush(publisher.client);
                }
                publisher.is_ready = (1..may_send).contains(&count) && has_room;
                publisher.is_ready
            });
        }
        self.ready = ready;
    }

    fn send_due(&mut self, fleet: &mut Fleet, now: Nanos) -> Duration {
        let Some(pacer) = &mut self.pacer else { return TURN };
        let publishers = self.publishers.len() as u64;
        while let Some((number, due_at)) = pacer.due(now) {
            let number = usize::try_from(number % publishers).unwrap_or_default();
            if let Some(publisher) = self.publishers.get_mut(number) {
                publisher.append(fleet, due_at);
                fleet.flush(publisher.client);
            }
        }
        Duration::from_nanos(pacer.next_at().saturating_sub(now))
    }

    fn forgive(&mut self, now: Nanos) {
        let each = self.flow.shape.deliveries_per_message();
        self.last_delivery = now;
        for number in 0..self.publishers.len() {
            if let Some(publisher) = self.publishers.get_mut(number) {
                publisher.forgiven = (publisher.sent * each).saturating_sub(publisher.delivered);
                publisher.forgiven_acknowledgements = publisher.sent.saturating_sub(publisher.acknowledged);
            }
            self.make_ready(number);
        }
    }

    fn make_ready(&mut self, number: usize) {
        if let Some(publisher) = self.publishers.get_mut(number)
            && !publisher.is_ready
        {
            publisher.is_ready = true;
            self.ready.push(number);
        }
    }
}

impl Publisher {
    /// Messages that not all subscribers have yet.
    fn undelivered(&self, deliveries_per_message: u64) -> u64 {
        let deliveries = (self.sent * deliveries_per_message).saturating_sub(self.delivered + self.forgiven);
        deliveries.div_ceil(deliveries_per_message.max(1))
    }

    fn unacknowledged(&self) -> u64 {
        self.sent
            .saturating_sub(self.acknowledged + self.forgiven_acknowledgements)
    }

    fn append(&mut self, fleet: &mut Fleet, sent_at: Nanos) {
        let Some(out) = fleet.out(self.client) else { return };
        let id = u16::try_from(self.sent % u64::from(u16::MAX) + 1).unwrap_or(1);
        self.message.append_to(out, id, sent_at);
        self.sent += 1;
    }
}

impl Handler for Traffic {
    fn packet(&mut self, client: ClientId, packet: Packet, now: Nanos, answer: &mut Vec<u8>) {
        let number = match packet {
            Packet::Publish { id, sent_at, source } => {
                if id != 0 {
                    answer.extend_from_slice(&puback(id));
                }
                self.delivered += 1;
                self.last_delivery = now;
                if self.measuring {
                    self.latencies.record(now.saturating_sub(sent_at));
                }
                let number = usize::try_from(source).unwrap_or(usize::MAX);
                if let Some(publisher) = self.publishers.get_mut(number) {
                    publisher.delivered += 1;
                }
                number
            }
            Packet::Puback { .. } => {
                let number = client.wrapping_sub(self.first);
                if let Some(publisher) = self.publishers.get_mut(number) {
                    publisher.acknowledged += 1;
                }
                number
            }
            _ => return,
        };
        if self.sending && self.pacer.is_none() {
            self.make_ready(number);
        }
    }

    fn closed(&mut self, _: ClientId) {
        self.disconnects += 1;
    }
}
