//! QoS 1 and 2 messages that have been sent and are not yet acknowledged, in the order of their first sending.

use super::stored::{Awaits, Exchange, Held, Stored};
use super::{Delivery, Fetched, Outgoing};
use crate::packet::{PacketId, QoS};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::num::NonZeroU16;

#[derive(Debug)]
struct Entry {
    packet_id: PacketId,
    awaits: Awaits,
    /// On this connection.
    sent: bool,
    /// Whether a store knows of it.
    durable: bool,
    /// Kept for re-sending; gone once PUBREC came [MQTT-4.3.3-6].
    held: Option<Held>,
}

/// An exchange that is over, or has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Whether a store knows of it.
    pub(super) durable: bool,
}

#[derive(Debug)]
pub(super) struct Inflight {
    entries: VecDeque<Entry>,
    /// Entries not yet sent on this connection.
    unsent: u16,
    /// How many of those are PUBRELs.
    unsent_pubrels: u16,
    /// No entry before this index is unsent.
    resend_from: u16,
    /// No PUBREL before this index is unsent.
    pubrel_from: u16,
    last_id: u16,
    /// Whether packet identifiers, counted on from the first entry's, rise through the entries. So it is unless an
    /// old message stays unacknowledged while 65,535 others come and go.
    ordered: bool,
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            unsent: 0,
            unsent_pubrels: 0,
            resend_from: 0,
            pubrel_from: 0,
            last_id: 0,
            ordered: true,
        }
    }
}

impl Inflight {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether something of an earlier connection is still to be sent again.
    pub(super) fn is_resending(&self) -> bool {
        self.unsent > 0
    }

    /// Starts over on a new connection: all of it is to be sent again.
    pub(super) fn restart(&mut self) {
        self.unsent = 0;
        self.unsent_pubrels = 0;
        self.resend_from = 0;
        self.pubrel_from = 0;
        for entry in &mut self.entries {
            entry.sent = false;
            self.unsent += 1;
            self.unsent_pubrels += u16::from(entry.awaits == Awaits::Comp);
        }
    }

    /// Takes in a message that is sent for the first time; `None` when every identifier is in use.
    pub(super) fn add(&mut self, delivery: Delivery) -> Option<(PacketId, &Delivery)> {
        let awaits = if delivery.qos == QoS::ExactlyOnce {
            Awaits::Rec
        } else {
            Awaits::Ack
        };
        let packet_id = self.unused_id()?;
        match self.entries.back().map(|back| back.packet_id) {
            None => self.ordered = true,
            Some(back) => self.ordered &= self.distance(packet_id) > self.distance(back),
        }
        self.entries.push_back(Entry {
            packet_id,
            awaits,
            sent: true,
            durable: delivery.place.is_some(),
            held: Some(Held::Here(delivery)),
        });
        match self.entries.back()?.held.as_ref()? {
            Held::Here(kept) => Some((packet_id, kept)),
            Held::Stored(_) => None,
        }
    }

