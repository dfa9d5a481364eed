//! Looking into messages.

use crate::bindings::host::sluice::policy::types::{Message, MessageOutcome};
use crate::reason::Reason;

/// A message that was allowed, with its payload and properties.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ContentRequest {
    /// The session, as in [`crate::ConnectRequest::session`].
    pub session: u64,
    /// What the policy chose at connect; see [`crate::Admission::tag`].
    pub tag: u64,
    /// The message; return it changed with [`Content::replace`].
    pub message: Message,
}

/// The answer to a [`ContentRequest`]. Its default is a refusal.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Content {
    /// Refuse the message.
    Deny(Reason),
    /// Publish it as it is.
    Keep,
    /// Publish this instead. A changed topic is judged again.
    Replace(Box<Message>),
    /// Acknowledge it and forget it.
    Drop,
}

impl Content {
    /// Refuses the message.
    pub const fn deny(reason: Reason) -> Self {
        Self::Deny(reason)
    }

    /// Publishes it as it is.
    pub const fn keep() -> Self {
        Self::Keep
    }

    /// Publishes this instead. A changed topic is judged again.
    pub fn replace(message: Message) -> Self {
        Self::Replace(Box::new(message))
    }

    /// Acknowledges it and forgets it.
    pub const fn drop() -> Self {
        Self::Drop
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Deny(Reason::NotAuthorized)
    }
}

impl From<Content> for MessageOutcome {
    fn from(content: Content) -> Self {
        match content {
            Content::Deny(reason) => Self::Deny(reason.code()),
            Content::Keep => Self::Keep,
            Content::Replace(message) => Self::Replace(*message),
            Content::Drop => Self::Drop,
        }
    }
}
