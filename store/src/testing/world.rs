//! What a store has to give back: the model it is compared with.

use super::Dice;
use crate::change::{Change, Phase, QueueLimits, Recipient, SessionRecord, StoredMessage, WillRecord};
use crate::recovered::{Awaits, Recovered, RecoveredSession, Stored};
use crate::store::Store;
use sluice_mqtt::message::{Message, MessageParts};
use sluice_mqtt::packet::QoS;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// All that a store keeps, as plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct World {
    pub(super) sessions: BTreeMap<u64, Client>,
    /// Topic to the seq its message was made from.
    pub(super) retained: BTreeMap<String, u64>,
    pub(super) facts: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) record: SessionRecord,
    pub(super) subscriptions: BTreeMap<String, (u8, u32)>,
    /// By position.
    pub(super) queue: BTreeMap<u64, Copy>,
    pub(super) inflight: Vec<Sent>,
    pub(super) inbound: BTreeSet<u16>,
    pub(super) next_position: u64,
}

/// A message for one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) seq: u64,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) ids: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) packet_id: u16,
    pub(super) awaits: Awaits,
    /// With its position; `None` once PUBREC came.
    pub(super) held: Option<(u64, Copy)>,
}

/// A message that is a function of its seq.
pub(super) fn message(seq: u64) -> Message {
    let mut dice = Dice::new(seq);
    let bytes = match dice.below(8) {
        0 => dice.below(12_000),
        1 => 0,
        _ => dice.below(400),
    };
    let payload: Vec<u8> = (0..bytes).map(|_| dice.throw().to_le_bytes()[0]).collect();
    Message::new(MessageParts {
        mountpoint: "t/",
        topic: &format!("m/{}", seq % 7),
        payload: &payload,
        forwarded: if seq.is_multiple_of(2) { b"" } else { b"\x01\x01" },
        qos: QoS::AtLeastOnce,
        retain: seq.is_multiple_of(3),
        publisher: seq / 2,
        expires_at: None,
    })
}

/// What is said of a session, as a function of the dice.
pub(super) fn record(number: u64, dice: &mut Dice) -> SessionRecord {
    let at = |dice: &mut Dice| SystemTime::UNIX_EPOCH + Duration::from_millis(dice.below(1 << 50));
    SessionRecord {
        number,
        mountpoint: if dice.one_in(2) {
            "t/".to_owned()
        } else {
            String::new()
        },
        client_id: format!("client-{}", number % 1000),
        username: dice.one_in(2).then(|| "user".to_owned()),
        address: Some(format!("10.0.0.{}:1883", dice.below(256))),
        expiry_seconds: 3600,
        phase: if dice.one_in(2) {
            Phase::Online
        } else {
            Phase::Offline {
                expires_at: dice.one_in(2).then(|| at(dice)),
            }
        },
        will: dice.one_in(3).then(|| WillRecord {
            topic: "will".to_owned(),
            payload: vec![7; dice.index(300)],
            qos: 1,
            retain: dice.one_in(2),
            delay_seconds: 5,
            expiry_seconds: None,
            forwarded: Vec::new(),
            due_at: dice.one_in(2).then(|| at(dice)),
        }),
        limits: QueueLimits::default(),
        gate: vec![1; dice.index(60)],
    }
}

impl World {
    /// Whether all it has is in the other, as it is there. Queues may have what was sent already.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        let sessions = self.sessions.iter().all(|(number, client)| {
            let whole = other.sessions.get(number);
            whole.is_some_and(|whole| {
                let mut subscriptions = client.subscriptions.iter();
                client.record == whole.record
                    && subscriptions.all(|(filter, granted)| whole.subscriptions.get(filter) == Some(granted))
            })
        });
        let mut retained = self.retained.iter();
        let mut facts = self.facts.iter();
        sessions
            && retained.all(|(topic, seq)| other.retained.get(topic) == Some(seq))
            && facts.all(|(key, value)| other.facts.get(key) == Some(value))
    }

    /// What a store has; with damage allowed, messages that it says it cannot read count as read.
    pub(super) fn of(store: &Store, recovered: &Recovered, damaged: Damage) -> Result<Self, String> {
        let mut world = Self::default();
        for session in &recovered.sessions {
            let number = session.record.number;
            world
                .sessions
                .insert(number, Client::of(store, session, damaged)?);
        }
        for found in &recovered.retained {
            let topic = found.topic().to_owned();
            let seq = found.publisher() * 2;
            let seq = if same(found, &message(seq)) { seq } else { seq + 1 };
            if !same(found, &message(seq)) {
                return Err(format!("the retained message of {topic} is another"));
            }
            world.retained.insert(topic, seq);
        }
        for (kind, key, value) in &recovered.facts {
            world.facts.insert((*kind, key.clone()), value.clone());
        }
        Ok(world)
    }
}

/// Whether the disk was damaged behind the store's back.
#[derive(Clone, std::marker::Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    None,
    Some,
}

impl Client {
    pub(super) fn new(record: SessionRecord) -> Self {
        Self {
            record,
            subscriptions: BTreeMap::new(),
            queue: BTreeMap::new(),
            inflight: Vec::new(),
            inbound: BTreeSet::new(),
            next_position: 0,
        }
    }

