//! How grants match, and what placeholders may and may not do.

use super::*;

fn grant(filter: &str, verdict: GrantVerdict) -> Grant {
    Grant {
        filter: filter.into(),
        action: GrantAction::PublishAndSubscribe,
        qos_max: 2,
        retain: true,
        verdict,
    }
}

fn compile(client_id: &str, grants: &[Grant]) -> Grants {
    let attributes = [
        ("tenant".to_owned(), "acme".to_owned()),
        ("bad".to_owned(), "a/b".to_owned()),
    ];
    Grants::compile(
        grants,
        &Values {
            client_id,
            username: Some("kim"),
            attributes: &attributes,
        },
    )
    .unwrap()
}

fn allow(filter: &str) -> Grant {
    grant(filter, GrantVerdict::Allow)
}

fn deny(filter: &str) -> Grant {
    grant(filter, GrantVerdict::Deny)
}

const ALLOWED: Ruling = Ruling::Allow(2);
const NO_RULE: Ruling = Ruling::Deny(Cause::NoRule);
const DENIED: Ruling = Ruling::Deny(Cause::Rule);

/// As a rule with this filter sees it.
fn is_in(topic: &str, filter: &str) -> bool {
    let start = Start::of(filter);
    start.may_match(first_bytes(topic)) && start.matches(filter, topic)
}

#[test]
fn filters_match_topics_as_subscriptions_do() {
    for (filter, topic, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/b/", false),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("a/+", "a/b/c", false),
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("#", "a/b", true),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("$SYS/#", "$SYS/x", true),
        ("+/+", "/a", true),
        ("/+", "/a", true),
        ("a/+/#", "a/b", true),
        ("a/+/#", "a", false),
        ("a/b/#", "a/", false),
        ("a/+/c", "a/b/c/d", false),
        ("$SYS/+", "$SYS/a", true),
        ("+", "/a", false),
        ("nearly8/#", "nearly8", true),
        ("exactly8/#", "exactly8", true),
        ("exactly8/#", "exactly8x", false),
        ("longer-than-8/#", "longer-than-8", true),
        ("longer-than-8/#", "longer-than-9/a", false),
        ("longer-than-8", "longer-t", false),
        ("short", "shor", false),
        ("short", "short/", false),
    ] {
        assert_eq!(is_in(topic, filter), expected, "{filter} {topic}");
    }
}

#[test]
fn an_allow_must_contain_the_whole_subscription() {
    for (outer, inner, expected) in [
        ("a/#", "a/#", true),
        ("a/#", "a/+/c", true),
        ("a/#", "a", true),
        ("a/+", "a/#", false),
        ("a/+", "a/+", true),
        ("a/b", "a/+", false),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a/b/+", false),
        ("a/+", "+/b", false),
        ("#", "#", true),
        ("#", "$SYS/#", false),
        ("+/b", "$x/b", false),
        ("$SYS/#", "$SYS/a", true),
        ("$SYS/#", "#", false),
        ("a", "a/#", false),
        ("+", "#", false),
    ] {
        assert_eq!(contains(outer, inner), expected, "{outer} contains {inner}");
    }
}

#[test]
fn a_deny_forbids_every_subscription_that_would_reveal_any_of_it() {
    for (left, right, expected) in [
        ("a/secret", "a/#", true),
        ("a/secret", "a/+", true),
        ("a/secret", "#", true),
        ("a/secret", "a/b", false),
        ("a/+/c", "a/b/+", true),
        ("a/+/c", "+/b/d", false),
        ("a/#", "a", true),
        ("a/b/#", "a", false),
        ("$SYS/#", "#", false),
        ("$SYS/#", "+/x", false),
        ("#", "$SYS/x", false),
        ("a/b", "a/b/c", false),
    ] {
        assert_eq!(overlap(left, right), expected, "{left} {right}");
        assert_eq!(overlap(right, left), expected, "{right} {left}");
    }
    let grants = compile("c", &[deny("a/secret"), allow("a/#")]);
    assert_eq!(grants.subscribe("a/open"), ALLOWED);
    assert_eq!(grants.subscribe("a/#"), DENIED);
    assert_eq!(grants.publish("a/open", 0, false), ALLOWED);
    assert_eq!(grants.publish("a/secret", 0, false), DENIED);
}

