//! What the tests say to a store, and how they listen to it.

use bytes::Bytes;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::QoS;
use sluice_store::testing::{Plate, block_on};
use sluice_store::{
    Change, Committed, Durability, MessageRecord, Observer, Options, Phase, Recipient, Recovered,
    SessionRecord, Store, Ticket,
};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything takes on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than any test.
pub(crate) const NEVER: Duration = Duration::from_secs(1_000_000);

/// What an observer was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Failing(String),
    Recovered,
    Unreadable(u64),
    Committed(Committed),
}

pub(crate) struct Ear(Mutex<Sender<Told>>);

impl Ear {
    pub(crate) fn new() -> (Arc<Self>, Receiver<Told>) {
        let (sender, told) = mpsc::channel();
        (Arc::new(Self(Mutex::new(sender))), told)
    }

    fn hear(&self, told: Told) {
        self.0.lock().unwrap().send(told).ok();
    }
}

impl Observer for Ear {
    fn failing(&self, why: &str) {
        self.hear(Told::Failing(why.to_owned()));
    }
    fn recovered(&self) {
        self.hear(Told::Recovered);
    }
    fn unreadable(&self, seq: u64, _why: &str) {
        self.hear(Told::Unreadable(seq));
    }
    fn progress(&self, _what: &str, _done: u64, _total: u64) {}
    fn committed(&self, commit: &Committed) {
        self.hear(Told::Committed(*commit));
    }
}

/// Waits until something is told that is not a commit.
pub(crate) fn next(told: &Receiver<Told>) -> Told {
    loop {
        match told.recv_timeout(PATIENCE).expect("something is told") {
            Told::Committed(_) => {}
            other => return other,
        }
    }
}

/// Waits for a commit.
pub(crate) fn next_commit(told: &Receiver<Told>) -> Committed {
    match told.recv_timeout(PATIENCE).expect("something is told") {
        Told::Committed(commit) => commit,
        other => panic!("{other:?}"),
    }
}

/// Nothing is written that nobody waits for, and tried again at once.
pub(crate) fn options() -> Options {
    Options {
        durability: Durability::Always,
        commit_interval: NEVER,
        retry_interval: Duration::from_millis(1),
        ..Options::new("")
    }
}

/// A new store on a disk in memory.
pub(crate) fn on_plate(options: Options) -> (Plate, Store, Receiver<Told>) {
    let plate = Plate::new(1);
    Store::format(Box::new(plate.clone())).unwrap();
    let (store, recovered, told) = reopen(&plate, options);
    assert!(recovered.sessions.is_empty());
    (plate, store, told)
}

pub(crate) fn reopen(plate: &Plate, options: Options) -> (Store, Recovered, Receiver<Told>) {
    let (ear, told) = Ear::new();
    let (store, recovered) = Store::open_on(Box::new(plate.clone()), options, ear).unwrap();
    (store, recovered, told)
}

pub(crate) fn durable(store: &Store, ticket: Ticket) {
    block_on(store.wait(ticket)).unwrap();
}

pub(crate) fn record(number: u64) -> SessionRecord {
    SessionRecord {
        number,
        mountpoint: "tenant/".to_owned(),
        client_id: format!("c{number}"),
        username: Some("u".to_owned()),
        address: None,
        expiry_seconds: 60,
        phase: Phase::Online,
        will: None,
        limits: sluice_store::QueueLimits::default(),
        gate: vec![1, 2],
    }
}

pub(crate) fn opened(number: u64) -> Change {
    Change::SessionOpened(Box::new(record(number)))
}

pub(crate) fn message(payload: &str) -> Message {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Message::own("a/b", payload, QoS::AtLeastOnce, false)
}

/// Publishes to one session at a position; returns the message's number, and the ticket.
pub(crate) fn publish(store: &Store, session: u64, position: u64, payload: &str) -> (u64, Ticket) {
    let seq = store.next_seq();
    let mut submission = store.begin();
    submission.message(MessageRecord {
        seq,
        message: &message(payload),
        recipients: vec![to(session, position)],
    });
    (seq, submission.end())
}

pub(crate) fn to(session: u64, position: u64) -> Recipient {
    Recipient {
        session,
        position,
        qos: 1,
        retain: false,
        subscription_ids: vec![4],
    }
}

pub(crate) fn sent(session: u64, position: u64, seq: u64, packet_id: u16) -> Change {
    Change::Sent {
        session,
        position,
        seq,
        packet_id,
        qos2: false,
    }
}

/// The payload of a message as the store has it.
pub(crate) fn payload(store: &Store, seq: u64, session: u64) -> Option<String> {
    let stored = store.read(seq, session).unwrap()?;
    Some(String::from_utf8(stored.message.payload().to_vec()).unwrap())
}
