//! A client that publishes the retained message of a topic again and again, and clears it now and then.

use super::wire::{Gone, Wire};
use super::world::World;
use sluice_tests::packet::{Connect, Encode, Publish, Version, connect, publish};
use sluice_tests::reply::Reply;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Every so many values the topic is cleared.
const CLEARED_EVERY: u64 = 5;

/// The only publisher of a topic with a retained message.
pub struct Keeper {
    connect: Connect,
    topic: String,
    /// The last value that was sent, from 1.
    sent: u64,
    /// The last value that was acknowledged.
    acknowledged: u64,
}

impl Keeper {
    /// One that has published nothing.
    pub fn new(index: usize, version: Version) -> Self {
        Self {
            connect: connect(version, format!("keeper-{index}")).lasting(),
            topic: format!("kept/{index}"),
            sent: 0,
            acknowledged: 0,
        }
    }

    /// Publishes until the broker dies.
    pub async fn run(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        let mut wire = Wire::join(world, address, &self.connect).await?;
        loop {
            let again = self.sent > self.acknowledged;
            self.sent = self.acknowledged + 1;
            let packet = self.message(self.sent).id(1);
            let packet = if again { packet.dup() } else { packet };
            wire.send(packet.bytes(wire.version())).await?;
            match wire.receive().await? {
                // 0x10: nobody is subscribed, which is no reason not to keep it.
                Reply::PubAck(acked) if acked.reason < 0x80 => {}
                other => panic!("{}: unexpected {other:?}", self.topic),
            }
            self.acknowledged = self.sent;
            world.acknowledged();
        }
    }

    fn message(&self, value: u64) -> Publish {
        publish(&self.topic, payload(value)).qos(1).retain()
    }

    /// What is retained must be the value that was acknowledged last, or the one that was sent after it.
    pub fn check(&self, retained: &BTreeMap<String, Vec<u8>>) {
        let found = retained.get(&self.topic).cloned().unwrap_or_default();
        let may_be = [self.acknowledged, self.sent].map(payload);
        assert!(
            may_be.iter().any(|payload| payload.as_bytes() == found),
            "{} is {:?}; acknowledged is {:?}, sent {:?}",
            self.topic,
            String::from_utf8_lossy(&found),
            may_be[0],
            may_be[1]
        );
    }
}

/// Empty where the topic is to be cleared [MQTT-3.3.1-6].
fn payload(value: u64) -> String {
    if value.is_multiple_of(CLEARED_EVERY) {
        String::new()
    } else {
        format!("value {value}")
    }
}