#[test]
fn a_consult_asks_only_about_what_it_contains() {
    let grants = compile("c", &[grant("a/+/cmd", GrantVerdict::Consult), allow("a/#")]);
    assert_eq!(grants.subscribe("a/1/cmd"), Ruling::Consult(2));
    assert_eq!(grants.subscribe("a/#"), DENIED);
    assert_eq!(grants.subscribe("a/1/state"), ALLOWED);
    assert_eq!(grants.publish("a/1/cmd", 1, false), Ruling::Consult(2));
}

#[test]
fn the_first_rule_that_matches_decides_and_none_denies() {
    let grants = compile("c", &[allow("a/b"), deny("a/#"), allow("#")]);
    assert_eq!(grants.publish("a/b", 0, false), ALLOWED);
    assert_eq!(grants.publish("a/c", 0, false), DENIED);
    assert_eq!(grants.publish("b", 0, false), ALLOWED);
    assert_eq!(grants.publish("$SYS/b", 0, false), NO_RULE);
    assert_eq!(compile("c", &[]).publish("a", 0, false), NO_RULE);
}

#[test]
fn qos_retain_and_action_bound_a_rule() {
    let rule = Grant {
        filter: "a".into(),
        action: GrantAction::Publish,
        qos_max: 1,
        retain: false,
        verdict: GrantVerdict::Allow,
    };
    let grants = compile("c", &[rule]);
    assert_eq!(grants.publish("a", 1, false), Ruling::Allow(1));
    assert_eq!(grants.publish("a", 2, false), Ruling::Deny(Cause::Qos));
    assert_eq!(grants.publish("a", 0, true), Ruling::Deny(Cause::Retain));
    assert_eq!(grants.subscribe("a"), NO_RULE);
}

#[test]
fn placeholders_stand_for_their_values() {
    let grants = compile("dev-1", &[allow("%a{tenant}/%u/x-%c/#"), allow("100%%/a")]);
    assert_eq!(grants.publish("acme/kim/x-dev-1/a", 0, false), ALLOWED);
    assert_eq!(grants.publish("acme/kim/x-dev-2/a", 0, false), NO_RULE);
    assert_eq!(grants.publish("100%/a", 0, false), ALLOWED);
}

#[test]
fn a_value_that_is_more_than_text_in_one_level_opens_nothing() {
    for client_id in ["+", "#", "a/b", "a+", "", "a\0", "/", "x/#"] {
        let grants = compile(client_id, &[allow("dev/%c/#"), allow("in/%c")]);
        for topic in [
            "dev/a", "dev/a/b", "dev/+/x", "dev//x", "in/a", "in/+", "dev", "dev/x",
        ] {
            assert_eq!(grants.publish(topic, 0, false), NO_RULE, "{client_id:?} {topic}");
            assert_eq!(grants.subscribe(topic), NO_RULE, "{client_id:?} {topic}");
        }
        assert_eq!(grants.subscribe("dev/#"), NO_RULE);
    }
}

#[test]
fn a_strange_name_does_not_slip_past_a_deny() {
    for client_id in ["+", "#", "a/b", "", "a\0"] {
        let grants = compile(client_id, &[deny("dev/%c/secret"), allow("dev/#")]);
        assert_eq!(
            grants.publish("dev/a/b/secret", 0, false),
            DENIED,
            "{client_id:?}"
        );
        assert_eq!(grants.publish("dev/x", 0, false), DENIED);
        assert_eq!(grants.subscribe("dev/+/secret"), DENIED);
        let grants = compile(client_id, &[grant("dev/x-%c", GrantVerdict::Consult), allow("#")]);
        assert_eq!(grants.publish("dev/x-a", 0, false), DENIED);
        assert_eq!(grants.publish("other", 0, false), ALLOWED);
    }
}

#[test]
fn a_value_cannot_reach_the_dollar_topics() {
    let grants = compile("$SYS", &[allow("%c/#"), allow("a/%c")]);
    assert_eq!(grants.publish("$SYS/broker", 0, false), NO_RULE);
    assert_eq!(grants.publish("a/$SYS", 0, false), ALLOWED);
}

