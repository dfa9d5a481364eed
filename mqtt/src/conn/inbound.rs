//! PUBLISHes from the client: what it may send, and the order of the answers.

use super::Breach;
use super::alias::InboundAliases;
use crate::packet::{PacketId, QoS, Version};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::wire::Layout;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

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
    pub(super) reason_string: Option<Box<Text>>,
}

#[derive(Debug)]
pub(super) struct Inbound {
    announced: Announced,
    aliases: InboundAliases,
    /// PUBLISHes that wait for their answer, in the order they came.
    waiting: VecDeque<Waiting>,
    /// The slot number of the first of them.
    first_number: u32,
    /// QoS 1 PUBLISHes among them.
    qos1_open: usize,
    /// QoS 2 PUBLISHes of this connection that are not complete, sorted.
    qos2_open: Vec<PacketId>,
}

#[derive(Debug)]
struct Waiting {
    packet_id: PacketId,
    qos: QoS,
    answer: Option<ReasonCode>,
    reason_string: Option<Box<Text>>,
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

    /// Takes in a PUBLISH: what its alias stands for, and its place in the order of answers.
    #[inline]
    pub(super) fn receive(
        &mut self,
        packet: &Layout,
        frame: &[u8],
    ) -> Result<(Option<Arc<str>>, u32), Breach> {
        if packet.qos > self.announced.qos_max {
            return Err(Breach::QosNotSupported);
        }
        if packet.retain && !self.announced.retain_available {
            return Err(Breach::RetainNotSupported);
        }
        let aliased = match packet.alias {
            None if packet.has_topic() => None,
            None => return Err(Breach::NoTopic),
            Some(alias) => self.aliases.resolve(packet.topic(frame), alias.get())?,
        };
        let number = match packet.packet_id {
            Some(packet_id) => self.open(packet.qos, packet_id)?,
            None => 0,
        };
        Ok((aliased, number))
    }

    /// Assigns the number by which the answer finds its place.
    fn open(&mut self, qos: QoS, packet_id: PacketId) -> Result<u32, Breach> {
        // At most 65,536 wait, so that numbers may wrap around.
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let number = self.first_number.wrapping_add(waiting);
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
            reason_string: None,
        });
        Ok(number)
    }

    /// Notes the answer to one PUBLISH. It leaves when those before it have left.
    pub(super) fn answer(
        &mut self,
        packet_id: PacketId,
        number: u32,
        reason: ReasonCode,
        reason_string: Option<Box<Text>>,
    ) {
        let index = number.wrapping_sub(self.first_number);
        let waiting = self.waiting.get_mut(index as usize);
        let Some(waiting) = waiting.filter(|waiting| waiting.packet_id == packet_id) else {
            debug_assert!(false, "an acknowledgement for another connection");
            return;
        };
        waiting.answer = Some(reason);
        waiting.reason_string = reason_string;
    }

    /// The next answer that may leave [MQTT-4.6.0-2], [MQTT-4.6.0-3].
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        let reason = self.waiting.front()?.answer?;
        let Waiting {
            packet_id,
            qos,
            reason_string,
            ..
        } = self.waiting.pop_front()?;
        self.first_number = self.first_number.wrapping_add(1);
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
