//! A client that numbers its messages, and keeps those that are not acknowledged, as a conforming client does.

use super::wire::{Gone, Wire};
use super::world::{Topic, World};
use sluice_tests::packet::{Connect, Encode, Version, connect, publish, pubrel};
use sluice_tests::reply::Reply;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Messages that are on their way at the same time.
const WINDOW: usize = 4;
/// So few identifiers that each is used again at once: one that the broker wrongly remembers costs a message.
const IDENTIFIERS: u16 = 6;

/// A publisher with QoS 1 or 2, whose session outlives its connections.
pub struct Publisher {
    topic: usize,
    connect: Connect,
    last_identifier: u16,
    on_its_way: VecDeque<Sending>,
}

/// A message that the broker has not fully acknowledged.
struct Sending {
    identifier: u16,
    number: u64,
    /// PUBREC came: only PUBREL is sent from now on [MQTT-4.3.3-6].
    is_received: bool,
}

impl Publisher {
    /// The publisher of a topic.
    pub fn new(topic: usize, version: Version) -> Self {
        Self {
            topic,
            connect: connect(version, format!("publisher-{topic}")).lasting(),
            last_identifier: 0,
            on_its_way: VecDeque::new(),
        }
    }

    /// Publishes until the broker dies, or until there is nothing more to publish and all of it is acknowledged.
    pub async fn run(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        let topic = &world.topics[self.topic];
        let mut wire = Wire::join(world, address, &self.connect).await?;
        let again = self.again(topic);
        wire.send(again).await?;
        loop {
            let more = self.more(world, topic);
            wire.send(more).await?;
            if self.on_its_way.is_empty() {
                return Ok(());
            }
            let reply = wire.receive().await?;
            let answer = self.take(world, topic, &reply);
            wire.send(answer).await?;
        }
    }

    /// All that is on its way, once more [MQTT-4.4.0-1].
    fn again(&self, topic: &Topic) -> Vec<u8> {
        let packets = self.on_its_way.iter().map(|sending| {
            if sending.is_received {
                pubrel(sending.identifier).bytes(self.connect.version)
            } else {
                let packet = message(topic, sending.number).id(sending.identifier).dup();
                packet.bytes(self.connect.version)
            }
        });
        packets.flatten().collect()
    }

    /// New messages, as many as the window takes.
    fn more(&mut self, world: &World, topic: &Topic) -> Vec<u8> {
        let mut packets = Vec::new();
        while !world.is_over.get() && self.on_its_way.len() < WINDOW {
            let number = topic.sent.get() + 1;
            topic.sent.set(number);
            let identifier = self.unused();
            packets.extend(message(topic, number).id(identifier).bytes(self.connect.version));
            self.on_its_way.push_back(Sending {
                identifier,
                number,
                is_received: false,
            });
        }
        packets
    }

    fn unused(&mut self) -> u16 {
        loop {
            self.last_identifier = self.last_identifier % IDENTIFIERS + 1;
            let identifier = self.last_identifier;
            if self
                .on_its_way
                .iter()
                .all(|sending| sending.identifier != identifier)
            {
                return identifier;
            }
        }
    }

    /// Notes an acknowledgement; what there is to answer.
    fn take(&mut self, world: &World, topic: &Topic, reply: &Reply) -> Vec<u8> {
        // The first that is not acknowledged: acknowledgements come in the order of the messages [MQTT-4.6.0-2].
        let first = self.on_its_way.iter().position(|sending| !sending.is_received);
        let is_expected =
            |identifier: u16| first.is_some_and(|first| self.on_its_way[first].identifier == identifier);
        match reply {
            Reply::PubAck(acked) if topic.qos == 1 && acked.reason == 0 && is_expected(acked.packet_id) => {
                let sending = self.on_its_way.pop_front().expect("it was found");
                topic.acknowledged.set(sending.number);
                world.acknowledged();
                Vec::new()
            }
            Reply::PubRec(acked) if topic.qos == 2 && acked.reason == 0 && is_expected(acked.packet_id) => {
                let sending = &mut self.on_its_way[first.expect("it was found")];
                sending.is_received = true;
                topic.acknowledged.set(sending.number);
                world.acknowledged();
                pubrel(acked.packet_id).bytes(self.connect.version)
            }
            Reply::PubComp(acked) => {
                let before = self.on_its_way.len();
                self.on_its_way
                    .retain(|sending| !(sending.is_received && sending.identifier == acked.packet_id));
                assert_eq!(
                    self.on_its_way.len() + 1,
                    before,
                    "{}: {reply:?} for nothing",
                    topic.name
                );
                Vec::new()
            }
            _ => panic!("{}: unexpected {reply:?}", topic.name),
        }
    }
}

/// A message says its number. Some are larger than others.
fn message(topic: &Topic, number: u64) -> sluice_tests::packet::Publish {
    let filling = match number % 16 {
        0 => 3_000,
        1 | 2 => 300,
        _ => 8,
    };
    publish(&topic.name, format!("{number} {}", "x".repeat(filling))).qos(topic.qos)
}
