//! Durable sessions: what a store is told is enough to go on after a crash as if there had been none.

use super::*;
use std::collections::HashMap;
use std::num::NonZeroU64;

/// A store that never fails.
#[derive(Default)]
struct Shelf {
    messages: HashMap<Place, Delivery>,
    kept: Restored,
}

impl Shelf {
    /// Puts a delivery into the store and into the queue, as a broker does.
    fn enqueue(&mut self, session: &mut Session, text: &str, qos: u8, expires_at: Option<Instant>) {
        let mut delivery = delivery(text, qos, expires_at);
        if qos > 0 {
            let seq = NonZeroU64::new(self.messages.len() as u64 + 1).unwrap();
            delivery.place = session.place(seq);
        }
        let copy = delivery.clone();
        match session.enqueue(delivery) {
            Enqueued::Queued | Enqueued::DroppedOldest(_) => {}
            Enqueued::DroppedNew | Enqueued::Overflow => return,
        }
        if let Some(stored) = Stored::of(&copy) {
            self.messages.insert(stored.place, copy);
            self.kept.queue.push(stored);
            self.kept.next_position = stored.place.position + 1;
        }
    }

    /// Takes what the session has noted.
    fn note(&mut self, session: &mut Session) {
        let kept = &mut self.kept;
        for change in session.take_changes() {
            match change {
                Change::Sent {
                    place,
                    packet_id,
                    qos,
                } => {
                    let stored = kept.queue.iter().find(|stored| stored.place == place).copied();
                    kept.queue.retain(|stored| stored.place.position > place.position);
                    kept.inflight.push(Exchange {
                        packet_id,
                        awaits: if qos == QoS::ExactlyOnce {
                            Awaits::Rec
                        } else {
                            Awaits::Ack
                        },
                        stored,
                    });
                }
                Change::Skipped(place) => kept.queue.retain(|stored| stored.place != place),
                Change::Acknowledged(id) => kept.inflight.retain(|exchange| exchange.packet_id != id),
                Change::Received(id) => {
                    for exchange in kept.inflight.iter_mut().filter(|entry| entry.packet_id == id) {
                        exchange.awaits = Awaits::Comp;
                        exchange.stored = None;
                    }
                }
                Change::InboundReceived(id) => kept.received.push(id),
                Change::InboundReleased(id) => kept.received.retain(|received| *received != id),
            }
        }
    }

    /// Fetches what the session wants until it wants no more.
    fn fetch(&mut self, session: &mut Session) {
        loop {
            let wanted = session.wanted();
            if wanted.is_empty() {
                return;
            }
            let fetched = wanted
                .into_iter()
                .map(|place| (place, self.messages.get(&place).cloned()));
            session.arrived(fetched.collect());
            self.note(session);
        }
    }

    fn restore(&self) -> Session {
        Session::durable(LIMITS, self.kept.clone())
    }
}

fn durable() -> Session {
    let mut session = Session::durable(LIMITS, Restored::default());
    session.attach(u16::MAX, start());
    session
}

/// All that may be sent, without packet identifiers: they go on elsewhere after a crash.
fn said(session: &mut Session, now: Instant) -> Vec<String> {
    let said = |outgoing: Outgoing<'_>| match outgoing {
        Outgoing::PubRel(_) => "rel".to_owned(),
        Outgoing::Publish { delivery, dup, .. } => {
            let text = std::str::from_utf8(delivery.message.payload()).unwrap();
            format!("{text}{}", if dup { "!" } else { "" })
        }
    };
    std::iter::from_fn(|| session.next(now).map(said)).collect()
}

#[test]
fn a_session_that_is_not_durable_notes_nothing_and_has_no_places() {
    let mut session = session(LIMITS);
    assert_eq!(session.place(NonZeroU64::MIN), None);
    let _ = session.receive_qos2(id(1));
    session.note_received(id(1));
    assert_eq!(session.take_changes().count(), 0);
}

#[test]
fn a_queue_without_a_connection_leaves_its_messages_to_the_store_and_fetches_a_page_at_a_time() {
    let limits = SessionLimits {
        queue_messages_max: 10_000,
        ..LIMITS
    };
    let mut session = Session::durable(limits, Restored::default());
    let mut shelf = Shelf::default();
    for number in 0..5_000 {
        shelf.enqueue(&mut session, &format!("{number}"), 1, None);
    }
    assert!(session.wanted().is_empty(), "nobody is connected");
    session.attach(u16::MAX, start());
    assert_eq!(session.next(start()).map(|_| ()), None, "nothing is here");
    assert_eq!(session.wanted().len(), 512);
    let mut texts = Vec::new();
    while texts.len() < 5_000 {
        shelf.fetch(&mut session);
        for text in said(&mut session, start()) {
            texts.push(text);
        }
        for id in session.inflight_ids().collect::<Vec<_>>() {
            assert!(session.puback(id, ReasonCode::SUCCESS));
        }
        shelf.note(&mut session);
    }
    let expected: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
    assert!(session.is_empty());
    assert!(shelf.kept.queue.is_empty() && shelf.kept.inflight.is_empty());
}

