//! The properties of MQTT 5.0 (section 2.2.2), written from the specification and apart from the broker's own codec.

use crate::reader::Reader;
use Property::*;

/// One property. `Raw` exists to send what no honest client would.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the specification's.
pub enum Property {
    PayloadFormat(u8),
    MessageExpiry(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    SubscriptionId(u32),
    SessionExpiry(u32),
    AssignedClientId(String),
    ServerKeepAlive(u16),
    AuthMethod(String),
    AuthData(Vec<u8>),
    RequestProblemInformation(u8),
    WillDelay(u32),
    RequestResponseInformation(u8),
    ResponseInformation(String),
    ServerReference(String),
    ReasonString(String),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(u8),
    User(String, String),
    MaximumPacketSize(u32),
    WildcardAvailable(u8),
    SubscriptionIdAvailable(u8),
    SharedAvailable(u8),
    /// Bytes that stand where a property would, identifier included.
    Raw(Vec<u8>),
}

impl Property {
    /// The property identifier; 0 for raw bytes.
    #[must_use]
    pub fn id(&self) -> u8 {
        match self {
            PayloadFormat(_) => 0x01,
            MessageExpiry(_) => 0x02,
            ContentType(_) => 0x03,
            ResponseTopic(_) => 0x08,
            CorrelationData(_) => 0x09,
            SubscriptionId(_) => 0x0B,
            SessionExpiry(_) => 0x11,
            AssignedClientId(_) => 0x12,
            ServerKeepAlive(_) => 0x13,
            AuthMethod(_) => 0x15,
            AuthData(_) => 0x16,
            RequestProblemInformation(_) => 0x17,
            WillDelay(_) => 0x18,
            RequestResponseInformation(_) => 0x19,
            ResponseInformation(_) => 0x1A,
            ServerReference(_) => 0x1C,
            ReasonString(_) => 0x1F,
            ReceiveMaximum(_) => 0x21,
            TopicAliasMaximum(_) => 0x22,
            TopicAlias(_) => 0x23,
            MaximumQos(_) => 0x24,
            RetainAvailable(_) => 0x25,
            User(..) => 0x26,
            MaximumPacketSize(_) => 0x27,
            WildcardAvailable(_) => 0x28,
            SubscriptionIdAvailable(_) => 0x29,
            SharedAvailable(_) => 0x2A,
            Raw(_) => 0,
        }
    }

    /// Its bytes, identifier first.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        if let Raw(bytes) = self {
            return bytes.clone();
        }
        let mut out = vec![self.id()];
        match self {
            PayloadFormat(v)
            | RequestProblemInformation(v)
            | RequestResponseInformation(v)
            | MaximumQos(v)
            | RetainAvailable(v)
            | WildcardAvailable(v)
            | SubscriptionIdAvailable(v)
            | SharedAvailable(v) => out.push(*v),
            ServerKeepAlive(v) | ReceiveMaximum(v) | TopicAliasMaximum(v) | TopicAlias(v) => {
                out.extend(v.to_be_bytes());
            }
            MessageExpiry(v) | SessionExpiry(v) | WillDelay(v) | MaximumPacketSize(v) => {
                out.extend(v.to_be_bytes());
            }
            SubscriptionId(v) => out.extend(varint(*v)),
            ContentType(v) | ResponseTopic(v) | AssignedClientId(v) | AuthMethod(v) => {
                out.extend(prefixed(v))
            }
            ResponseInformation(v) | ServerReference(v) | ReasonString(v) => out.extend(prefixed(v)),
            CorrelationData(v) | AuthData(v) => out.extend(prefixed(v)),
            User(name, value) => {
                out.extend(prefixed(name));
                out.extend(prefixed(value));
            }
            Raw(_) => {}
        }
        out
    }
}

/// Property length and properties, as they stand in a packet.
#[must_use]
pub fn properties_bytes(properties: &[Property]) -> Vec<u8> {
    let body: Vec<u8> = properties.iter().flat_map(Property::bytes).collect();
    let mut out = varint(body.len() as u32);
    out.extend(body);
    out
}

/// A variable byte integer in its shortest form (section 1.5.5).
#[must_use]
pub fn varint(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// Two bytes of length, then the bytes: a string or binary data (sections 1.5.4 and 1.5.6).
#[must_use]
pub fn prefixed(value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut out = u16::try_from(value.len())
        .expect("fits in 65,535 bytes")
        .to_be_bytes()
        .to_vec();
    out.extend(value);
    out
}

/// Reads a property block; `allowed` lists the identifiers this packet may carry. What may appear only once must.
pub(crate) fn decode_properties(reader: &mut Reader<'_>, allowed: &[u8]) -> Result<Vec<Property>, String> {
    let length = reader.varint()? as usize;
    let mut block = Reader::new(reader.take(length)?);
    let mut properties: Vec<Property> = Vec::new();
    while !block.is_empty() {
        let property = decode_property(&mut block)?;
        if !allowed.contains(&property.id()) {
            return Err(format!("{property:?} is not allowed in this packet"));
        }
        let repeatable = matches!(property, User(..) | SubscriptionId(_));
        if !repeatable && properties.iter().any(|other| other.id() == property.id()) {
            return Err(format!("{property:?} appears twice"));
        }
        properties.push(property);
    }
    Ok(properties)
}

fn decode_property(block: &mut Reader<'_>) -> Result<Property, String> {
    let property = match block.u8()? {
        0x01 => PayloadFormat(block.u8()?),
        0x02 => MessageExpiry(block.u32()?),
        0x03 => ContentType(block.string()?),
        0x08 => ResponseTopic(block.string()?),
        0x09 => CorrelationData(block.binary()?),
        0x0B => SubscriptionId(block.varint()?),
        0x11 => SessionExpiry(block.u32()?),
        0x12 => AssignedClientId(block.string()?),
        0x13 => ServerKeepAlive(block.u16()?),
        0x15 => AuthMethod(block.string()?),
        0x16 => AuthData(block.binary()?),
        0x1A => ResponseInformation(block.string()?),
        0x1C => ServerReference(block.string()?),
        0x1F => ReasonString(block.string()?),
        0x21 => ReceiveMaximum(block.u16()?),
        0x22 => TopicAliasMaximum(block.u16()?),
        0x23 => TopicAlias(block.u16()?),
        0x24 => MaximumQos(block.u8()?),
        0x25 => RetainAvailable(block.u8()?),
        0x26 => User(block.string()?, block.string()?),
        0x27 => MaximumPacketSize(block.u32()?),
        0x28 => WildcardAvailable(block.u8()?),
        0x29 => SubscriptionIdAvailable(block.u8()?),
        0x2A => SharedAvailable(block.u8()?),
        id => return Err(format!("a server never sends property 0x{id:02X}")),
    };
    let zero_or_one = match &property {
        PayloadFormat(v) | MaximumQos(v) | RetainAvailable(v) | WildcardAvailable(v) => Some(*v),
        SubscriptionIdAvailable(v) | SharedAvailable(v) => Some(*v),
        _ => None,
    };
    if zero_or_one.is_some_and(|value| value > 1) {
        return Err(format!("{property:?} is neither 0 nor 1"));
    }
    if matches!(
        property,
        ReceiveMaximum(0) | MaximumPacketSize(0) | SubscriptionId(0) | TopicAlias(0)
    ) {
        return Err(format!("{property:?} must not be zero"));
    }
    Ok(property)
}
