//! Topic Names: what a message is published to.

use crate::text::{self, Text};
use bytes::Bytes;
use std::fmt;
use std::ops::Deref;

/// A topic name: at least one character, no wildcards, no U+0000.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Text);

/// Why a string is not a [`TopicName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// [MQTT-4.7.3-1]
    Empty,
    /// [MQTT-3.3.2-2]
    Wildcard,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic name has at least one character",
            Self::Wildcard => "a topic name has no wildcards",
        })
    }
}

impl std::error::Error for NameError {}

impl TopicName {
    /// Checks the name.
    ///
    /// # Errors
    /// See [`NameError`].
    #[inline]
    pub fn new(text: Text) -> Result<Self, NameError> {
        Self::check(text.as_bytes())?;
        Ok(Self(text))
    }

    /// The name that a part of a frame has been found to be.
    #[inline]
    pub(crate) fn part_of(frame: &Bytes, checked: &[u8]) -> Option<Self> {
        debug_assert!(Self::check(checked).is_ok());
        let plain = Text::plain_part_of(frame, checked);
        plain
            .or_else(|| Text::new(frame.slice_ref(checked)).ok())
            .map(Self)
    }

    /// The rules, for bytes that are a [`Text`] already.
    #[inline]
    pub(crate) fn check(name: &[u8]) -> Result<(), NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if text::contains(name, |byte| byte == b'+' || byte == b'#') {
            return Err(NameError::Wildcard);
        }
        Ok(())
    }

    /// Whether these bytes are a name as most are: ASCII, by the rules, of some length. If not they may still be one.
    #[inline]
    pub(crate) fn is_plain(name: &[u8]) -> bool {
        let wildcard = |byte: u8| u8::from(byte == b'+') | u8::from(byte == b'#');
        !name.is_empty() && text::is_plain(name, wildcard)
    }

    /// A copy that does not pin the buffer it was read from.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self(self.0.detach())
    }

    /// The name as text.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.0
    }
}

impl Deref for TopicName {
    type Target = str;
    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl AsRef<[u8]> for TopicName {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<TopicName, NameError> {
        TopicName::new(Text::try_from(text).unwrap())
    }

    #[test]
    fn a_name_is_any_text_without_wildcards() {
        for text in [
            "a",
            "/",
            "//",
            " ",
            "Accounts payable",
            "$SYS/x",
            "$share/g/t",
            "é/\u{1F980}",
        ] {
            assert_eq!(&*check(text).unwrap(), text);
        }
        assert!(check(&"/".repeat(65_535)).is_ok());
        assert_eq!(check("").unwrap_err(), NameError::Empty);
        for text in ["#", "+", "a/#", "a/+/b", "a+", "a#b"] {
            assert_eq!(check(text).unwrap_err(), NameError::Wildcard, "{text}");
        }
    }
}
