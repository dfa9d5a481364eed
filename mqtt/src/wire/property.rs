//! Properties (section 2.2.2): the one table of them, and what is built on it.
//!
//! A row of the table gives a property's identifier, the type of its value, the packets that carry it and those in
//! which it may repeat. Decoding, encoding, validation and names all come from the row.

use super::error::{Malformed, Violation, WireError};
use super::primitive::{Counter, Cursor, Sink};
use crate::topic::TopicName;
use std::num::{NonZeroU16, NonZeroU32};

pub use super::forwarded::{ForwardedBuilder, ForwardedProperties, ForwardedProperty};

/// Where properties occur: the packets, and the will in a CONNECT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carrier(u16);

impl Carrier {
    pub(crate) const WILL: Self = Self(1 << 0);
    pub(crate) const CONNECT: Self = Self(1 << 1);
    pub(crate) const CONNACK: Self = Self(1 << 2);
    pub(crate) const PUBLISH: Self = Self(1 << 3);
    pub(crate) const PUBACK: Self = Self(1 << 4);
    pub(crate) const PUBREC: Self = Self(1 << 5);
    pub(crate) const PUBREL: Self = Self(1 << 6);
    pub(crate) const PUBCOMP: Self = Self(1 << 7);
    pub(crate) const SUBSCRIBE: Self = Self(1 << 8);
    pub(crate) const SUBACK: Self = Self(1 << 9);
    pub(crate) const UNSUBSCRIBE: Self = Self(1 << 10);
    pub(crate) const UNSUBACK: Self = Self(1 << 11);
    pub(crate) const DISCONNECT: Self = Self(1 << 14);
    pub(crate) const AUTH: Self = Self(1 << 15);

    const NONE: Self = Self(0);
    const MESSAGE: Self = Self(Self::WILL.0 | Self::PUBLISH.0);
    const SESSION: Self = Self(Self::CONNECT.0 | Self::CONNACK.0);
    const SESSION_AND_END: Self = Self(Self::SESSION.0 | Self::DISCONNECT.0);
    const AUTHENTICATION: Self = Self(Self::SESSION.0 | Self::AUTH.0);
    const REDIRECTION: Self = Self(Self::CONNACK.0 | Self::DISCONNECT.0);
    const SUBSCRIPTION: Self = Self(Self::PUBLISH.0 | Self::SUBSCRIBE.0);
    const ACKS: Self = Self(Self::PUBACK.0 | Self::PUBREC.0 | Self::PUBREL.0 | Self::PUBCOMP.0);
    const ANSWERS: Self =
        Self(Self::ACKS.0 | Self::REDIRECTION.0 | Self::SUBACK.0 | Self::UNSUBACK.0 | Self::AUTH.0);
    const ALL: Self =
        Self(Self::ANSWERS.0 | Self::MESSAGE.0 | Self::CONNECT.0 | Self::SUBSCRIBE.0 | Self::UNSUBSCRIBE.0);