    /// The next packet to send again, in the original order [MQTT-4.6.0-1].
    ///
    /// A PUBLISH waits while `window` messages are out on this connection; PUBRELs do not [MQTT-4.9.0-3].
    pub(super) fn next_resend(&mut self, window: usize) -> Option<Outgoing<'_>> {
        let may_publish = self.entries.len() - usize::from(self.unsent) < window;
        if self.unsent == 0 || (self.unsent_pubrels == 0 && !may_publish) {
            return None;
        }
        let cursor = if may_publish {
            &mut self.resend_from
        } else {
            &mut self.pubrel_from
        };
        for (index, entry) in self.entries.iter_mut().enumerate().skip(usize::from(*cursor)) {
            let outgoing = match &entry.held {
                _ if entry.sent => continue,
                None => Outgoing::PubRel(entry.packet_id),
                // What comes behind it waits until it is fetched, to keep the order.
                Some(Held::Stored(_)) if may_publish => return None,
                Some(Held::Here(delivery)) if may_publish => Outgoing::Publish {
                    delivery: Cow::Borrowed(delivery),
                    packet_id: Some(entry.packet_id),
                    dup: true, // [MQTT-3.3.1-1]
                },
                Some(_) => continue,
            };
            entry.sent = true;
            self.unsent -= 1;
            self.unsent_pubrels -= u16::from(entry.awaits == Awaits::Comp);
            *cursor = u16::try_from(index).unwrap_or(u16::MAX);
            return Some(outgoing);
        }
        None
    }

    /// What is awaited for this identifier.
    pub(super) fn awaits(&self, packet_id: PacketId) -> Option<Awaits> {
        self.entries
            .get(self.position(packet_id)?)
            .map(|entry| entry.awaits)
    }

    /// PUBREC came: from now on there is only a PUBREL to send.
    pub(super) fn received(&mut self, packet_id: PacketId) -> Option<Known> {
        let index = self.position(packet_id)?;
        let entry = self.entries.get_mut(index)?;
        if !entry.sent {
            // The PUBREL that answers goes out at once.
            entry.sent = true;
            self.unsent -= 1;
        }
        entry.awaits = Awaits::Comp;
        entry.held = None;
        Some(Known {
            durable: entry.durable,
        })
    }

    /// Ends an exchange.
    pub(super) fn remove(&mut self, packet_id: PacketId) -> Option<Known> {
        let index = self.position(packet_id)?;
        let entry = self.entries.remove(index)?;
        if !entry.sent {
            self.unsent -= 1;
            self.unsent_pubrels -= u16::from(entry.awaits == Awaits::Comp);
        }
        for cursor in [&mut self.resend_from, &mut self.pubrel_from] {
            if index < usize::from(*cursor) {
                *cursor -= 1;
            }
        }
        if self.entries.is_empty() && self.entries.capacity() > super::KEPT_INFLIGHT {
            self.entries = VecDeque::new();
        }
        Some(Known {
            durable: entry.durable,
        })
    }

    /// Takes in what a store had in flight, to be sent again.
    pub(super) fn restore(&mut self, exchanges: Vec<Exchange>) {
        self.entries = exchanges
            .into_iter()
            .map(|exchange| Entry {
                packet_id: exchange.packet_id,
                awaits: exchange.awaits,
                sent: false,
                durable: true,
                held: exchange.stored.map(Held::Stored),
            })
            .collect();
        self.last_id = self.entries.back().map_or(0, |back| back.packet_id.get());
        let distances = || self.entries.iter().map(|entry| self.distance(entry.packet_id));
        self.ordered = distances()
            .zip(distances().skip(1))
            .all(|(left, right)| left < right);
        self.restart();
    }

    /// Leaves to the store the messages that it has.
    pub(super) fn put_away(&mut self) {
        for held in self.entries.iter_mut().filter_map(|entry| entry.held.as_mut()) {
            held.put_away();
        }
    }

    /// What has to be fetched before it can be sent again.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Stored> + '_ {
        let unsent = self.entries.iter().filter(|entry| !entry.sent);
        unsent.filter_map(|entry| entry.held.as_ref()?.stored())
    }

    /// Puts what was fetched in its places. What could not be fetched is taken out, and its identifiers are returned.
    pub(super) fn arrived(&mut self, fetched: &mut Fetched) -> Vec<PacketId> {
        let mut lost = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| !entry.sent) {
            let Some(stored) = entry.held.as_ref().and_then(Held::stored) else {
                continue;
            };
            let found = fetched.iter_mut().find(|(place, _)| *place == stored.place);
            match found.map(|(_, delivery)| delivery.take()) {
                Some(Some(delivery)) => entry.held = Some(Held::Here(delivery)),
                Some(None) => lost.push(entry.packet_id),
                None => {}
            }
        }
        lost
    }

    pub(super) fn packet_ids(&self) -> impl Iterator<Item = PacketId> + '_ {
        self.entries.iter().map(|entry| entry.packet_id)
    }

    /// The next identifier, after the last one, that no message in flight uses [MQTT-2.2.1-4].
    fn unused_id(&mut self) -> Option<PacketId> {
        if self.entries.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let packet_id = PacketId(NonZeroU16::new(self.last_id)?);
            if self.position(packet_id).is_none() {
                return Some(packet_id);
            }
        }
    }

    fn position(&self, packet_id: PacketId) -> Option<usize> {
        if self.ordered {
            let distance = self.distance(packet_id);
            self.entries
                .binary_search_by_key(&distance, |entry| self.distance(entry.packet_id))
                .ok()
        } else {
            self.entries.iter().position(|entry| entry.packet_id == packet_id)
        }
    }

    fn distance(&self, packet_id: PacketId) -> u16 {
        let first = self.entries.front().map_or(0, |entry| entry.packet_id.get());
        packet_id.get().wrapping_sub(first)
    }
}
