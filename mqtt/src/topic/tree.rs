//! Which subscriptions a topic matches.

use super::arena::{Arena, NONE};
use super::edges::{Edges, LevelHash};
use super::filter::TopicFilter;
use super::level::{Level, split};
use super::members::Audience;
use recent::next_version;
use std::hash::{Hash, RandomState};

mod recent;
mod walk;

pub use recent::RecentTopics;

/// Subscriptions by filter, matched by topic.
///
/// `K` tells the subscribers of one filter apart (a session), `V` is what the caller keeps of a subscription.
///
/// A level is a node; `#` is none but a second audience of its parent. A node costs 40 bytes, a named one about 16
/// more in the index, a filter with a single subscriber 8 bytes and the pair `(K, V)`. What is removed gives back
/// its nodes up to the first that is still in use.
///
/// Inserting and removing take time in proportion to the levels of the filter, however many subscribers it has.
/// Matching visits, level by level, the nodes that agree with the topic so far: one for a named level and one for a
/// `+`, each, so at most `2^levels`, and never more than there are nodes. A client that wants a topic to be expensive
/// has to subscribe to as many filters (`{a,+}/{a,+}/...`); limits on subscriptions and on [`levels`] bound that.
///
/// [`levels`]: super::levels
pub struct SubscriptionTree<K, V> {
    nodes: Arena<Node>,
    edges: Edges,
    audiences: Arena<Audience<K, V>>,
    keys: RandomState,
    subscriptions: usize,
    groups: usize,
    /// Another number whenever a topic may lead to an audience that it did not lead to before; no two trees ever have
    /// the same. An audience that is gone needs no new number: its index leads nowhere until another one, whose coming
    /// changes the number, takes it.
    version: u64,
}

struct Node {
    /// Its name; of no meaning in a `+`.
    level: Level,
    parent: u32,
    /// The child `+`.
    plus: u32,
    /// How many named children the index has.
    named: u32,
    /// The named child added last, which may be gone: an only child is found without the index.
    latest: u32,
    /// Who subscribed to the filter that ends here.
    exact: u32,
    /// Who subscribed to the filter that goes on with `/#` and ends.
    multi: u32,
}

/// Where in a node a filter ends.
#[derive(Clone, Copy)]
enum End {
    Exact,
    Multi,
}

impl<K: Copy + Eq + Hash, V> SubscriptionTree<K, V> {
    /// A tree without subscriptions.
    #[must_use]
    pub fn new() -> Self {
        let mut nodes = Arena::default();
        nodes.insert(Node::new(b"", NONE));
        Self {
            nodes,
            edges: Edges::default(),
            audiences: Arena::default(),
            keys: RandomState::new(),
            subscriptions: 0,
            groups: 0,
            version: next_version(),
        }
    }

