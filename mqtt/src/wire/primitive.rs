//! The data types of section 1.5: taken from a frame that is complete, written to a sink that may only count.

use super::error::{Malformed, Violation, WireError};
use crate::limits::{FIELD_BYTES_MAX, VARINT_MAX};
use crate::packet::PacketId;
use crate::text;
use bytes::BytesMut;

/// What is left of a complete frame or of a block in it. Running out of bytes is an error here, never "need more".
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take_u8(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (&array, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(array)
    }

    pub(crate) fn take_u16(&mut self) -> Result<u16, Malformed> {
        self.take_array().map(u16::from_be_bytes)
    }

    pub(crate) fn take_u32(&mut self) -> Result<u32, Malformed> {
        self.take_array().map(u32::from_be_bytes)
    }

    pub(crate) fn take_varint(&mut self) -> Result<u32, Malformed> {
        match varint(self.rest)? {
            Some((value, bytes)) => {
                self.rest = self.rest.get(bytes..).unwrap_or_default();
                Ok(value)
            }
            None => Err(Malformed::Truncated),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (field, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    /// Binary Data (section 1.5.6).
    pub(crate) fn take_binary(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.take_u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 Encoded String (section 1.5.4), checked.
    pub(crate) fn take_str(&mut self) -> Result<&'a str, Malformed> {
        Ok(text::check(self.take_binary()?)?)
    }

    /// Steps over a UTF-8 Encoded String, checked.
    #[inline]
    pub(crate) fn skip_str(&mut self) -> Result<(), Malformed> {
        let field = self.take_binary()?;
        if !text::is_plain(field, |_| 0) {
            text::check(field)?;
        }
        Ok(())
    }

    /// A block preceded by its length as a Variable Byte Integer.
    pub(crate) fn take_block(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.take_varint()?;
        self.take(usize::try_from(len).map_err(|_| Malformed::Truncated)?)
    }

    /// [MQTT-2.2.1-3]
    pub(crate) fn take_packet_id(&mut self) -> Result<PacketId, WireError> {
        PacketId::new(self.take_u16()?).ok_or_else(|| Violation::PacketIdZero.into())
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::TrailingBytes)
        }
    }
}

/// The Variable Byte Integer at the start and its size; `None` while its last byte is missing.
pub(crate) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Malformed> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            // [MQTT-1.5.5-1]
            if byte == 0 && index > 0 {
                return Err(Malformed::VarintNotShortest);
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(Malformed::VarintTooLong)
    }
}

/// Where encoded bytes go: a buffer, or a count that only measures.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// At most [`VARINT_MAX`]; callers measure first.
    fn put_varint(&mut self, value: u32) {
        let mut rest = value.min(VARINT_MAX);
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                self.put_u8(low & 0x7F);
                return;
            }
            self.put_u8(low | 0x80);
        }
    }

    /// Binary Data or a string; cut where its length prefix ends, at 65,535 bytes.
    fn put_field(&mut self, field: &[u8]) {
        let field = field.get(..FIELD_BYTES_MAX).unwrap_or(field);
        self.put_u16(u16::try_from(field.len()).unwrap_or(u16::MAX));
        self.put(field);
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts what would be written.
#[derive(Default)]
pub(crate) struct Counter(pub(crate) usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}

/// Bytes of a Variable Byte Integer; `None` when the value is too large for one.
pub(crate) fn varint_bytes(value: usize) -> Option<usize> {
    match value {
        0..=127 => Some(1),
        128..=16_383 => Some(2),
        16_384..=2_097_151 => Some(3),
        2_097_152..=268_435_455 => Some(4),
        _ => None,
    }
}
