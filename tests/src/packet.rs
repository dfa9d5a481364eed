//! Builders for what a client sends, in MQTT 3.1, 3.1.1 and 5.0.
//!
//! Written apart from the broker's codec, so that a mistake common to both ends cannot hide. Strings are bytes: the
//! tests must be able to send ill-formed ones. Nothing is checked here.

use crate::property::{Property, prefixed, properties_bytes, varint};

/// The protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `MQIsdp`, level 3.
    V31,
    /// `MQTT`, level 4.
    V311,
    /// `MQTT`, level 5.
    V5,
}

pub use Version::{V5, V31, V311};

/// The two versions that nearly every rule is tested in.
pub const BOTH: [Version; 2] = [V311, V5];

/// The bytes of one packet, in a version.
pub trait Encode {
    /// The whole packet, fixed header included.
    fn bytes(&self, version: Version) -> Vec<u8>;
}

impl Encode for [u8] {
    fn bytes(&self, _version: Version) -> Vec<u8> {
        self.to_vec()
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn bytes(&self, _version: Version) -> Vec<u8> {
        self.to_vec()
    }
}

impl Encode for Vec<u8> {
    fn bytes(&self, _version: Version) -> Vec<u8> {
        self.clone()
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn bytes(&self, version: Version) -> Vec<u8> {
        (**self).bytes(version)
    }
}

/// A packet from its first byte and its body.
#[must_use]
pub fn frame(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first_byte];
    out.extend(varint(body.len() as u32));
    out.extend(body);
    out
}

fn properties_if_v5(version: Version, properties: &[Property]) -> Vec<u8> {
    if version == V5 {
        properties_bytes(properties)
    } else {
        Vec::new()
    }
}

/// CONNECT (section 3.1). Starts with a clean session and no keep alive.
#[derive(Clone, Debug)]
pub struct Connect {
    pub version: Version,
    pub client_id: Vec<u8>,
    pub clean_start: bool,
    pub keep_alive_seconds: u16,
    pub will: Option<Will>,
    pub username: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub properties: Vec<Property>,
    /// Exclusive or'ed to the connect flags, to send wrong ones.
    pub flags_flipped: u8,
}

/// A CONNECT with a clean session, no keep alive, no will and no credentials.
#[must_use]
pub fn connect(version: Version, client_id: impl AsRef<[u8]>) -> Connect {
    Connect {
        version,
        client_id: client_id.as_ref().to_vec(),
        clean_start: true,
        keep_alive_seconds: 0,
        will: None,
        username: None,
        password: None,
        properties: Vec::new(),
        flags_flipped: 0,
    }
}

impl Connect {
    /// Clean Start 0: resumes the session if there is one. In 5.0 this alone does not keep it afterwards.
    #[must_use]
    pub fn resuming(mut self) -> Self {
        self.clean_start = false;
        self
    }

    /// Lets the session outlive the connection: clean session 0 before 5.0, an hour of session expiry in 5.0.
    #[must_use]
    pub fn lasting(self) -> Self {
        let version = self.version;
        let lasting = self.resuming();
        if version == V5 {
            lasting.property(Property::SessionExpiry(3600))
        } else {
            lasting
        }
    }

    /// Sets the keep alive.
    #[must_use]
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_seconds = seconds;
        self
    }

    /// Adds a will.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Adds a user name.
    #[must_use]
    pub fn username(mut self, name: impl AsRef<[u8]>) -> Self {
        self.username = Some(name.as_ref().to_vec());
        self
    }

    /// Adds a password.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    /// Adds a property; before 5.0 it is not sent.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// Flips bits of the connect flags.
    #[must_use]
    pub fn flip_flags(mut self, bits: u8) -> Self {
        self.flags_flipped ^= bits;
        self
    }

    /// The variable header up to and including the keep alive.
    fn head(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean_start) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.password.is_some()) << 6 | u8::from(self.username.is_some()) << 7;
        let (name, level) = match self.version {
            V31 => ("MQIsdp", 3),
            V311 => ("MQTT", 4),
            V5 => ("MQTT", 5),
        };
        let mut head = prefixed(name);
        head.extend([level, flags ^ self.flags_flipped]);
        head.extend(self.keep_alive_seconds.to_be_bytes());
        head
    }
}

