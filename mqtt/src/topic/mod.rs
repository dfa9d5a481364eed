//! Topic names, topic filters, and the structures that match them (section 4.7).

mod filter;
mod name;

pub use filter::{FilterError, TopicFilter};
pub use name::{NameError, TopicName};
