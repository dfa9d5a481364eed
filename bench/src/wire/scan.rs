//! Finds packets in a stream of bytes, wherever it was cut, with the least work per message.
//!
//! Only what is looked at is kept from one read to the next: the beginning of a packet. The rest of a payload is
//! counted, not copied.

use super::{PAYLOAD_BYTES_MIN, Version};

/// What a broker sent, as far as a load cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK with its return or reason code; 0 is success.
    Connack {
        /// The code.
        code: u8,
    },
    /// PUBLISH.
    Publish {
        /// The packet id, 0 at QoS 0.
        id: u16,
        /// When it was sent, as its sender wrote it; 0 in a payload that is too short.
        sent_at: u64,
        /// Who sent it; `u32::MAX` in a payload that is too short.
        source: u32,
    },
    /// PUBACK with its reason code; 0 is success.
    Puback {
        /// The code.
        code: u8,
    },
    /// SUBACK, with the number of filters that were refused.
    Suback {
        /// How many.
        refused: u32,
    },
    /// DISCONNECT with its reason code.
    Disconnect {
        /// The code.
        code: u8,
    },
    /// Anything else.
    Other,
}

/// The stream is not MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// One connection's place in its stream.
#[derive(Debug)]
pub struct Scanner {
    version: Version,
    /// The beginning of a packet of which too little was read to tell what it is.
    begun: Vec<u8>,
    /// Bytes of `ending` that are still to come and of no interest.
    skip: usize,
    ending: Packet,
}

impl Scanner {
    /// At the beginning of a stream.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            begun: Vec::new(),
            skip: 0,
            ending: Packet::Other,
        }
    }

    /// Takes the next bytes and tells every packet that ends in them.
    ///
    /// # Errors
    /// [`Malformed`]: the rest cannot be understood.
    pub fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(Packet)) -> Result<(), Malformed> {
        if self.skip > 0 {
            let taken = self.skip.min(bytes.len());
            self.skip -= taken;
            if self.skip > 0 {
                return Ok(());
            }
            found(self.ending);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        while !self.begun.is_empty() && !bytes.is_empty() {
            bytes = self.go_on(bytes, &mut found)?;
        }
        while !bytes.is_empty() {
            let Some((packet, length)) = look(bytes, self.version)? else {
                self.begun.extend_from_slice(bytes);
                return Ok(());
            };
            match bytes.get(length..) {
                Some(rest) => {
                    found(packet);
                    bytes = rest;
                }
                None => {
                    self.skip = length - bytes.len();
                    self.ending = packet;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Adds a few bytes to the packet that was begun, and returns those that are left.
    fn go_on<'a>(&mut self, bytes: &'a [u8], found: &mut impl FnMut(Packet)) -> Result<&'a [u8], Malformed> {
        const STEP: usize = 64;
        let before = self.begun.len();
        let (step, rest) = bytes.split_at(STEP.min(bytes.len()));
        self.begun.extend_from_slice(step);
        let Some((packet, length)) = look(&self.begun, self.version)? else {
            return Ok(rest);
        };
        self.begun.clear();
        // It ends behind what was there before, otherwise it would have been told then.
        match bytes.get(length - before..) {
            Some(rest) => {
                found(packet);
                Ok(rest)
            }
            None => {
                self.skip = length - before - bytes.len();
                self.ending = packet;
                Ok(&[])
            }
        }
    }
}

/// What the bytes begin with and how long it is in all; `None`: too little to tell.
fn look(bytes: &[u8], version: Version) -> Result<Option<(Packet, usize)>, Malformed> {
    let Some(first) = bytes.first() else {
        return Ok(None);
    };
    let Some((remaining, body_at)) = variable_length(bytes, 1)? else {
        return Ok(None);
    };
    let length = body_at + remaining;
    let packet = match first >> 4 {
        2 => bytes.get(body_at + 1).map(|code| Packet::Connack { code: *code }),
        3 => publish(bytes, *first, body_at, length, version)?,
        4 if remaining > 2 => bytes.get(body_at + 2).map(|code| Packet::Puback { code: *code }),
        4 => Some(Packet::Puback { code: 0 }),
        9 => suback(bytes, body_at, length, version)?,
        14 if remaining > 0 => bytes.get(body_at).map(|code| Packet::Disconnect { code: *code }),
        14 => Some(Packet::Disconnect { code: 0 }),
        _ => Some(Packet::Other),
    };
    if packet.is_none() && bytes.len() >= length {
        // It ends before what it must have.
        return Err(Malformed);
    }
    Ok(packet.map(|packet| (packet, length)))
}

fn publish(
    bytes: &[u8],
    first: u8,
    body_at: usize,
    length: usize,
    version: Version,
) -> Result<Option<Packet>, Malformed> {
    let Some(topic_bytes) = number::<2>(bytes, body_at) else {
        return Ok(None);
    };
    let mut at = body_at + 2 + usize::from(u16::from_be_bytes(topic_bytes));
    let mut id = 0;
    if first & 0x06 != 0 {
        let Some(bytes) = number::<2>(bytes, at) else {
            return Ok(None);
        };
        id = u16::from_be_bytes(bytes);
        at += 2;
    }
    if version == Version::V5 {
        let Some((properties, behind)) = variable_length(bytes, at)? else {
            return Ok(None);
        };
        at = behind + properties;
    }
    if at + PAYLOAD_BYTES_MIN > length {
        let (sent_at, source) = (0, u32::MAX);
        return Ok(Some(Packet::Publish { id, sent_at, source }));
    }
    let (Some(sent_at), Some(source)) = (number::<8>(bytes, at), number::<4>(bytes, at + 8)) else {
        return Ok(None);
    };
    Ok(Some(Packet::Publish {
        id,
        sent_at: u64::from_be_bytes(sent_at),
        source: u32::from_be_bytes(source),
    }))
}

/// Is looked at as a whole: it has a code for every filter.
fn suback(
    bytes: &[u8],
    body_at: usize,
    length: usize,
    version: Version,
) -> Result<Option<Packet>, Malformed> {
    let Some(whole) = bytes.get(..length) else {
        return Ok(None);
    };
    let mut at = body_at + 2;
    if version == Version::V5 {
        let (properties, behind) = variable_length(whole, at)?.ok_or(Malformed)?;
        at = behind + properties;
    }
    let codes = whole.get(at..).ok_or(Malformed)?;
    let refused = codes.iter().filter(|code| **code >= 0x80).count();
    Ok(Some(Packet::Suback {
        refused: u32::try_from(refused).unwrap_or(u32::MAX),
    }))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A variable byte integer and where it ends; `None`: it does not end yet.
fn variable_length(bytes: &[u8], at: usize) -> Result<Option<(usize, usize)>, Malformed> {
    const BYTES_MAX: usize = 4;
    let mut value = 0;
    for index in 0..BYTES_MAX {
        let Some(byte) = bytes.get(at + index) else {
            return Ok(None);
        };
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + index + 1)));
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests;