#[test]
fn a_message_that_cannot_be_read_is_counted_and_holds_nothing_up() {
    let mut shelf = Shelf::default();
    let mut session = durable();
    for text in ["a", "b", "c", "d"] {
        shelf.enqueue(&mut session, text, 1, None);
    }
    assert!(session.next(start()).is_some(), "a is in flight");
    shelf.note(&mut session);
    let mut session = shelf.restore();
    shelf.messages.retain(|place, _| place.position % 2 == 1);
    session.attach(u16::MAX, start());
    shelf.fetch(&mut session);
    assert_eq!(said(&mut session, start()), ["b", "d"]);
    assert_eq!(session.counters().lost, 2);
    shelf.note(&mut session);
    assert_eq!(shelf.kept.inflight.len(), 2);
    assert!(shelf.kept.queue.is_empty());
}

#[test]
fn what_was_fetched_for_a_connection_that_has_gone_is_left_out() {
    let mut shelf = Shelf::default();
    let mut session = Session::durable(LIMITS, Restored::default());
    shelf.enqueue(&mut session, "a", 1, None);
    session.attach(1, start());
    let wanted = session.wanted();
    session.detach();
    session.arrived(wanted.iter().map(|place| (*place, None)).collect());
    assert_eq!((session.queue_len(), session.counters().lost), (1, 0));
}

#[derive(Clone, Debug)]
enum Op {
    Enqueue { qos: u8, expires: bool },
    Send,
    PubAck(u8),
    PubRec(u8, bool),
    PubComp(u8),
    Inbound(u16),
    Release(u16),
    Reconnect,
    Crash,
    Later,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..3u8, any::<bool>()).prop_map(|(qos, expires)| Op::Enqueue { qos, expires }),
        3 => Just(Op::Send),
        3 => any::<u8>().prop_map(Op::PubAck),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(index, error)| Op::PubRec(index, error)),
        3 => any::<u8>().prop_map(Op::PubComp),
        1 => (1..4u16).prop_map(Op::Inbound),
        1 => (1..4u16).prop_map(Op::Release),
        1 => Just(Op::Reconnect),
        2 => Just(Op::Crash),
        1 => Just(Op::Later),
    ]
}

/// The packet identifier at this place in flight, so that sessions whose identifiers differ do the same.
fn at(session: &Session, index: u8) -> PacketId {
    let ids: Vec<PacketId> = session.inflight_ids().collect();
    let index = usize::from(index) % ids.len().max(1);
    ids.get(index).copied().unwrap_or_else(|| id(9_999))
}

/// A durable session that crashes beside one that only loses its connection.
struct Twins {
    durable: Session,
    other: Session,
    shelf: Shelf,
    now: Instant,
    limits: SessionLimits,
}

impl Twins {
    fn both<T: PartialEq + std::fmt::Debug>(&mut self, act: impl Fn(&mut Session) -> T) {
        let (durable, other) = (act(&mut self.durable), act(&mut self.other));
        assert_eq!(durable, other);
        self.shelf.note(&mut self.durable);
    }

    fn reattach(&mut self) {
        let now = self.now;
        self.both(|session| session.attach(4, now));
        self.shelf.fetch(&mut self.durable);
    }

    fn act(&mut self, number: usize, op: &Op) {
        let now = self.now;
        match *op {
            Op::Enqueue { qos, expires } => {
                let text = number.to_string();
                let expires_at = expires.then(|| now + Duration::from_secs(5));
                self.shelf.enqueue(&mut self.durable, &text, qos, expires_at);
                let _ = self.other.enqueue(delivery(&text, qos, expires_at));
                self.shelf.note(&mut self.durable);
            }
            Op::Send => {
                self.shelf.fetch(&mut self.durable);
                self.both(|session| said(session, now));
            }
            Op::PubAck(index) => self.both(|session| session.puback(at(session, index), ReasonCode::SUCCESS)),
            Op::PubRec(index, error) => {
                let reason = if error {
                    ReasonCode::QUOTA_EXCEEDED
                } else {
                    ReasonCode::SUCCESS
                };
                self.both(|session| session.pubrec(at(session, index), reason));
            }
            Op::PubComp(index) => self.both(|session| session.pubcomp(at(session, index))),
            Op::Inbound(packet_id) => self.both(|session| {
                let received = session.receive_qos2(id(packet_id));
                if received == Received2::Fresh {
                    session.note_received(id(packet_id));
                }
                received
            }),
            Op::Release(packet_id) => self.both(|session| session.release(id(packet_id))),
            Op::Reconnect => {
                self.both(Session::detach);
                self.reattach();
            }
            Op::Crash => {
                self.durable = Session::durable(self.limits, self.shelf.kept.clone());
                self.other.detach();
                self.reattach();
            }
            Op::Later => self.now += Duration::from_secs(3),
        }
        assert_eq!(self.durable.queue_len(), self.other.queue_len());
        assert_eq!(self.durable.queue_bytes(), self.other.queue_bytes());
        assert_eq!(self.durable.inflight_len(), self.other.inflight_len());
        assert_eq!(self.durable.received_len(), self.other.received_len());
    }
}

proptest! {
    #[test]
    fn a_session_goes_on_after_a_crash_as_if_only_its_connection_had_failed(
        ops in prop::collection::vec(op(), 1..120),
        queue_messages_max in 1..12u32,
        overflow in prop_oneof![Just(Overflow::DropNew), Just(Overflow::DropOldest)],
    ) {
        let limits = SessionLimits { queue_messages_max, overflow, inflight_max: 4, ..LIMITS };
        let mut twins = Twins {
            durable: Session::durable(limits, Restored::default()),
            other: Session::new(limits),
            shelf: Shelf::default(),
            now: start(),
            limits,
        };
        twins.reattach();
        for (number, op) in ops.iter().enumerate() {
            twins.act(number, op);
        }
    }
}
