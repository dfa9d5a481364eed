//! The properties of a message that a server passes on unchanged: kept encoded, read and built on demand.

use super::error::{Malformed, WireError};
use super::primitive::Sink;
use super::property::{
    Carrier, MESSAGE_EXPIRY, Pair, Properties, Property, SUBSCRIPTION_ID, TOPIC_ALIAS, Topic, WILL_DELAY,
};
use crate::limits::FIELD_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// One property of a message that is passed on unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedProperty<'a> {
    /// Payload Format Indicator: 0 unspecified, 1 UTF-8.
    PayloadFormat(u8),
    /// Content Type.
    ContentType(&'a str),
    /// Response Topic, without wildcards.
    ResponseTopic(&'a str),
    /// Correlation Data.
    CorrelationData(&'a [u8]),
    /// User Property: name and value.
    User(&'a str, &'a str),
}

/// Iterates over [`crate::packet::PublishProperties::forwarded`] in the order it was sent.
///
/// The codec and [`ForwardedBuilder`] only make valid blocks; bytes from elsewhere end the iteration where they stop
/// making sense.
pub struct ForwardedProperties<'a> {
    properties: Properties<'a>,
}

impl<'a> ForwardedProperties<'a> {
    /// Reads an encoded block, without its length prefix.
    #[must_use]
    pub fn new(forwarded: &'a [u8]) -> Self {
        Self {
            properties: Properties::new(forwarded, Carrier::PUBLISH),
        }
    }
}

impl<'a> Iterator for ForwardedProperties<'a> {
    type Item = ForwardedProperty<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.properties.next().ok()?? {
            Property::PayloadFormat(utf8) => ForwardedProperty::PayloadFormat(u8::from(utf8)),
            Property::ContentType(text) => ForwardedProperty::ContentType(text),
            Property::ResponseTopic(Topic(topic)) => ForwardedProperty::ResponseTopic(topic),
            Property::CorrelationData(data) => ForwardedProperty::CorrelationData(data),
            Property::User(Pair(name, value)) => ForwardedProperty::User(name, value),
            _ => return None,
        })
    }
}

/// Encodes forwarded properties, for messages that did not come from the wire.
#[derive(Debug, Default)]
pub struct ForwardedBuilder {
    encoded: BytesMut,
    too_long: bool,
}

impl ForwardedBuilder {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one property; whether it may stand there is checked by [`ForwardedBuilder::finish`].
    pub fn push(&mut self, property: ForwardedProperty<'_>) -> &mut Self {
        let encoded = &mut self.encoded;
        let len = match property {
            ForwardedProperty::PayloadFormat(format) => {
                encoded.put_u8(super::property::PAYLOAD_FORMAT);
                encoded.put_u8(format);
                1
            }
            ForwardedProperty::ContentType(text) => {
                Property::ContentType(text).put(encoded);
                text.len()
            }
            ForwardedProperty::ResponseTopic(topic) => {
                Property::ResponseTopic(Topic(topic)).put(encoded);
                topic.len()
            }
            ForwardedProperty::CorrelationData(data) => {
                Property::CorrelationData(data).put(encoded);
                data.len()
            }
            ForwardedProperty::User(name, value) => {
                Property::User(Pair(name, value)).put(encoded);
                name.len().max(value.len())
            }
        };
        self.too_long |= len > FIELD_BYTES_MAX;
        self
    }

    /// The encoded block, proved to be one that a client could have sent.
    ///
    /// # Errors
    /// What decoding it from a PUBLISH would report: a property twice, wildcards in the response topic, U+0000, a
    /// payload format above 1; [`Malformed::Truncated`] for a value above 65,535 bytes.
    pub fn finish(&mut self) -> Result<Bytes, WireError> {
        let too_long = std::mem::take(&mut self.too_long);
        let encoded = self.encoded.split().freeze();
        if too_long {
            return Err(Malformed::Truncated.into());
        }
        let mut properties = Properties::new(&encoded, Carrier::PUBLISH);
        while properties.next()?.is_some() {}
        Ok(encoded)
    }
}

/// What a property block of a PUBLISH or of a will says to the server, and the part it passes on.
#[derive(Default)]
pub(crate) struct MessageProperties {
    pub(crate) forwarded: Forwarded,
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) alias: Option<u16>,
    pub(crate) delay_seconds: u32,
    pub(crate) subscription_ids: Vec<u32>,
}

/// The properties of a message that are not passed on.
const FOR_SERVER: [u8; 4] = [MESSAGE_EXPIRY, TOPIC_ALIAS, WILL_DELAY, SUBSCRIPTION_ID];

/// Where the properties to forward are.
#[derive(Default)]
pub(crate) enum Forwarded {
    /// There are none.
    #[default]
    None,
    /// They are this part of the block.
    Part(Range<usize>),
    /// Properties for the server stood between them: copied together.
    Copied(Bytes),
}

impl Forwarded {
    /// The properties, shared with the frame that `block` is a part of.
    pub(crate) fn into_bytes(self, frame: &Bytes, block: &[u8]) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::Part(part) => frame.slice_ref(block.get(part).unwrap_or_default()),
            Self::Copied(bytes) => bytes,
        }
    }
}

/// Validates the block. Allocates only for subscription identifiers and where properties for the server stand between
/// those to forward: then the latter are copied together.
pub(crate) fn take_message_properties(
    block: &[u8],
    carrier: Carrier,
) -> Result<MessageProperties, WireError> {
    let mut found = MessageProperties::default();
    let mut properties = Properties::new(block, carrier);
    let mut runs = Runs::default();
    loop {
        let start = block.len() - properties.remaining();
        let Some(id) = properties.next_id()? else { break };
        if !FOR_SERVER.contains(&id) {
            properties.skip(id)?;
            runs.extend(start, block.len() - properties.remaining());
            continue;
        }
        match properties.value(id)? {
            Property::MessageExpiry(seconds) => found.expiry_seconds = Some(seconds),
            Property::TopicAlias(alias) => found.alias = Some(alias.get()),
            Property::WillDelay(seconds) => found.delay_seconds = seconds,
            Property::SubscriptionId(id) => found.subscription_ids.push(id.0.get()),
            other => return Err(other.misplaced()),
        }
    }
    found.forwarded = match runs {
        Runs { count: 0, .. } => Forwarded::None,
        Runs { count: 1, start, end } => Forwarded::Part(start..end),
        Runs { .. } => Forwarded::Copied(copy_forwarded(block, carrier)?),
    };
    Ok(found)
}

/// Stretches of neighbouring properties to forward: how many, and the bounds of the last.
#[derive(Default)]
struct Runs {
    count: usize,
    start: usize,
    end: usize,
}

impl Runs {
    fn extend(&mut self, start: usize, end: usize) {
        if self.count == 0 || self.end != start {
            self.count += 1;
            self.start = start;
        }
        self.end = end;
    }
}

fn copy_forwarded(block: &[u8], carrier: Carrier) -> Result<Bytes, WireError> {
    let mut copy = BytesMut::with_capacity(block.len());
    let mut properties = Properties::new(block, carrier);
    while let Some(property) = properties.next()? {
        if !matches!(
            property,
            Property::MessageExpiry(_)
                | Property::TopicAlias(_)
                | Property::WillDelay(_)
                | Property::SubscriptionId(_)
        ) {
            property.put(&mut copy);
        }
    }
    Ok(copy.freeze())
}
