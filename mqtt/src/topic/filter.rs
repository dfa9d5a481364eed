//! Topic Filters: what a client subscribes to, shared subscriptions included (section 4.8.2).

use crate::text::Text;
use std::fmt;

/// A topic filter, possibly of a shared subscription.
///
/// Two filters are equal when their bytes are: `$share/a/t` and `$share/b/t` are different subscriptions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter {
    text: Text,
    /// Bytes of `$share/name/`; 0 when not shared.
    share_bytes: u16,
}

/// Why a string is not a [`TopicFilter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// [MQTT-4.7.3-1]
    Empty,
    /// [MQTT-4.7.1-1]: `#` is alone in the last level.
    MisplacedMultiLevelWildcard,
    /// [MQTT-4.7.1-2]: `+` is alone in its level.
    MisplacedSingleLevelWildcard,
    /// [MQTT-4.8.2-1], [MQTT-4.8.2-2]: `$share/` a non-empty name without `/`, `+`, `#`, then `/` and a filter.
    BadShare,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic filter has at least one character",
            Self::MisplacedMultiLevelWildcard => "`#` must be alone in the last level",
            Self::MisplacedSingleLevelWildcard => "`+` must be alone in its level",
            Self::BadShare => {
                "a shared subscription reads `$share/name/filter`, the name without `+` and `#`"
            }
        })
    }
}

impl std::error::Error for FilterError {}

const SHARE: &str = "$share/";

impl TopicFilter {
    /// Checks the filter.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn new(text: Text) -> Result<Self, FilterError> {
        let share_bytes = match text.as_str().strip_prefix(SHARE) {
            None => 0,
            Some(rest) => {
                let (name, filter) = rest.split_once('/').ok_or(FilterError::BadShare)?;
                if name.is_empty() || name.contains(['+', '#']) || filter.is_empty() {
                    return Err(FilterError::BadShare);
                }
                SHARE.len() + name.len() + 1
            }
        };
        let share_bytes = u16::try_from(share_bytes).map_err(|_| FilterError::BadShare)?;
        let filter = Self { text, share_bytes };
        check_wildcards(filter.filter())?;
        Ok(filter)
    }

    /// The whole filter as the client sent it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The whole filter as text.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The name of the shared group.
    #[must_use]
    pub fn share(&self) -> Option<&str> {
        let prefix = self.as_str().get(..usize::from(self.share_bytes))?;
        prefix.strip_prefix(SHARE)?.strip_suffix('/')
    }

    /// What topics are matched against: without `$share/name/`.
    #[must_use]
    pub fn filter(&self) -> &str {
        self.as_str()
            .get(usize::from(self.share_bytes)..)
            .unwrap_or_default()
    }

    /// A copy that does not pin the buffer it was read from.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            text: self.text.detach(),
            share_bytes: self.share_bytes,
        }
    }
}

fn check_wildcards(filter: &str) -> Result<(), FilterError> {
    if filter.is_empty() {
        return Err(FilterError::Empty);
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(FilterError::MisplacedMultiLevelWildcard);
        }
        if level.contains('+') && level != "+" {
            return Err(FilterError::MisplacedSingleLevelWildcard);
        }
    }
    Ok(())
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}
