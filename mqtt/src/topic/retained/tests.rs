//! The retained tree against the specification, a map of topics, and bad luck.

use super::*;
use crate::topic::filter_matches;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

fn tree(topics: &[&str]) -> RetainedTree<String> {
    let mut tree = RetainedTree::new();
    for topic in topics {
        assert_eq!(tree.insert(topic, (*topic).to_owned()), None);
    }
    tree
}

fn matching<M: Clone + Ord>(tree: &RetainedTree<M>, filter: &str) -> Vec<M> {
    let mut found = Vec::new();
    tree.matches(filter, &mut |value| {
        found.push(value.clone());
        ControlFlow::Continue(())
    });
    found.sort();
    found
}

fn check(filter: &str, expected: &[&str]) {
    let topics = [
        "sport",
        "sport/",
        "sport/tennis",
        "sport/tennis/p1",
        "/",
        "/a",
        "a",
        "a//b",
        "$SYS",
        "$SYS/x",
        "x/$y",
    ];
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(matching(&tree(&topics), filter), expected, "filter {filter:?}");
}

#[test]
fn wildcards_find_the_topics_the_specification_says() {
    check("sport/#", &["sport", "sport/", "sport/tennis", "sport/tennis/p1"]);
    check("sport/+", &["sport/", "sport/tennis"]);
    check("+/tennis/+", &["sport/tennis/p1"]);
    check("+", &["sport", "a"]);
    check("+/+", &["sport/", "sport/tennis", "/", "/a", "x/$y"]);
    check("/+", &["/", "/a"]);
    check("/#", &["/", "/a"]);
    check("a/+/b", &["a//b"]);
    check("+/+/b", &["a//b"]);
    check("nothing/#", &[]);
}

#[test]
fn a_leading_wildcard_finds_no_topic_that_starts_with_a_dollar() {
    check(
        "#",
        &[
            "sport",
            "sport/",
            "sport/tennis",
            "sport/tennis/p1",
            "/",
            "/a",
            "a",
            "a//b",
            "x/$y",
        ],
    );
    check("+/x", &[]);
    check(
        "+/#",
        &[
            "sport",
            "sport/",
            "sport/tennis",
            "sport/tennis/p1",
            "/",
            "/a",
            "a",
            "a//b",
            "x/$y",
        ],
    );
    check("$SYS/#", &["$SYS", "$SYS/x"]);
    check("$SYS/+", &["$SYS/x"]);
    check("x/+", &["x/$y"]);
}

#[test]
fn a_filter_without_wildcards_finds_its_topic() {
    check("sport", &["sport"]);
    check("a//b", &["a//b"]);
    check("a/", &[]);
}

#[test]
fn a_visit_that_breaks_ends_the_search() {
    let tree = tree(&["a/x", "b/x", "c/x", "c/x/y"]);
    for filter in ["+/x", "#", "+/+", "c/x/#"] {
        let mut visits = 0;
        tree.matches(filter, &mut |_| {
            visits += 1;
            ControlFlow::Break(())
        });
        assert_eq!(visits, 1, "{filter}");
    }
}

#[test]
fn a_sweep_in_slices_sees_every_value_once_a_round() {
    let mut tree = RetainedTree::new();
    for number in 0..10_000 {
        tree.insert(&format!("device/{number}/state"), number);
    }
    let mut seen = HashSet::new();
    let mut calls = 0;
    loop {
        let mut looks = 0;
        let done = tree.sweep(100, &mut |number| {
            looks += 1;
            assert!(seen.insert(*number));
            number % 2 == 0
        });
        calls += 1;
        assert!(looks <= 100);
        // What is stored meanwhile disturbs nothing.
        tree.insert("another/topic", 0);
        tree.remove("another/topic");
        if done {
            break;
        }
    }
    assert_eq!(seen.len(), 10_000);
    assert!(calls >= 200);
    assert_eq!((tree.len(), tree.node_count()), (5_000, 10_001));
    assert!(tree.get("device/1/state").is_none() && tree.get("device/2/state").is_some());
    while !tree.sweep(1_000, &mut |_| false) {}
    assert_eq!((tree.len(), tree.node_count()), (0, 0));
}

