//! The rules of matching, one filter against one topic.

/// Whether a topic filter (without `$share/name/`) matches a topic name.
///
/// The reference the trees are tested against. Bytes are compared as they are [MQTT-4.7.3-4]. Takes time linear in
/// the shorter of the two. A filter that is not valid (`a+`, `#/a`) matches nothing that it does not name literally.
#[must_use]
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    // [MQTT-4.7.2-1]
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut wanted = filter.split('/');
    let mut found = topic.split('/');
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            // Also the parent level: `sport/#` matches `sport`.
            (Some("#"), _) => return wanted.next().is_none(),
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_examples_match_as_it_says() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/#", "sport", true),
            ("sport/#", "sports", false),
            ("#", "/", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("ACCOUNTS", "Accounts", false),
            ("/finance", "finance", false),
            ("+/+", "/", true),
            ("//", "/", false),
            ("#", "$SYS", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("a/#", "a/$SYS", true),
        ] {
            assert_eq!(filter_matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn a_filter_that_is_not_valid_matches_only_what_it_names() {
        assert!(!filter_matches("a+", "ab"));
        assert!(!filter_matches("a#", "a/b"));
        assert!(!filter_matches("#/b", "a/b"));
        assert!(!filter_matches("", "a"));
    }
}
