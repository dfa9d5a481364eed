//! One message on its way into the store: all of it, for all durable sessions that take it, or nothing.

use super::cell::{Copy, SessionCell};
use super::durable::record;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::{PacketId, QoS};
use sluice_mqtt::session::Place;
use sluice_store::{Change, MessageRecord, Recipient, Store, Submission, Ticket};
use std::num::NonZeroU64;

/// Collects what has to be on disk before the publisher is told that its message arrived.
///
/// It is begun by the first durable session that takes the message, before that session can send anything of it:
/// whatever a session notes about the message is then in the same batch or a later one.
pub(super) struct Filing<'a> {
    store: &'a Store,
    open: Option<Open>,
    /// What else the publisher has to wait for.
    also: Ticket,
}

struct Open {
    submission: Submission,
    seq: NonZeroU64,
    recipients: Vec<Recipient>,
}

impl<'a> Filing<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            open: None,
            also: Ticket::NONE,
        }
    }

    /// The number of the message, for a durable session that is to take a copy at this QoS.
    pub(super) fn seq(&mut self, cell: &SessionCell, qos: QoS) -> Option<NonZeroU64> {
        (qos > QoS::AtMostOnce && cell.durable).then(|| self.open().seq)
    }

    /// A durable session has taken it.
    pub(super) fn taken(&mut self, cell: &SessionCell, copy: &Copy, qos: QoS, retain: bool, place: Place) {
        self.open().recipients.push(Recipient {
            session: cell.number,
            position: place.position,
            qos: qos as u8,
            retain,
            subscription_ids: copy.ids.as_slice().to_vec(),
        });
    }

    /// What else is to be on disk with it, or not at all.
    pub(super) fn with(&mut self, change: Change) {
        self.open().submission.change(change);
    }

    /// Its publisher sent it with QoS 2: the message and its identifier belong together.
    pub(super) fn received_from(&mut self, publisher: &SessionCell, packet_id: PacketId) {
        if !publisher.durable {
            return;
        }
        let mut state = publisher.lock();
        state.session.note_received(packet_id);
        for change in state.session.take_changes() {
            let change = record(publisher.number, change);
            self.open().submission.change(change);
        }
    }

    /// What else the publisher has to wait for.
    pub(super) fn wait_for(&mut self, ticket: Ticket) {
        self.also = self.also.max(ticket);
    }

    /// Hands it over; what to wait for.
    pub(super) fn end(self, message: &Message) -> Ticket {
        let Some(mut open) = self.open else {
            return self.also;
        };
        if !open.recipients.is_empty() {
            open.submission.message(MessageRecord {
                seq: open.seq.get(),
                message,
                recipients: open.recipients,
            });
        }
        open.submission.end().max(self.also)
    }

    fn open(&mut self) -> &mut Open {
        let store = self.store;
        self.open.get_or_insert_with(|| {
            let (submission, seq) = store.begin_message();
            Open {
                submission,
                seq: NonZeroU64::new(seq).unwrap_or(NonZeroU64::MIN),
                recipients: Vec::new(),
            }
        })
    }
}
