//! What a server sends, decoded strictly: every packet that reaches a test has passed these checks.
//!
//! Fixed-header flags, lengths, UTF-8, which properties a packet may carry and how often, and the reason codes listed
//! for it are all checked here, so each test of the suite is a test of them too.

use crate::packet::{V5, Version};
use crate::property::{Property, decode_properties};
use crate::reader::Reader;

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    ConnAck(ConnAck),
    Publish(Delivered),
    PubAck(Acked),
    PubRec(Acked),
    PubRel(Acked),
    PubComp(Acked),
    SubAck(Codes),
    UnsubAck(Codes),
    PingResp,
    Disconnect(Notified),
    Auth(Notified),
}

/// CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    pub session_present: bool,
    /// Return code before 5.0, reason code in 5.0.
    pub code: u8,
    pub properties: Vec<Property>,
}

/// PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    /// 0 for QoS 0.
    pub packet_id: u16,
    pub properties: Vec<Property>,
    /// Of the whole packet, fixed header included.
    pub wire_bytes: usize,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    pub packet_id: u16,
    pub reason: u8,
    pub properties: Vec<Property>,
}

/// SUBACK or UNSUBACK; the latter has no codes before 5.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    pub packet_id: u16,
    pub codes: Vec<u8>,
    pub properties: Vec<Property>,
}

/// DISCONNECT or AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    pub reason: u8,
    pub properties: Vec<Property>,
}

impl Delivered {
    /// The subscription identifiers, ascending.
    #[must_use]
    pub fn subscription_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self
            .properties
            .iter()
            .filter_map(|property| {
                if let Property::SubscriptionId(id) = property {
                    Some(*id)
                } else {
                    None
                }
            })
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The remaining message expiry, if the message has one.
    #[must_use]
    pub fn expiry_seconds(&self) -> Option<u32> {
        self.properties.iter().find_map(|property| match property {
            Property::MessageExpiry(seconds) => Some(*seconds),
            _ => None,
        })
    }

    /// The topic alias, if the packet has one.
    #[must_use]
    pub fn alias(&self) -> Option<u16> {
        self.properties.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(*alias),
            _ => None,
        })
    }
}

const CONNACK_REASONS: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99,
    0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
const CONNACK_PROPERTIES: &[u8] = &[
    0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A,
];
const PUBLISH_PROPERTIES: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26];
const RECEIPT_REASONS: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const RELEASE_REASONS: &[u8] = &[0x00, 0x92];
const SUBACK_REASONS: &[u8] = &[
    0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
];
const UNSUBACK_REASONS: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
const DISCONNECT_REASONS: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
    0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
const AUTH_REASONS: &[u8] = &[0x00, 0x18];
/// Reason String and User Property.
const PROBLEM_PROPERTIES: &[u8] = &[0x1F, 0x26];

impl Reply {
    /// Decodes the packet at the start of `buffer` and takes its bytes out; `None`: more bytes are needed.
    ///
    /// # Errors
    /// What is wrong with the packet.
    pub fn decode(buffer: &mut Vec<u8>, version: Version) -> Result<Option<Self>, String> {
        let Some(header_bytes) = buffer
            .iter()
            .skip(1)
            .take(4)
            .position(|byte| byte & 0x80 == 0)
            .map(|at| at + 2)
        else {
            return if buffer.len() > 4 {
                Err("a remaining length has more than four bytes".to_owned())
            } else {
                Ok(None)
            };
        };
        let remaining = Reader::new(&buffer[1..header_bytes]).varint()? as usize;
        if buffer.len() < header_bytes + remaining {
            return Ok(None);
        }
        let packet: Vec<u8> = buffer.drain(..header_bytes + remaining).collect();
        let mut body = Reader::new(&packet[header_bytes..]);
        let reply = decode_body(packet[0], &mut body, version, packet.len())?;
        if !body.is_empty() {
            return Err(format!("{} bytes too many at the end", body.rest().len()));
        }
        Ok(Some(reply))
    }

    /// Whether it has a reason string or user properties although it is none of the packets that may always have
    /// them: PUBLISH, CONNACK and DISCONNECT [MQTT-3.1.2-29].
    #[must_use]
    pub fn explains(&self) -> bool {
        let properties = match self {
            Self::PubAck(acked) | Self::PubRec(acked) | Self::PubRel(acked) | Self::PubComp(acked) => {
                &acked.properties
            }
            Self::SubAck(codes) | Self::UnsubAck(codes) => &codes.properties,
            Self::Auth(notified) => &notified.properties,
            Self::ConnAck(_) | Self::Publish(_) | Self::PingResp | Self::Disconnect(_) => return false,
        };
        properties
            .iter()
            .any(|property| matches!(property, Property::ReasonString(_) | Property::User(..)))
    }
}

