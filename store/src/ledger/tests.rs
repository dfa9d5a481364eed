use super::*;
use crate::change::{Phase, QueueLimits};
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::QoS;

/// A ledger, and the disk its rows went to.
#[derive(Default)]
struct Desk {
    ledger: Ledger,
    messages: BTreeMap<u64, Vec<Recipient>>,
    progress: BTreeMap<u64, Saved>,
    sessions: BTreeMap<u64, SessionRecord>,
    deletes: Vec<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Session and seq, in the order of positions.
    queued: BTreeSet<(u64, u64, u64)>,
    /// Session, packet identifier and seq.
    inflight: BTreeSet<(u64, u16, u64)>,
}

impl Desk {
    fn with_sessions(sessions: &[u64]) -> Self {
        let mut desk = Self::default();
        desk.changes(sessions.iter().map(|number| opened(*number)));
        desk
    }

    fn batch(
        &mut self,
        messages: &[(u64, &[(u64, u64)])],
        changes: impl IntoIterator<Item = Change>,
    ) -> &mut Self {
        let mut batch = Batch::default();
        for (seq, recipients) in messages {
            let recipients = recipients.iter().map(|(session, position)| Recipient {
                session: *session,
                position: *position,
                qos: 1,
                retain: false,
                subscription_ids: Vec::new(),
            });
            let message = Message::own("t", bytes::Bytes::new(), QoS::AtLeastOnce, false);
            let kept = Kept {
                message,
                recipients: recipients.collect(),
            };
            batch.add_message(*seq, Arc::new(kept));
        }
        for change in changes {
            batch.add_change(change);
        }
        let rows = self.ledger.apply(batch);
        self.write(rows);
        self
    }

    fn changes(&mut self, changes: impl IntoIterator<Item = Change>) -> &mut Self {
        self.batch(&[], changes)
    }

    fn messages(&mut self, messages: &[(u64, &[(u64, u64)])]) -> &mut Self {
        self.batch(messages, [])
    }

    fn write(&mut self, rows: Rows) {
        self.deletes = rows.finished.iter().copied().collect();
        for seq in rows.finished {
            self.messages.remove(&seq);
        }
        for (seq, kept) in rows.messages {
            self.messages.insert(seq, kept.recipients.clone());
        }
        put(&mut self.progress, rows.progress);
        put(&mut self.sessions, rows.sessions);
    }

    fn seqs(&self) -> Vec<u64> {
        self.messages.keys().copied().collect()
    }

    /// What a broker that starts now finds.
    fn restart(&mut self) -> Found {
        self.ledger = Ledger::default();
        for number in self.sessions.keys() {
            let saved = self.progress.get(number).map(reread);
            self.ledger.recover_session(*number, saved.unwrap_or_default());
        }
        let mut found = Found::default();
        let mut rows = Rows::default();
        for (seq, recipients) in &self.messages {
            let recipients = recipients.iter().cloned().map(Ok::<_, ()>);
            let needed = self
                .ledger
                .recover_message(*seq, recipients, |recipient, place| match place {
                    Place::Queued => {
                        found.queued.insert((recipient.session, recipient.position, *seq));
                    }
                    Place::InFlight(packet_id) => {
                        found.inflight.insert((recipient.session, packet_id, *seq));
                    }
                });
            if needed == Ok(false) {
                rows.finished.insert(*seq);
            }
        }
        rows.absorb(self.ledger.recovered());
        self.write(rows);
        found
    }

    fn check(&mut self, queued: &[(u64, u64, u64)], inflight: &[(u64, u16, u64)]) {
        let expected = Found {
            queued: queued.iter().copied().collect(),
            inflight: inflight.iter().copied().collect(),
        };
        assert_eq!(self.restart(), expected);
        assert_eq!(self.restart(), expected, "a restart changes nothing");
    }
}

