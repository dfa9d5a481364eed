//! Grants: rules that decide without calling the policy. Compiled when a client is admitted.
//!
//! # How a rule matches
//! The first rule that matches decides, none that matches denies.
//! - *Publish*: the rule's filter matches the topic as a subscription's would (MQTT 5.0 section 4.7): `+` and `#` at
//!   the front do not match topics that begin with `$`.
//! - *Subscribe*: a filter is a set of topics. An `allow` matches when its filter contains all of them. A `deny`
//!   matches when it contains any of them: who may not read `a/secret` may not read `a/#` either. A `consult` that
//!   contains all of them asks the policy; one that contains only some denies, for the policy would be asked about
//!   topics the rule does not speak of.
//!
//! # Placeholders
//! `%c` is the client id, `%u` the user name, `%a{name}` the attribute of the same admission; `%%` is a percent sign.
//! A value never acts as more than text within one level. It is *unusable* when it is absent or empty, contains `/`,
//! `+`, `#` or U+0000, or would make a filter begin with `$` that does not by itself. Then an `allow` matches nothing,
//! and a `deny` or `consult` denies everything from the placeholder's level on: whatever the value might have stood
//! for, a client cannot slip past a rule by choosing a strange name.

use super::verdict::{Grant, GrantAction, GrantVerdict};
use serde::{Deserialize, Serialize};
use sluice_mqtt::topic::filter_matches;
use std::fmt;

/// Most rules of one admission.
pub(super) const GRANTS_MAX: usize = 256;
/// Longest filter, placeholders replaced: what MQTT can express.
const FILTER_BYTES_MAX: usize = 65_535;

/// The rules of one client, or of all clients for which they come out the same. What is written down is what they came
/// to, with the values in: it needs no further memory, and says the same whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Box<[Rule]>")]
pub(super) struct Grants(Box<[Rule]>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Rule {
    filter: Box<str>,
    #[serde(skip)]
    start: Start,
    action: GrantAction,
    qos_max: u8,
    retain: bool,
    verdict: GrantVerdict,
}

/// What placeholders stand for.
pub(super) struct Values<'a> {
    pub(super) client_id: &'a str,
    pub(super) username: Option<&'a str>,
    pub(super) attributes: &'a [(String, String)],
}

/// What the rules say to a publish or subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    Deny(Cause),
    /// With at most this QoS.
    Allow(u8),
    /// Ask the hook; with at most this QoS.
    Consult(u8),
}

/// Why the rules deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    NoRule,
    Rule,
    Qos,
    Retain,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRule => "no grant covers it",
            Self::Rule => "a grant denies it",
            Self::Qos => "the QoS is above the grant's",
            Self::Retain => "the grant does not cover retained messages",
        })
    }
}

/// An admission whose grants make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadGrant(pub(super) String);

impl Grants {
    /// Checks the rules and puts the values in.
    ///
    /// # Errors
    /// When a filter or QoS is not valid or there are too many; the admission is a fault then.
    pub(super) fn compile(grants: &[Grant], values: &Values<'_>) -> Result<Self, BadGrant> {
        if grants.len() > GRANTS_MAX {
            return Err(BadGrant(format!(
                "{} grants; at most {GRANTS_MAX} are allowed",
                grants.len()
            )));
        }
        let mut rules = Vec::with_capacity(grants.len());
        for grant in grants {
            if grant.qos_max > 2 {
                return Err(BadGrant(format!(
                    "grant `{}` has QoS {}",
                    grant.filter, grant.qos_max
                )));
            }
            let rule = |filter: String, verdict| Rule {
                start: Start::of(&filter),
                filter: filter.into_boxed_str(),
                action: grant.action,
                qos_max: grant.qos_max,
                retain: grant.retain,
                verdict,
            };
            match bind(&grant.filter, values)? {
                Bound::Usable(filter) => rules.push(rule(filter, grant.verdict)),
                Bound::Unusable { .. } if grant.verdict == GrantVerdict::Allow => {}
                Bound::Unusable { widened } => rules.push(rule(widened, GrantVerdict::Deny)),
            }
        }
        Ok(Self(rules.into_boxed_slice()))
    }

    /// Whether some publish is left to the hook.
    pub(super) fn consult_on_publish(&self) -> bool {
        let consults =
            |rule: &Rule| rule.action != GrantAction::Subscribe && rule.verdict == GrantVerdict::Consult;
        self.0.iter().any(consults)
    }

