//! A client that receives, and keeps what a conforming receiver keeps: which QoS 2 identifiers it has not released.

use super::wire::{Gone, Wire};
use super::world::World;
use sluice_tests::packet::{Connect, Encode, Version, connect, puback, pubcomp, publish, pubrec, subscribe};
use sluice_tests::reply::{Delivered, Reply};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

/// The receiving half of a client (section 4.3.3, method A).
#[derive(Default)]
pub struct Receiver {
    /// Identifiers of QoS 2 messages that were taken and not released.
    unreleased: HashSet<u16>,
    /// What is to be sent; lost with the connection.
    answers: Vec<u8>,
    /// Acknowledgements in it.
    pending: usize,
}

impl Receiver {
    /// A connection has begun.
    pub fn begin(&mut self) {
        self.answers.clear();
        self.pending = 0;
    }

    /// Takes a packet; the message in it, unless it was taken before.
    pub fn take(&mut self, reply: Reply, version: Version) -> Result<Option<Delivered>, Reply> {
        let (answer, message) = match reply {
            Reply::Publish(delivered) => match delivered.qos {
                0 => return Ok(Some(delivered)),
                1 => (puback(delivered.packet_id), Some(delivered)),
                _ => {
                    let is_new = self.unreleased.insert(delivered.packet_id);
                    (pubrec(delivered.packet_id), is_new.then_some(delivered))
                }
            },
            Reply::PubRel(acked) => {
                self.unreleased.remove(&acked.packet_id);
                (pubcomp(acked.packet_id), None)
            }
            other => return Err(other),
        };
        self.answers.extend(answer.bytes(version));
        self.pending += 1;
        Ok(message)
    }

    /// What to send now: nothing until there are so many acknowledgements.
    pub fn answers(&mut self, at_least: usize) -> Vec<u8> {
        if self.pending < at_least {
            return Vec::new();
        }
        self.pending = 0;
        std::mem::take(&mut self.answers)
    }
}

/// A subscriber whose session outlives its connections.
pub struct Subscriber {
    connect: Connect,
    qos: u8,
    topics: Vec<usize>,
    /// Acknowledgements it saves up while the load lasts.
    laziness: usize,
    receiver: Receiver,
    /// The last message of each topic.
    last: BTreeMap<usize, u64>,
    /// Messages that came once more.
    pub repeated: u64,
    /// Messages that came.
    pub taken: u64,
}

impl Subscriber {
    /// A subscriber to these topics.
    pub fn new(index: usize, qos: u8, topics: Vec<usize>, version: Version) -> Self {
        Self {
            connect: connect(version, format!("subscriber-{index}")).lasting(),
            qos,
            last: topics.iter().map(|topic| (*topic, 0)).collect(),
            topics,
            laziness: 1 + index % 3,
            receiver: Receiver::default(),
            repeated: 0,
            taken: 0,
        }
    }

    /// Subscribes, before anything is published.
    pub async fn enter(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        let mut wire = self.join(world, address).await?;
        let mut packet = subscribe(1);
        for topic in &self.topics {
            packet = packet.filter(&world.topics[*topic].name, self.qos);
        }
        wire.send(packet.bytes(wire.version())).await?;
        match wire.receive().await? {
            Reply::SubAck(codes) => assert!(codes.codes.iter().all(|code| *code == self.qos)),
            other => panic!("{other:?} in answer to SUBSCRIBE"),
        }
        Ok(())
    }

    async fn join<'a>(&mut self, world: &'a World, address: SocketAddr) -> Result<Wire<'a>, Gone> {
        let wire = Wire::join(world, address, &self.connect).await?;
        self.receiver.begin();
        Ok(wire)
    }

    /// Receives until the broker dies.
    pub async fn run(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        let mut wire = self.join(world, address).await?;
        loop {
            let reply = wire.receive().await?;
            self.take(world, reply, wire.version());
            let answers = self.receiver.answers(self.laziness);
            wire.send(answers).await?;
        }
    }

    /// Receives until all is there that was ever acknowledged, and nothing more comes.
    pub async fn finish(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        let mut wire = self.join(world, address).await?;
        while !self.is_complete(world) {
            wire.hope(format!("the last ones are {:?}", self.last));
            let reply = tokio::select! {
                reply = wire.receive() => reply?,
                () = world.until_settled(), if !world.is_settled.get() => continue,
            };
            self.take(world, reply, wire.version());
            let answers = self.receiver.answers(1);
            wire.send(answers).await?;
        }
        self.expect_no_more(world, &mut wire).await
    }

    /// Whatever is still on its way comes before this client's own last message.
    async fn expect_no_more(&mut self, world: &World, wire: &mut Wire<'_>) -> Result<(), Gone> {
        let end = format!("end/{}", self.name());
        let mut packets = subscribe(2).filter(&end, 2).bytes(wire.version());
        packets.extend(publish(&end, "").qos(2).id(3).bytes(wire.version()));
        wire.send(packets).await?;
        loop {
            match wire.receive().await? {
                Reply::Publish(delivered) if delivered.topic == end => return Ok(()),
                Reply::SubAck(_) | Reply::PubRec(_) => {}
                reply => self.take(world, reply, wire.version()),
            }
            let answers = self.receiver.answers(1);
            wire.send(answers).await?;
        }
    }

    fn take(&mut self, world: &World, reply: Reply, version: Version) {
        match self.receiver.take(reply, version) {
            Ok(None) => {}
            Ok(Some(delivered)) => self.note(world, &delivered),
            Err(other) => panic!("{}: unexpected {other:?}", self.name()),
        }
    }

    /// Every message is the one after the last one of its topic: none is missing, and order is kept. Only where QoS 1
    /// has a part in it may it be an earlier one once more.
    fn note(&mut self, world: &World, delivered: &Delivered) {
        let name = self.name();
        let (topic, number) = which(world, delivered);
        let published = world.topics[topic].qos;
        assert_eq!(
            delivered.qos,
            self.qos.min(published),
            "{name}: QoS of {}",
            delivered.topic
        );
        let Some(last) = self.last.get_mut(&topic) else {
            panic!("{name} never subscribed to {}", delivered.topic);
        };
        if number == *last + 1 {
            *last = number;
            self.taken += 1;
            return;
        }
        assert!(
            number <= *last,
            "{name}: {} of {} came after {last}: what is between was lost, or comes too late",
            number,
            delivered.topic
        );
        assert!(
            delivered.qos < 2,
            "{name}: {number} of {} came twice, with QoS 2; the last one is {last}",
            delivered.topic
        );
        self.repeated += 1;
    }

    fn is_complete(&self, world: &World) -> bool {
        let all = |(topic, last): (&usize, &u64)| *last == world.topics[*topic].sent.get();
        world.is_settled.get() && self.last.iter().all(all)
    }

    /// Its client identifier.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.connect.client_id).into_owned()
    }
}

/// Which message of which topic this is.
pub fn which(world: &World, delivered: &Delivered) -> (usize, u64) {
    let topic = delivered
        .topic
        .rsplit('/')
        .next()
        .and_then(|last| last.parse().ok());
    let text = String::from_utf8_lossy(&delivered.payload);
    let number = text.split(' ').next().and_then(|first| first.parse().ok());
    match (topic, number) {
        (Some(topic), Some(number)) if world.topics.get(topic).is_some() => (topic, number),
        _ => panic!("nobody published {} {text:?}", delivered.topic),
    }
}
