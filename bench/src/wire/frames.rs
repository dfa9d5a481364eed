//! Packets that clients send. Whatever is sent often is encoded once and copied.

use super::PAYLOAD_BYTES_MIN;

/// The version of MQTT that the load speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V311,
    /// 5.0.
    V5,
}

/// A user name and a password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// DISCONNECT without a reason, the same in all versions.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// So long that no client has to say anything in a run. 0 would be none at all, which rumqttd refuses.
const KEEP_ALIVE_SECONDS: u16 = u16::MAX;
/// The flag of a session that begins and ends with its connection.
const CLEAN: u8 = 0x02;
const SESSION_EXPIRY_SECONDS: u32 = 3600;

/// CONNECT with a clean session and the longest keep alive.
pub fn connect(version: Version, client_id: &str, credentials: Option<&Credentials>) -> Vec<u8> {
    connect_with(version, client_id, credentials, CLEAN, &[])
}

/// CONNECT that goes on with the session of that name, or begins one that stays for an hour without its client.
pub fn connect_kept(version: Version, client_id: &str, credentials: Option<&Credentials>) -> Vec<u8> {
    let [a, b, c, d] = SESSION_EXPIRY_SECONDS.to_be_bytes();
    connect_with(version, client_id, credentials, 0, &[0x11, a, b, c, d])
}

/// Properties are left out where the version has none.
fn connect_with(
    version: Version,
    client_id: &str,
    credentials: Option<&Credentials>,
    flags: u8,
    properties: &[u8],
) -> Vec<u8> {
    const USER_AND_PASSWORD: u8 = 0xC0;
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.push(match version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    body.push(if credentials.is_some() {
        flags | USER_AND_PASSWORD
    } else {
        flags
    });
    body.extend(KEEP_ALIVE_SECONDS.to_be_bytes());
    if version == Version::V5 {
        remaining_length(&mut body, properties.len());
        body.extend_from_slice(properties);
    }
    text(&mut body, client_id.as_bytes());
    if let Some(credentials) = credentials {
        text(&mut body, credentials.user.as_bytes());
        text(&mut body, credentials.password.as_bytes());
    }
    packet(0x10, &body)
}

/// SUBSCRIBE to these filters, all at one QoS.
pub fn subscribe<S: AsRef<str>>(
    version: Version,
    id: u16,
    filters: impl IntoIterator<Item = S>,
    qos: u8,
) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    no_properties(&mut body, version);
    for filter in filters {
        text(&mut body, filter.as_ref().as_bytes());
        body.push(qos);
    }
    packet(0x82, &body)
}

/// PUBACK, success in all versions.
pub fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

/// A PUBLISH that is sent again and again: only its packet id and the time in its payload change.
#[derive(Clone, Debug)]
pub struct Message {
    /// Up to where the packet id goes.
    head: Vec<u8>,
    has_id: bool,
    /// From behind the packet id to the payload.
    middle: Vec<u8>,
    /// The payload behind the time.
    rest: Vec<u8>,
}

impl Message {
    /// A message of `source`. The payload has at least [`PAYLOAD_BYTES_MIN`] bytes.
    pub fn new(version: Version, topic: &str, qos: u8, payload_bytes: usize, source: u32) -> Self {
        let mut variable = Vec::new();
        text(&mut variable, topic.as_bytes());
        let mut middle = Vec::new();
        no_properties(&mut middle, version);
        let payload_bytes = payload_bytes.max(PAYLOAD_BYTES_MIN);
        let has_id = qos > 0;
        let body_bytes = variable.len() + if has_id { 2 } else { 0 } + middle.len() + payload_bytes;
        let mut head = vec![0x30 | (qos << 1)];
        remaining_length(&mut head, body_bytes);
        head.append(&mut variable);
        let mut rest = source.to_be_bytes().to_vec();
        rest.resize(payload_bytes - size_of::<u64>(), b'.');
        Self {
            head,
            has_id,
            middle,
            rest,
        }
    }

    /// The same, to be retained.
    #[must_use]
    pub fn retained(mut self) -> Self {
        if let Some(first) = self.head.first_mut() {
            *first |= 0x01;
        }
        self
    }

    /// Appends the packet. The id is left out at QoS 0.
    pub fn append_to(&self, out: &mut Vec<u8>, id: u16, sent_at: u64) {
        out.extend_from_slice(&self.head);
        if self.has_id {
            out.extend_from_slice(&id.to_be_bytes());
        }
        out.extend_from_slice(&self.middle);
        out.extend_from_slice(&sent_at.to_be_bytes());
        out.extend_from_slice(&self.rest);
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    remaining_length(&mut packet, body.len());
    packet.extend_from_slice(body);
    packet
}

fn no_properties(out: &mut Vec<u8>, version: Version) {
    if version == Version::V5 {
        out.push(0);
    }
}

/// A string of MQTT; our topics and names are far shorter than 64 KiB.
fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7F).unwrap_or_default();
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_has_the_longest_keep_alive_and_a_clean_session() {
        assert_eq!(
            connect(Version::V311, "ab", None),
            b"\x10\x0E\x00\x04MQTT\x04\x02\xFF\xFF\x00\x02ab"
        );
        assert_eq!(
            connect(Version::V5, "ab", None),
            b"\x10\x0F\x00\x04MQTT\x05\x02\xFF\xFF\x00\x00\x02ab"
        );
    }

    #[test]
    fn a_session_that_is_kept_is_not_clean() {
        assert_eq!(
            connect_kept(Version::V311, "ab", None),
            b"\x10\x0E\x00\x04MQTT\x04\x00\xFF\xFF\x00\x02ab"
        );
        assert_eq!(
            connect_kept(Version::V5, "ab", None),
            b"\x10\x14\x00\x04MQTT\x05\x00\xFF\xFF\x05\x11\x00\x00\x0E\x10\x00\x02ab"
        );
    }

    #[test]
    fn credentials_follow_the_client_id() {
        let credentials = Credentials {
            user: "u".into(),
            password: "pw".into(),
        };
        let packet = connect(Version::V311, "c", Some(&credentials));
        assert_eq!(packet[9], 0xC2);
        assert!(packet.ends_with(b"\x00\x01c\x00\x01u\x00\x02pw"));
    }

    #[test]
    fn subscribe_lists_its_filters() {
        assert_eq!(
            subscribe(Version::V311, 7, ["a/+", "b"], 1),
            b"\x82\x0C\x00\x07\x00\x03a/+\x01\x00\x01b\x01"
        );
        assert_eq!(
            subscribe(Version::V5, 7, ["b"], 0),
            b"\x82\x07\x00\x07\x00\x00\x01b\x00"
        );
    }

    #[test]
    fn a_message_carries_its_time_and_source() {
        let mut out = Vec::new();
        Message::new(Version::V311, "t", 0, 14, 9).append_to(&mut out, 5, 0x0102);
        assert_eq!(out, b"\x30\x11\x00\x01t\0\0\0\0\0\0\x01\x02\0\0\0\x09..");
        out.clear();
        Message::new(Version::V5, "t", 1, 0, 9)
            .retained()
            .append_to(&mut out, 5, 0);
        assert_eq!(out, b"\x33\x12\x00\x01t\x00\x05\x00\0\0\0\0\0\0\0\0\0\0\0\x09");
    }

    #[test]
    fn long_packets_have_long_lengths() {
        let mut out = Vec::new();
        Message::new(Version::V311, "t", 0, 1024, 0).append_to(&mut out, 0, 0);
        assert_eq!(&out[..3], [0x30, 0x83, 0x08]);
        assert_eq!(out.len(), 3 + 3 + 1024);
    }
}
