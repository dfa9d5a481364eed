//! The subscription tree against the specification, a list of subscriptions, and bad luck.

use super::*;
use crate::text::Text;
use crate::topic::{SharedGroup, filter_matches};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

type Tree = SubscriptionTree<u32, u32>;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(Text::try_from(text).unwrap()).unwrap()
}

/// The subscriptions a topic matches, as `filter key`, sorted.
fn matching(tree: &Tree, filters: &[&str], topic: &str) -> Vec<String> {
    let mut found = Vec::new();
    tree.matches(topic, &mut |subscribers| {
        for (_, at) in subscribers.plain {
            found.push(filters[*at as usize].to_owned());
        }
        for group in subscribers.shared {
            for (_, at) in group.members() {
                found.push(filters[*at as usize].to_owned());
            }
        }
    });
    found.sort();
    found
}

/// A tree with one subscriber for each filter, whose value is the filter's number.
fn tree(filters: &[&str]) -> Tree {
    let mut tree = Tree::new();
    for (at, text) in (0..).zip(filters) {
        assert_eq!(tree.insert(&filter(text), 7, at), None, "{text} is new");
    }
    tree
}

fn check(filters: &[&str], topic: &str, expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    expected.sort();
    assert_eq!(
        matching(&tree(filters), filters, topic),
        expected,
        "topic {topic:?}"
    );
}

/// The audience sizes of a topic: (plain, groups).
fn audience(tree: &Tree, topic: &str) -> (usize, usize) {
    let mut found = (0, 0);
    tree.matches(topic, &mut |subscribers| {
        found = (
            found.0 + subscribers.plain.len(),
            found.1 + subscribers.shared.len(),
        );
    });
    found
}

#[test]
fn the_specifications_examples_match_as_it_says() {
    let sport = [
        "sport/tennis/player1/#",
        "sport/#",
        "#",
        "sport/tennis/+",
        "sport/+",
        "+",
        "/+",
        "+/+",
        "+/tennis/#",
    ];
    check(
        &sport,
        "sport/tennis/player1",
        &[
            "sport/tennis/player1/#",
            "sport/#",
            "#",
            "sport/tennis/+",
            "+/tennis/#",
        ],
    );
    check(
        &sport,
        "sport/tennis/player1/ranking",
        &["sport/tennis/player1/#", "sport/#", "#", "+/tennis/#"],
    );
    check(&sport, "sport", &["sport/#", "#", "+"]);
    check(&sport, "sport/", &["sport/#", "sport/+", "#", "+/+"]);
    check(&sport, "/finance", &["/+", "+/+", "#"]);
    check(&sport, "finance", &["#", "+"]);
}

#[test]
fn empty_levels_are_levels() {
    let filters = ["/", "//", "+", "+/+", "+/+/+", "a", "a/", "/a", "a//b", "a/+/b"];
    check(&filters, "/", &["/", "+/+"]);
    check(&filters, "//", &["//", "+/+/+"]);
    check(&filters, "a/", &["a/", "+/+"]);
    check(&filters, "/a", &["/a", "+/+"]);
    check(&filters, "a//b", &["a//b", "a/+/b", "+/+/+"]);
}

#[test]
fn a_leading_wildcard_matches_no_topic_that_starts_with_a_dollar() {
    let filters = [
        "#",
        "+",
        "+/#",
        "+/x",
        "+/+",
        "$SYS/#",
        "$SYS/+",
        "$SYS/x",
        "$share/g/#",
        "$share/g/$SYS/x",
    ];
    check(
        &filters,
        "$SYS/x",
        &["$SYS/#", "$SYS/+", "$SYS/x", "$share/g/$SYS/x"],
    );
    check(&filters, "$SYS", &["$SYS/#"]);
    // Only the first level is special.
    check(&filters, "a/$x", &["#", "+/#", "+/+", "$share/g/#"]);
}

#[test]
fn topics_are_compared_byte_by_byte() {
    // [MQTT-4.7.3-4]: e with acute as one code point and as two, and another case.
    check(
        &["caf\u{e9}", "cafe\u{301}", "CAF\u{c9}"],
        "caf\u{e9}",
        &["caf\u{e9}"],
    );
    let long = "x".repeat(40);
    check(&[&long, &long[1..], "+"], &long, &[&long, "+"]);
}

