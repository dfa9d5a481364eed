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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) -> Result<TopicFilter, FilterError> {
        TopicFilter::new(Text::try_from(text).unwrap())
    }

    #[test]
    fn wildcards_stand_alone_in_their_level_and_the_multi_level_one_last() {
        for text in [
            "#",
            "+",
            "a",
            "/",
            "//",
            " ",
            "a/#",
            "/#",
            "+/#",
            "+/tennis/#",
            "sport/+/player1",
            "+/+",
            "/+/",
            "$SYS/#",
        ] {
            let filter = check(text).unwrap();
            assert_eq!(
                (filter.as_str(), filter.filter(), filter.share()),
                (text, text, None)
            );
        }
        for text in [
            "sport/tennis#",
            "sport/tennis/#/ranking",
            "#/",
            "##",
            "a/b#/c",
            "#a",
            "+#",
        ] {
            assert_eq!(
                check(text).unwrap_err(),
                FilterError::MisplacedMultiLevelWildcard,
                "{text}"
            );
        }
        for text in ["sport+", "++", "a/+b", "a+/b", "+a/#", "a/b+/c"] {
            assert_eq!(
                check(text).unwrap_err(),
                FilterError::MisplacedSingleLevelWildcard,
                "{text}"
            );
        }
        assert_eq!(check("").unwrap_err(), FilterError::Empty);
    }

    #[test]
    fn a_shared_filter_has_a_name_and_a_filter() {
        for (text, share, filter) in [
            ("$share/g/t", "g", "t"),
            ("$share/g//", "g", "/"),
            ("$share/g/#", "g", "#"),
            ("$share/consumer one/sport/+", "consumer one", "sport/+"),
            ("$share/$share/$share/x/y", "$share", "$share/x/y"),
        ] {
            let parsed = check(text).unwrap();
            assert_eq!(
                (parsed.share(), parsed.filter(), parsed.as_str()),
                (Some(share), filter, text)
            );
        }
        for text in [
            "$share/",
            "$share/g",
            "$share//t",
            "$share/g/",
            "$share/a+/t",
            "$share/#/t",
            "$share/+/t",
            "$share//",
        ] {
            assert_eq!(check(text).unwrap_err(), FilterError::BadShare, "{text}");
        }
        assert_eq!(
            check("$share/g/a#").unwrap_err(),
            FilterError::MisplacedMultiLevelWildcard
        );
        assert_eq!(
            check("$share/g/a+").unwrap_err(),
            FilterError::MisplacedSingleLevelWildcard
        );
    }

    #[test]
    fn what_only_resembles_a_shared_filter_is_an_ordinary_one() {
        for text in ["$share", "$SHARE/g/t", "$shared/g/t", "/$share/g/t", "share/g/t"] {
            assert_eq!(check(text).unwrap().share(), None, "{text}");
        }
    }

    #[test]
    fn the_longest_filters_are_checked_like_any_other() {
        assert!(check(&"/".repeat(65_535)).is_ok());
        assert!(check(&vec!["+"; 32_768].join("/")).is_ok());
        let share = "s".repeat(65_535 - "$share//t".len());
        assert_eq!(
            check(&format!("$share/{share}/t")).unwrap().share(),
            Some(share.as_str())
        );
    }

    proptest! {
        /// The rules, stated on levels instead of characters.
        #[test]
        fn a_filter_is_valid_exactly_if_its_levels_are(text in "[a+#/]{1,8}") {
            let levels: Vec<&str> = text.split('/').collect();
            let last = levels.len() - 1;
            let valid = levels.iter().enumerate().all(|(at, level)| match *level {
                "+" => true,
                "#" => at == last,
                level => !level.contains(['+', '#']),
            });
            prop_assert_eq!(check(&text).is_ok(), valid);
        }
    }
}