#[test]
fn churn_leaves_nothing_behind() {
    let mut tree = tree(&["keep/this"]);
    for round in 0..4 {
        for number in 0..2_000 {
            tree.insert(
                &format!("{round}/{number}/a-rather-long-level-name"),
                String::new(),
            );
        }
        for number in 0..2_000 {
            assert!(
                tree.remove(&format!("{round}/{number}/a-rather-long-level-name"))
                    .is_some()
            );
        }
        assert_eq!(
            (tree.len(), tree.node_count(), tree.nodes.end()),
            (1, 2, 4_096),
            "round {round}"
        );
    }
}

#[test]
fn the_longest_topics_and_filters_need_no_stack_and_no_quadratic_time() {
    let slashes = "/".repeat(65_535);
    let mut tree = tree(&[slashes.as_str(), "a"]);
    assert_eq!(matching(&tree, "#").len(), 2);
    assert_eq!(matching(&tree, &vec!["+"; 65_536].join("/")).len(), 1);
    assert_eq!(matching(&tree, &format!("{}#", "+/".repeat(32_767))).len(), 1);
    assert!(tree.remove(&slashes).is_some());
    assert_eq!(tree.node_count(), 1);
}

fn any_text(alphabet: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::collection::vec(prop::sample::select(alphabet), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("not empty", |text| !text.is_empty())
}

fn any_topic() -> impl Strategy<Value = String> {
    any_text(&["", "a", "b", "$", "$a", "a-name-that-is-not-short"])
}

fn any_filter() -> impl Strategy<Value = String> {
    let plain = any_text(&["", "a", "b", "+", "+", "$", "$a", "a-name-that-is-not-short"]);
    prop_oneof![
        5 => plain.clone(),
        4 => plain.prop_map(|text| format!("{text}/#")),
        1 => Just("#".to_owned()),
    ]
}

proptest! {
    /// The tree against a map of topics and the reference matcher, at every point of any history.
    #[test]
    fn it_holds_and_finds_what_a_map_would(
        history in prop::collection::vec(
            (any_topic(), prop::option::weighted(0.45, any::<prop::sample::Index>())),
            1..60,
        ),
        filters in prop::collection::vec(any_filter(), 1..6),
        refused in 0_u32..4,
    ) {
        let mut tree = RetainedTree::new();
        let mut model: BTreeMap<String, u32> = BTreeMap::new();
        for (value, (topic, removed)) in (0_u32..).zip(history) {
            let removed = removed.filter(|_| !model.is_empty()).map(|at| at.index(model.len()));
            if let Some(topic) = removed.and_then(|at| model.keys().nth(at).cloned()) {
                prop_assert_eq!(tree.remove(&topic), model.remove(&topic));
                prop_assert_eq!(tree.remove(&topic), None);
            } else {
                prop_assert_eq!(tree.insert(&topic, value), model.insert(topic, value));
            }
            holds(&tree, &model, &filters)?;
        }
        while !tree.sweep(7, &mut |value| value % 4 != refused) {}
        model.retain(|_, value| *value % 4 != refused);
        holds(&tree, &model, &filters)?;
        for (topic, value) in model {
            prop_assert_eq!(tree.remove(&topic), Some(value));
        }
        holds(&tree, &BTreeMap::new(), &filters)?;
    }
}

fn holds(
    tree: &RetainedTree<u32>,
    model: &BTreeMap<String, u32>,
    filters: &[String],
) -> Result<(), TestCaseError> {
    for (topic, value) in model {
        prop_assert_eq!(tree.get(topic), Some(value));
    }
    prop_assert_eq!(tree.len(), model.len());
    let ends = |topic: &str| {
        topic
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([topic.len()])
            .collect::<Vec<_>>()
    };
    let nodes: HashSet<&str> = model
        .keys()
        .flat_map(|topic| ends(topic).into_iter().map(|end| &topic[..end]))
        .collect();
    let parent = |node: &str| node.rsplit_once('/').map(|(parent, _)| parent.to_owned());
    let has_sibling = |node: &&str| {
        nodes
            .iter()
            .any(|other| other != node && parent(other) == parent(node))
    };
    let indexed = nodes.iter().copied().filter(has_sibling).count();
    prop_assert_eq!((tree.node_count(), tree.edges.len()), (nodes.len(), indexed));
    for filter in filters {
        let wanted = model.iter().filter(|(topic, _)| filter_matches(filter, topic));
        let mut wanted: Vec<u32> = wanted.map(|(_, value)| *value).collect();
        wanted.sort_unstable();
        prop_assert_eq!(matching(tree, filter), wanted, "filter {:?}", filter);
    }
    Ok(())
}
