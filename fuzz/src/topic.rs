//! Histories of subscriptions and retained values: the trees must do what a list and the reference matcher do.
//!
//! An input is text, a command in each line, so that its corpus can be read and written by hand:
//!
//! | line | |
//! |---|---|
//! | `s3 FILTER` | session 3 (a digit) subscribes |
//! | `u3 FILTER` | and unsubscribes |
//! | `m TOPIC` | who is matched? |
//! | `r TOPIC` | a value is retained |
//! | `c TOPIC` | and cleared |
//! | `f FILTER` | which values are found? |
//! | `w` | a slice of a sweep, which removes every third value |

use sluice_mqtt::text::Text;
use sluice_mqtt::topic::{
    RetainedTree, SharedGroup, SubscriptionTree, TopicFilter, TopicName, filter_matches,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Runs one history.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut history = History::default();
    for (value, line) in (0..LINES_MAX).zip(text.lines()) {
        history.command(line, value);
    }
    history.end();
}

#[derive(Default)]
struct History {
    subscriptions: SubscriptionTree<u8, u32>,
    subscribed: BTreeMap<(String, u8), u32>,
    retained: RetainedTree<u32>,
    kept: BTreeMap<String, u32>,
}

impl History {
    fn command(&mut self, line: &str, value: u32) {
        let (command, text) = line.split_once(' ').unwrap_or((line, ""));
        let session = *command.as_bytes().get(1).unwrap_or(&b'0');
        match command.as_bytes().first() {
            Some(b's') => self.subscribe(text, session, value),
            Some(b'u') => self.unsubscribe(text, session),
            Some(b'm') => self.match_topic(text),
            Some(b'r') => self.retain(text, value),
            Some(b'c') => self.clear(text),
            Some(b'f') => self.find(text),
            Some(b'w') => self.sweep(),
            _ => {}
        }
        assert_eq!(self.subscriptions.len(), self.subscribed.len());
        assert_eq!(self.retained.len(), self.kept.len());
    }

    fn subscribe(&mut self, text: &str, session: u8, value: u32) {
        let Some(filter) = filter(text) else { return };
        let old = self.subscriptions.insert(&filter, session, value);
        assert_eq!(old, self.subscribed.insert((text.to_owned(), session), value));
        assert_eq!(self.subscriptions.get(&filter, session), Some(&value));
    }

    fn unsubscribe(&mut self, text: &str, session: u8) {
        let Some(filter) = filter(text) else { return };
        let old = self.subscriptions.remove(&filter, session);
        assert_eq!(old, self.subscribed.remove(&(text.to_owned(), session)));
    }

    fn match_topic(&self, text: &str) {
        let Some(topic) = topic(text) else { return };
        let mut found: Vec<u32> = Vec::new();
        self.subscriptions.matches(&topic, &mut |subscribers| {
            found.extend(subscribers.plain.iter().map(|(_, value)| value));
            found.extend(
                subscribers
                    .shared
                    .iter()
                    .flat_map(SharedGroup::members)
                    .map(|(_, value)| value),
            );
        });
        let wanted = self.subscribed.iter().filter(|((text, _), _)| {
            filter(text).is_some_and(|filter| filter_matches(filter.filter(), &topic))
        });
        assert_same(found, wanted.map(|(_, value)| *value).collect());
    }

    fn retain(&mut self, text: &str, value: u32) {
        let Some(topic) = topic(text) else { return };
        assert_eq!(
            self.retained.insert(&topic, value),
            self.kept.insert(text.to_owned(), value)
        );
    }

    fn clear(&mut self, text: &str) {
        let Some(topic) = topic(text) else { return };
        assert_eq!(self.retained.get(&topic), self.kept.get(text));
        assert_eq!(self.retained.remove(&topic), self.kept.remove(text));
    }

    fn find(&self, text: &str) {
        let Some(filter) = filter(text) else { return };
        let mut found = Vec::new();
        self.retained.matches(filter.filter(), &mut |value| {
            found.push(*value);
            ControlFlow::Continue(())
        });
        let wanted = self
            .kept
            .iter()
            .filter(|(topic, _)| filter_matches(filter.filter(), topic));
        assert_same(found, wanted.map(|(_, value)| *value).collect());
    }

    fn sweep(&mut self) {
        let mut removed = Vec::new();
        self.retained.sweep(3, &mut |value| {
            let keep = value % 3 != 0;
            removed.extend((!keep).then_some(*value));
            keep
        });
        self.kept.retain(|_, value| !removed.contains(value));
    }

    fn end(mut self) {
        for (text, session) in std::mem::take(&mut self.subscribed).into_keys() {
            let filter = filter(&text).expect("it was subscribed to");
            assert!(self.subscriptions.remove(&filter, session).is_some());
        }
        for topic in std::mem::take(&mut self.kept).into_keys() {
            assert!(self.retained.remove(&topic).is_some());
        }
        let left = (
            self.subscriptions.node_count(),
            self.subscriptions.group_count(),
            self.retained.node_count(),
        );
        assert_eq!(left, (0, 0, 0));
    }
}

fn filter(text: &str) -> Option<TopicFilter> {
    TopicFilter::new(Text::try_from(text).ok()?).ok()
}

fn topic(text: &str) -> Option<TopicName> {
    TopicName::new(Text::try_from(text).ok()?).ok()
}

fn assert_same(mut found: Vec<u32>, mut wanted: Vec<u32>) {
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

const LINES_MAX: u32 = 1_000;