#[test]
fn absent_values_are_unusable() {
    let values = Values {
        client_id: "c",
        username: None,
        attributes: &[],
    };
    let grants = Grants::compile(
        &[allow("%u/#"), allow("%a{tenant}"), deny("z/%u"), allow("#")],
        &values,
    )
    .unwrap();
    assert_eq!(grants.publish("x/y", 0, false), ALLOWED);
    assert_eq!(grants.publish("z/q", 0, false), DENIED);
    let grants = compile("c", &[allow("%a{bad}/#"), allow("%a{none}")]);
    assert_eq!(grants.publish("a/b/c", 0, false), NO_RULE);
}

#[test]
fn senseless_rules_are_errors() {
    let values = Values {
        client_id: "c",
        username: None,
        attributes: &[],
    };
    for filter in [
        "", "a/#/b", "a#", "a+/b", "%", "%x", "a/%a{b", "%c+", "+%c", "a/#%c", "a\0",
    ] {
        assert!(Grants::compile(&[allow(filter)], &values).is_err(), "{filter:?}");
    }
    let too_high = Grant {
        qos_max: 3,
        ..allow("a")
    };
    assert!(Grants::compile(&[too_high], &values).is_err());
    assert!(Grants::compile(&vec![allow("a"); GRANTS_MAX + 1], &values).is_err());
}

#[test]
fn a_value_that_makes_the_filter_too_long_is_unusable() {
    let long = "x".repeat(40_000);
    let grants = compile(&long, &[allow("%c/%c"), allow("b")]);
    assert_eq!(grants.publish("b", 0, false), ALLOWED);
    let grants = compile(&long, &[deny("%c/%c"), allow("b")]);
    assert_eq!(grants.publish("b", 0, false), DENIED);
}

/// Every sequence of up to `levels` of these words.
fn sequences(words: &[&str], levels: usize) -> Vec<String> {
    let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let mut last = all.clone();
    for _ in 1..levels {
        last = last
            .iter()
            .flat_map(|sequence| words.iter().map(move |word| format!("{sequence}/{word}")))
            .collect();
        all.extend(last.iter().cloned());
    }
    all.retain(|sequence| !sequence.is_empty());
    all
}

#[test]
fn containing_and_overlapping_are_what_they_mean_for_every_short_filter() {
    let mut topics = sequences(&["", "a", "b", "$s"], 4);
    // Not a topic name, yet what `/#` and `+` would have in common.
    topics.push(String::new());
    let mut filters = sequences(&["", "a", "$s", "+"], 3);
    let prefixes = sequences(&["", "a", "$s", "+"], 2);
    filters.extend(prefixes.iter().map(|prefix| format!("{prefix}/#")));
    filters.extend(["#".to_owned(), "/#".to_owned()]);
    let sets: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| topics.iter().map(|topic| filter_matches(filter, topic)).collect())
        .collect();
    for (left, in_left) in filters.iter().zip(&sets) {
        for (topic, expected) in topics.iter().zip(in_left) {
            assert_eq!(is_in(topic, left), *expected, "{left} {topic}");
        }
        for (right, in_right) in filters.iter().zip(&sets) {
            let both = || in_left.iter().zip(in_right);
            let is_inside = both().all(|(left, right)| *left || !right);
            let shares = both().any(|(left, right)| *left && *right);
            // Nothing that is not inside may be allowed (`+/#` does contain `#`, but refusing it is safe); nothing
            // that is shared may slip through.
            assert!(
                !contains(left, right) || is_inside,
                "{left} does not contain {right}"
            );
            assert_eq!(overlap(left, right), shares, "{left} {right}");
        }
    }
}

#[test]
fn written_rules_are_checked_when_they_are_read() {
    let rule = |filter: &str, qos_max| Rule {
        filter: filter.into(),
        start: Start::default(),
        action: GrantAction::Publish,
        qos_max,
        retain: false,
        verdict: GrantVerdict::Allow,
    };
    let read = |rules: Vec<Rule>| Grants::try_from(rules.into_boxed_slice());
    let grants = read(vec![rule("a/+", 1)]).unwrap();
    assert_eq!(grants.publish("a/b", 1, false), Ruling::Allow(1));
    assert_eq!(grants.publish("b/b", 1, false), Ruling::Deny(Cause::NoRule));
    for filter in ["", "a/#/b", "a+", "a\0"] {
        assert!(read(vec![rule(filter, 1)]).is_err(), "{filter:?}");
    }
    assert!(read(vec![rule("a", 3)]).is_err());
    assert!(read(vec![rule("a", 0); GRANTS_MAX + 1]).is_err());
}
