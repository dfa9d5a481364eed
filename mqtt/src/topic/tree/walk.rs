//! From a topic to the audiences of the filters that match it.

use super::recent::{Named, RecentTopics};
use super::{Node, ROOT, SubscriptionTree};
use crate::topic::arena::NONE;
use crate::topic::level::split_first;
use crate::topic::members::Subscribers;
use std::hash::Hash;

/// A topic on its way down: where it is, and the levels that are left.
struct Way<'a, 't> {
    at: u32,
    node: &'a Node,
    rest: Option<&'t [u8]>,
}

impl<K: Copy + Eq + Hash, V> SubscriptionTree<K, V> {
    /// Visits the subscribers of each filter that matches the topic name, filter by filter.
    ///
    /// A session with several matching filters is visited with each of them.
    pub fn matches<'a>(&'a self, topic: impl AsRef<[u8]>, visit: &mut dyn FnMut(Subscribers<'a, K, V>)) {
        self.walk(topic.as_ref(), &mut |audience| self.visit(audience, visit));
    }

    /// [`SubscriptionTree::matches`], which for a topic it has seen lately costs the same however many subscriptions
    /// there are.
    pub fn matches_recent<'a>(
        &'a self,
        topic: impl AsRef<[u8]>,
        recent: &mut RecentTopics,
        visit: &mut dyn FnMut(Subscribers<'a, K, V>),
    ) {
        let topic = topic.as_ref();
        let hash = self.edges.hash(topic);
        if let Some(audiences) = recent.get(topic, hash, self.version) {
            for audience in audiences {
                self.visit(audience, visit);
            }
            return;
        }
        let mut named = Named::none();
        self.walk(topic, &mut |audience| {
            named.push(audience);
            self.visit(audience, visit);
        });
        recent.keep(topic, hash, self.version, &named);
    }

    #[inline]
    fn visit<'a>(&'a self, audience: u32, visit: &mut dyn FnMut(Subscribers<'a, K, V>)) {
        if let Some(audience) = self.audiences.get(audience) {
            visit(audience.subscribers());
        }
    }

    /// Names the audience of each filter that matches.
    fn walk(&self, topic: &[u8], visit: &mut dyn FnMut(u32)) {
        // [MQTT-4.7.2-1]: holds for the first level only.
        let mut wildcards = !topic.starts_with(b"$");
        let Some(root) = self.nodes.get(ROOT) else {
            return;
        };
        let mut way = Way {
            at: ROOT,
            node: root,
            rest: Some(topic),
        };
        // There is one node to follow as long as nobody has a `+` here beside the name, which is most of the way for
        // most topics.
        while let Some(levels) = way.rest {
            let (level, below) = split_first(levels);
            let node = way.node;
            let named = self.named_child(way.at, node, level, || self.edges.hash(level));
            if wildcards {
                reach(node.multi, visit);
            }
            let next = match named {
                _ if !wildcards || node.plus == NONE => named,
                None => self.nodes.get(node.plus).map(|plus| (node.plus, plus)),
                Some((child, _)) => {
                    let Some(left) = self.match_many([node.plus, child], below, visit) else {
                        return;
                    };
                    way = left;
                    continue;
                }
            };
            let Some((at, node)) = next else { return };
            way = Way {
                at,
                node,
                rest: below,
            };
            wildcards = true;
        }
        visit_end(way.node, visit);
    }

    /// Goes on from two nodes as long as there are several to follow; gives the one that is left, if one is.
    fn match_many<'a, 't>(
        &'a self,
        from: [u32; 2],
        mut rest: Option<&'t [u8]>,
        visit: &mut dyn FnMut(u32),
    ) -> Option<Way<'a, 't>> {
        let (mut here, mut next) = (&mut Frontier::default(), &mut Frontier::default());
        for id in from {
            here.push(id);
        }
        while let Some(levels) = rest {
            let (level, below) = split_first(levels);
            let mut hash = None;
            for id in here.iter() {
                let Some(node) = self.nodes.get(id) else { continue };
                reach(node.multi, visit);
                next.push(node.plus);
                let hash = || *hash.get_or_insert_with(|| self.edges.hash(level));
                if let Some((child, _)) = self.named_child(id, node, level, hash) {
                    next.push(child);
                }
            }
            std::mem::swap(&mut here, &mut next);
            next.clear();
            rest = below;
            match (here.len, here.few) {
                (0, _) => return None,
                (1, [at, ..]) => {
                    let node = self.nodes.get(at)?;
                    return Some(Way { at, node, rest });
                }
                _ => {}
            }
        }
        for node in here.iter().filter_map(|id| self.nodes.get(id)) {
            visit_end(node, visit);
        }
        None
    }
}

/// Names who subscribed to the filter that ends here.
fn visit_end(node: &Node, visit: &mut dyn FnMut(u32)) {
    reach(node.exact, visit);
    // Also the parent level: `sport/#` matches `sport`.
    reach(node.multi, visit);
}

#[inline]
fn reach(audience: u32, visit: &mut dyn FnMut(u32)) {
    if audience != NONE {
        visit(audience);
    }
}

/// The nodes reached at one level. The usual few need no allocation.
#[derive(Default)]
struct Frontier {
    few: [u32; FEW],
    len: usize,
    more: Vec<u32>,
}

impl Frontier {
    /// Adds a node unless it is `NONE`.
    #[inline]
    fn push(&mut self, id: u32) {
        if id == NONE {
            return;
        }
        match self.few.get_mut(self.len) {
            Some(place) => *place = id,
            None => self.more.push(id),
        }
        self.len += 1;
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = u32> {
        let few = self.few.get(..self.len).unwrap_or(&self.few);
        few.iter().chain(&self.more).copied()
    }

    fn clear(&mut self) {
        self.len = 0;
        self.more.clear();
    }
}

const FEW: usize = 8;
