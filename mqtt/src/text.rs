//! UTF-8 Encoded Strings (section 1.5.4), validated once.

use bytes::Bytes;
use std::fmt;
use std::ops::Deref;

/// A UTF-8 Encoded String without U+0000, a cheap-to-clone view of received or static bytes.
///
/// Holding one proves that [MQTT-1.5.4-1] and [MQTT-1.5.4-2] were checked. Its length is at most 65,535 bytes.
/// A clone made from a received packet keeps the whole read buffer alive: use [`Text::detach`] for what is stored.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

/// Why bytes are not a [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// More than 65,535 bytes.
    TooLong,
    /// Contains U+0000.
    Null,
    /// Not well-formed UTF-8 (surrogates included).
    NotUtf8,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than 65535 bytes",
            Self::Null => "contains U+0000",
            Self::NotUtf8 => "is not well-formed UTF-8",
        })
    }
}

impl std::error::Error for TextError {}

impl Text {
    /// Checks the bytes.
    ///
    /// # Errors
    /// See [`TextError`].
    pub fn new(bytes: Bytes) -> Result<Self, TextError> {
        if bytes.len() > usize::from(u16::MAX) {
            return Err(TextError::TooLong);
        }
        check(&bytes)?;
        Ok(Self(bytes))
    }

    /// A shared view of `checked`, which is a part of `frame` and is a string without U+0000.
    #[inline]
    pub(crate) fn part_of(frame: &Bytes, checked: &str) -> Self {
        Self(frame.slice_ref(checked.as_bytes()))
    }

    /// A shared view of a part of `frame`, if it is ASCII without U+0000, as most strings are.
    #[inline]
    pub(crate) fn plain_part_of(frame: &Bytes, part: &[u8]) -> Option<Self> {
        is_plain(part, |_| 0).then(|| Self(frame.slice_ref(part)))
    }

    /// The string.
    #[must_use]
    #[inline]
    #[allow(
        unsafe_code,
        reason = "checking again costs 8 ns for a topic of 40 bytes, several times for each message (codec_speed)"
    )]
    pub fn as_str(&self) -> &str {
        debug_assert!(std::str::from_utf8(&self.0).is_ok());
        // SAFETY: the bytes are well-formed UTF-8: `new` has checked them, `part_of` took them from a `str`,
        // `plain_part_of` has found them to be ASCII, `detach` copied them from a `Text`, and the default is empty.
        // Nothing else makes a `Text`, and `Bytes` never change while a clone of them exists, which `self` is.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// The underlying bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The underlying bytes, shared.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// A copy of its own, no longer pinning the buffer it was read from.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// The string in these bytes.
///
/// # Errors
/// `NotUtf8` and `Null`; the length is not looked at.
#[inline]
pub(crate) fn check(bytes: &[u8]) -> Result<&str, TextError> {
    let text = std::str::from_utf8(bytes).map_err(|_| TextError::NotUtf8)?;
    if contains(bytes, |byte| byte == 0) {
        return Err(TextError::Null);
    }
    Ok(text)
}

/// Whether these bytes are a string as most are: ASCII without U+0000 and without what is `special` (not 0). If not
/// they may still be one.
///
/// Looks at 16 bytes at a time, and at the last ones twice rather than one by one.
#[inline]
pub(crate) fn is_plain(bytes: &[u8], special: impl Fn(u8) -> u8) -> bool {
    let special = |byte: u8| byte & 0x80 | u8::from(byte == 0) | special(byte);
    let Some(last) = bytes.last_chunk::<16>() else {
        return bytes.iter().fold(0, |found, byte| found | special(*byte)) == 0;
    };
    let mut found = last.map(&special);
    for chunk in bytes.as_chunks::<16>().0 {
        for (found, byte) in found.iter_mut().zip(chunk) {
            *found |= special(*byte);
        }
    }
    u128::from_ne_bytes(found) == 0
}

/// Whether any byte is `unwanted`. Looks at all of them: without an early exit the compiler compares 16 at a time,
/// and nearly all strings are good.
#[inline]
pub(crate) fn contains(bytes: &[u8], unwanted: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |found, byte| found | unwanted(*byte))
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl TryFrom<&str> for Text {
    type Error = TextError;
    fn try_from(text: &str) -> Result<Self, TextError> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl TryFrom<String> for Text {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(Bytes::from(text))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> Result<Text, TextError> {
        Text::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_string_is_checked_once_and_kept_as_it_came() {
        assert_eq!(check("é/ü".as_bytes()).unwrap().as_str(), "é/ü");
        // [MQTT-1.5.4-3]: the zero width no-break space is never stripped.
        assert_eq!(check(b"\xEF\xBB\xBFa").unwrap().as_bytes(), b"\xEF\xBB\xBFa");
        assert_eq!(check(b"a\0b"), Err(TextError::Null));
        assert_eq!(check(b"\xED\xA0\x80"), Err(TextError::NotUtf8));
        assert_eq!(check(b"\xC0\x80"), Err(TextError::NotUtf8));
        assert_eq!(check(&[b'a'; 65_536]), Err(TextError::TooLong));
    }
}