    fn of(store: &Store, session: &RecoveredSession, damaged: Damage) -> Result<Self, String> {
        let number = session.record.number;
        let mut client = Self::new(session.record.clone());
        for (filter, options, id) in &session.subscriptions {
            client.subscriptions.insert(filter.clone(), (*options, *id));
        }
        let mut before = None;
        for stored in &session.queue {
            if before.replace(stored.position) >= Some(stored.position) {
                return Err(format!("session {number}: the queue is not in order"));
            }
            let copy = Copy::of(store, number, stored, damaged)?;
            client.queue.insert(stored.position, copy);
        }
        for exchange in &session.inflight {
            let held = match &exchange.stored {
                Some(stored) => Some((stored.position, Copy::of(store, number, stored, damaged)?)),
                None => None,
            };
            client.inflight.push(Sent {
                packet_id: exchange.packet_id,
                awaits: exchange.awaits,
                held,
            });
        }
        client.inbound = session.received.iter().copied().collect();
        client.next_position = session.next_position;
        Ok(client)
    }

    /// An identifier that is not in use.
    pub(super) fn unused_id(&self, dice: &mut Dice) -> u16 {
        loop {
            let id = u16::try_from(dice.below(200)).unwrap_or_default() + 1;
            if self.inflight.iter().all(|sent| sent.packet_id != id) {
                return id;
            }
        }
    }
}

impl Copy {
    /// A copy that is a function of the dice.
    pub(super) fn new(seq: u64, dice: &mut Dice) -> Self {
        Self {
            seq,
            qos: if dice.one_in(2) { 1 } else { 2 },
            retain: dice.one_in(4),
            ids: (0..dice.below(3))
                .map(|id| u32::try_from(id).unwrap_or_default() + 1)
                .collect(),
        }
    }

    pub(super) fn recipient(&self, session: u64, position: u64) -> Recipient {
        Recipient {
            session,
            position,
            qos: self.qos,
            retain: self.retain,
            subscription_ids: self.ids.clone(),
        }
    }

    fn of(store: &Store, session: u64, stored: &Stored, damaged: Damage) -> Result<Self, String> {
        let seq = stored.seq;
        let read = match store.read_at(seq, session, stored.position) {
            Ok(Some(read)) => read,
            // What the other side has, as nobody says otherwise.
            Err(_) if damaged == Damage::Some => StoredMessage {
                message: message(seq),
                qos: stored.qos,
                retain: false,
                subscription_ids: Vec::new(),
            },
            other => return Err(format!("message {seq} of session {session}: {other:?}")),
        };
        let original = message(seq);
        if !same(&read.message, &original) || stored.bytes as usize != original.wire_bytes() {
            return Err(format!("message {seq} of session {session} is another"));
        }
        if stored.qos != read.qos {
            return Err(format!("message {seq} of session {session} has another QoS"));
        }
        Ok(Self {
            seq,
            qos: read.qos,
            retain: read.retain,
            ids: read.subscription_ids,
        })
    }
}

fn same(left: &Message, right: &Message) -> bool {
    left.topic() == right.topic()
        && left.payload() == right.payload()
        && left.forwarded() == right.forwarded()
        && (left.qos(), left.retain(), left.publisher()) == (right.qos(), right.retain(), right.publisher())
}

/// What a client does next, done to the model and said to the store.
pub(super) fn happen(client: &mut Client, dice: &mut Dice) -> Option<Change> {
    let session = client.record.number;
    match dice.below(9) {
        0..=2 => send(client, dice),
        3 => {
            let index = dice.index(client.inflight.len().max(1));
            let sent = client.inflight.get_mut(index)?;
            if sent.awaits == Awaits::Rec && dice.one_in(2) {
                sent.awaits = Awaits::Comp;
                sent.held = None;
                let packet_id = sent.packet_id;
                return Some(Change::Received { session, packet_id });
            }
            let packet_id = client.inflight.remove(index).packet_id;
            Some(Change::Acknowledged { session, packet_id })
        }
        4 => {
            let at = if dice.one_in(3) {
                dice.index(client.queue.len().max(1))
            } else {
                0
            };
            let position = *client.queue.keys().nth(at)?;
            let seq = client.queue.remove(&position)?.seq;
            Some(Change::Skipped {
                session,
                position,
                seq,
            })
        }
        5 => {
            let packet_id = u16::try_from(dice.below(8)).unwrap_or_default() + 1;
            Some(if client.inbound.remove(&packet_id) {
                Change::InboundReleased { session, packet_id }
            } else {
                client.inbound.insert(packet_id);
                Change::InboundReceived { session, packet_id }
            })
        }
        6 => {
            let filter = format!("f/{}/+", dice.below(4));
            Some(if client.subscriptions.remove(&filter).is_some() {
                Change::Unsubscribed { session, filter }
            } else {
                client.subscriptions.insert(filter.clone(), (1, 9));
                Change::Subscribed {
                    session,
                    filter,
                    options: 1,
                    id: 9,
                }
            })
        }
        _ => {
            client.record = record(session, dice);
            Some(Change::SessionOpened(Box::new(client.record.clone())))
        }
    }
}

fn send(client: &mut Client, dice: &mut Dice) -> Option<Change> {
    let packet_id = client.unused_id(dice);
    let (position, copy) = client.queue.pop_first()?;
    let (seq, qos2) = (copy.seq, copy.qos == 2);
    client.inflight.push(Sent {
        packet_id,
        awaits: if qos2 { Awaits::Rec } else { Awaits::Ack },
        held: Some((position, copy)),
    });
    Some(Change::Sent {
        session: client.record.number,
        position,
        seq,
        packet_id,
        qos2,
    })
}
