//! Topic names, topic filters, and the structures that match them (section 4.7).
//!
//! [`SubscriptionTree`] finds the filters that match a topic, [`RetainedTree`] the topics that match a filter. Both
//! are tries over levels whose nodes live in an `arena` and refer to each other by index; the children of all
//! nodes of a tree share one hash index (`edges`). Nothing recurses, so depth is bounded by memory only: callers
//! check [`levels`] first.

mod arena;
mod edges;
mod filter;
mod level;
mod matching;
mod members;
mod name;
mod retained;
mod table;
mod tree;

pub use filter::{FilterError, TopicFilter};
pub use level::levels;
pub use matching::filter_matches;
pub use members::{SharedGroup, Subscribers};
pub use name::{NameError, TopicName};
pub use retained::RetainedTree;
pub use tree::{RecentTopics, SubscriptionTree};
