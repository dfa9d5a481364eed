//! A message: a head of a few bytes, then topic, forwarded properties and payload as they are.

use super::{CHECKSUM_BYTES, Damaged, Key, Table, checksum, open};
use crate::wall::Moment;
use serde::{Deserialize, Serialize};
use sluice_mqtt::message::{Message, MessageParts};
use sluice_mqtt::packet::QoS;

/// A message about to be written, or just read.
pub(crate) struct MessageRow<'a> {
    head: Vec<u8>,
    sum: [u8; CHECKSUM_BYTES],
    message: &'a Message,
}

#[derive(Serialize, Deserialize)]
struct Head {
    topic_bytes: u32,
    forwarded_bytes: u32,
    qos: u8,
    retain: bool,
    publisher: u64,
    /// Milliseconds since 1970.
    expires_at: Option<u64>,
}

impl<'a> MessageRow<'a> {
    pub(crate) fn new(
        table: Table,
        key: Key<'_>,
        message: &'a Message,
        now: &Moment,
    ) -> Result<Self, postcard::Error> {
        // Both are parts of packets, which are smaller than 256 MiB.
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let head = postcard::to_stdvec(&Head {
            topic_bytes: length(message.topic_bytes()),
            forwarded_bytes: length(message.forwarded()),
            qos: message.qos() as u8,
            retain: message.retain(),
            publisher: message.publisher(),
            expires_at: message.expires_at().map(|at| now.milliseconds(at)),
        })?;
        let pieces = [
            head.as_slice(),
            message.topic_bytes(),
            message.forwarded(),
            message.payload(),
        ];
        let sum = checksum(table, key, &pieces);
        Ok(Self { head, sum, message })
    }

    /// Bytes of the row.
    pub(crate) fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).iter().sum()
    }

    /// Writes the row to where it belongs, which has [`MessageRow::len`] bytes.
    pub(crate) fn write(&self, mut row: &mut [u8]) {
        for piece in self.pieces() {
            let Some((place, behind)) = row.split_at_mut_checked(piece.len()) else {
                debug_assert!(false, "the row has the length that was asked for");
                return;
            };
            place.copy_from_slice(piece);
            row = behind;
        }
    }

    fn pieces(&self) -> [&[u8]; 5] {
        [
            &self.sum,
            &self.head,
            self.message.topic_bytes(),
            self.message.forwarded(),
            self.message.payload(),
        ]
    }

    /// The message in a row.
    pub(crate) fn read(table: Table, key: Key<'_>, row: &[u8], now: &Moment) -> Result<Message, Damaged> {
        let value = open(table, key, row)?;
        decode(value, now).ok_or_else(|| Damaged::new(table, key, "it makes no sense"))
    }
}

fn decode(value: &[u8], now: &Moment) -> Option<Message> {
    let (head, rest): (Head, _) = postcard::take_from_bytes(value).ok()?;
    let (topic, rest) = rest.split_at_checked(head.topic_bytes as usize)?;
    let (forwarded, payload) = rest.split_at_checked(head.forwarded_bytes as usize)?;
    Some(Message::new(MessageParts {
        mountpoint: "",
        topic: std::str::from_utf8(topic).ok()?,
        payload,
        forwarded,
        qos: QoS::new(head.qos)?,
        retain: head.retain,
        publisher: head.publisher,
        expires_at: head.expires_at.and_then(|at| now.instant(at)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn check(payload: &[u8], expires_at: Option<Instant>) {
        let message = Message::new(MessageParts {
            mountpoint: "tenant/",
            topic: "a/é",
            payload,
            forwarded: b"\x01\x01",
            qos: QoS::ExactlyOnce,
            retain: true,
            publisher: 1 << 40,
            expires_at,
        });
        let (table, key, now) = (Table::Messages, Key::Number(9), Moment::now());
        let row = MessageRow::new(table, key, &message, &now).unwrap();
        let mut bytes = vec![0; row.len()];
        row.write(&mut bytes);
        let read = MessageRow::read(table, key, &bytes, &now).unwrap();
        assert_eq!(read.topic(), "tenant/a/é");
        assert_eq!((read.payload(), read.forwarded()), (payload, &b"\x01\x01"[..]));
        assert_eq!(
            (read.qos(), read.retain(), read.publisher()),
            (QoS::ExactlyOnce, true, 1 << 40)
        );
        let differs = match (read.expires_at(), expires_at) {
            (Some(read), Some(at)) => read.max(at) - read.min(at),
            (read, at) => {
                assert_eq!(read, at);
                Duration::ZERO
            }
        };
        assert!(differs < Duration::from_millis(2), "{differs:?}");
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        check(b"", None);
        check(b"payload", Some(Instant::now() + Duration::from_secs(90)));
        check(&[7; 100_000], None);
    }

    #[test]
    fn a_message_that_has_expired_is_still_expired_when_it_is_read() {
        let now = Moment::now();
        let at = now.milliseconds(Instant::now());
        let later = Moment::now();
        assert!(later.instant(at).unwrap() <= Instant::now());
        assert!(later.instant(0).unwrap() <= Instant::now());
    }
}
