//! Who is to get a message, and what a queue needs to know of it. Small and in the order of time: start-up reads all
//! of these rows, and none of the messages.

use super::{Damaged, Key, Table, open, seal};
use crate::batch::Kept;
use crate::change::Recipient;
use crate::wall::Moment;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Head {
    /// See [`sluice_mqtt::message::Message::wire_bytes`].
    bytes: u32,
    /// Milliseconds since 1970.
    expires_at: Option<u64>,
    recipients: u32,
}

/// The row for a message.
pub(crate) fn recipients_row(seq: u64, kept: &Kept, now: &Moment) -> Result<Vec<u8>, postcard::Error> {
    let head = Head {
        bytes: u32::try_from(kept.message.wire_bytes()).unwrap_or(u32::MAX),
        expires_at: kept.message.expires_at().map(|at| now.milliseconds(at)),
        recipients: u32::try_from(kept.recipients.len()).unwrap_or(u32::MAX),
    };
    let mut value = postcard::to_stdvec(&head)?;
    for recipient in &kept.recipients {
        value = postcard::to_extend(recipient, value)?;
    }
    Ok(seal(Table::Recipients, Key::Number(seq), &value))
}

/// A row that was read, as a series of recipients.
pub(crate) struct RecipientsRow<'a> {
    pub(crate) bytes: u32,
    /// Milliseconds since 1970.
    pub(crate) expires_at: Option<u64>,
    seq: u64,
    left: u32,
    rest: &'a [u8],
}

impl<'a> RecipientsRow<'a> {
    pub(crate) fn read(seq: u64, row: &'a [u8]) -> Result<Self, Damaged> {
        let value = open(Table::Recipients, Key::Number(seq), row)?;
        let (head, rest): (Head, _) = postcard::take_from_bytes(value).map_err(|_| senseless(seq))?;
        Ok(Self {
            bytes: head.bytes,
            expires_at: head.expires_at,
            seq,
            left: head.recipients,
            rest,
        })
    }
}

impl Iterator for RecipientsRow<'_> {
    type Item = Result<Recipient, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let taken = postcard::take_from_bytes(self.rest);
        let Ok((recipient, rest)) = taken else {
            self.left = 0;
            return Some(Err(senseless(self.seq)));
        };
        self.rest = rest;
        Some(Ok(recipient))
    }
}

fn senseless(seq: u64) -> Damaged {
    Damaged::new(Table::Recipients, Key::Number(seq), "it makes no sense")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_mqtt::message::Message;
    use sluice_mqtt::packet::QoS;

    #[test]
    fn recipients_are_read_as_they_were_written() {
        let recipient = |session: u64| Recipient {
            session,
            position: session * 3,
            qos: 1,
            retain: session == 2,
            subscription_ids: vec![5; usize::try_from(session).unwrap()],
        };
        let kept = Kept {
            message: Message::own("t", bytes::Bytes::from_static(b"p"), QoS::AtLeastOnce, false),
            recipients: (0..4).map(recipient).collect(),
        };
        let row = recipients_row(8, &kept, &Moment::now()).unwrap();
        let read = RecipientsRow::read(8, &row).unwrap();
        assert_eq!(read.bytes as usize, kept.message.wire_bytes());
        assert_eq!(read.expires_at, None);
        assert_eq!(read.collect::<Result<Vec<_>, _>>().unwrap(), kept.recipients);
        assert!(RecipientsRow::read(9, &row).is_err());
    }
}