fn decode_body(
    first_byte: u8,
    body: &mut Reader<'_>,
    version: Version,
    wire_bytes: usize,
) -> Result<Reply, String> {
    Ok(match first_byte {
        0x20 => Reply::ConnAck(decode_connack(body, version)?),
        0x30..=0x3F => Reply::Publish(decode_publish(first_byte, body, version, wire_bytes)?),
        0x40 => Reply::PubAck(decode_ack(body, version, RECEIPT_REASONS)?),
        0x50 => Reply::PubRec(decode_ack(body, version, RECEIPT_REASONS)?),
        0x62 => Reply::PubRel(decode_ack(body, version, RELEASE_REASONS)?),
        0x70 => Reply::PubComp(decode_ack(body, version, RELEASE_REASONS)?),
        0x90 if version == V5 => Reply::SubAck(decode_codes(body, version, SUBACK_REASONS)?),
        0x90 => Reply::SubAck(decode_codes(body, version, &[0x00, 0x01, 0x02, 0x80])?),
        0xB0 if version == V5 => Reply::UnsubAck(decode_codes(body, version, UNSUBACK_REASONS)?),
        0xB0 => Reply::UnsubAck(decode_codes(body, version, &[])?),
        0xD0 => Reply::PingResp,
        0xE0 if version == V5 => {
            Reply::Disconnect(decode_notice(body, DISCONNECT_REASONS, &[0x1C, 0x1F, 0x26])?)
        }
        0xF0 if version == V5 => Reply::Auth(decode_notice(body, AUTH_REASONS, &[0x15, 0x16, 0x1F, 0x26])?),
        other => {
            return Err(format!(
                "a server must not send a packet that begins with 0x{other:02X}"
            ));
        }
    })
}

fn listed(reason: u8, reasons: &[u8]) -> Result<u8, String> {
    if reasons.contains(&reason) {
        Ok(reason)
    } else {
        Err(format!("reason 0x{reason:02X} is not listed for this packet"))
    }
}

fn decode_connack(body: &mut Reader<'_>, version: Version) -> Result<ConnAck, String> {
    let flags = body.u8()?;
    if flags > 1 {
        return Err(format!("CONNACK flags 0x{flags:02X}: bits 7 to 1 must be zero"));
    }
    let code = body.u8()?;
    let properties = if version == V5 {
        decode_properties(body, CONNACK_PROPERTIES)?
    } else {
        Vec::new()
    };
    listed(
        code,
        if version == V5 {
            CONNACK_REASONS
        } else {
            &[0, 1, 2, 3, 4, 5]
        },
    )?;
    if code != 0 && flags != 0 {
        return Err("a refusing CONNACK says that a session is present".to_owned());
    }
    Ok(ConnAck {
        session_present: flags == 1,
        code,
        properties,
    })
}

fn decode_publish(
    first: u8,
    body: &mut Reader<'_>,
    version: Version,
    wire_bytes: usize,
) -> Result<Delivered, String> {
    let qos = first >> 1 & 3;
    let dup = first & 0x08 != 0;
    if qos == 3 || (qos == 0 && dup) {
        return Err(format!("PUBLISH begins with 0x{first:02X}: QoS {qos}, DUP {dup}"));
    }
    let topic = body.string()?;
    if topic.contains(['+', '#']) {
        return Err(format!("the topic name {topic:?} contains a wildcard"));
    }
    let packet_id = if qos > 0 { body.u16()? } else { 0 };
    if qos > 0 && packet_id == 0 {
        return Err("a PUBLISH with QoS > 0 has packet identifier 0".to_owned());
    }
    let properties = if version == V5 {
        decode_properties(body, PUBLISH_PROPERTIES)?
    } else {
        Vec::new()
    };
    let has_alias = properties
        .iter()
        .any(|property| matches!(property, Property::TopicAlias(_)));
    if topic.is_empty() && !has_alias {
        return Err("a PUBLISH has neither topic nor alias".to_owned());
    }
    let payload = body.rest().to_vec();
    Ok(Delivered {
        topic,
        payload,
        qos,
        retain: first & 1 == 1,
        dup,
        packet_id,
        properties,
        wire_bytes,
    })
}

fn decode_ack(body: &mut Reader<'_>, version: Version, reasons: &[u8]) -> Result<Acked, String> {
    let packet_id = body.u16()?;
    let mut acked = Acked {
        packet_id,
        reason: 0,
        properties: Vec::new(),
    };
    if version == V5 && !body.is_empty() {
        acked.reason = listed(body.u8()?, reasons)?;
        if !body.is_empty() {
            acked.properties = decode_properties(body, PROBLEM_PROPERTIES)?;
        }
    }
    Ok(acked)
}

fn decode_codes(body: &mut Reader<'_>, version: Version, reasons: &[u8]) -> Result<Codes, String> {
    let packet_id = body.u16()?;
    let properties = if version == V5 {
        decode_properties(body, PROBLEM_PROPERTIES)?
    } else {
        Vec::new()
    };
    let codes = body.rest().to_vec();
    for code in &codes {
        listed(*code, reasons)?;
    }
    Ok(Codes {
        packet_id,
        codes,
        properties,
    })
}

fn decode_notice(body: &mut Reader<'_>, reasons: &[u8], allowed: &[u8]) -> Result<Notified, String> {
    let mut notified = Notified {
        reason: 0,
        properties: Vec::new(),
    };
    if !body.is_empty() {
        notified.reason = listed(body.u8()?, reasons)?;
        if !body.is_empty() {
            notified.properties = decode_properties(body, allowed)?;
        }
    }
    Ok(notified)
}
