//! PUBLISHes from the client: what it may send, and the order of the answers.

use super::Breach;
use super::alias::InboundAliases;
use super::received::{Arrival, Slot};
use crate::packet::{PacketId, Publish, QoS, Version};
use crate::reason::ReasonCode;
use crate::text::Text;
use std::collections::VecDeque;
use std::num::NonZeroU16;

/// What the client may do, as its CONNACK said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) version: Version,
    pub(super) receive_max: NonZeroU16,
    pub(super) topic_alias_max: u16,
    pub(super) qos_max: QoS,
    pub(super) retain_available: bool,
}

/// The answer to a PUBLISH.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) packet_id: PacketId,
    pub(super) qos: QoS,
    pub(super) reason: ReasonCode,
    pub(super) reason_string: Option<Text>,
}

#[derive(Debug)]
pub(super) struct Inbound {
    announced: Announced,
    aliases: InboundAliases,
    /// PUBLISHes that wait for their answer, in the order they came.
    waiting: VecDeque<Waiting>,
    /// The slot number of the first of them.
    first_number: u64,
    /// QoS 1 PUBLISHes among them.
    qos1_open: usize,
    /// QoS 2 PUBLISHes of this connection that are not complete, sorted.
    qos2_open: Vec<PacketId>,
}

#[derive(Debug)]
struct Waiting {
    packet_id: PacketId,
    qos: QoS,
    answer: Option<(ReasonCode, Option<Text>)>,
}

impl Inbound {
    pub(super) fn new(announced: Announced) -> Self {
        Self {
            announced,
            aliases: InboundAliases::new(announced.topic_alias_max),
            waiting: VecDeque::new(),
            first_number: 0,
            qos1_open: 0,
            qos2_open: Vec::new(),
        }
    }

    /// Whether nothing more is to be read before answers have left.
    ///
    /// In 5.0 a client that sends beyond Receive Maximum is cut off, so this holds back only endless repetitions of
    /// the same QoS 2 message. Before 5.0 there is no such rule, and reading stops instead.
    pub(super) fn is_full(&self) -> bool {
        let max = usize::from(self.announced.receive_max.get());
        let spare = usize::from(self.announced.version == Version::V5);
        self.waiting.len() >= max + spare
    }

    /// PUBLISHes waiting for an answer.
    pub(super) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes in a PUBLISH: its topic resolved, its place in the order of answers assigned.
    pub(super) fn receive(
        &mut self,
        mut publish: Publish,
        payload_bytes_max: u32,
    ) -> Result<Arrival, Breach> {
        if publish.qos > self.announced.qos_max {
            return Err(Breach::QosNotSupported);
        }
        if publish.retain && !self.announced.retain_available {
            return Err(Breach::RetainNotSupported);
        }
        let topic = self
            .aliases
            .resolve(publish.topic.take(), publish.properties.topic_alias)?;
        let slot = self.open(publish.qos, publish.packet_id)?;
        let payload_too_large = publish.payload.len() > payload_bytes_max as usize;
        Ok(Arrival {
            topic,
            publish,
            payload_too_large,
            packet_too_large: false,
            slot,
        })
    }

    fn open(&mut self, qos: QoS, packet_id: Option<PacketId>) -> Result<Slot, Breach> {
        let number = self.first_number + self.waiting.len() as u64;
        let Some(packet_id) = packet_id else {
            return Ok(Slot {
                number,
                packet_id: None,
                qos: QoS::AtMostOnce,
            });
        };
        let qos2_index = match qos {
            QoS::ExactlyOnce => self.qos2_open.binary_search(&packet_id),
            QoS::AtLeastOnce | QoS::AtMostOnce => Err(0),
        };
        // The same QoS 2 message again does not count twice.
        if let Err(index) = qos2_index {
            let open = self.qos1_open + self.qos2_open.len();
            let max = usize::from(self.announced.receive_max.get());
            if self.announced.version == Version::V5 && open >= max {
                return Err(Breach::ReceiveMaximumExceeded);
            }
            if qos == QoS::ExactlyOnce {
                self.qos2_open.insert(index, packet_id);
            } else {
                self.qos1_open += 1;
            }
        }
        self.waiting.push_back(Waiting {
            packet_id,
            qos,
            answer: None,
        });
        Ok(Slot {
            number,
            packet_id: Some(packet_id),
            qos,
        })
    }

    /// Notes the answer to one PUBLISH. It leaves when those before it have left.
    pub(super) fn answer(&mut self, slot: Slot, reason: ReasonCode, reason_string: Option<Text>) {
        let Some(packet_id) = slot.packet_id else { return };
        let index = slot
            .number
            .checked_sub(self.first_number)
            .and_then(|index| usize::try_from(index).ok());
        let waiting = index.and_then(|index| self.waiting.get_mut(index));
        let Some(waiting) = waiting.filter(|waiting| waiting.packet_id == packet_id) else {
            debug_assert!(false, "an acknowledgement for another connection");
            return;
        };
        waiting.answer = Some((reason, reason_string));
    }

    /// The next answer that may leave [MQTT-4.6.0-2], [MQTT-4.6.0-3].
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        self.waiting.front()?.answer.as_ref()?;
        let Waiting {
            packet_id,
            qos,
            answer,
        } = self.waiting.pop_front()?;
        let (reason, reason_string) = answer?;
        self.first_number += 1;
        if qos == QoS::AtLeastOnce {
            self.qos1_open -= 1;
        } else if reason.is_error() {
            self.completed(packet_id); // [MQTT-4.3.3-9]
        }
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            self.waiting = VecDeque::new();
        }
        Some(Answer {
            packet_id,
            qos,
            reason,
            reason_string,
        })
    }

    /// A QoS 2 exchange is over.
    pub(super) fn completed(&mut self, packet_id: PacketId) {
        if let Ok(index) = self.qos2_open.binary_search(&packet_id) {
            self.qos2_open.remove(index);
        }
    }
}

/// Entries the memory of an emptied list is kept for.
const KEPT_CAPACITY: usize = 32;
