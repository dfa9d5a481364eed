//! A client that subscribes and unsubscribes under way, and knows what it must get, and what it must not.

use super::subscriber::{Receiver, which};
use super::wire::{Gone, Wire};
use super::world::World;
use sluice_tests::packet::{Connect, Encode, PINGREQ, V5, Version, connect, subscribe, unsubscribe};
use sluice_tests::reply::{Codes, Delivered, Reply};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

/// Messages it takes before it unsubscribes, and pings it waits before it subscribes again.
const PACE: u32 = 3;

/// A client with one subscription that comes and goes.
pub struct Changer {
    connect: Connect,
    topic: usize,
    qos: u8,
    receiver: Receiver,
    state: State,
    /// A request was sent on an earlier connection that was never answered: the broker may have obeyed it.
    is_in_doubt: bool,
    packet_id: u16,
    /// Messages that came.
    taken: BTreeSet<u64>,
    /// Messages that were acknowledged while it was subscribed.
    owed: Vec<RangeInclusive<u64>>,
    /// Messages that were first sent, and acknowledged, while it was not.
    forbidden: Vec<RangeInclusive<u64>>,
    /// Requests that were answered.
    pub changes: u64,
}

/// What the client knows of its subscription.
#[derive(Clone, Copy)]
enum State {
    /// UNSUBACK came, or nothing was asked yet, when so many messages had been sent; so many pings have passed.
    Out { sent: u64, pings: u32 },
    /// SUBSCRIBE was sent.
    Entering,
    /// SUBACK came when so many messages had been sent; so many have come since.
    In { sent: u64, taken: u32 },
    /// UNSUBSCRIBE was sent.
    Leaving,
}

impl Changer {
    /// One that is not subscribed.
    pub fn new(index: usize, topic: usize, qos: u8, version: Version) -> Self {
        Self {
            connect: connect(version, format!("changer-{index}")).lasting(),
            topic,
            qos,
            receiver: Receiver::default(),
            state: State::Out { sent: 0, pings: 0 },
            is_in_doubt: false,
            packet_id: 0,
            taken: BTreeSet::new(),
            owed: Vec::new(),
            forbidden: Vec::new(),
            changes: 0,
        }
    }

    /// Subscribes and unsubscribes until the broker dies.
    pub async fn run(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        let mut wire = self.join(world, address).await?;
        loop {
            let request = self.request(world);
            wire.send(request).await?;
            let reply = wire.receive().await?;
            self.take(world, reply);
            wire.send(self.receiver.answers(1)).await?;
        }
    }

    /// Ends as one that is subscribed and has all it is owed.
    pub async fn finish(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        let mut wire = self.join(world, address).await?;
        loop {
            let is_subscribed = matches!(self.state, State::In { .. });
            if is_subscribed && world.is_settled.get() && self.has_everything(world) {
                return Ok(());
            }
            if !is_subscribed {
                let request = self.request(world);
                wire.send(request).await?;
            }
            wire.hope(format!("missing: {:?}", self.missing()));
            let reply = tokio::select! {
                reply = wire.receive() => reply?,
                () = world.until_settled(), if !world.is_settled.get() => continue,
            };
            self.take(world, reply);
            wire.send(self.receiver.answers(1)).await?;
        }
    }

