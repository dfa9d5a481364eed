//! Clients that come: connections, and subscriptions before anything flows.

use super::fleet::{ClientId, Fleet, Handler};
use crate::clock::{Nanos, now, seconds};
use crate::failure::{Failure, Result};
use crate::wire::{Credentials, Packet, connect, subscribe};
use std::time::Duration;

/// Clients that are being let in at the same time; more than the shortest backlog of a listener would be dropped.
const CONCURRENT: usize = 50;
/// SUBSCRIBE packets on their way at the same time.
const SUBSCRIBING: usize = 50;
/// Filters in one SUBSCRIBE.
const FILTERS_PER_PACKET: usize = 100;
/// A broker that says nothing for so long will not.
const SILENCE: Duration = Duration::from_secs(20);
const TURN: Duration = Duration::from_millis(100);

/// How clients came.
pub struct Arrival {
    /// The clients, in the order of their names.
    pub clients: Vec<ClientId>,
    /// From the first connection to the last CONNACK.
    pub seconds: f64,
}

#[derive(Default)]
struct Answers {
    /// Good ones: CONNACK or SUBACK.
    good: usize,
    refused: Option<String>,
}

impl Handler for Answers {
    fn packet(&mut self, _: ClientId, packet: Packet, _: Nanos, _: &mut Vec<u8>) {
        match packet {
            Packet::Connack { code: 0 } | Packet::Suback { refused: 0 } => self.good += 1,
            Packet::Connack { code } => self.refused = Some(format!("CONNECT was refused with {code:#04x}")),
            Packet::Suback { refused } => self.refused = Some(format!("{refused} filters were refused")),
            Packet::Disconnect { code } => {
                self.refused = Some(format!("the broker disconnected with {code:#04x}"));
            }
            Packet::Publish { .. } | Packet::Puback { .. } | Packet::Other => {}
        }
    }

    fn closed(&mut self, _: ClientId) {
        self.refused
            .get_or_insert_with(|| "the connection failed, or the broker closed it".into());
    }
}

impl Answers {
    /// Turns until there is another good answer.
    fn next(&mut self, fleet: &mut Fleet, what: &str) -> Result<()> {
        let (before, since) = (self.good, now());
        while self.good == before {
            fleet.turn(TURN, self)?;
            if let Some(refused) = self.refused.take() {
                return Err(Failure::new(format!("{what} after {before}: {refused}")));
            }
            if seconds(now() - since) > SILENCE.as_secs_f64() {
                return Err(Failure::new(format!(
                    "{what} after {before}: the broker does not answer"
                )));
            }
        }
        Ok(())
    }
}

/// Connects clients named `prefix` and a number, a bounded number of them at a time, and waits until all are in.
///
/// # Errors
/// When the broker refuses one or does not answer.
pub fn arrive(
    fleet: &mut Fleet,
    prefix: &str,
    count: usize,
    credentials: Option<&Credentials>,
) -> Result<Arrival> {
    let version = fleet.version();
    arrive_as(fleet, count, |number| {
        connect(version, &format!("{prefix}{number}"), credentials)
    })
}

/// The same for clients that each introduce themselves with a CONNECT of their own.
///
/// # Errors
/// As [`arrive`].
pub fn arrive_as(fleet: &mut Fleet, count: usize, hello: impl Fn(usize) -> Vec<u8>) -> Result<Arrival> {
    let mut answers = Answers::default();
    let mut clients = Vec::with_capacity(count);
    let since = now();
    while answers.good < count {
        while clients.len() < count && clients.len() - answers.good < CONCURRENT {
            clients.push(fleet.open(&hello(clients.len()))?);
        }
        answers.next(fleet, "connecting")?;
    }
    Ok(Arrival {
        clients,
        seconds: seconds(now() - since),
    })
}

/// Subscribes clients to filters and waits until all are granted. Returns how many seconds it took.
///
/// # Errors
/// When the broker refuses one or does not answer.
pub fn subscribe_all(
    fleet: &mut Fleet,
    wanted: impl IntoIterator<Item = (ClientId, Vec<String>)>,
    qos: u8,
) -> Result<f64> {
    let since = now();
    let mut answers = Answers::default();
    // One at a time: a million filters would need more memory here than there.
    let mut packets = wanted.into_iter().flat_map(|(client, filters)| {
        let packets = filters.chunks(FILTERS_PER_PACKET).map(<[String]>::to_vec);
        packets.map(|filters| (client, filters)).collect::<Vec<_>>()
    });
    let mut sent = 0;
    loop {
        while sent - answers.good < SUBSCRIBING {
            let Some((client, filters)) = packets.next() else {
                break;
            };
            let id = u16::try_from(sent % usize::from(u16::MAX) + 1).unwrap_or(1);
            let packet = subscribe(fleet.version(), id, &filters, qos);
            if let Some(out) = fleet.out(client) {
                out.extend_from_slice(&packet);
            }
            fleet.flush(client);
            sent += 1;
        }
        if answers.good == sent {
            break;
        }
        answers.next(fleet, "subscribing")?;
    }
    Ok(seconds(now() - since))
}