    /// Decides on a publish.
    pub(super) fn publish(&self, topic: &str, qos: u8, retain: bool) -> Ruling {
        let first = first_bytes(topic);
        let matching = |rule: &&Rule| rule.action != GrantAction::Subscribe && rule.matches(topic, first);
        let Some(rule) = self.0.iter().find(matching) else {
            return Ruling::Deny(Cause::NoRule);
        };
        match rule.verdict {
            GrantVerdict::Deny => Ruling::Deny(Cause::Rule),
            _ if qos > rule.qos_max => Ruling::Deny(Cause::Qos),
            _ if retain && !rule.retain => Ruling::Deny(Cause::Retain),
            GrantVerdict::Allow => Ruling::Allow(rule.qos_max),
            GrantVerdict::Consult => Ruling::Consult(rule.qos_max),
        }
    }

    /// Decides on a subscription to a filter without `$share/name/`.
    pub(super) fn subscribe(&self, filter: &str) -> Ruling {
        for rule in self.0.iter().filter(|rule| rule.action != GrantAction::Publish) {
            match rule.verdict {
                GrantVerdict::Allow if contains(&rule.filter, filter) => return Ruling::Allow(rule.qos_max),
                GrantVerdict::Consult if contains(&rule.filter, filter) => {
                    return Ruling::Consult(rule.qos_max);
                }
                GrantVerdict::Deny | GrantVerdict::Consult if overlap(&rule.filter, filter) => {
                    return Ruling::Deny(Cause::Rule);
                }
                _ => {}
            }
        }
        Ruling::Deny(Cause::NoRule)
    }
}

/// Rules that were written down.
impl TryFrom<Box<[Rule]>> for Grants {
    type Error = &'static str;

    fn try_from(mut rules: Box<[Rule]>) -> Result<Self, Self::Error> {
        if rules.len() > GRANTS_MAX {
            return Err("too many grants");
        }
        for rule in &mut rules {
            check_filter(&rule.filter)?;
            if rule.qos_max > 2 {
                return Err("a grant has no valid QoS");
            }
            rule.start = Start::of(&rule.filter);
        }
        Ok(Self(rules))
    }
}

enum Bound {
    Usable(String),
    /// The filter cut before the level of the first unusable placeholder, with `#` there.
    Unusable {
        widened: String,
    },
}

fn bind(template: &str, values: &Values<'_>) -> Result<Bound, BadGrant> {
    let bad = |what: &str| BadGrant(format!("grant `{template}`: {what}"));
    let mut filter = String::with_capacity(template.len() + values.client_id.len());
    // Two stand-ins that differ: a template is valid when it is with any text in its placeholders.
    let mut with_stand_ins = String::with_capacity(template.len());
    let mut widened = None;
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('%') {
        filter.push_str(text);
        with_stand_ins.push_str(text);
        let (value, after) = if let Some(after) = after.strip_prefix('%') {
            filter.push('%');
            with_stand_ins.push('%');
            rest = after;
            continue;
        } else if let Some(after) = after.strip_prefix('c') {
            (Some(values.client_id), after)
        } else if let Some(after) = after.strip_prefix('u') {
            (values.username, after)
        } else if let Some(after) = after.strip_prefix("a{") {
            let (name, after) = after.split_once('}').ok_or_else(|| bad("`%a{` without `}`"))?;
            let value = values
                .attributes
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str());
            (value, after)
        } else {
            return Err(bad("`%` must begin %c, %u, %a{name} or %%"));
        };
        match value.filter(|value| is_usable(value, filter.is_empty())) {
            Some(value) => filter.push_str(value),
            None => {
                widened.get_or_insert_with(|| {
                    let level = filter.rfind('/').map_or(0, |slash| slash + 1);
                    format!("{}#", filter.get(..level).unwrap_or_default())
                });
                filter.push('x');
            }
        }
        with_stand_ins.push('x');
        rest = after;
    }
    filter.push_str(rest);
    with_stand_ins.push_str(rest);
    check_filter(&with_stand_ins).map_err(bad)?;
    if filter.len() > FILTER_BYTES_MAX {
        return Ok(Bound::Unusable { widened: "#".into() });
    }
    Ok(match widened {
        Some(widened) => Bound::Unusable { widened },
        None => Bound::Usable(filter),
    })
}

