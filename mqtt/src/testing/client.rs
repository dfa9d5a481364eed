//! A client that keeps account of what it sent and of what it is owed, and checks the server against it.

use super::words::{puback, pubcomp, pubrec};
use crate::packet::{Ack, Connect, Packet, PacketId, Publish, QoS, Version};
use crate::reason::ReasonCode;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The client's books, for one connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) version: Version,
    /// The server's Receive Maximum.
    pub(super) server_receive_max: u16,
    /// It has sent bytes it cannot account for.
    pub(super) is_wild: bool,
    /// It has been let in.
    pub(super) is_connected: bool,
    /// Where the next packet is cut in two.
    pub(super) split_at: Option<usize>,
    receive_max: usize,
    packet_bytes_max: u32,
    alias_max: u16,
    problem_information: bool,
    ended: bool,
    /// PUBLISHes of the server that are not complete, and whether the client has to send PUBCOMP next.
    open: BTreeMap<PacketId, Open>,
    aliases: BTreeSet<u16>,
    /// PUBLISHes of the client that are not answered, in order.
    unanswered: VecDeque<(QoS, PacketId)>,
    /// QoS 2 PUBLISHes of the client that are not complete.
    released: BTreeSet<PacketId>,
    /// Whether the client has been sent more than it may have out; then anything may happen.
    overdrawn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    PubAck,
    PubRec,
    PubComp,
    /// PUBREL for a message of an earlier connection.
    Resumed,
}

impl Client {
    pub(super) fn new(connect: &Connect) -> Self {
        Self {
            version: connect.version,
            server_receive_max: u16::MAX,
            is_wild: false,
            is_connected: false,
            split_at: None,
            receive_max: connect
                .receive_max
                .map_or(usize::from(u16::MAX), |max| usize::from(max.get())),
            packet_bytes_max: connect.packet_bytes_max.unwrap_or(u32::MAX),
            alias_max: connect.topic_alias_max,
            problem_information: connect.request_problem_information,
            ended: false,
            open: BTreeMap::new(),
            aliases: BTreeSet::new(),
            unanswered: VecDeque::new(),
            released: BTreeSet::new(),
            overdrawn: false,
        }
    }