    async fn join<'a>(&mut self, world: &'a World, address: SocketAddr) -> Result<Wire<'a>, Gone> {
        let mut wire = Wire::join(world, address, &self.connect).await?;
        self.receiver.begin();
        // What was never answered is asked again.
        let again = match self.state {
            State::Entering => Some(self.subscribe(world)),
            State::Leaving => Some(self.unsubscribe(world)),
            State::In { .. } | State::Out { .. } => None,
        };
        self.is_in_doubt = again.is_some();
        wire.send(again.unwrap_or_default()).await?;
        Ok(wire)
    }

    /// What to ask for now, if it is time.
    fn request(&mut self, world: &World) -> Vec<u8> {
        match self.state {
            State::Out { sent, pings } if pings >= PACE => {
                self.forbid(world, sent);
                self.state = State::Entering;
                self.subscribe(world)
            }
            State::Out { .. } => PINGREQ.to_vec(),
            State::In { sent, taken } if taken >= PACE => {
                self.owe(world, sent);
                self.state = State::Leaving;
                self.unsubscribe(world)
            }
            State::Entering | State::In { .. } | State::Leaving => Vec::new(),
        }
    }

    fn subscribe(&mut self, world: &World) -> Vec<u8> {
        self.packet_id = self.packet_id % 100 + 1;
        let packet = subscribe(self.packet_id).filter(&world.topics[self.topic].name, self.qos);
        packet.bytes(self.connect.version)
    }

    fn unsubscribe(&mut self, world: &World) -> Vec<u8> {
        self.packet_id = self.packet_id % 100 + 1;
        let packet = unsubscribe(self.packet_id).filter(&world.topics[self.topic].name);
        packet.bytes(self.connect.version)
    }

    fn take(&mut self, world: &World, reply: Reply) {
        let topic = &world.topics[self.topic];
        let (name, sent) = (self.name(), topic.sent.get());
        match (reply, self.state) {
            (Reply::PingResp, State::Out { sent, pings }) => {
                let pings = pings + 1;
                self.state = State::Out { sent, pings };
            }
            (Reply::PingResp, _) => {}
            (Reply::SubAck(codes), State::Entering) => {
                assert_eq!(
                    (codes.packet_id, codes.codes),
                    (self.packet_id, vec![self.qos]),
                    "{name}"
                );
                self.answered(world);
                self.state = State::In { sent, taken: 0 };
            }
            (Reply::UnsubAck(codes), State::Leaving) => {
                self.expect_obeyed(&codes);
                self.answered(world);
                self.state = State::Out { sent, pings: 0 };
            }
            (reply, _) => match self.receiver.take(reply, self.connect.version) {
                Ok(None) => {}
                Ok(Some(delivered)) => self.note(world, &delivered),
                Err(other) => panic!("{name}: unexpected {other:?}"),
            },
        }
    }

    fn answered(&mut self, world: &World) {
        self.is_in_doubt = false;
        self.changes += 1;
        world.acknowledged();
    }

    /// A subscription that SUBACK has confirmed must have been there.
    fn expect_obeyed(&self, codes: &Codes) {
        assert_eq!(codes.packet_id, self.packet_id, "{}", self.name());
        if self.connect.version == V5 && !self.is_in_doubt {
            assert_eq!(codes.codes, [0], "{}: the subscription was lost", self.name());
        }
    }

    fn note(&mut self, world: &World, delivered: &Delivered) {
        let (topic, number) = which(world, delivered);
        assert_eq!(topic, self.topic, "{} never subscribed to that", self.name());
        let is_forbidden = self.forbidden.iter().any(|range| range.contains(&number));
        assert!(
            !is_forbidden,
            "{}: {number} of {} was sent while nobody was subscribed",
            self.name(),
            delivered.topic
        );
        let is_new = self.taken.insert(number);
        assert!(
            is_new || delivered.qos < 2,
            "{}: {number} of {} came twice, with QoS 2",
            self.name(),
            delivered.topic
        );
        if let State::In { sent, taken } = self.state {
            let taken = taken + 1;
            self.state = State::In { sent, taken };
        }
    }

    /// What was acknowledged up to now, since so many had been sent, must come.
    fn owe(&mut self, world: &World, sent: u64) {
        let acknowledged = world.topics[self.topic].acknowledged.get();
        if acknowledged > sent {
            self.owed.push(sent + 1..=acknowledged);
        }
    }

    /// What was sent since so many had been sent, and is acknowledged by now, must not come.
    fn forbid(&mut self, world: &World, sent: u64) {
        let last = world.topics[self.topic].acknowledged.get();
        if last > sent {
            self.forbidden.push(sent + 1..=last);
        }
    }

    /// Whether all has come that it is owed since its last SUBACK, too.
    fn has_everything(&mut self, world: &World) -> bool {
        if let State::In { sent, .. } = self.state {
            self.owe(world, sent);
            self.owed.dedup();
        }
        self.missing().is_empty()
    }

    /// What it is owed and does not have.
    fn missing(&self) -> Vec<u64> {
        let owed = self.owed.iter().cloned().flatten();
        owed.filter(|number| !self.taken.contains(number)).collect()
    }

    fn name(&self) -> String {
        String::from_utf8_lossy(&self.connect.client_id).into_owned()
    }
}