    /// How many subscriptions there are, members of shared groups included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subscriptions
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// How many shared groups there are; the same name with another filter is another group.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups
    }

    /// How many nodes the subscriptions need: the different beginnings of filters, without `#`.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Adds a subscription; one with the same filter, share name and key is replaced and its value returned
    /// [MQTT-3.8.4-3].
    pub fn insert(&mut self, filter: &TopicFilter, key: K, value: V) -> Option<V> {
        let (node, end) = self.grow(filter.filter());
        let audience = match self.nodes.get(node).map_or(NONE, |node| node.audience(end)) {
            NONE => {
                let audience = self.audiences.insert(Audience::Nobody);
                self.set_audience(node, end, audience);
                self.version = next_version();
                audience
            }
            audience => audience,
        };
        let change = self
            .audiences
            .get_mut(audience)?
            .insert(&self.keys, filter.share(), key, value);
        self.groups += usize::from(change.group);
        self.subscriptions += usize::from(change.old.is_none());
        change.old
    }

    /// Removes a subscription and returns its value.
    pub fn remove(&mut self, filter: &TopicFilter, key: K) -> Option<V> {
        let (node, end) = self.find(filter.filter())?;
        let id = self.nodes.get(node)?.audience(end);
        let audience = self.audiences.get_mut(id)?;
        let change = audience.remove(&self.keys, filter.share(), key);
        if audience.is_empty() {
            self.audiences.remove(id);
            self.set_audience(node, end, NONE);
            self.prune(node);
        }
        self.groups -= usize::from(change.group);
        self.subscriptions -= usize::from(change.old.is_some());
        change.old
    }

    /// The value of a subscription.
    #[must_use]
    pub fn get(&self, filter: &TopicFilter, key: K) -> Option<&V> {
        let (node, end) = self.find(filter.filter())?;
        let audience = self.audiences.get(self.nodes.get(node)?.audience(end))?;
        audience.get(&self.keys, filter.share(), key)
    }

    /// The node where a filter ends.
    fn find(&self, filter: &str) -> Option<(u32, End)> {
        let mut at = ROOT;
        for level in split(filter.as_bytes()) {
            let node = self.nodes.get(at)?;
            at = match level {
                b"#" => return Some((at, End::Multi)),
                b"+" => node.plus,
                _ => self.named_child(at, node, level, || self.edges.hash(level))?.0,
            };
        }
        Some((at, End::Exact))
    }

    /// The node where a filter ends, made if need be.
    fn grow(&mut self, filter: &str) -> (u32, End) {
        let mut at = ROOT;
        for level in split(filter.as_bytes()) {
            at = match level {
                b"#" => return (at, End::Multi),
                b"+" => self.grow_plus(at),
                _ => self.grow_named(at, level),
            };
        }
        (at, End::Exact)
    }

    fn grow_plus(&mut self, parent: u32) -> u32 {
        match self.nodes.get(parent).map_or(NONE, |node| node.plus) {
            NONE => {
                let child = self.nodes.insert(Node::new(b"", parent));
                if let Some(node) = self.nodes.get_mut(parent) {
                    node.plus = child;
                }
                child
            }
            child => child,
        }
    }

    fn grow_named(&mut self, parent: u32, level: &[u8]) -> u32 {
        let hash = self.edges.hash(level);
        let node = self.nodes.get(parent);
        let found = node.and_then(|node| self.named_child(parent, node, level, || hash));
        match found {
            None => {
                let child = self.nodes.insert(Node::new(level, parent));
                self.edges.insert(parent, hash, child);
                if let Some(node) = self.nodes.get_mut(parent) {
                    node.named += 1;
                    node.latest = child;
                }
                child
            }
            Some((child, _)) => child,
        }
    }

    #[inline]
    fn named_child(
        &self,
        id: u32,
        node: &Node,
        level: &[u8],
        hash: impl FnOnce() -> LevelHash,
    ) -> Option<(u32, &Node)> {
        if node.named == 0 {
            return None;
        }
        if node.named == 1
            && node.latest != node.plus
            && let Some(only) = self.nodes.get(node.latest).filter(|only| only.parent == id)
        {
            return only.level.is(level).then_some((node.latest, only));
        }
        self.edges.find(id, hash(), |child| {
            let node = self.nodes.get(child)?;
            (node.parent == id && node.level.is(level)).then_some((child, node))
        })
    }

    /// Removes a node that nothing needs any more, then its parent, and so on.
    fn prune(&mut self, mut id: u32) {
        while let Some(node) = self.nodes.get(id).filter(|node| id != ROOT && node.is_unused()) {
            let parent_id = node.parent;
            let hash = self.edges.hash(node.level.as_bytes());
            if let Some(parent) = self.nodes.get_mut(parent_id) {
                if parent.plus == id {
                    parent.plus = NONE;
                } else {
                    parent.named -= 1;
                    self.edges.remove(parent_id, hash, id);
                }
            }
            self.nodes.remove(id);
            id = parent_id;
        }
    }

    fn set_audience(&mut self, node: u32, end: End, audience: u32) {
        if let Some(node) = self.nodes.get_mut(node) {
            match end {
                End::Exact => node.exact = audience,
                End::Multi => node.multi = audience,
            }
        }
    }
}

impl<K: Copy + Eq + Hash, V> Default for SubscriptionTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    fn new(level: &[u8], parent: u32) -> Self {
        Self {
            level: Level::new(level),
            parent,
            plus: NONE,
            named: 0,
            latest: NONE,
            exact: NONE,
            multi: NONE,
        }
    }

    fn audience(&self, end: End) -> u32 {
        match end {
            End::Exact => self.exact,
            End::Multi => self.multi,
        }
    }

    fn is_unused(&self) -> bool {
        self.named == 0 && [self.plus, self.exact, self.multi] == [NONE; 3]
    }
}

const ROOT: u32 = 0;
const _: () = assert!(size_of::<Node>() == 40);

#[cfg(test)]
mod tests;