    /// Notes what it sends.
    pub(super) fn sends(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish(Publish {
                qos,
                packet_id: Some(packet_id),
                ..
            }) => {
                self.unanswered.push_back((*qos, *packet_id));
                if *qos == QoS::ExactlyOnce {
                    self.released.insert(*packet_id);
                }
                let qos1 = self
                    .unanswered
                    .iter()
                    .filter(|(qos, _)| *qos == QoS::AtLeastOnce)
                    .count();
                self.overdrawn |= qos1 + self.released.len() > usize::from(self.server_receive_max);
            }
            Packet::PubAck(ack) => self.close(ack.packet_id, Open::PubAck),
            Packet::PubRec(ack) if self.open.get(&ack.packet_id) == Some(&Open::PubRec) => {
                if ack.reason.is_error() && self.version == Version::V5 {
                    self.open.remove(&ack.packet_id);
                } else {
                    self.open.insert(ack.packet_id, Open::PubComp);
                }
            }
            Packet::PubComp(ack) => {
                self.close(ack.packet_id, Open::PubComp);
                self.close(ack.packet_id, Open::Resumed);
            }
            _ => {}
        }
    }

    fn close(&mut self, packet_id: PacketId, open: Open) {
        if self.open.get(&packet_id) == Some(&open) {
            self.open.remove(&packet_id);
        }
    }

    /// The right answer to the n-th open message.
    pub(super) fn answer(&self, n: usize) -> Option<Packet> {
        let (packet_id, open) = self.open.iter().nth(n % self.open.len().max(1))?;
        Some(match open {
            Open::PubAck => puback(packet_id.get(), ReasonCode::SUCCESS),
            Open::PubRec => pubrec(packet_id.get(), ReasonCode::SUCCESS),
            Open::PubComp | Open::Resumed => pubcomp(packet_id.get(), ReasonCode::SUCCESS),
        })
    }

    /// Checks what it reads.
    pub(super) fn reads(&mut self, packet: &Packet, bytes: usize) {
        assert!(!self.ended, "{packet:?} after the end"); // [MQTT-3.14.4-1]
        assert!(
            bytes <= self.packet_bytes_max as usize,
            "{packet:?} has {bytes} bytes"
        ); // [MQTT-3.1.2-24]
        let handshake = matches!(packet, Packet::ConnAck(_) | Packet::Auth(_));
        assert!(self.is_connected || handshake, "{packet:?} before CONNACK"); // [MQTT-3.2.0-1]
        match packet {
            Packet::ConnAck(connack) => {
                assert!(!self.is_connected, "a second CONNACK"); // [MQTT-3.2.0-2]
                self.is_connected = connack.reason == ReasonCode::SUCCESS;
                self.ended = !self.is_connected;
            }
            Packet::Publish(publish) => self.receives(publish),
            Packet::PubRel(ack) => {
                let known = self.open.get(&ack.packet_id);
                if known.is_none() && ack.reason == ReasonCode::SUCCESS && self.version == Version::V5 {
                    self.open.insert(ack.packet_id, Open::Resumed);
                }
            }
            Packet::PubAck(ack) => self.is_answered(QoS::AtLeastOnce, ack),
            Packet::PubRec(ack) => self.is_answered(QoS::ExactlyOnce, ack),
            Packet::PubComp(ack) => {
                self.released.remove(&ack.packet_id);
            }
            Packet::Disconnect(disconnect) => {
                assert_eq!(self.version, Version::V5);
                assert_eq!(disconnect.session_expiry_seconds, None); // [MQTT-3.14.2-2]
                let blamed = disconnect.reason == ReasonCode::RECEIVE_MAXIMUM_EXCEEDED;
                assert!(
                    !blamed || self.overdrawn || self.is_wild,
                    "blamed for what it did not do"
                );
                self.ended = true;
            }
            _ => {}
        }
    }

    fn receives(&mut self, publish: &Publish) {
        let Publish {
            dup,
            qos,
            packet_id,
            properties,
            topic,
            ..
        } = publish;
        match properties.topic_alias {
            None => assert!(topic.is_some(), "a PUBLISH without a topic"),
            Some(alias) => {
                assert!(alias <= self.alias_max, "alias {alias}"); // [MQTT-3.1.2-26]
                assert!(
                    topic.is_some() || self.aliases.contains(&alias),
                    "alias {alias} stands for nothing"
                );
                self.aliases.insert(alias);
            }
        }
        let Some(packet_id) = packet_id else {
            assert!(!dup, "DUP with QoS 0"); // [MQTT-3.3.1-2]
            return;
        };
        let open = if *qos == QoS::ExactlyOnce {
            Open::PubRec
        } else {
            Open::PubAck
        };
        let before = self.open.insert(*packet_id, open);
        // What it acknowledged wrongly it may have acknowledged unawares.
        assert!(before.is_none() || self.is_wild, "{packet_id:?} is in use"); // [MQTT-2.2.1-4]
        let out = self.open.values().filter(|open| **open != Open::Resumed).count();
        assert!(out <= self.receive_max || self.is_wild, "{out} messages out"); // [MQTT-3.3.4-9]
    }

    fn is_answered(&mut self, qos: QoS, ack: &Ack) {
        assert!(ack.reason_string.is_none() || self.problem_information); // [MQTT-3.1.2-29]
        if self.is_wild {
            return;
        }
        // [MQTT-4.6.0-2], [MQTT-4.6.0-3]
        assert_eq!(
            self.unanswered.pop_front(),
            Some((qos, ack.packet_id)),
            "answered out of order"
        );
        if qos == QoS::ExactlyOnce && ack.reason.is_error() {
            self.released.remove(&ack.packet_id);
        }
    }
}
