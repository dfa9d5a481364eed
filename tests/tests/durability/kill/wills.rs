//! Clients with wills, and those who wait for them.

use super::subscriber::Receiver;
use super::wire::{Gone, Wire};
use super::world::World;
use sluice_tests::packet::{Connect, Encode, V5, connect, subscribe, will};
use sluice_tests::property::Property;
use sluice_tests::reply::Reply;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// When the will of a client is due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At once: each broken connection publishes it.
    AtOnce,
    /// After a second; the client does not come back.
    AfterOneSecond,
    /// In an hour: the client is back before.
    InAnHour,
}

/// A client whose connections have wills that say which connection they were.
pub struct Mortal {
    index: usize,
    due: Due,
    connections: u64,
    /// Of these CONNACK came.
    admitted: BTreeSet<u64>,
}

impl Mortal {
    /// One that has not connected yet.
    pub fn new(index: usize, due: Due) -> Self {
        Self {
            index,
            due,
            connections: 0,
            admitted: BTreeSet::new(),
        }
    }

    /// Lives until the broker dies. One whose will is due after a second lives once.
    pub async fn run(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        if self.due == Due::AfterOneSecond && !self.admitted.is_empty() {
            return Ok(());
        }
        self.connections += 1;
        let mut wire = Wire::join(world, address, &self.connect()).await?;
        self.admitted.insert(self.connections);
        // Nothing comes; the connection is over with the broker.
        match wire.receive().await {
            Err(gone) => Err(gone),
            Ok(other) => panic!("mortal {}: unexpected {other:?}", self.index),
        }
    }

    fn connect(&self) -> Connect {
        let delay_seconds = match self.due {
            Due::AtOnce => 0,
            Due::AfterOneSecond => 1,
            Due::InAnHour => 3600,
        };
        let will = will(self.topic(), self.connections.to_string())
            .qos(2)
            .property(Property::WillDelay(delay_seconds));
        connect(V5, format!("mortal-{}", self.index)).lasting().will(will)
    }

    fn topic(&self) -> String {
        format!("will/{}", self.index)
    }

    /// What is wrong with the wills that came; `None`: nothing.
    fn complaint(&self, came: &BTreeSet<u64>) -> Option<String> {
        let missing: Vec<_> = match self.due {
            Due::InAnHour => Vec::new(),
            Due::AtOnce | Due::AfterOneSecond => self.admitted.difference(came).collect(),
        };
        // A connection that was never answered may have had its will stored.
        let too_many: Vec<_> = match self.due {
            Due::InAnHour => came.iter().collect(),
            Due::AtOnce | Due::AfterOneSecond => {
                came.iter().filter(|number| **number > self.connections).collect()
            }
        };
        let is_right = missing.is_empty() && too_many.is_empty();
        (!is_right).then(|| format!("{}: {missing:?} are missing, {too_many:?} too many", self.topic()))
    }
}

/// A durable subscriber to all wills.
pub struct Mourner {
    connect: Connect,
    is_subscribed: bool,
    receiver: Receiver,
    came: BTreeMap<String, BTreeSet<u64>>,
}

impl Mourner {
    /// One that knows of no will yet.
    pub fn new(index: usize) -> Self {
        Self {
            connect: connect(V5, format!("mourner-{index}")).lasting(),
            is_subscribed: false,
            receiver: Receiver::default(),
            came: BTreeMap::new(),
        }
    }

    async fn join<'a>(&mut self, world: &'a World, address: SocketAddr) -> Result<Wire<'a>, Gone> {
        let mut wire = Wire::join(world, address, &self.connect).await?;
        self.receiver.begin();
        if self.is_subscribed {
            return Ok(wire);
        }
        wire.send(subscribe(1).filter("will/#", 2).bytes(V5)).await?;
        match wire.receive().await? {
            Reply::SubAck(codes) => assert_eq!(codes.codes, [2]),
            other => panic!("{other:?} in answer to SUBSCRIBE"),
        }
        self.is_subscribed = true;
        Ok(wire)
    }

    /// Subscribes, before there is any will.
    pub async fn enter(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        self.join(world, address).await.map(drop)
    }

    /// Receives until the broker dies.
    pub async fn run(&mut self, world: &World, address: SocketAddr) -> Result<(), Gone> {
        let mut wire = self.join(world, address).await?;
        loop {
            let reply = wire.receive().await?;
            self.take(reply);
            wire.send(self.receiver.answers(1)).await?;
        }
    }

    /// Receives until every will has come that must, and none that must not.
    pub async fn finish(
        &mut self,
        world: &World,
        address: SocketAddr,
        mortals: &[Mortal],
    ) -> Result<(), Gone> {
        let mut wire = self.join(world, address).await?;
        loop {
            let complaints = self.complaints(mortals);
            if complaints.is_empty() {
                return Ok(());
            }
            wire.hope(complaints.join("; "));
            let reply = wire.receive().await?;
            self.take(reply);
            wire.send(self.receiver.answers(1)).await?;
        }
    }

    /// What is missing, or too many.
    fn complaints(&self, mortals: &[Mortal]) -> Vec<String> {
        let none = BTreeSet::new();
        let came = |mortal: &Mortal| self.came.get(&mortal.topic()).unwrap_or(&none);
        let complaints = mortals.iter().map(|mortal| mortal.complaint(came(mortal)));
        complaints.flatten().collect()
    }

    fn take(&mut self, reply: Reply) {
        let delivered = match self.receiver.take(reply, V5) {
            Ok(None) => return,
            Ok(Some(delivered)) => delivered,
            Err(other) => panic!("a mourner: unexpected {other:?}"),
        };
        let number = String::from_utf8_lossy(&delivered.payload)
            .parse()
            .expect("a will says its number");
        let is_new = self
            .came
            .entry(delivered.topic.clone())
            .or_default()
            .insert(number);
        assert!(is_new, "the will {number} of {} came twice", delivered.topic);
    }
}