fn put<T>(table: &mut BTreeMap<u64, T>, rows: BTreeMap<u64, Option<T>>) {
    for (key, value) in rows {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
}

/// As it comes back from disk.
fn reread(saved: &Saved) -> Saved {
    postcard::from_bytes(&postcard::to_stdvec(saved).unwrap()).unwrap()
}

fn opened(number: u64) -> Change {
    Change::SessionOpened(Box::new(SessionRecord {
        number,
        mountpoint: String::new(),
        client_id: format!("c{number}"),
        username: None,
        address: None,
        expiry_seconds: 60,
        phase: Phase::Online,
        will: None,
        limits: QueueLimits::default(),
        gate: Vec::new(),
    }))
}

fn ended(session: u64) -> Change {
    Change::SessionEnded { session }
}

fn sent(session: u64, position: u64, seq: u64, packet_id: u16) -> Change {
    Change::Sent {
        session,
        position,
        seq,
        packet_id,
        qos2: false,
    }
}

fn sent2(session: u64, position: u64, seq: u64, packet_id: u16) -> Change {
    Change::Sent {
        session,
        position,
        seq,
        packet_id,
        qos2: true,
    }
}

fn skipped(session: u64, position: u64, seq: u64) -> Change {
    Change::Skipped {
        session,
        position,
        seq,
    }
}

fn acknowledged(session: u64, packet_id: u16) -> Change {
    Change::Acknowledged { session, packet_id }
}

fn received(session: u64, packet_id: u16) -> Change {
    Change::Received { session, packet_id }
}

#[test]
fn a_message_is_kept_until_its_last_recipient_has_acknowledged_it() {
    let mut desk = Desk::with_sessions(&[1, 2, 3]);
    desk.messages(&[(10, &[(1, 0), (2, 0), (3, 0)])]);
    desk.changes([sent(1, 0, 10, 7), acknowledged(1, 7)]);
    desk.changes([sent(2, 0, 10, 7)]);
    desk.check(&[(3, 0, 10)], &[(2, 7, 10)]);
    desk.changes([acknowledged(2, 7)]);
    assert_eq!(desk.seqs(), [10]);
    desk.changes([sent(3, 0, 10, 1)]);
    desk.changes([acknowledged(3, 1)]);
    assert!(desk.seqs().is_empty());
    assert_eq!(desk.deletes, [10]);
}

#[test]
fn a_message_that_is_done_before_its_batch_is_written_is_never_written() {
    let mut desk = Desk::with_sessions(&[1]);
    desk.batch(&[(10, &[(1, 0)])], [sent(1, 0, 10, 7), acknowledged(1, 7)]);
    assert!(desk.seqs().is_empty());
    assert!(desk.deletes.is_empty(), "there is nothing to delete");
    desk.messages(&[(11, &[(1, 1)])]);
    desk.check(&[(1, 1, 11)], &[]);
}

#[test]
fn qos_2_needs_the_message_until_pubrec_and_the_identifier_until_pubcomp() {
    let mut desk = Desk::with_sessions(&[1]);
    desk.messages(&[(10, &[(1, 0)])]).changes([sent2(1, 0, 10, 7)]);
    desk.check(&[], &[(1, 7, 10)]);
    desk.changes([received(1, 7)]);
    assert!(desk.seqs().is_empty());
    desk.restart();
    let inflight = &desk.ledger.progress(1).unwrap().saved.inflight;
    assert_eq!(
        (inflight.len(), inflight[0].packet_id, inflight[0].awaits),
        (1, 7, Awaits::Comp)
    );
    desk.changes([acknowledged(1, 7)]);
    desk.restart();
    assert!(desk.ledger.progress(1).unwrap().saved.inflight.is_empty());
}

#[test]
fn pubrec_that_comes_again_releases_the_message_once() {
    let mut desk = Desk::with_sessions(&[1, 2]);
    desk.messages(&[(10, &[(1, 0), (2, 0)])]);
    desk.changes([
        sent2(1, 0, 10, 7),
        received(1, 7),
        received(1, 7),
        acknowledged(1, 7),
    ]);
    desk.check(&[(2, 0, 10)], &[]);
}

#[test]
fn a_subscriber_may_be_quicker_than_the_batch_with_its_message() {
    let mut desk = Desk::with_sessions(&[1, 2]);
    desk.changes([sent(1, 0, 10, 7)]);
    desk.messages(&[(10, &[(1, 0), (2, 0)])]);
    desk.check(&[(2, 0, 10)], &[(1, 7, 10)]);

    let mut desk = Desk::with_sessions(&[1, 2]);
    desk.changes([sent(1, 0, 10, 7), acknowledged(1, 7)]);
    desk.messages(&[(10, &[(1, 0)]), (11, &[(1, 1), (2, 0)])]);
    assert_eq!(desk.seqs(), [11], "it was done when it came");
    desk.check(&[(1, 1, 11), (2, 0, 11)], &[]);
}

#[test]
fn a_subscriber_that_has_received_before_the_message_came_does_not_hold_it() {
    let mut desk = Desk::with_sessions(&[1]);
    desk.changes([sent2(1, 0, 10, 7), received(1, 7)]);
    desk.messages(&[(10, &[(1, 0)])]);
    assert!(desk.seqs().is_empty());
}

#[test]
fn what_is_in_flight_without_its_message_is_dropped_by_a_restart() {
    let mut desk = Desk::with_sessions(&[1]);
    desk.changes([sent(1, 0, 10, 7), sent2(1, 1, 11, 8), received(1, 8)]);
    desk.check(&[], &[]);
    let saved = &desk.progress[&1];
    assert_eq!(saved.inflight.len(), 1, "PUBREL is left to send: {saved:?}");
}

#[test]
fn what_is_skipped_at_the_front_or_out_of_turn_does_not_come_back() {
    let mut desk = Desk::with_sessions(&[1, 2]);
    for seq in 10..15 {
        let position = seq - 10;
        desk.messages(&[(seq, &[(1, position), (2, position)])]);
    }
    desk.changes([skipped(1, 0, 10), skipped(1, 2, 12), skipped(1, 3, 13)]);
    let all_of_2: Vec<_> = (10..15).map(|seq| (2, seq - 10, seq)).collect();
    let expected: Vec<_> = [(1, 1, 11), (1, 4, 14)].into_iter().chain(all_of_2).collect();
    desk.check(&expected, &[]);
    desk.changes([sent(1, 1, 11, 1), sent(1, 4, 14, 2)]);
    let saved = &desk.progress[&1];
    assert_eq!(
        (saved.sent_below, &saved.skipped[..]),
        (5, &[][..]),
        "passed positions are forgotten"
    );
}

#[test]
fn a_message_is_released_once_however_often_it_is_said() {
    let mut desk = Desk::with_sessions(&[1, 2]);
    desk.messages(&[(10, &[(1, 0), (2, 0)])]);
    desk.changes([skipped(1, 0, 10), skipped(1, 0, 10), skipped(1, 0, 10)]);
    desk.changes([
        sent(1, 0, 10, 3),
        acknowledged(1, 3),
        acknowledged(1, 3),
        ended(1),
    ]);
    desk.check(&[(2, 0, 10)], &[]);
}

#[test]
fn positions_skipped_out_of_turn_are_bounded() {
    let mut desk = Desk::with_sessions(&[1, 2]);
    for seq in 0..3_000u64 {
        desk.messages(&[(seq, &[(1, seq), (2, seq)])]);
    }
    // The front stays, so that all of these are out of turn.
    desk.changes((1..3_000).map(|position| skipped(1, position, position)));
    let saved = &desk.progress[&1];
    assert_eq!(saved.skipped.len(), 1024);
    let found = desk.restart();
    let back = found.queued.iter().filter(|(session, ..)| *session == 1).count();
    assert_eq!(back, 3_000 - 1024, "those beyond the bound are queued again");
}

#[test]
fn a_session_that_ends_releases_what_it_held() {
    let mut desk = Desk::with_sessions(&[1, 2]);
    desk.messages(&[
        (10, &[(1, 0), (2, 0)]),
        (11, &[(1, 1)]),
        (12, &[(1, 2), (2, 1)]),
        (13, &[(1, 3)]),
    ]);
    desk.changes([sent(1, 0, 10, 1), sent2(1, 1, 11, 2), received(1, 2)]);
    assert_eq!(desk.seqs(), [10, 12, 13]);
    desk.changes([ended(1)]);
    assert_eq!(desk.seqs(), [10, 12]);
    desk.check(&[(2, 0, 10), (2, 1, 12)], &[]);
    assert!(!desk.progress.contains_key(&1) && !desk.sessions.contains_key(&1));
}

#[test]
fn a_message_for_sessions_that_have_ended_is_not_written() {
    let mut desk = Desk::with_sessions(&[1, 2]);
    desk.changes([ended(1)]);
    desk.messages(&[(10, &[(1, 0)]), (11, &[(1, 1), (2, 0)])]);
    assert_eq!(desk.seqs(), [11]);
    assert_eq!(desk.messages[&11].len(), 1);
    desk.check(&[(2, 0, 11)], &[]);
}

#[test]
fn a_session_opens_gets_a_message_and_ends_in_one_batch() {
    let mut desk = Desk::default();
    desk.batch(&[(10, &[(1, 0)])], [opened(1)]);
    desk.check(&[(1, 0, 10)], &[]);
    desk.batch(&[(11, &[(2, 0)])], [opened(2), ended(2), opened(2)]);
    assert_eq!(desk.seqs(), [10]);
    assert!(!desk.sessions.contains_key(&2), "it has ended");
}

#[test]
fn a_session_may_get_two_copies_of_a_message() {
    let mut desk = Desk::with_sessions(&[1]);
    desk.messages(&[(10, &[(1, 0), (1, 1)])]);
    desk.changes([sent(1, 0, 10, 1), acknowledged(1, 1)]);
    desk.check(&[(1, 1, 10)], &[]);
    desk.changes([sent(1, 1, 10, 2), acknowledged(1, 2)]);
    assert!(desk.seqs().is_empty());
}

#[test]
fn messages_of_one_batch_may_come_in_another_order_than_their_positions() {
    let mut desk = Desk::with_sessions(&[1]);
    desk.messages(&[(10, &[(1, 2)]), (11, &[(1, 0)]), (12, &[(1, 1)])]);
    desk.changes([sent(1, 0, 11, 1)]);
    desk.check(&[(1, 1, 12), (1, 2, 10)], &[(1, 1, 11)]);
    desk.changes([acknowledged(1, 1), sent(1, 1, 12, 2)]);
    desk.check(&[(1, 2, 10)], &[(1, 2, 12)]);
}

#[test]
fn an_identifier_that_is_used_again_ends_the_exchange_before() {
    let mut desk = Desk::with_sessions(&[1]);
    desk.messages(&[(10, &[(1, 0)]), (11, &[(1, 1)])]);
    desk.changes([sent(1, 0, 10, 1), sent(1, 1, 11, 1)]);
    desk.check(&[], &[(1, 1, 11)]);
    assert_eq!(desk.seqs(), [11]);
}

#[test]
fn identifiers_from_the_client_are_kept_until_they_are_released() {
    let mut desk = Desk::with_sessions(&[1]);
    let inbound = |packet_id| Change::InboundReceived {
        session: 1,
        packet_id,
    };
    desk.changes([inbound(9), inbound(3), inbound(9), inbound(5)]);
    desk.changes([Change::InboundReleased {
        session: 1,
        packet_id: 5,
    }]);
    assert_eq!(desk.progress[&1].inbound, [3, 9]);
}

#[test]
fn the_next_position_is_above_all_that_were_seen() {
    let mut desk = Desk::with_sessions(&[1, 2]);
    let next = |desk: &Desk| desk.ledger.progress(1).unwrap().next_position();
    assert_eq!(next(&desk), 0);
    desk.messages(&[(10, &[(1, 4)])]);
    assert_eq!(next(&desk), 5);
    desk.changes([sent(1, 4, 10, 1), acknowledged(1, 1)]);
    desk.messages(&[(11, &[(1, 5), (2, 0)]), (12, &[(1, 6), (2, 1)])]);
    desk.changes([skipped(1, 6, 12)]);
    assert_eq!(next(&desk), 7);
    desk.restart();
    assert_eq!(next(&desk), 7);
}

#[test]
fn rows_of_later_batches_join_those_that_could_not_be_written() {
    let mut desk = Desk::with_sessions(&[1]);
    let subscribed = |filter: &str| Change::Subscribed {
        session: 1,
        filter: filter.to_owned(),
        options: 1,
        id: 0,
    };
    let rows_of = |desk: &mut Desk, seq: Option<u64>, changes: Vec<Change>| {
        let mut batch = Batch::default();
        if let Some(seq) = seq {
            let recipient = Recipient {
                session: 1,
                position: seq,
                qos: 1,
                retain: false,
                subscription_ids: Vec::new(),
            };
            let message = Message::own("t", bytes::Bytes::new(), QoS::AtLeastOnce, false);
            let recipients = vec![recipient];
            batch.add_message(seq, Arc::new(Kept { message, recipients }));
        }
        for change in changes {
            batch.add_change(change);
        }
        desk.ledger.apply(batch)
    };
    let mut rows = rows_of(&mut desk, Some(10), vec![subscribed("a"), subscribed("b")]);
    rows.absorb(rows_of(&mut desk, Some(11), vec![skipped(1, 10, 10)]));
    assert_eq!(rows.messages.keys().copied().collect::<Vec<_>>(), [11]);
    assert!(
        rows.finished.contains(&10),
        "the write that failed may have put it there all the same"
    );
    assert_eq!(rows.subscriptions[&1].len(), 2);
    rows.absorb(rows_of(&mut desk, None, vec![ended(1)]));
    assert!(rows.subscriptions.is_empty() && rows.messages.is_empty());
    assert_eq!(rows.sessions[&1], None);
}