#[test]
fn a_second_subscription_with_the_same_filter_replaces_the_first() {
    let mut tree = tree(&["a/+"]);
    assert_eq!(tree.insert(&filter("a/+"), 7, 5), Some(0));
    assert_eq!((tree.len(), tree.get(&filter("a/+"), 7)), (1, Some(&5)));
    assert_eq!(tree.insert(&filter("$share/g/a/+"), 7, 6), None);
    assert_eq!(tree.insert(&filter("$share/g/a/+"), 7, 8), Some(6));
    assert_eq!((tree.len(), tree.group_count(), tree.node_count()), (2, 1, 2));
    assert_eq!(tree.get(&filter("$share/g/a/+"), 7), Some(&8));
    assert_eq!(tree.get(&filter("$share/h/a/+"), 7), None);
    assert_eq!(tree.get(&filter("a/+"), 8), None);
}

#[test]
fn a_group_lives_as_long_as_it_has_members() {
    let mut tree = Tree::new();
    for key in 0..3 {
        tree.insert(&filter("$share/g/a"), key, key);
        tree.insert(&filter("$share/h/a"), key, key);
    }
    assert_eq!(
        (tree.len(), tree.group_count(), audience(&tree, "a")),
        (6, 2, (0, 2))
    );
    for key in 0..3 {
        assert_eq!(tree.remove(&filter("$share/g/a"), key), Some(key));
        assert_eq!(tree.remove(&filter("$share/g/a"), key), None);
    }
    assert_eq!(
        (tree.len(), tree.group_count(), audience(&tree, "a")),
        (3, 1, (0, 1))
    );
    tree.matches("a", &mut |subscribers| {
        assert_eq!(subscribers.shared[0].name(), "h")
    });
}

#[test]
fn the_cursor_of_a_group_gives_every_member_its_turn() {
    let mut tree = Tree::new();
    for key in 0..3 {
        tree.insert(&filter("$share/g/a"), key, key);
    }
    let mut turns = [0; 3];
    for _ in 0..9 {
        tree.matches("a", &mut |subscribers| {
            let group = &subscribers.shared[0];
            turns[group.members()[group.next_cursor() % group.members().len()].0 as usize] += 1;
        });
    }
    assert_eq!(turns, [3; 3]);
}

#[test]
fn many_subscribers_and_groups_of_one_filter_are_told_apart() {
    let mut tree = Tree::new();
    for key in 0..5_000 {
        assert_eq!(tree.insert(&filter("a"), key, key), None);
        assert_eq!(tree.insert(&filter(&format!("$share/{key}/a")), 0, key), None);
    }
    assert_eq!(audience(&tree, "a"), (5_000, 5_000));
    for key in (0..5_000).rev().step_by(2).chain((0..5_000).step_by(2)) {
        assert_eq!(tree.get(&filter("a"), key), Some(&key));
        assert_eq!(tree.remove(&filter("a"), key), Some(key));
        assert_eq!(tree.remove(&filter("a"), key), None);
        assert_eq!(tree.remove(&filter(&format!("$share/{key}/a")), 0), Some(key));
    }
    assert_eq!((tree.len(), tree.group_count(), tree.node_count()), (0, 0, 0));
}

#[test]
fn churn_leaves_nothing_behind() {
    let mut tree = tree(&["keep/+/this"]);
    for round in 0..4 {
        for client in 0..2_000 {
            tree.insert(
                &filter(&format!("{round}/{client}/a-rather-long-level-name/+/#")),
                client,
                0,
            );
        }
        for client in 0..2_000 {
            let filter = filter(&format!("{round}/{client}/a-rather-long-level-name/+/#"));
            assert_eq!(tree.remove(&filter, client), Some(0));
        }
        assert_eq!(
            (
                tree.len(),
                tree.node_count(),
                tree.audiences.len(),
                tree.edges.len()
            ),
            (1, 3, 1, 2)
        );
        assert_eq!(tree.nodes.end(), 8_192, "round {round}");
    }
    assert_eq!(audience(&tree, "keep/x/this"), (1, 0));
}

