//! Applies grants as the broker does.

use crate::bindings::host::sluice::policy::types::{Admission, Grant, GrantAction, GrantVerdict};

/// What stands for the placeholders of a grant.
pub(super) struct Names<'a> {
    pub(super) client_id: &'a str,
    pub(super) username: Option<&'a str>,
    pub(super) terms: &'a Admission,
}

/// What the first grant that speaks of this topic name or filter says, and that grant.
pub(super) fn deciding<'a>(
    grants: &'a [Grant],
    action: GrantAction,
    topic: &str,
    names: &Names<'_>,
) -> Option<(GrantVerdict, &'a Grant)> {
    let speaking =
        |grant: &&Grant| grant.action == action || grant.action == GrantAction::PublishAndSubscribe;
    grants.iter().filter(speaking).find_map(|grant| {
        let bound = names.bind(&grant.filter);
        let verdict = match grant.verdict {
            verdict if bound.complete => verdict,
            GrantVerdict::Allow => return None,
            GrantVerdict::Deny | GrantVerdict::Consult => GrantVerdict::Deny,
        };
        match verdict {
            GrantVerdict::Allow | GrantVerdict::Consult if covers(&bound.levels, topic) => {
                Some((verdict, grant))
            }
            // What is refused must not come in by a wider subscription, nor what is to be asked about.
            GrantVerdict::Deny | GrantVerdict::Consult if overlaps(&bound.levels, topic) => {
                Some((GrantVerdict::Deny, grant))
            }
            _ => None,
        }
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

/// A filter with its placeholders filled in.
struct Bound {
    levels: Vec<Level>,
    /// False when a placeholder had no value, or none that fits into a level: the filter ends in `#` there.
    complete: bool,
}

impl Names<'_> {
    fn bind(&self, filter: &str) -> Bound {
        let mut levels = Vec::new();
        for level in filter.split('/') {
            let bound = match level {
                "#" => Some(Level::Rest),
                "+" => Some(Level::Any),
                _ => self.fill_in(level, levels.is_empty()).map(Level::Name),
            };
            let Some(bound) = bound else {
                levels.push(Level::Rest);
                return Bound {
                    levels,
                    complete: false,
                };
            };
            levels.push(bound);
        }
        Bound {
            levels,
            complete: true,
        }
    }

    fn fill_in(&self, level: &str, first: bool) -> Option<String> {
        let mut name = String::new();
        let mut rest = level;
        while let Some((text, placeholder)) = rest.split_once('%') {
            name += text;
            let (kind, after) = placeholder.split_at_checked(1)?;
            let (value, after) = match kind {
                "%" => {
                    name.push('%');
                    rest = after;
                    continue;
                }
                "c" => (self.client_id, after),
                "u" => (self.username?, after),
                "a" => {
                    let (key, after) = after.strip_prefix('{')?.split_once('}')?;
                    let (_, value) = self.terms.attributes.iter().find(|(name, _)| name == key)?;
                    (value.as_str(), after)
                }
                _ => return None,
            };
            let reaches_dollar_topics = first && name.is_empty() && value.starts_with('$');
            if value.is_empty() || value.contains(['/', '+', '#', '\0']) || reaches_dollar_topics {
                return None;
            }
            name += value;
            rest = after;
        }
        Some(name + rest)
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
            ("d/100%%", "d/100%", true),
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
    fn a_name_that_fits_into_no_level_slips_past_no_refusal() {
        for topic in ["d/%", "d/x", "d/x/y"] {
            assert!(
                decides(Grant::deny("d/%u/x"), GrantAction::Publish, topic),
                "{topic}"
            );
            assert!(
                decides(Grant::consult("d/%a{none}"), GrantAction::Publish, topic),
                "{topic}"
            );
        }
        assert!(!decides(Grant::deny("d/%u/x"), GrantAction::Publish, "e"));
    }

    #[test]
    fn a_grant_speaks_only_of_its_action() {
        assert!(!decides(Grant::allow("a").publish(), GrantAction::Subscribe, "a"));
        assert!(!decides(Grant::allow("a").subscribe(), GrantAction::Publish, "a"));
    }
}
