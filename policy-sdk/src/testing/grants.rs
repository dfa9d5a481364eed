//! Applies grants as the broker does.

use crate::bindings::host::sluice::policy::types::{Admission, Grant, GrantAction, GrantVerdict};

/// What stands for the placeholders of a grant.
pub(super) struct Names<'a> {
    pub(super) client_id: &'a str,
    pub(super) username: Option<&'a str>,
    pub(super) terms: &'a Admission,
}

/// The first grant that speaks of this topic name or filter.
pub(super) fn deciding<'a>(
    grants: &'a [Grant],
    action: GrantAction,
    topic: &str,
    names: &Names<'_>,
) -> Option<&'a Grant> {
    grants.iter().find(|grant| {
        let speaks = grant.action == action || grant.action == GrantAction::PublishAndSubscribe;
        // What is refused must not come in by a wider subscription.
        let reaches = if grant.verdict == GrantVerdict::Deny {
            overlaps
        } else {
            covers
        };
        speaks
            && names
                .expand(&grant.filter)
                .is_some_and(|levels| reaches(&levels, topic))
    })
}

#[derive(Debug)]
enum Level {
    /// `#`
    Rest,
    /// `+`
    Any,
    Name(String),
}

impl Names<'_> {
    /// The levels of a grant's filter; `None` when a placeholder has no value, or none that fits into a level.
    fn expand(&self, filter: &str) -> Option<Vec<Level>> {
        filter.split('/').map(|level| self.expand_level(level)).collect()
    }

    fn expand_level(&self, level: &str) -> Option<Level> {
        match level {
            "#" => return Some(Level::Rest),
            "+" => return Some(Level::Any),
            _ => {}
        }
        let mut parts = level.split('%');
        let mut name = parts.next()?.to_owned();
        for part in parts {
            let (value, after) = match part.split_at_checked(1)? {
                ("c", after) => (self.client_id, after),
                ("u", after) => (self.username?, after),
                ("a", after) => {
                    let (key, after) = after.strip_prefix('{')?.split_once('}')?;
                    let (_, value) = self.terms.attributes.iter().find(|(name, _)| name == key)?;
                    (value.as_str(), after)
                }
                _ => return None,
            };
            if value.is_empty() || value.contains(['/', '+', '#', '\0']) {
                return None;
            }
            name += value;
            name += after;
        }
        Some(Level::Name(name))
    }
}

/// Every topic under `topic`, a name or a filter, is under the grant.
fn covers(grant: &[Level], topic: &str) -> bool {
    let mut granted = grant.iter();
    let mut levels = topic.split('/');
    if topic.starts_with('$') && !matches!(grant.first(), Some(Level::Name(_))) {
        return false;
    }
    loop {
        match (granted.next(), levels.next()) {
            (Some(Level::Rest), _) | (None, None) => return true,
            (Some(Level::Any), Some(level)) if level != "#" => {}
            (Some(Level::Name(name)), Some(level)) if name == level => {}
            _ => return false,
        }
    }
}

/// Some topic under `topic`, a name or a filter, is under the grant.
fn overlaps(grant: &[Level], topic: &str) -> bool {
    let mut granted = grant.iter();
    let mut levels = topic.split('/');
    let wild = |level: Option<&Level>| !matches!(level, Some(Level::Name(_)));
    let dollar = matches!(grant.first(), Some(Level::Name(name)) if name.starts_with('$'));
    if topic.starts_with('$') && wild(grant.first()) || dollar && topic.starts_with(['+', '#']) {
        return false;
    }
    loop {
        match (granted.next(), levels.next()) {
            (Some(Level::Rest), _) | (_, Some("#")) | (None, None) => return true,
            (Some(Level::Any), Some(_)) | (Some(Level::Name(_)), Some("+")) => {}
            (Some(Level::Name(name)), Some(level)) if name == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decides(grant: Grant, action: GrantAction, topic: &str) -> bool {
        let terms = Admission::new()
            .attribute("site", "berlin")
            .attribute("bad", "a/b");
        let names = Names {
            client_id: "dev-1",
            username: Some("#"),
            terms: &terms,
        };
        deciding(&[grant], action, topic, &names).is_some()
    }

    #[test]
    fn a_grant_covers_what_lies_under_it() {
        for (filter, topic, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("d/%c/#", "d/dev-1/x", true),
            ("d/%c/#", "d/dev-2/x", false),
            ("d/x-%a{site}-y", "d/x-berlin-y", true),
            ("d/%a{bad}", "d/a/b", false),
            ("d/%a{none}", "d/", false),
            ("d/%u", "d/x", false),
        ] {
            let granted = decides(Grant::allow(filter), GrantAction::Publish, topic);
            assert_eq!(granted, expected, "{filter} covers {topic}");
        }
    }

    #[test]
    fn a_refusal_reaches_every_subscription_that_would_see_into_it() {
        for (filter, topic, expected) in [
            ("a/secret", "a/#", true),
            ("a/secret", "a/+", true),
            ("a/secret", "+/secret", true),
            ("a/secret/#", "a/secret", true),
            ("a/secret", "b/#", false),
            ("a/secret", "a/+/b", false),
            ("$SYS/#", "#", false),
        ] {
            let refused = decides(Grant::deny(filter), GrantAction::Subscribe, topic);
            assert_eq!(refused, expected, "{filter} overlaps {topic}");
        }
    }

    #[test]
    fn a_grant_speaks_only_of_its_action() {
        assert!(!decides(Grant::allow("a").publish(), GrantAction::Subscribe, "a"));
        assert!(!decides(Grant::allow("a").subscribe(), GrantAction::Publish, "a"));
    }
}