#[test]
fn every_path_through_the_wildcards_is_followed() {
    let mut tree = Tree::new();
    for depth in 1..=6 {
        for bits in 0..1_u32 << depth {
            let levels: Vec<&str> = (0..depth)
                .map(|at| if bits >> at & 1 == 0 { "a" } else { "+" })
                .collect();
            tree.insert(&filter(&levels.join("/")), 0, bits);
            tree.insert(&filter(&format!("{}/#", levels.join("/"))), 0, bits);
        }
    }
    for depth in 1..=7 {
        let exact = if depth <= 6 { 1 << depth } else { 0 };
        let multi: usize = (1..=depth.min(6)).map(|above| 1 << above).sum();
        assert_eq!(
            audience(&tree, &vec!["a"; depth].join("/")),
            (exact + multi, 0),
            "{depth} levels"
        );
    }
    assert_eq!(audience(&tree, "b/b/b"), (1 + 3, 0));
}

#[test]
fn the_longest_filters_and_topics_need_no_stack_and_no_quadratic_time() {
    let slashes = "/".repeat(65_535);
    let plus = vec!["+"; 32_768].join("/");
    let deep = format!("{}#", "/".repeat(65_534));
    let filters = [slashes.as_str(), &plus, &deep];
    let tree = tree(&filters);
    assert_eq!(audience(&tree, &slashes), (2, 0));
    assert_eq!(audience(&tree, &"/".repeat(32_767)), (1, 0));
    let mut tree = tree;
    for text in filters {
        assert!(tree.remove(&filter(text), 7).is_some());
    }
    assert_eq!(tree.node_count(), 0);
}

/// Levels from a small alphabet, so that filters and topics meet.
fn levels_of(alphabet: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(alphabet), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("not empty", |text| !text.is_empty())
}

fn any_topic() -> impl Strategy<Value = String> {
    levels_of(&["", "a", "b", "$", "$a", "a-name-that-is-not-short"])
}

fn any_filter() -> impl Strategy<Value = String> {
    let plain = levels_of(&["", "a", "b", "+", "+", "$", "$a", "a-name-that-is-not-short"]);
    let multi = prop_oneof![3 => Just(""), 1 => Just("/#")];
    let share = prop_oneof![3 => Just(""), 1 => Just("$share/g/"), 1 => Just("$share/h/")];
    let whole =
        (share.clone(), plain, multi).prop_map(|(share, plain, multi)| format!("{share}{plain}{multi}"));
    prop_oneof![9 => whole, 1 => share.prop_map(|share| format!("{share}#"))]
}

/// What is to be in a tree: (filter, key) and value.
type Model = BTreeMap<(String, u32), u32>;

/// The values of the plain subscribers of a topic, by what is remembered where something is.
fn recent_values(tree: &Tree, recent: &mut RecentTopics, topic: &str) -> Vec<u32> {
    let mut values = Vec::new();
    tree.matches_recent(topic, recent, &mut |found| {
        values.extend(found.plain.iter().map(|(_, value)| *value));
    });
    values
}

#[test]
fn what_one_tree_said_is_no_answer_of_another() {
    let mut recent = RecentTopics::default();
    let (one, mut other) = (tree(&["a/+"]), Tree::new());
    assert_eq!(recent_values(&one, &mut recent, "a/b"), [0]);
    assert_eq!(recent_values(&other, &mut recent, "a/b"), []);
    other.insert(&filter("a/b"), 7, 5);
    assert_eq!(recent_values(&other, &mut recent, "a/b"), [5]);
    assert_eq!(recent_values(&one, &mut recent, "a/b"), [0]);
}

#[test]
fn topics_too_long_or_too_popular_to_remember_are_matched_all_the_same() {
    let mut recent = RecentTopics::default();
    let tree = tree(&["+/b", "a/+", "a/b", "long/#"]);
    for _ in 0..2 {
        let mut values = recent_values(&tree, &mut recent, "a/b");
        values.sort_unstable();
        assert_eq!(values, [0, 1, 2]);
        for length in [106, 107, 108, 250, 251, 252, 60_000] {
            let topic = format!("long/{}", "x".repeat(length));
            assert_eq!(recent_values(&tree, &mut recent, &topic), [3], "{length} bytes");
        }
    }
}