fn is_usable(value: &str, at_front: bool) -> bool {
    let reaches_dollar_topics = at_front && value.starts_with('$');
    !value.is_empty() && !value.contains(['/', '+', '#', '\0']) && !reaches_dollar_topics
}

fn check_filter(filter: &str) -> Result<(), &'static str> {
    if filter.is_empty() {
        return Err("the filter is empty");
    }
    if filter.len() > FILTER_BYTES_MAX || filter.contains('\0') {
        return Err("the filter is too long or has a U+0000");
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err("`#` must be alone in the last level");
        }
        if level.contains('+') && level != "+" {
            return Err("`+` must be alone in its level");
        }
    }
    Ok(())
}

impl Rule {
    /// Whether a topic name that has these [`first_bytes`] is in the filter.
    fn matches(&self, topic: &str, first: u64) -> bool {
        self.start.may_match(first) && self.start.matches(&self.filter, topic)
    }
}

/// How a filter begins. Most rules that do not match are told by that, without a look at the filter, which is somewhere
/// else in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Start {
    /// Bytes before the first wildcard: compared as a whole.
    literal_bytes: usize,
    /// The [`first_bytes`] of every topic name in the filter, as far as the mask goes.
    first: u64,
    mask: u64,
}

impl Start {
    fn of(filter: &str) -> Self {
        let literal_bytes = filter.find(['+', '#']).unwrap_or(filter.len());
        let (literal, wild) = filter.split_at_checked(literal_bytes).unwrap_or_default();
        // `a/#` contains `a` itself.
        let parent = literal.strip_suffix('/').filter(|_| wild == "#");
        let certain = parent.unwrap_or(literal);
        let unknown = u64::BITS - 8 * u32::try_from(certain.len().min(8)).unwrap_or(8);
        Self {
            literal_bytes,
            first: first_bytes(certain),
            mask: u64::MAX.checked_shr(unknown).unwrap_or(0),
        }
    }

    /// False: no topic name with these [`first_bytes`] is in the filter.
    fn may_match(self, first: u64) -> bool {
        first & self.mask == self.first
    }

    /// Whether a topic name is in the filter that begins so.
    fn matches(self, filter: &str, topic: &str) -> bool {
        // Most rules are decided here: plain topics, and prefixes followed by `#`.
        let Some((literal, wild)) = filter.split_at_checked(self.literal_bytes) else {
            return false;
        };
        let Some(rest) = topic.strip_prefix(literal) else {
            // `a/#` contains `a` itself.
            return wild == "#" && literal.strip_suffix('/') == Some(topic);
        };
        match wild {
            "" => rest.is_empty(),
            _ if literal.is_empty() && topic.starts_with('$') => false,
            "#" => true,
            _ => filter_matches(filter, topic),
        }
    }
}

/// The first eight bytes; 0, which is in no topic, where there are fewer. The first is the lowest.
fn first_bytes(text: &str) -> u64 {
    let mut first = [0; 8];
    first
        .iter_mut()
        .zip(text.bytes())
        .for_each(|(to, from)| *to = from);
    u64::from_le_bytes(first)
}

/// Whether every topic in `inner` is in `outer`.
fn contains(outer: &str, inner: &str) -> bool {
    if outer.starts_with(['+', '#']) && inner.starts_with('$') {
        return false;
    }
    let mut inner_levels = inner.split('/');
    for level in outer.split('/') {
        if level == "#" {
            return true;
        }
        match inner_levels.next() {
            Some("#") | None => return false,
            Some(inner_level) if level == "+" || level == inner_level => {}
            Some(_) => return false,
        }
    }
    inner_levels.next().is_none()
}

/// Whether some topic is in both filters.
fn overlap(left: &str, right: &str) -> bool {
    let wild = |filter: &str| filter.starts_with(['+', '#']);
    if wild(left) && right.starts_with('$') || wild(right) && left.starts_with('$') {
        return false;
    }
    let (mut left, mut right) = (left.split('/'), right.split('/'));
    loop {
        match (left.next(), right.next()) {
            // `a/#` contains `a` itself, so a `#` also meets the end of the other.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(left), Some(right)) if left == right || left == "+" || right == "+" => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests;
