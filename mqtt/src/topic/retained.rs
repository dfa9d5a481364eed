//! Which topics a filter matches: the retained messages (section 3.3.1.3).

use super::arena::{Arena, NONE};
use super::edges::Edges;
use super::level::{Level, split};
use std::ops::ControlFlow;

/// One value for each of many topics, found by topic or by filter.
///
/// A level is a node of 32 bytes and `M`, and costs about 16 more in the index unless it is the only one below its
/// parent. What is removed gives back its nodes up to the first that is still in use. Finding by topic takes time in proportion to its levels; finding by filter
/// goes only where the filter may still match.
pub struct RetainedTree<M> {
    nodes: Arena<Node<M>>,
    /// The children of nodes that have several.
    edges: Edges,
    len: usize,
    /// Where the next slice of a sweep begins.
    sweep_at: u32,
}

struct Node<M> {
    level: Level,
    parent: u32,
    first_child: u32,
    next_sibling: u32,
    previous_sibling: u32,
    value: Option<M>,
}

impl<M> RetainedTree<M> {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        let mut nodes = Arena::default();
        nodes.insert(Node::new(b"", NONE));
        Self {
            nodes,
            edges: Edges::default(),
            len: 0,
            sweep_at: 0,
        }
    }

    /// How many topics have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many nodes the topics need: their different beginnings.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Sets the value of a topic name; the one it replaces.
    pub fn insert(&mut self, topic: &str, value: M) -> Option<M> {
        let mut at = ROOT;
        for level in split(topic.as_bytes()) {
            at = match self.child(at, level) {
                NONE => self.grow(at, level),
                child => child,
            };
        }
        let old = self.nodes.get_mut(at)?.value.replace(value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Removes the value of a topic name.
    pub fn remove(&mut self, topic: &str) -> Option<M> {
        let at = self.find(topic)?;
        self.take(at)
    }

    /// The value of a topic name.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&M> {
        self.nodes.get(self.find(topic)?)?.value.as_ref()
    }

    /// The value of a topic name, to be changed.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut M> {
        let at = self.find(topic)?;
        self.nodes.get_mut(at)?.value.as_mut()
    }

    /// Visits the values of the topics that a filter (without `$share/name/`) matches, until told to stop.
    pub fn matches(&self, filter: &str, visit: &mut dyn FnMut(&M) -> ControlFlow<()>) {
        // For each `+` on the way down: the child it stands for now, and what follows it.
        let mut turns: Vec<(u32, Option<&str>)> = Vec::new();
        let mut here = Some((ROOT, Some(filter)));
        while let Some((mut at, mut rest)) = here {
            while let (Some(filter), Some(node)) = (rest, self.nodes.get(at)) {
                let (level, below) = match filter.split_once('/') {
                    Some((level, below)) => (level, Some(below)),
                    None => (filter, None),
                };
                if level == "#" {
                    if self.visit_below(at, visit).is_break() {
                        return;
                    }
                    at = NONE;
                    break;
                }
                at = if level == "+" {
                    let child = self.unreserved(at, node.first_child);
                    if child != NONE {
                        turns.push((child, below));
                    }
                    child
                } else {
                    self.child(at, level.as_bytes())
                };
                rest = below;
            }
            let value = self.nodes.get(at).and_then(|node| node.value.as_ref());
            if value.is_some_and(|value| visit(value).is_break()) {
                return;
            }
            here = self.next_turn(&mut turns);
        }
    }

    /// Looks at up to `slots_max` places where values may be, where the last call ended, and removes what `keep`
    /// refuses; true when the end was reached and the next call begins anew.
    ///
    /// Values may be set and removed between calls. Every value that is there for a whole round is looked at in it.
    pub fn sweep(&mut self, slots_max: usize, keep: &mut dyn FnMut(&M) -> bool) -> bool {
        for _ in 0..slots_max {
            if self.sweep_at >= self.nodes.end() {
                break;
            }
            let at = self.sweep_at;
            self.sweep_at += 1;
            let value = self.nodes.get(at).and_then(|node| node.value.as_ref());
            if value.is_some_and(|value| !keep(value)) {
                self.take(at);
            }
        }
        let done = self.sweep_at >= self.nodes.end();
        if done {
            self.sweep_at = 0;
        }
        done
    }

    /// Moves the last `+` that has another child on to it.
    fn next_turn<'a>(&self, turns: &mut Vec<(u32, Option<&'a str>)>) -> Option<(u32, Option<&'a str>)> {
        while let Some((child, below)) = turns.pop() {
            let Some(node) = self.nodes.get(child) else {
                continue;
            };
            let next = self.unreserved(node.parent, node.next_sibling);
            if next != NONE {
                turns.push((next, below));
                return Some((next, below));
            }
        }
        None
    }

    /// Visits a node and all below it: `sport/#` matches `sport` too.
    fn visit_below(&self, top: u32, visit: &mut dyn FnMut(&M) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut at = top;
        while let Some(node) = self.nodes.get(at) {
            if let Some(value) = &node.value {
                visit(value)?;
            }
            let mut next = self.unreserved(at, node.first_child);
            while next == NONE && at != top {
                let Some(node) = self.nodes.get(at) else { break };
                next = self.unreserved(node.parent, node.next_sibling);
                at = node.parent;
            }
            at = next;
        }
        ControlFlow::Continue(())
    }

    /// A child, or the first sibling behind it, that a wildcard may stand for [MQTT-4.7.2-1].
    fn unreserved(&self, parent: u32, mut child: u32) -> u32 {
        if parent == ROOT {
            while let Some(node) = self
                .nodes
                .get(child)
                .filter(|node| node.level.as_bytes().starts_with(b"$"))
            {
                child = node.next_sibling;
            }
        }
        child
    }

    fn find(&self, topic: &str) -> Option<u32> {
        let mut at = ROOT;
        for level in split(topic.as_bytes()) {
            at = self.child(at, level);
            if at == NONE {
                return None;
            }
        }
        Some(at)
    }

    fn child(&self, parent: u32, level: &[u8]) -> u32 {
        let first = self.nodes.get(parent).map_or(NONE, |node| node.first_child);
        if let Some(only) = self.nodes.get(first).filter(|node| node.is_alone()) {
            return if only.level.is(level) { first } else { NONE };
        }
        let is = |id| {
            self.nodes
                .get(id)
                .is_some_and(|node| node.parent == parent && node.level.is(level))
        };
        if first == NONE {
            return NONE;
        }
        self.edges
            .find(parent, self.edges.hash(level), |id| is(id).then_some(id))
            .unwrap_or(NONE)
    }

    fn grow(&mut self, parent: u32, level: &[u8]) -> u32 {
        let child = self.nodes.insert(Node::new(level, parent));
        let next = self
            .nodes
            .get_mut(parent)
            .map_or(NONE, |node| std::mem::replace(&mut node.first_child, child));
        if next != NONE {
            self.index_if_alone(next);
            self.edges.insert(parent, self.edges.hash(level), child);
        }
        self.link(child, next);
        child
    }

    /// An only child is about to get a sibling.
    fn index_if_alone(&mut self, id: u32) {
        if let Some(node) = self.nodes.get(id).filter(|node| node.is_alone()) {
            let hash = self.edges.hash(node.level.as_bytes());
            self.edges.insert(node.parent, hash, id);
        }
    }

    /// The sibling of a node is gone.
    fn unindex_if_alone(&mut self, id: u32) {
        if let Some(node) = self.nodes.get(id).filter(|node| node.is_alone()) {
            let hash = self.edges.hash(node.level.as_bytes());
            self.edges.remove(node.parent, hash, id);
        }
    }

    fn take(&mut self, at: u32) -> Option<M> {
        let value = self.nodes.get_mut(at)?.value.take()?;
        self.len -= 1;
        self.prune(at);
        Some(value)
    }

    /// Removes a node that nothing needs any more, then its parent, and so on.
    fn prune(&mut self, mut id: u32) {
        while self
            .nodes
            .get(id)
            .is_some_and(|node| id != ROOT && node.is_unused())
        {
            let Some(node) = self.nodes.remove(id) else { return };
            if !node.is_alone() {
                let hash = self.edges.hash(node.level.as_bytes());
                self.edges.remove(node.parent, hash, id);
            }
            if node.previous_sibling == NONE {
                if let Some(parent) = self.nodes.get_mut(node.parent) {
                    parent.first_child = node.next_sibling;
                }
                if let Some(next) = self.nodes.get_mut(node.next_sibling) {
                    next.previous_sibling = NONE;
                }
                self.unindex_if_alone(node.next_sibling);
            } else {
                self.link(node.previous_sibling, node.next_sibling);
                self.unindex_if_alone(node.previous_sibling);
            }
            id = node.parent;
        }
    }

    /// Makes two nodes neighbours; the second may be `NONE`.
    fn link(&mut self, left: u32, right: u32) {
        if let Some(node) = self.nodes.get_mut(left) {
            node.next_sibling = right;
        }
        if let Some(node) = self.nodes.get_mut(right) {
            node.previous_sibling = left;
        }
    }
}

impl<M> Default for RetainedTree<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Node<M> {
    fn new(level: &[u8], parent: u32) -> Self {
        Self {
            level: Level::new(level),
            parent,
            first_child: NONE,
            next_sibling: NONE,
            previous_sibling: NONE,
            value: None,
        }
    }

    fn is_unused(&self) -> bool {
        self.value.is_none() && self.first_child == NONE
    }

    /// It has no siblings, and so is not in the index.
    fn is_alone(&self) -> bool {
        self.previous_sibling == NONE && self.next_sibling == NONE
    }
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests;