impl Encode for Connect {
    fn bytes(&self, _version: Version) -> Vec<u8> {
        let mut body = self.head();
        body.extend(properties_if_v5(self.version, &self.properties));
        body.extend(prefixed(&self.client_id));
        if let Some(will) = &self.will {
            body.extend(properties_if_v5(self.version, &will.properties));
            body.extend(prefixed(&will.topic));
            body.extend(prefixed(&will.payload));
        }
        for field in [&self.username, &self.password].into_iter().flatten() {
            body.extend(prefixed(field));
        }
        frame(0x10, &body)
    }
}

/// The will of a CONNECT.
#[derive(Clone, Debug)]
pub struct Will {
    pub topic: Vec<u8>,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Vec<Property>,
}

/// A will with QoS 0 that is not retained.
#[must_use]
pub fn will(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Will {
    Will {
        topic: topic.as_ref().to_vec(),
        payload: payload.as_ref().to_vec(),
        qos: 0,
        retain: false,
        properties: Vec::new(),
    }
}

impl Will {
    /// Sets its QoS.
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Has it retained.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Adds a will property.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

/// PUBLISH (section 3.3), to send or to compare.
#[derive(Clone, Debug)]
pub struct Publish {
    pub topic: Vec<u8>,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub packet_id: Option<u16>,
    pub properties: Vec<Property>,
}

/// A PUBLISH with QoS 0 that is not retained.
#[must_use]
pub fn publish(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Publish {
    Publish {
        topic: topic.as_ref().to_vec(),
        payload: payload.as_ref().to_vec(),
        qos: 0,
        retain: false,
        dup: false,
        packet_id: None,
        properties: Vec::new(),
    }
}

impl Publish {
    /// Sets the QoS. The packet needs an `id` too, unless a `Peer` completes it.
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Sets the packet identifier, also where there should be none.
    #[must_use]
    pub fn id(mut self, packet_id: u16) -> Self {
        self.packet_id = Some(packet_id);
        self
    }

    /// Sets RETAIN.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Sets DUP.
    #[must_use]
    pub fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// Adds a property; before 5.0 it is not sent.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

impl Encode for Publish {
    fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = prefixed(&self.topic);
        body.extend(self.packet_id.iter().flat_map(|id| id.to_be_bytes()));
        body.extend(properties_if_v5(version, &self.properties));
        body.extend(&self.payload);
        frame(
            0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain),
            &body,
        )
    }
}

/// SUBSCRIBE (section 3.8).
#[derive(Clone, Debug)]
pub struct Subscribe {
    pub packet_id: u16,
    /// Each filter with its options byte.
    pub filters: Vec<(Vec<u8>, u8)>,
    pub properties: Vec<Property>,
}

/// Subscription option: no local.
pub const NO_LOCAL: u8 = 0x04;
/// Subscription option: retain as published.
pub const RETAIN_AS_PUBLISHED: u8 = 0x08;
/// Subscription option: retained messages only if the subscription is new.
pub const RETAIN_IF_NEW: u8 = 0x10;
/// Subscription option: no retained messages.
pub const RETAIN_NEVER: u8 = 0x20;

/// A SUBSCRIBE without filters yet.
#[must_use]
pub fn subscribe(packet_id: u16) -> Subscribe {
    Subscribe {
        packet_id,
        filters: Vec::new(),
        properties: Vec::new(),
    }
}

impl Subscribe {
    /// Adds a filter; the options are the QoS, or'ed with the constants above.
    #[must_use]
    pub fn filter(mut self, filter: impl AsRef<[u8]>, options: u8) -> Self {
        self.filters.push((filter.as_ref().to_vec(), options));
        self
    }

    /// Adds a property; before 5.0 it is not sent.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

impl Encode for Subscribe {
    fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = self.packet_id.to_be_bytes().to_vec();
        body.extend(properties_if_v5(version, &self.properties));
        for (filter, options) in &self.filters {
            body.extend(prefixed(filter));
            body.push(*options);
        }
        frame(0x82, &body)
    }
}

/// UNSUBSCRIBE (section 3.10).
#[derive(Clone, Debug)]
pub struct Unsubscribe {
    pub packet_id: u16,
    pub filters: Vec<Vec<u8>>,
    pub properties: Vec<Property>,
}

/// An UNSUBSCRIBE without filters yet.
#[must_use]
pub fn unsubscribe(packet_id: u16) -> Unsubscribe {
    Unsubscribe {
        packet_id,
        filters: Vec::new(),
        properties: Vec::new(),
    }
}

impl Unsubscribe {
    /// Adds a filter.
    #[must_use]
    pub fn filter(mut self, filter: impl AsRef<[u8]>) -> Self {
        self.filters.push(filter.as_ref().to_vec());
        self
    }

    /// Adds a property; before 5.0 it is not sent.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

impl Encode for Unsubscribe {
    fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = self.packet_id.to_be_bytes().to_vec();
        body.extend(properties_if_v5(version, &self.properties));
        for filter in &self.filters {
            body.extend(prefixed(filter));
        }
        frame(0xA2, &body)
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (sections 3.4 to 3.7); the short form when there is nothing to say.
#[derive(Clone, Debug)]
pub struct Ack {
    pub first_byte: u8,
    pub packet_id: u16,
    pub reason: u8,
    pub properties: Vec<Property>,
}

fn ack(first_byte: u8, packet_id: u16) -> Ack {
    Ack {
        first_byte,
        packet_id,
        reason: 0,
        properties: Vec::new(),
    }
}

/// PUBACK, reason 0x00.
#[must_use]
pub fn puback(packet_id: u16) -> Ack {
    ack(0x40, packet_id)
}

/// PUBREC, reason 0x00.
#[must_use]
pub fn pubrec(packet_id: u16) -> Ack {
    ack(0x50, packet_id)
}

/// PUBREL, reason 0x00.
#[must_use]
pub fn pubrel(packet_id: u16) -> Ack {
    ack(0x62, packet_id)
}

/// PUBCOMP, reason 0x00.
#[must_use]
pub fn pubcomp(packet_id: u16) -> Ack {
    ack(0x70, packet_id)
}

impl Ack {
    /// Sets the reason code; before 5.0 it is not sent.
    #[must_use]
    pub fn reason(mut self, reason: u8) -> Self {
        self.reason = reason;
        self
    }

    /// Adds a property; before 5.0 it is not sent.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

impl Encode for Ack {
    fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = self.packet_id.to_be_bytes().to_vec();
        if version == V5 && (self.reason != 0 || !self.properties.is_empty()) {
            body.push(self.reason);
            body.extend(properties_bytes(&self.properties));
        }
        frame(self.first_byte, &body)
    }
}

/// PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// DISCONNECT or AUTH (sections 3.14 and 3.15): a reason and properties.
#[derive(Clone, Debug)]
pub struct Notice {
    pub first_byte: u8,
    pub reason: u8,
    pub properties: Vec<Property>,
}

/// DISCONNECT; before 5.0 the reason is not sent.
#[must_use]
pub fn disconnect(reason: u8) -> Notice {
    Notice {
        first_byte: 0xE0,
        reason,
        properties: Vec::new(),
    }
}

/// AUTH with an authentication method.
#[must_use]
pub fn auth(reason: u8, method: &str) -> Notice {
    Notice {
        first_byte: 0xF0,
        reason,
        properties: vec![Property::AuthMethod(method.to_owned())],
    }
}

impl Notice {
    /// Adds a property.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

impl Encode for Notice {
    fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        if version == V5 && (self.reason != 0 || !self.properties.is_empty()) {
            body.push(self.reason);
            body.extend(properties_bytes(&self.properties));
        }
        frame(self.first_byte, &body)
    }
}