    const fn includes(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A type of property value.
pub(crate) trait Value<'a>: Sized {
    fn take(id: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError>;
    /// Checks what `take` would.
    fn skip(id: u8, cursor: &mut Cursor<'a>) -> Result<(), WireError> {
        Self::take(id, cursor).map(drop)
    }
    fn put(&self, sink: &mut impl Sink);
}

macro_rules! properties {
    ($($(#[$doc:meta])* $id:literal $constant:ident $name:ident($value:ty), $text:literal,
        in $carriers:ident, repeats in $repeats:ident;)*) => {
        $($(#[$doc])* pub const $constant: u8 = $id;)*

        /// One property with its value.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) enum Property<'a> {
            $($name($value),)*
        }

        /// The specification's name of a property.
        #[must_use]
        pub fn name(id: u8) -> &'static str {
            match id {
                $($id => $text,)*
                _ => "Unlisted property",
            }
        }

        /// Who carries it and where it may repeat.
        const fn places(id: u8) -> Option<(Carrier, Carrier)> {
            match id {
                $($id => Some((Carrier::$carriers, Carrier::$repeats)),)*
                _ => None,
            }
        }

        impl<'a> Property<'a> {
            fn take(id: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
                match id {
                    $($id => Value::take(id, cursor).map(Self::$name),)*
                    _ => Err(Malformed::UnknownProperty(u32::from(id)).into()),
                }
            }

            fn skip(id: u8, cursor: &mut Cursor<'a>) -> Result<(), WireError> {
                match id {
                    $($id => <$value as Value>::skip(id, cursor),)*
                    _ => Err(Malformed::UnknownProperty(u32::from(id)).into()),
                }
            }

            /// That the packet it was found in does not carry it.
            pub(crate) fn misplaced(&self) -> WireError {
                let id = match self { $(Self::$name(_) => $id,)* };
                Malformed::PropertyNotAllowed(id).into()
            }

            pub(crate) fn put(&self, sink: &mut impl Sink) {
                match self {
                    $(Self::$name(value) => {
                        sink.put_u8($id);
                        Value::put(value, sink);
                    })*
                }
            }
        }
    };
}

properties! {
    /// Section 3.3.2.3.2
    0x01 PAYLOAD_FORMAT PayloadFormat(bool), "Payload Format Indicator", in MESSAGE, repeats in NONE;
    /// Section 3.3.2.3.3
    0x02 MESSAGE_EXPIRY MessageExpiry(u32), "Message Expiry Interval", in MESSAGE, repeats in NONE;
    /// Section 3.3.2.3.9
    0x03 CONTENT_TYPE ContentType(&'a str), "Content Type", in MESSAGE, repeats in NONE;
    /// Section 3.3.2.3.5
    0x08 RESPONSE_TOPIC ResponseTopic(Topic<'a>), "Response Topic", in MESSAGE, repeats in NONE;
    /// Section 3.3.2.3.6
    0x09 CORRELATION_DATA CorrelationData(&'a [u8]), "Correlation Data", in MESSAGE, repeats in NONE;
    /// Sections 3.8.2.1.2 and 3.3.2.3.8
    0x0B SUBSCRIPTION_ID SubscriptionId(SubscriptionId), "Subscription Identifier", in SUBSCRIPTION, repeats in PUBLISH;
    /// Section 3.1.2.11.2
    0x11 SESSION_EXPIRY SessionExpiry(u32), "Session Expiry Interval", in SESSION_AND_END, repeats in NONE;
    /// Section 3.2.2.3.7
    0x12 ASSIGNED_CLIENT_ID AssignedClientId(&'a str), "Assigned Client Identifier", in CONNACK, repeats in NONE;
    /// Section 3.2.2.3.14
    0x13 SERVER_KEEP_ALIVE ServerKeepAlive(u16), "Server Keep Alive", in CONNACK, repeats in NONE;
    /// Section 3.1.2.11.9
    0x15 AUTH_METHOD AuthMethod(&'a str), "Authentication Method", in AUTHENTICATION, repeats in NONE;
    /// Section 3.1.2.11.10
    0x16 AUTH_DATA AuthData(&'a [u8]), "Authentication Data", in AUTHENTICATION, repeats in NONE;
    /// Section 3.1.2.11.7
    0x17 REQUEST_PROBLEM_INFORMATION RequestProblemInformation(bool), "Request Problem Information", in CONNECT, repeats in NONE;
    /// Section 3.1.3.2.2
    0x18 WILL_DELAY WillDelay(u32), "Will Delay Interval", in WILL, repeats in NONE;
    /// Section 3.1.2.11.6
    0x19 REQUEST_RESPONSE_INFORMATION RequestResponseInformation(bool), "Request Response Information", in CONNECT, repeats in NONE;
    /// Section 3.2.2.3.15
    0x1A RESPONSE_INFORMATION ResponseInformation(&'a str), "Response Information", in CONNACK, repeats in NONE;
    /// Section 3.2.2.3.16
    0x1C SERVER_REFERENCE ServerReference(&'a str), "Server Reference", in REDIRECTION, repeats in NONE;
    /// Section 3.2.2.3.9
    0x1F REASON_STRING ReasonString(&'a str), "Reason String", in ANSWERS, repeats in NONE;
    /// Section 3.1.2.11.3
    0x21 RECEIVE_MAX ReceiveMax(NonZeroU16), "Receive Maximum", in SESSION, repeats in NONE;
    /// Section 3.1.2.11.5
    0x22 TOPIC_ALIAS_MAX TopicAliasMax(u16), "Topic Alias Maximum", in SESSION, repeats in NONE;
    /// Section 3.3.2.3.4
    0x23 TOPIC_ALIAS TopicAlias(NonZeroU16), "Topic Alias", in PUBLISH, repeats in NONE;
    /// Section 3.2.2.3.4
    0x24 QOS_MAX QosMax(bool), "Maximum QoS", in CONNACK, repeats in NONE;
    /// Section 3.2.2.3.5
    0x25 RETAIN_AVAILABLE RetainAvailable(bool), "Retain Available", in CONNACK, repeats in NONE;
    /// Section 3.1.2.11.8
    0x26 USER_PROPERTY User(Pair<'a>), "User Property", in ALL, repeats in ALL;
    /// Section 3.1.2.11.4
    0x27 PACKET_BYTES_MAX PacketBytesMax(NonZeroU32), "Maximum Packet Size", in SESSION, repeats in NONE;
    /// Section 3.2.2.3.11
    0x28 WILDCARD_AVAILABLE WildcardAvailable(bool), "Wildcard Subscription Available", in CONNACK, repeats in NONE;
    /// Section 3.2.2.3.12
    0x29 SUBSCRIPTION_IDS_AVAILABLE SubscriptionIdsAvailable(bool), "Subscription Identifiers Available", in CONNACK, repeats in NONE;
    /// Section 3.2.2.3.13
    0x2A SHARED_AVAILABLE SharedAvailable(bool), "Shared Subscription Available", in CONNACK, repeats in NONE;
}

/// A topic name: no wildcards, not empty [MQTT-3.3.2-14].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Topic<'a>(pub(crate) &'a str);

/// A UTF-8 String Pair (section 1.5.7).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair<'a>(pub(crate) &'a str, pub(crate) &'a str);

/// 1 to 268,435,455, a Variable Byte Integer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SubscriptionId(pub(crate) NonZeroU32);

impl<'a> Value<'a> for bool {
    fn take(id: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        match cursor.take_u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Violation::NotZeroOrOne(id).into()),
        }
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_u8(u8::from(*self));
    }
}

impl<'a> Value<'a> for u16 {
    fn take(_: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        Ok(cursor.take_u16()?)
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_u16(*self);
    }
}

impl<'a> Value<'a> for u32 {
    fn take(_: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        Ok(cursor.take_u32()?)
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_u32(*self);
    }
}

impl<'a> Value<'a> for NonZeroU16 {
    fn take(id: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        Self::new(cursor.take_u16()?).ok_or_else(|| Violation::ZeroProperty(id).into())
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_u16(self.get());
    }
}

impl<'a> Value<'a> for NonZeroU32 {
    fn take(id: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        Self::new(cursor.take_u32()?).ok_or_else(|| Violation::ZeroProperty(id).into())
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_u32(self.get());
    }
}

impl<'a> Value<'a> for SubscriptionId {
    fn take(id: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        let id = NonZeroU32::new(cursor.take_varint()?).ok_or(Violation::ZeroProperty(id))?;
        Ok(Self(id))
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_varint(self.0.get());
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn take(_: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        Ok(cursor.take_binary()?)
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_field(self);
    }
}

impl<'a> Value<'a> for &'a str {
    fn take(_: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        Ok(cursor.take_str()?)
    }
    fn skip(_: u8, cursor: &mut Cursor<'a>) -> Result<(), WireError> {
        Ok(cursor.skip_str()?)
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_field(self.as_bytes());
    }
}

impl<'a> Value<'a> for Topic<'a> {
    fn take(_: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        let topic = cursor.take_str()?;
        TopicName::check(topic.as_bytes()).map_err(Violation::ResponseTopic)?;
        Ok(Self(topic))
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_field(self.0.as_bytes());
    }
}

impl<'a> Value<'a> for Pair<'a> {
    fn take(_: u8, cursor: &mut Cursor<'a>) -> Result<Self, WireError> {
        // [MQTT-1.5.7-1]
        Ok(Self(cursor.take_str()?, cursor.take_str()?))
    }
    fn skip(_: u8, cursor: &mut Cursor<'a>) -> Result<(), WireError> {
        cursor.skip_str()?;
        Ok(cursor.skip_str()?)
    }
    fn put(&self, sink: &mut impl Sink) {
        sink.put_field(self.0.as_bytes());
        sink.put_field(self.1.as_bytes());
    }
}

/// Reads a property block one property at a time, checking every rule of the table.
pub(crate) struct Properties<'a> {
    cursor: Cursor<'a>,
    carrier: Carrier,
    /// Bit n: identifier n has occurred. All identifiers are below 64.
    seen: u64,
}

impl<'a> Properties<'a> {
    pub(crate) fn new(block: &'a [u8], carrier: Carrier) -> Self {
        Self {
            cursor: Cursor::new(block),
            carrier,
            seen: 0,
        }
    }

    /// Takes the length and the block that follows from `cursor`.
    pub(crate) fn take(cursor: &mut Cursor<'a>, carrier: Carrier) -> Result<Self, Malformed> {
        Ok(Self::new(cursor.take_block()?, carrier))
    }

    /// Bytes of the block not yet read.
    pub(crate) fn remaining(&self) -> usize {
        self.cursor.len()
    }

    pub(crate) fn next(&mut self) -> Result<Option<Property<'a>>, WireError> {
        match self.next_id()? {
            Some(id) => self.value(id).map(Some),
            None => Ok(None),
        }
    }

    /// The property that [`Properties::next_id`] has announced.
    pub(crate) fn value(&mut self, id: u8) -> Result<Property<'a>, WireError> {
        Property::take(id, &mut self.cursor)
    }

    /// Checks the property that [`Properties::next_id`] has announced, and steps over it.
    pub(crate) fn skip(&mut self, id: u8) -> Result<(), WireError> {
        Property::skip(id, &mut self.cursor)
    }

    /// Which property is next, one that may stand here.
    pub(crate) fn next_id(&mut self) -> Result<Option<u8>, WireError> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let id = self.cursor.take_varint()?;
        let unknown = Malformed::UnknownProperty(id);
        let id = u8::try_from(id).map_err(|_| unknown)?;
        let (carriers, repeats) = places(id).ok_or(unknown)?;
        if !carriers.includes(self.carrier) {
            return Err(Malformed::PropertyNotAllowed(id).into());
        }
        let bit = 1_u64 << (id & 63);
        if self.seen & bit != 0 && !repeats.includes(self.carrier) {
            return Err(Violation::DuplicateProperty(id).into());
        }
        self.seen |= bit;
        Ok(Some(id))
    }
}

/// Lists properties to a visitor.
type EachProperty<'a> = dyn Fn(&mut dyn FnMut(Property<'_>)) + 'a;

/// Writes a property block with its length: what `each` lists, then `encoded`, which is encoded already.
pub(crate) fn put_block<S: Sink>(sink: &mut S, encoded: &[u8], each: &EachProperty<'_>) {
    let mut counter = Counter::default();
    each(&mut |property| property.put(&mut counter));
    let len = counter.0.saturating_add(encoded.len());
    sink.put_varint(u32::try_from(len).unwrap_or(u32::MAX));
    each(&mut |property| property.put(sink));
    sink.put(encoded);
}

// Every identifier has its own bit in `Properties::seen`.
const _: () = {
    let mut id = 64;
    while id <= 255 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the loop ends at 255; const code has no try_from"
        )]
        let row = places(id as u8);
        assert!(row.is_none());
        id += 1;
    }
};