proptest! {
    /// The tree against a list of subscriptions and the reference matcher, at every point of any history.
    #[test]
    fn it_holds_and_matches_what_a_list_would(
        history in prop::collection::vec(
            (any_filter(), 0_u32..4, prop::option::weighted(0.45, any::<prop::sample::Index>())),
            1..60,
        ),
        topics in prop::collection::vec(any_topic(), 1..6),
    ) {
        let mut tree = Tree::new();
        let mut model = Model::new();
        let mut recent = RecentTopics::default();
        for (value, (text, key, removed)) in (0..).zip(history) {
            let removed = removed.filter(|_| !model.is_empty()).map(|at| at.index(model.len()));
            if let Some((text, key)) = removed.and_then(|at| model.keys().nth(at).cloned()) {
                prop_assert_eq!(tree.remove(&filter(&text), key), model.remove(&(text.clone(), key)));
                prop_assert_eq!(tree.remove(&filter(&text), key), None);
            } else {
                prop_assert_eq!(tree.insert(&filter(&text), key, value), model.insert((text, key), value));
            }
            holds(&tree, &model)?;
            for topic in &topics {
                matches(&tree, &model, topic)?;
                // Once to remember or be reminded, once to be reminded.
                for _ in 0..2 {
                    matches_recent(&tree, &mut recent, topic)?;
                }
            }
        }
        for (text, key) in model.into_keys() {
            prop_assert!(tree.remove(&filter(&text), key).is_some());
        }
        holds(&tree, &Model::new())?;
    }
}

fn holds(tree: &Tree, model: &Model) -> Result<(), TestCaseError> {
    for ((text, key), value) in model {
        prop_assert_eq!(tree.get(&filter(text), *key), Some(value));
    }
    prop_assert_eq!(tree.len(), model.len());
    let filters: HashSet<TopicFilter> = model.keys().map(|(text, _)| filter(text)).collect();
    prop_assert_eq!(
        tree.group_count(),
        filters.iter().filter(|filter| filter.share().is_some()).count()
    );
    let unshared: HashSet<&str> = filters.iter().map(TopicFilter::filter).collect();
    prop_assert_eq!(tree.audiences.len(), unshared.len());
    let nodes: HashSet<&str> = unshared.into_iter().flat_map(beginnings).collect();
    prop_assert_eq!(tree.node_count(), nodes.len());
    let named = nodes
        .into_iter()
        .filter(|node| *node != "+" && !node.ends_with("/+"))
        .count();
    prop_assert_eq!(tree.edges.len(), named);
    Ok(())
}

fn matches(tree: &Tree, model: &Model, topic: &str) -> Result<(), TestCaseError> {
    let mut found: Vec<u32> = Vec::new();
    tree.matches(topic, &mut |subscribers| {
        found.extend(subscribers.plain.iter().map(|(_, value)| value));
        found.extend(
            subscribers
                .shared
                .iter()
                .flat_map(SharedGroup::members)
                .map(|(_, value)| value),
        );
    });
    found.sort_unstable();
    let wanted = model
        .iter()
        .filter(|((text, _), _)| filter_matches(filter(text).filter(), topic));
    let mut wanted: Vec<u32> = wanted.map(|(_, value)| *value).collect();
    wanted.sort_unstable();
    prop_assert_eq!(found, wanted, "topic {:?}", topic);
    Ok(())
}

/// What is remembered is what the tree says now, in the same order.
fn matches_recent(tree: &Tree, recent: &mut RecentTopics, topic: &str) -> Result<(), TestCaseError> {
    let (mut now, mut remembered) = (Vec::new(), Vec::new());
    tree.matches(topic, &mut |found| {
        now.push((found.plain.to_vec(), found.shared.len()))
    });
    tree.matches_recent(topic, recent, &mut |found| {
        remembered.push((found.plain.to_vec(), found.shared.len()));
    });
    prop_assert_eq!(remembered, now, "topic {:?}", topic);
    Ok(())
}

/// The nodes a filter needs: itself up to each of its slashes and to its end, without `#`.
fn beginnings(filter: &str) -> impl Iterator<Item = &str> {
    let filter = filter
        .strip_suffix('#')
        .map_or(filter, |rest| rest.strip_suffix('/').unwrap_or("#"));
    let ends = filter.match_indices('/').map(|(at, _)| at).chain([filter.len()]);
    ends.map(move |end| &filter[..end]).filter(|start| *start != "#")
}
